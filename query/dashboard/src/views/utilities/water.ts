/** The water balance of some days, put together. Pure. */

export interface BalanceDays {
  times: Float64Array;
  inflow: Float64Array;
  exported: Float64Array;
  stored: Float64Array;
  metered: Float64Array;
  loss: Float64Array;
  nrw: Float64Array;
  imputed: Float64Array;
  nrwImputed: Float64Array;
  unknown: Float64Array;
}

/** Of all days whose balance is known. */
export interface Total {
  days: number;
  known: number;
  /** inflow - exported - stored. */
  supplied: number;
  metered: number;
  loss: number;
  imputed: number;
  /** Percent of what was supplied; NaN where nothing was. */
  nrw: number;
  /** The same with what silent meters would have counted. */
  nrwImputed: number;
}

export function total(days: BalanceDays): Total {
  const sum = { days: days.times.length, known: 0, supplied: 0, metered: 0, loss: 0, imputed: 0 };
  days.loss.forEach((loss, day) => {
    if (Number.isNaN(loss)) return;
    sum.known += 1;
    sum.supplied += days.inflow[day]! - days.exported[day]! - days.stored[day]!;
    sum.metered += days.metered[day]!;
    sum.loss += loss;
    sum.imputed += days.imputed[day]! || 0;
  });
  const percent = (lost: number) => (0 < sum.supplied ? (100 * lost) / sum.supplied : Number.NaN);
  return { ...sum, nrw: percent(sum.loss), nrwImputed: percent(sum.loss - sum.imputed) };
}

/** What is lost beyond what silent meters would have counted, so that metered + imputed + left is what was supplied. */
export const left = (days: BalanceDays): Float64Array => days.loss.map((loss, day) => loss - (days.imputed[day]! || 0));

/** Meters that were not heard on a day, with the share of it that was observed. */
export interface Unheard {
  sensor: string;
  coverage: number;
}

export function unheardByDay(
  times: ArrayLike<number>,
  sensors: (string | null)[],
  coverages: ArrayLike<number>,
): Map<number, Unheard[]> {
  const found = new Map<number, Unheard[]>();
  sensors.forEach((sensor, row) => {
    const time = times[row]!;
    found.set(time, [...(found.get(time) ?? []), { sensor: sensor ?? "", coverage: coverages[row]! }]);
  });
  return found;
}
