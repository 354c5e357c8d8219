/** An answer as cells of time and place. Pure. */

import type { Table } from "../../flight/arrow";
import { numbers, texts } from "../../flight/columns";
import type { Segment } from "../../city/registry";
import { type Stretch, stretches } from "./stretch";

export interface Cells {
  times: number[];
  /** In the order of travel. */
  rows: Stretch[];
  /** `values[row][column]`, NaN where nothing was observed. */
  values: Float64Array[];
  /** Whether some of what is shown follows from flow and occupancy. */
  isEstimated: boolean;
}

/** Of steps that have ended by `until`. */
export function cells(answer: Table, segments: Segment[], column: string, stepMs: number, until: number): Cells {
  const [time, offset, value] = ["time", "offset_m", column].map((name) => numbers(answer, name));
  const estimated = numbers(answer, "estimated");
  const [segment, direction] = ["segment", "direction"].map((name) => texts(answer, name));
  const ways = new Map(segments.map((one) => [one.id, one.direction]));
  const isOwn = (row: number) => {
    const way = ways.get(segment![row]!);
    return way === undefined || direction![row] === null || way === direction![row];
  };
  const offsets = new Map<string, number[]>();
  for (let row = 0; row < answer.rows; row++) {
    if (!isOwn(row)) continue;
    const known = offsets.get(segment![row]!) ?? [];
    if (!known.includes(offset![row]!)) known.push(offset![row]!);
    offsets.set(segment![row]!, known);
  }
  const rows = stretches(segments, offsets);
  const times = [...new Set(time!)].filter((begin) => begin + stepMs <= until).sort((a, b) => a - b);
  const columns = new Map(times.map((begin, at) => [begin, at]));
  const places = new Map(rows.map((row, at) => [key(row.segment.id, row.offsetM), at]));
  const values = rows.map(() => new Float64Array(times.length).fill(Number.NaN));
  let isEstimated = false;
  for (let row = 0; row < answer.rows; row++) {
    const [at, place] = [columns.get(time![row]!), places.get(key(segment![row]!, offset![row]!))];
    // Of two at one place the first, which has more lanes.
    if (at === undefined || place === undefined || !isOwn(row) || !Number.isNaN(values[place]![at]!)) continue;
    values[place]![at] = value![row]!;
    isEstimated ||= estimated[row] === 1;
  }
  return { times, rows, values, isEstimated };
}

const key = (segment: string, offset: number | undefined): string => `${segment} ${offset ?? ""}`;
