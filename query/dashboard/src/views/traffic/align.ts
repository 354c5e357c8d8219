/** Days beside each other by what the clocks show, as `typical(width)` does it. Pure. */

import type { Clock } from "../../city/clock";

/**
 * Values of another day at the clock times of this one. An hour that its clocks skipped is missing; of one that came
 * twice it is the first.
 */
export function aligned(
  clock: Clock,
  times: ArrayLike<number>,
  others: ArrayLike<number>,
  values: ArrayLike<number>,
): Float64Array {
  const byMinute = new Map<number, number>();
  for (let at = 0; at < others.length; at++) {
    const minute = clock.minuteOfDay(others[at]!);
    if (!byMinute.has(minute)) byMinute.set(minute, values[at]!);
  }
  return Float64Array.from(times, (time) => byMinute.get(clock.minuteOfDay(time)) ?? Number.NaN);
}
