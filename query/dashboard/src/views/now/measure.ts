/** What the map is coloured by: the value of a sensor, its class, and how that looks. Pure. */

import { classCss, RATIO_BORDERS, sequentialCss } from "../../chart/colour";
import type { Look } from "../../map/style";
import type { Entry, Known, RoadState } from "./board";
import { type Choice, isUtility } from "./layer";
import { conditionOf, patienceMs, type State } from "./state";

export const BYS = ["ratio", "occupancy", "demand", "value", "health", "age"] as const;
export type By = (typeof BYS)[number];

const MINUTE_MS = 60_000;
/** Older than the buckets that are asked for is not now. */
const NOW_MS = 30 * MINUTE_MS;
const CLASSES = 6;

export function bysOf(layer: Choice): By[] {
  if (layer === "all") return ["health", "age"];
  if (layer === "traffic") return ["ratio", "occupancy", "health", "age"];
  return isUtility(layer) ? ["demand", "value", "health", "age"] : ["value", "health", "age"];
}

export interface Scale {
  /** Between classes, rising: what is on a border belongs below it. */
  borders: number[];
  /** One more than borders. */
  looks: Look[];
  /** Which end is looked at first. */
  worst: "low" | "high";
}

const OCCUPANCY_BORDERS = [5, 10, 15, 25, 40];
const AGE_BORDERS = [1, 5, 15, 60, 24 * 60].map((minutes) => minutes * MINUTE_MS);
const HEAVY = [3, 2.4, 1.8, 1, 0.5, 0];

const rising = (classes: number): Look[] =>
  Array.from({ length: classes }, (_, at) => ({
    fill: sequentialCss(at / Math.max(classes - 1, 1)),
    weight: (at / Math.max(classes - 1, 1)) * 2,
  }));

export const RATIO: Scale = {
  borders: RATIO_BORDERS,
  looks: HEAVY.map((weight, at) => ({ fill: classCss(at), weight })),
  worst: "low",
};
export const OCCUPANCY: Scale = { borders: OCCUPANCY_BORDERS, looks: rising(CLASSES), worst: "high" };
export const AGE: Scale = {
  borders: AGE_BORDERS,
  looks: HEAVY.map((_, at) => ({ fill: classCss(5 - at), weight: HEAVY[5 - at]! })),
  worst: "high",
};

export const UNKNOWN: Look = { fill: undefined, weight: 0 };

/** Of states the colour; the marks on the map have a shape each, too. */
export const STATE_LOOKS: Record<State, Look> = {
  ok: { fill: classCss(5), weight: 0 },
  finding: { fill: classCss(1), weight: 1 },
  quarantined: { fill: classCss(2), weight: 1 },
  silent: UNKNOWN,
};

/** So that about as many are in each class; rounded, so that people can read the borders. */
export function scaleOf(values: Iterable<number>): Scale {
  const known = Float64Array.from(Array.from(values).filter(Number.isFinite)).sort();
  const at = (share: number) => Number(known[Math.floor(share * (known.length - 1))]!.toPrecision(2));
  const shares = Array.from({ length: CLASSES - 1 }, (_, border) => (border + 1) / CLASSES);
  const borders =
    known.length === 0
      ? []
      : [...new Set(shares.map(at))].filter((border) => known[0]! <= border && border < known.at(-1)!);
  return { borders: borders.sort((a, b) => a - b), looks: rising(borders.length + 1), worst: "high" };
}

export const classOf = (scale: Scale, value: number): number | undefined =>
  Number.isNaN(value) ? undefined : scale.borders.filter((border) => border < value).length;

export const lookOf = (scale: Scale, value: number): Look => scale.looks[classOf(scale, value) ?? -1] ?? UNKNOWN;

const recent = (known: Known | undefined, now: number, withinMs: number): number =>
  known === undefined || withinMs < now - known.time ? Number.NaN : known.value;

/** @param freeKmh of the segment that a sensor stands at. NaN is what nobody knows now. */
export function valueOf(
  entry: Entry,
  by: By,
  metric: string | undefined,
  freeKmh: (segment: string) => number,
  now: number,
): number {
  switch (by) {
    case "ratio":
      return entry.sensor.segment === undefined
        ? Number.NaN
        : recent(entry.speed, now, NOW_MS) / freeKmh(entry.sensor.segment);
    case "occupancy":
      return recent(entry.occupancy, now, NOW_MS);
    case "demand":
      return entry.demand.get(metric ?? "")?.value ?? Number.NaN;
    case "value":
      return recent(entry.series.get(metric ?? "")?.latest, now, patienceMs(entry));
    case "health":
    case "age":
      return now - entry.heardAt;
  }
}

export const roadValue = (road: RoadState, by: By): number =>
  by === "ratio" ? road.ratio : by === "occupancy" ? road.occupancy : Number.NaN;

export function looks(entry: Entry, by: By, scale: Scale, value: number, now: number): Look {
  return by === "health" ? STATE_LOOKS[conditionOf(entry, now).state] : lookOf(scale, value);
}

/** Metrics that a layer can be coloured by, the most common first. */
export function metricsOf(entries: Iterable<Entry>, by: By): string[] {
  const counts = new Map<string, number>();
  for (const entry of entries) {
    for (const { metric, kind } of entry.series.values()) {
      const isCounted = kind === "counter";
      if ((by === "demand" && isCounted) || (by === "value" && !isCounted && kind !== "event"))
        counts.set(metric, (counts.get(metric) ?? 0) + 1);
    }
  }
  return Array.from(counts.keys()).sort((a, b) => counts.get(b)! - counts.get(a)! || (a < b ? -1 : 1));
}
