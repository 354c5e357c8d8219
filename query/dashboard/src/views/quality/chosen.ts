/** What the address says of this view, with what holds where it says nothing. */

import { addDays, type Day, isDay } from "../../city/clock";
import { registry } from "../../city/registry";
import { clock } from "../../city/session";
import { param, params } from "../../route";
import { type By, BYS } from "./coverage";
import { SPANS, type Span } from "./days";
import { type Filter, NONE, TRAITS } from "./filter";

export const PARTS = ["coverage", "health", "refused", "account", "changes"] as const;
export type Part = (typeof PARTS)[number];

const HOUR_MS = 3_600_000;
/** With more sensors, rows are kinds by themselves. */
const ROWS_MOST = 60;

const known = <T extends string>(all: readonly T[], text: string | undefined): T | undefined => all.find((one) => one === text);

export const part = (): Part => known(PARTS, param("part")) ?? "coverage";
export const span = (): Span => known(SPANS, param("days")) ?? "14";
export const filter = (): Filter => Object.fromEntries(TRAITS.map((trait) => [trait, params(trait)])) as Filter;
export const isFiltered = (): boolean => TRAITS.some((trait) => 0 < filter()[trait].length);
export const row = (): string | undefined => param("row");
export const sort = (): "worst" | "name" => (param("sort") === "name" ? "name" : "worst");

/** Sensors that are looked at, as far as the page knows them. */
export function looked(): number {
  const of = filter();
  const fits = (names: string[], value: string | undefined) => names.length === 0 || names.includes(value ?? NONE);
  return [...registry().sensors.values()].filter((one) => !one.isQuarantined && fits(of.kind, one.kind || undefined) && fits(of.owner, one.owner) && fits(of.zone, one.zone) && fits(of.segment, one.segment)).length;
}

export const by = (): By => known(BYS, param("by")) ?? (looked() <= ROWS_MOST ? "sensor" : "kind");

export const today = (): Day => clock().day(Date.now());
export const yesterday = (): Day => addDays(today(), -1);
export const day = (otherwise: Day): Day => {
  const asked = param("day");
  return asked !== undefined && isDay(asked) ? asked : otherwise;
};

/** The last hour that is over: the same for a while, so that questions stay the same. */
export const lastHour = (): number => Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
