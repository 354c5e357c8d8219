/** What a day of counts comes to. Pure; all steps are of the same width, one after the other. */

/** Quarter hours in an hour: what the factor of a peak hour is made of (HCM 2010, 4-1). */
const QUARTERS = 4;

export interface Peak {
  /** The step with which it begins. */
  at: number;
  volume: number;
  /** Volume over four times its highest quarter hour: 1 is even, 0.25 is all in one; NaN where only hours are known. */
  factor: number;
}

/** The hour with most vehicles, of those of which every step is known; of equal ones the first. */
export function peakHour(volumes: ArrayLike<number>, perHour = QUARTERS): Peak | undefined {
  let peak: Peak | undefined;
  for (let at = 0; at + perHour <= volumes.length; at++) {
    const hour = Array.from({ length: perHour }, (_, step) => volumes[at + step]!);
    const volume = hour.reduce((sum, value) => sum + value, 0);
    if (Number.isNaN(volume) || volume <= (peak?.volume ?? 0)) continue;
    peak = { at, volume, factor: perHour === QUARTERS ? volume / (QUARTERS * Math.max(...hour)) : Number.NaN };
  }
  return peak;
}

export interface Day {
  /** Of the steps that are known; NaN where none is. */
  volume: number;
  /** Space-mean: vehicles over the sum of vehicles / speed. */
  speed: number;
  /** How much of the steps was observed, 0 to 1. */
  coverage: number;
  /** Steps that have ended, and those of them whose volume is known. */
  steps: number;
  known: number;
}

export interface Steps {
  volume: ArrayLike<number>;
  speed: ArrayLike<number>;
  coverage: ArrayLike<number>;
}

/** Of the first so many steps: those that have ended. */
export function whole({ volume, speed, coverage }: Steps, steps: number): Day {
  let [vehicles, observed, known, driven, hours] = [0, 0, 0, 0, 0];
  for (let at = 0; at < steps; at++) {
    const here = volume[at]!;
    if (!Number.isNaN(coverage[at]!)) observed += coverage[at]!;
    if (Number.isNaN(here)) continue;
    known += 1;
    vehicles += here;
    if (!(0 < speed[at]!)) continue;
    driven += here;
    hours += here / speed[at]!;
  }
  return {
    volume: known === 0 ? Number.NaN : vehicles,
    speed: hours === 0 ? Number.NaN : driven / hours,
    coverage: steps === 0 ? Number.NaN : observed / steps,
    steps,
    known,
  };
}

/** How many of the steps have ended by then. */
export function ended(times: ArrayLike<number>, widthMs: number, now: number): number {
  let count = 0;
  while (count < times.length && times[count]! + widthMs <= now) count++;
  return count;
}
