/** Local days as columns, and what is counted in them. Pure. */

import { addDays, type Clock, type Day, daysBetween, rfc3339 } from "../../city/clock";
import { numbers, texts } from "../../flight/columns";
import type { Table } from "../../flight/arrow";
import { quoted } from "../../flight/question";

export const SPANS = ["14", "30", "90"] as const;
export type Span = (typeof SPANS)[number];

/** The last days, of which the last one is not over. */
export const lastDays = (today: Day, count: number): Day[] => Array.from({ length: count }, (_, at) => addDays(today, at - count + 1));

/** Counts of a table by local day: `SELECT d.time, ..` goes before it. */
export function daily(table: string, time: string, from: number, to: number): string {
  const [begin, end] = [quoted(rfc3339(from)), quoted(rfc3339(to))];
  return `FROM gapfill('1d', ${begin}, ${end}) AS d
JOIN ${table} AS t ON t.${time} >= d.time AND t.${time} < d.ends
WHERE t.${time} >= ${begin} AND t.${time} < ${end}`;
}

export interface Counted {
  name: string;
  /** By day, as in the columns; NaN where there is no row. */
  values: Float64Array;
  sum: number;
}

/** Numbers by name and day, the largest sum first. */
export function counted(answer: Table, name: string, value: string, days: Day[], clock: Clock): Counted[] {
  const [names, times, values] = [texts(answer, name), numbers(answer, "time"), numbers(answer, value)];
  const rows = new Map<string, Counted>();
  for (let at = 0; at < answer.rows; at++) {
    const key = names[at] ?? "–";
    const row = rows.get(key) ?? { name: key, values: new Float64Array(days.length).fill(Number.NaN), sum: 0 };
    const column = daysBetween(days[0]!, clock.day(times[at]!));
    if (0 <= column && column < days.length) row.values[column] = (Number.isNaN(row.values[column]!) ? 0 : row.values[column]!) + values[at]!;
    row.sum += values[at]!;
    rows.set(key, row);
  }
  return [...rows.values()].toSorted((a, b) => b.sum - a.sum || a.name.localeCompare(b.name));
}
