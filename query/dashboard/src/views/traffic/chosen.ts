/** What the address says of the view, with its defaults. */

import { addDays, type Day, isDay, type Range } from "../../city/clock";
import { sees } from "../../city/datasets";
import { lastDay, stationsBySegment } from "../../city/detectors";
import { registry } from "../../city/registry";
import { clock } from "../../city/session";
import { param, params } from "../../route";
import { type Place, place as placeOf } from "./place";
import { type Measure, MEASURES, type Sort, SORTS } from "./sql";

export const STEPS = ["5m", "15m", "1h"] as const;
export type Step = (typeof STEPS)[number];
export const STEP_MS: Record<Step, number> = { "5m": 300_000, "15m": 900_000, "1h": 3_600_000 };

/** What the day is seen against; a day is one of its own. */
export const COMPARED = ["typical", "before", "week", "date", "none"] as const;
export type Compared = (typeof COMPARED)[number];

const oneOf = <T extends string>(all: readonly T[], name: string, otherwise: T): T =>
  all.find((one) => one === param(name)) ?? otherwise;

/** None while the last day with traffic is not known. */
export const day = (): Day | undefined => {
  const said = param("day");
  return said !== undefined && isDay(said) ? said : lastDay();
};
export const isDayChosen = (): boolean => isDay(param("day") ?? "");
export const range = (): Range => clock().range(day() ?? clock().day(Date.now()));

/** Who does not see five minutes may see hours. */
export const seesOnlyHours = (): boolean => sees("rollup_5m") === false;
export const step = (): Step => oneOf(STEPS, "step", seesOnlyHours() ? "1h" : "15m");
export const measure = (): Measure => oneOf(MEASURES, "measure", "volume");
/** Single detectors know no delay. */
export const sorts = (): Sort[] => SORTS.filter((one) => sees("road") !== false || one === "volume" || one === "name");
export const sort = (): Sort => oneOf(sorts(), "sort", sorts()[0]!);
export const isSplit = (): boolean => param("lines") === "each";

export const compared = (): Compared => (isDay(param("compare") ?? "") ? "date" : oneOf(COMPARED, "compare", "typical"));

/** The other day; none where it is compared with none, or with usual ones. */
export function otherDay(): Day | undefined {
  const now = day();
  if (now === undefined) return undefined;
  switch (compared()) {
    case "before":
      return addDays(now, -1);
    case "week":
      return addDays(now, -7);
    case "date":
      return isDay(param("compare") ?? "") ? param("compare") : addDays(now, -1);
    default:
      return undefined;
  }
}

export function place(): Place {
  const at = Number(param("at") ?? Number.NaN);
  const known = { sensors: registry().sensors, stations: stationsBySegment() };
  return placeOf(params("segment"), params("sensor"), Number.isNaN(at) ? undefined : at, known);
}
