/** An answer as lines over the day. What it is of is told by its columns, so that none is read for another question. Pure. */

import type { Clock } from "../../city/clock";
import type { Table } from "../../flight/arrow";
import { has, numbers, texts, where } from "../../flight/columns";
import { aligned } from "./align";
import { ended } from "./day";
import type { Split } from "./place";
import type { Measure } from "./sql";

/** Fewer weeks than this make a median, but no band. */
export const WEEKS_LEAST = 3;
/** Less of a step was observed: its count is too low. */
export const OBSERVED_LEAST = 0.9;

export interface Usual {
  p15: Float64Array;
  p50: Float64Array;
  p85: Float64Array;
  weeks: Float64Array;
}

export interface Shown {
  times: Float64Array;
  /** All together. */
  total: Float64Array;
  /** Each by itself, in the order of names. */
  each: { name: string; values: Float64Array }[];
  /** The other day at this one's clock times. */
  other: Float64Array | undefined;
  usual: Usual | undefined;
  coverage: Float64Array;
  /** Steps that have ended, and those of them that are known of a part of their time. */
  ended: number;
  partial: number;
}

export interface Of {
  measure: Measure;
  day: string;
  stepMs: number;
  now: number;
  clock: Clock;
}

const picked = (values: Float64Array, rows: number[]): Float64Array => Float64Array.from(rows, (row) => values[row]!);

export function shown(answer: Table, { measure, day, stepMs, now, clock }: Of): Shown {
  const split = (["sensor", "segment"] as Split[]).find((name) => has(answer, name));
  const names = split === undefined ? undefined : texts(answer, split);
  const days = has(answer, "day") ? texts(answer, "day") : undefined;
  const [time, value, observed] = [numbers(answer, "time"), numbers(answer, measure), numbers(answer, "coverage")];
  const own = where(answer, (row) => (names === undefined || names[row] === null) && (days === undefined || days[row] === day));
  const times = picked(time, own);
  const count = ended(times, stepMs, now);
  // A step that is still running has not yet counted what it will.
  const known = (values: Float64Array): Float64Array => values.map((value, at) => (at < count ? value : Number.NaN));
  const coverage = picked(observed, own);
  const total = known(picked(value, own));

  const each = [...new Set(names)].filter((name) => name !== null).map((name) => {
    const at = new Map(where(answer, (row) => names![row] === name).map((row) => [time[row]!, value[row]!]));
    return { name, values: known(Float64Array.from(times, (time) => at.get(time) ?? Number.NaN)) };
  });
  const others = days === undefined ? [] : where(answer, (row) => days[row] !== day);
  const quantile = (share: string): Float64Array => {
    // A flow is a volume an hour.
    const [of, factor] = measure === "flow" ? ["volume", 3_600_000 / stepMs] : [measure, 1];
    return picked(numbers(answer, `${of}_${share}`), own).map((value) => value * factor);
  };
  return {
    times,
    total,
    each,
    other: days === undefined ? undefined : aligned(clock, times, picked(time, others), picked(value, others)),
    usual: has(answer, "weeks") ? usual(picked(numbers(answer, "weeks"), own), quantile) : undefined,
    coverage,
    ended: count,
    partial: coverage.filter((share, at) => share < OBSERVED_LEAST && !Number.isNaN(total[at]!)).length,
  };
}

function usual(weeks: Float64Array, quantile: (share: string) => Float64Array): Usual {
  const enough = (values: Float64Array) => values.map((value, at) => (WEEKS_LEAST <= weeks[at]! ? value : Number.NaN));
  return { p15: enough(quantile("p15")), p50: quantile("p50"), p85: enough(quantile("p85")), weeks };
}

/** The fewest and the most weeks that a usual step is made of, of those that have any; none where none has. */
export function weeksKnown(weeks: ArrayLike<number>): { least: number; most: number } | undefined {
  const known = Array.from(weeks).filter((count) => 0 < count);
  return known.length === 0 ? undefined : { least: Math.min(...known), most: Math.max(...known) };
}
