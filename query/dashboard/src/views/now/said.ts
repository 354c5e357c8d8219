/** Numbers, ages and states of this view as people read them. */

import { shortDayOf, timeOf } from "../../city/format";
import { clock, units } from "../../city/session";
import { shownUnit } from "../../city/unit";
import { common } from "../../words/common";
import { number } from "../../words/language";
import { nowWords } from "../../words/now";
import type { Entry, Finding } from "./board";
import type { By } from "./measure";
import type { Condition } from "./state";

const SECOND_MS = 1000;
/** Clocks of a city and of a desk differ. */
const AHEAD_MS = 5 * SECOND_MS;

/** A stretch of time, to one figure that people say. */
export function span(ms: number): string {
  const words = nowWords().spans;
  const seconds = ms / SECOND_MS;
  if (seconds < 60) return words.seconds(number(Math.max(Math.floor(seconds), 0)));
  if (seconds < 90 * 60) return words.minutes(number(Math.floor(seconds / 60)));
  if (seconds < 48 * 3600) return words.hours(number(Math.floor(seconds / 3600)));
  return words.days(number(Math.floor(seconds / 86_400)));
}

export function ago(time: number, now: number): string {
  if (Number.isNaN(time)) return "–";
  return now - time < -AHEAD_MS ? nowWords().laterThanNow : nowWords().ago(span(now - time));
}

/** A time of today as a time, else with its day. */
export const shortly = (time: number): string =>
  clock().day(time) === clock().day(Date.now()) ? timeOf(time) : `${shortDayOf(time)}, ${timeOf(time)}`;

const FIGURES = 3;
const DIGITS_MOST = 6;

/** To three figures, or whole. */
export function measured(value: number, unit: string | undefined): string {
  if (Number.isNaN(value)) return "–";
  const shown = shownUnit(unit, units());
  const scaled = value * shown.factor;
  const size = scaled === 0 ? 0 : Math.floor(Math.log10(Math.abs(scaled)));
  const digits = Math.min(Math.max(FIGURES - 1 - size, 0), DIGITS_MOST);
  return `${number(scaled, digits)}${shown.text === "" ? "" : ` ${shown.text}`}`;
}

/** A unit of an amount as that of the amount an hour. */
export const hourly = (unit: string | undefined): string =>
  unit === "kW.h" ? "kW" : unit === "W.h" ? "W" : `${unit ?? ""}/h`;

export function unitOf(by: By, metricUnit: string | undefined): string | undefined {
  switch (by) {
    case "ratio":
      return "1";
    case "occupancy":
      return "%";
    case "demand":
      return hourly(metricUnit);
    default:
      return metricUnit;
  }
}

export function findingText({ finding, since }: Finding): string {
  const words = nowWords();
  const text = words.findings[finding] ?? finding;
  return finding === "doubtful" ? text : `${text}, ${words.since(shortDayOf(since))}`;
}

/** `isLong`: with what is only news to whoever looks at one. */
export function stateText(entry: Entry, condition: Condition, isLong = false): string {
  const words = nowWords();
  switch (condition.state) {
    case "quarantined":
      return words.quarantined;
    case "silent":
      if (!Number.isNaN(entry.heardAt)) return words.silentSince(shortly(entry.heardAt));
      return Array.from(entry.series.values()).some(({ kind }) => kind !== "event") ? words.never : words.notLately;
    case "finding":
      return condition.finding === undefined ? words.states.finding : findingText(condition.finding);
    case "ok":
      return isLong && condition.isBack ? words.isBack : words.states.ok;
  }
}

export const directionText = (direction: string | undefined): string =>
  direction === undefined ? "" : (common().directions[direction] ?? direction);
