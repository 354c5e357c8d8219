/** What the address says to look at, completed by what there is. */

import { createMemo } from "solid-js";
import { type Asked, asked } from "../../city/answer";
import { addDays, type Day, isDay, type Range } from "../../city/clock";
import { registry } from "../../city/registry";
import { clock, completeUntil } from "../../city/session";
import { numbers, texts } from "../../flight/columns";
import { param } from "../../route";
import {
  type Counting,
  demandUnit,
  firstZone,
  inZone,
  type Metric,
  metricsOf,
  NO_ZONE,
  together,
  widthsFor,
  zonesOf,
} from "./counting";
import { COUNTING } from "./questions";

export const PERIODS = [7, 14, 30] as const;

export interface Place {
  counting: Asked;
  all: () => Counting[];
  zones: () => string[];
  zone: () => string | undefined;
  /** What its meters count. */
  ofZone: () => Counting[];
  metrics: () => Metric[];
  metric: () => string;
  unit: () => string;
  demandUnit: () => string;
  /** With what adds up to a balance. */
  together: () => string[];
  /** Of a profile, the finest first; none where meters are read once a day. */
  steps: () => string[];
  meter: () => string | undefined;
  /** The last of the days. */
  day: () => Day;
  /** The day whose profile is shown. */
  on: () => Day;
  days: () => number;
  range: () => Range;
  isToday: () => boolean;
}

export function createPlace(): Place {
  const counting = asked(() => COUNTING);
  const all = createMemo((): Counting[] => {
    const answer = counting.answer();
    if (answer === undefined) return [];
    const [zone, role, metric, unit] = ["zone", "role", "metric", "unit"].map((name) => texts(answer, name));
    const [meters, intervalS] = ["meters", "interval_s"].map((name) => numbers(answer, name));
    return metric!.map((metric, row) => ({
      zone: zone![row] ?? undefined,
      role: role![row] ?? undefined,
      metric: metric!,
      unit: unit![row] ?? "",
      meters: meters![row]!,
      intervalS: intervalS![row]!,
    }));
  });
  const meter = () => param("meter");
  const zones = createMemo(() => zonesOf(all()));
  const zone = createMemo(() => {
    const said = param("zone");
    if (said !== undefined) return said;
    const known = meter() === undefined ? undefined : registry().sensors.get(meter()!);
    return known === undefined ? firstZone(all()) : (known.zone ?? NO_ZONE);
  });
  const ofZone = createMemo(() => (zone() === undefined ? [] : inZone(all(), zone()!)));
  const metrics = createMemo(() => metricsOf(ofZone()));
  const metric = createMemo(() => (metrics().find(({ name }) => name === param("metric")) ?? metrics()[0])?.name ?? "");
  const unit = createMemo(() => ofZone().find((one) => one.metric === metric())?.unit ?? "");
  // Of today much is not known yet: the last whole day shows more.
  const lastWhole = createMemo(() => addDays(clock().day(Math.min(completeUntil() ?? Date.now(), Date.now())), -1));
  const day = createMemo(() => {
    const said = param("day");
    return said !== undefined && isDay(said) ? said : lastWhole();
  });
  const on = createMemo(() => {
    const said = param("on");
    return said !== undefined && isDay(said) ? said : day();
  });
  const days = createMemo(() => PERIODS.find((days) => `${days}` === param("days")) ?? 14);
  const range = createMemo(() => clock().range(addDays(day(), 1 - days()), days()), undefined, {
    equals: (a, b) => a.from === b.from && a.to === b.to,
  });
  const intervals = () =>
    ofZone()
      .filter((one) => one.metric === metric())
      .map((one) => one.intervalS)
      .filter((seconds) => !Number.isNaN(seconds));
  return {
    counting,
    all,
    zones,
    zone,
    ofZone,
    metrics,
    metric,
    unit,
    demandUnit: () => demandUnit(unit()),
    together: createMemo(() => together(ofZone(), metric())),
    steps: createMemo(() =>
      widthsFor(intervals().length === 0 ? Number.NaN : Math.max(...intervals())).filter((width) => width !== "1d"),
    ),
    meter,
    day,
    on,
    days,
    range,
    isToday: () => day() === clock().day(Date.now()),
  };
}
