/** Where the marks of an axis stand. Pure. */

import type { Clock } from "../city/clock";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Distances of marks that people can read, in milliseconds. */
const STEPS = [1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE_MS)
  .concat([1, 2, 3, 6, 12].map((hours) => hours * HOUR_MS))
  .concat([1, 2, 7, 14, 28, 91, 182, 364].map((days) => days * DAY_MS));

export interface TimeTicks {
  at: number[];
  stepMs: number;
}

/** At whole local times, at most `most` of them. */
export function timeTicks(clock: Clock, from: number, to: number, most: number): TimeTicks {
  const stepMs = STEPS.find((step) => (to - from) / step <= most) ?? STEPS.at(-1)!;
  const at: number[] = [];
  const [first, last] = [clock.shifted(from), clock.shifted(to)];
  for (let shifted = Math.ceil(first / stepMs) * stepMs; shifted <= last; shifted += stepMs) {
    const instant = clock.instant(shifted);
    // What the clocks do not show in spring has no mark.
    if (from <= instant && instant <= to && clock.shifted(instant) === shifted) at.push(instant);
  }
  return { at, stepMs };
}

/** Round numbers from `low` to `high`, at most `most` and one. */
export function numberTicks(low: number, high: number, most: number): number[] {
  if (!(low < high)) return [low];
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => rough <= factor * power * 1.000001) ?? 10);
  const ticks: number[] = [];
  for (let count = Math.ceil(low / step - 1e-9); count * step <= high + step * 1e-9; count++) ticks.push(Number((count * step).toPrecision(12)));
  return ticks;
}
