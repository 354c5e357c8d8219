/** Stretches of a road that its stations stand for, in metres along the travel. Pure. */

import type { Segment } from "../../city/registry";

export interface Stretch {
  segment: Segment;
  /** Of its station, from the begin of the segment; none where there is none. */
  offsetM: number | undefined;
  fromM: number;
  toM: number;
}

/** What a segment takes whose length is not known, where no other's is. */
const LENGTH_M = 100;

/** Each segment's length; of those that do not say it, the mean of the others. */
function lengths(segments: Segment[]): number[] {
  const known = segments.map((segment) => segment.lengthM).filter((length) => 0 < length);
  const mean = known.length === 0 ? LENGTH_M : known.reduce((sum, length) => sum + length, 0) / known.length;
  return segments.map((segment) => (0 < segment.lengthM ? segment.lengthM : mean));
}

/** In the order of travel. Between two stations of a segment the border is half-way; none reaches into another segment. */
export function stretches(segments: Segment[], offsets: Map<string, number[]>): Stretch[] {
  let start = 0;
  return segments.flatMap((segment, at): Stretch[] => {
    const length = lengths(segments)[at]!;
    const begin = start;
    start += length;
    const stations = [...new Set(offsets.get(segment.id) ?? [])].sort((a, b) => a - b);
    if (stations.length === 0) return [{ segment, offsetM: undefined, fromM: begin, toM: start }];
    const inside = (metres: number) => Math.min(Math.max(metres, 0), length);
    const borders = stations.slice(1).map((offset, before) => inside((stations[before]! + offset) / 2));
    const edges = [0, ...borders, length];
    return stations.map((offsetM, row) => ({ segment, offsetM, fromM: begin + edges[row]!, toM: begin + edges[row + 1]! }));
  });
}

/** The stretch on which a place of a segment lies; -1 where the road does not pass there. */
export function rowAt(rows: Stretch[], segment: string, offsetM: number): number {
  const first = rows.findIndex((row) => row.segment.id === segment);
  if (first < 0) return -1;
  const at = rows[first]!.fromM + Math.max(0, Number.isNaN(offsetM) ? 0 : offsetM);
  const own = rows.map((row, index) => ({ row, index })).filter(({ row }) => row.segment.id === segment);
  return (own.find(({ row }) => at < row.toM) ?? own.at(-1)!).index;
}

/** The stretches of a queue that reaches so far back from a row's station. */
export function rowsBack(rows: Stretch[], head: number, metres: number): { first: number; last: number } {
  const place = (row: Stretch) => (row.offsetM === undefined ? (row.fromM + row.toM) / 2 : startOf(rows, row) + row.offsetM);
  const tail = place(rows[head]!) - (0 < metres ? metres : 0);
  let first = head;
  while (0 < first && tail < rows[first]!.fromM) first--;
  return { first, last: head };
}

const startOf = (rows: Stretch[], row: Stretch): number => rows.find((other) => other.segment === row.segment)!.fromM;
