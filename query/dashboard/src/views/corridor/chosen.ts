/** What the address says of the view, with its defaults. */

import { createMemo, createRoot } from "solid-js";
import { type Day, isDay, type Range } from "../../city/clock";
import { sees } from "../../city/datasets";
import { lastDay, stationsBySegment } from "../../city/detectors";
import { registry, type Segment } from "../../city/registry";
import { clock } from "../../city/session";
import { param, params } from "../../route";
import { type Chain, chains } from "./chain";
import { type Measure, MEASURES } from "./sql";

export const STEPS = ["5m", "15m", "1h"] as const;
export type Step = (typeof STEPS)[number];
export const STEP_MS: Record<Step, number> = { "5m": 300_000, "15m": 900_000, "1h": 3_600_000 };
const HOUR_MS = 3_600_000;
export const HOURS = 24;

/** Roads with a detector somewhere: those with most of them first. */
export const roads = createRoot(() =>
  createMemo((): Chain[] => {
    const count = ({ segments }: Chain) => segments.filter((segment) => stationsBySegment().has(segment.id)).length;
    const all = chains(registry().segments.values()).map((chain) => ({ chain, count: count(chain) }));
    return all.filter(({ count }) => 0 < count).sort((a, b) => b.count - a.count).map(({ chain }) => chain);
  }),
);

/** Segments that somebody put one behind the other. */
export const isList = (): boolean => 0 < params("segment").length;

/** The road in its order of travel: a list, the road with a segment, or the one with most detectors. */
export function road(): Segment[] {
  if (isList()) return params("segment").flatMap((id) => registry().segments.get(id) ?? []);
  const with_ = (id: string) => roads().find(({ segments }) => segments.some((segment) => segment.id === id));
  const named = param("road") === undefined ? undefined : with_(param("road")!);
  return (named ?? (param("road") === undefined ? roads()[0] : undefined))?.segments ?? [];
}

/** None while the last day with traffic is not known. */
export const day = (): Day | undefined => (isDay(param("day") ?? "") ? param("day") : lastDay());
export const isDayChosen = (): boolean => isDay(param("day") ?? "");

const hour = (name: string, otherwise: number): number => {
  const said = Number(param(name) ?? Number.NaN);
  return Number.isInteger(said) && 0 <= said && said <= HOURS ? said : otherwise;
};
export const fromHour = (): number => Math.min(hour("from", 0), HOURS - 1);
export const toHour = (): number => Math.max(hour("to", HOURS), fromHour() + 1);

/** The hours that the clocks show; of today only those that have begun. */
export function range(): Range {
  const of = day() ?? clock().day(Date.now());
  const midnight = clock().shifted(clock().start(of));
  const { to: end } = clock().range(of);
  const at = (hour: number) => (hour === HOURS ? end : clock().instant(midnight + hour * HOUR_MS));
  const from = at(fromHour());
  const begun = Math.ceil(Date.now() / HOUR_MS) * HOUR_MS;
  return { from, to: Math.max(Math.min(at(toHour()), begun), from + HOUR_MS) };
}

/** Who does not see five minutes may see hours. */
const finest = (): Step => (sees("rollup_5m") === false ? "1h" : "5m");
export const step = (): Step => STEPS.find((one) => one === param("step")) ?? finest();
export const measure = (): Measure => MEASURES.find((one) => one === param("measure")) ?? "speed";
