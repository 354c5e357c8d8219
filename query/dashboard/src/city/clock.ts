/** The city's clocks. All changes come from the query service, so that there is one time-zone database. */

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A local day, as `2026-11-23`. */
export type Day = string;

export interface Change {
  /** Milliseconds since 1970. */
  from: number;
  offsetMs: number;
  abbreviation: string;
}

/** Of a local day, or of any stretch of time: the end is not included. */
export interface Range {
  from: number;
  to: number;
}

const utc = (day: Day): number => Date.parse(`${day}T00:00:00Z`);
const text = (shifted: number): Day => new Date(shifted).toISOString().slice(0, 10);

/** Whether a text is a day that exists. */
export const isDay = (day: string): day is Day => /^\d{4}-\d{2}-\d{2}$/.test(day) && !Number.isNaN(utc(day)) && text(utc(day)) === day;

export const addDays = (day: Day, days: number): Day => text(utc(day) + days * DAY_MS);

/** Days from one to the other. */
export const daysBetween = (from: Day, to: Day): number => Math.round((utc(to) - utc(from)) / DAY_MS);

/** 1 for Monday to 7 for Sunday, as ISO 8601 has it. */
export const weekday = (day: Day): number => ((new Date(utc(day)).getUTCDay() + 6) % 7) + 1;

/** ISO 8601 week, as `2026-W48`. */
export function isoWeek(day: Day): string {
  const thursday = addDays(day, 4 - weekday(day));
  const week = Math.floor(daysBetween(`${thursday.slice(0, 4)}-01-01`, thursday) / 7) + 1;
  return `${thursday.slice(0, 4)}-W${`${week}`.padStart(2, "0")}`;
}

export class Clock {
  /** @param changes in order; the first holds for all time before, too. */
  constructor(
    readonly zone: string,
    private readonly changes: readonly Change[],
  ) {}

  private at(instant: number): Change {
    let [low, high] = [0, this.changes.length];
    while (1 < high - low) {
      const middle = (low + high) >> 1;
      if (this.changes[middle]!.from <= instant) low = middle;
      else high = middle;
    }
    return this.changes[low]!;
  }

  /** What the city's clocks show, as the instant at which Greenwich's show the same: for formatting and for axes. */
  shifted(instant: number): number {
    return instant + this.at(instant).offsetMs;
  }

  abbreviation(instant: number): string {
    return this.at(instant).abbreviation;
  }

  /** The instant at which the clocks show a time: the earlier of two, and after a gap what it would have been. */
  instant(shifted: number): number {
    const before = this.at(shifted - DAY_MS).offsetMs;
    const early = shifted - before;
    if (this.shifted(early) === shifted) return early;
    const after = this.at(shifted + DAY_MS).offsetMs;
    const late = shifted - after;
    return this.shifted(late) === shifted ? late : early;
  }

  day(instant: number): Day {
    return text(this.shifted(instant));
  }

  start(day: Day): number {
    return this.instant(utc(day));
  }

  /** From midnight to midnight: 23 or 25 hours where the clocks change. */
  range(day: Day, days = 1): Range {
    return { from: this.start(day), to: this.start(addDays(day, days)) };
  }

  /** Hours of a local day: 24, or another number where the clocks change. */
  hours(day: Day): number {
    const { from, to } = this.range(day);
    return (to - from) / HOUR_MS;
  }

  /** Minutes since midnight that the clocks show. */
  minuteOfDay(instant: number): number {
    return Math.floor((this.shifted(instant) % DAY_MS) / 60_000);
  }
}

export const rfc3339 = (instant: number): string => new Date(instant).toISOString().replace(".000Z", "Z");
