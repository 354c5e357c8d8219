/** The demand of a day beside that of another, and its peak. Pure. */

import { addDays, type Clock, type Day, type Range } from "../../city/clock";

const DAY_MS = 86_400_000;

/** A day, and the same weekday of the week before. */
export const twoDays = (clock: Clock, day: Day): [Range, Range] => [clock.range(day), clock.range(addDays(day, -7))];

export interface Profile {
  /** Begins of the day's steps. */
  times: Float64Array;
  values: Float64Array;
  /** What the clocks showed the same time a week before. */
  before: Float64Array;
  /** Rows of the answer, of the day only. */
  rows: number[];
}

/** By the clock: a day of 25 hours has one of them twice, and beside both stands the one of the week before. */
export function profile(clock: Clock, day: Range, times: ArrayLike<number>, values: ArrayLike<number>): Profile {
  const rows: number[] = [];
  const shown = new Map<number, number>();
  for (let row = 0; row < times.length; row++) {
    if (day.from <= times[row]! && times[row]! < day.to) rows.push(row);
    else shown.set(clock.shifted(times[row]!), values[row]!);
  }
  const begins = Float64Array.from(rows, (row) => times[row]!);
  return {
    rows,
    times: begins,
    values: Float64Array.from(rows, (row) => values[row]!),
    before: begins.map((time) => shown.get(clock.shifted(time) - 7 * DAY_MS) ?? Number.NaN),
  };
}

export interface Peak {
  at: number;
  value: number;
  /** Mean over highest demand, of what was observed. */
  loadFactor: number;
  observed: number;
  steps: number;
}

/** The highest step of a day; none where nothing was observed. */
export function peakOf(times: ArrayLike<number>, values: ArrayLike<number>): Peak | undefined {
  let [at, sum, observed] = [-1, 0, 0];
  for (let step = 0; step < values.length; step++) {
    const value = values[step]!;
    if (Number.isNaN(value)) continue;
    sum += value;
    observed += 1;
    if (at < 0 || values[at]! < value) at = step;
  }
  if (at < 0) return undefined;
  const value = values[at]!;
  return {
    at: times[at]!,
    value,
    loadFactor: 0 < value ? sum / observed / value : Number.NaN,
    observed,
    steps: values.length,
  };
}
