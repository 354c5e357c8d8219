/** A register as it was read, and what happened to it. Pure. */

import type { Range } from "../../city/clock";

/** The number that a register shows, with breaks where it was not read for too long. */
export interface Track {
  /** Milliseconds since 1970, rising. */
  times: Float64Array;
  /** NaN begins a gap. */
  values: Float64Array;
  gaps: number;
}

/**
 * @param known what could be known: before the first and after the last reading there may be a gap, too.
 * @param gapMs what is longer without a reading is drawn as a gap; NaN: none is.
 */
export function track(times: ArrayLike<number>, values: ArrayLike<number>, known: Range, gapMs: number): Track {
  const at: number[] = [];
  const read: number[] = [];
  let gaps = 0;
  const gap = (from: number) => {
    at.push(from);
    read.push(Number.NaN);
    gaps += 1;
  };
  const { length } = times;
  if (0 < length && gapMs < times[0]! - known.from) gap(known.from);
  for (let row = 0; row < length; row++) {
    if (0 < row && gapMs < times[row]! - times[row - 1]!) gap(times[row - 1]! + 1);
    at.push(times[row]!);
    read.push(values[row]!);
  }
  if (0 < length && gapMs < known.to - times[length - 1]!) gap(times[length - 1]! + 1);
  return { times: Float64Array.from(at), values: Float64Array.from(read), gaps };
}

/** The places of readings below the one before. */
export function drops(values: ArrayLike<number>): number[] {
  const found: number[] = [];
  for (let row = 1; row < values.length; row++) if (values[row]! < values[row - 1]!) found.push(row);
  return found;
}

export const KINDS = ["rollover", "reset", "exchange", "calibration", "spread", "conflict", "late", "flagged"] as const;
export type Kind = (typeof KINDS)[number];

/** What happened, from the first to the last time that it did without a pause. */
export interface Happening {
  kind: Kind;
  from: number;
  /** End of the last bucket; the same as `from` for what is of one moment. */
  to: number;
  /** How often, or of how many readings. */
  count: number;
  value: number;
  detail: string | undefined;
}

/** Kinds of which many make one. */
const JOINED: Kind[] = ["spread", "late", "flagged"];
const HOUR_MS = 3_600_000;

export interface EventRows {
  times: ArrayLike<number>;
  events: (string | null)[];
  counts: ArrayLike<number>;
  values: ArrayLike<number>;
  details: (string | null)[];
}

const isKind = (text: string | null): text is Kind => KINDS.some((kind) => kind === text);

/** @param bucketMs how wide the buckets are that tell of what a register did; of readings it is told by the hour. */
export function happenings(rows: EventRows, bucketMs: number): Happening[] {
  const found: Happening[] = [];
  const open = new Map<Kind, Happening>();
  rows.events.forEach((kind, row) => {
    if (!isKind(kind)) return;
    const from = rows.times[row]!;
    const isOfBucket = kind === "rollover" || kind === "reset" || kind === "spread";
    const to = isOfBucket ? from + bucketMs : JOINED.includes(kind) ? from + HOUR_MS : from;
    const one = {
      kind,
      from,
      to,
      count: rows.counts[row]!,
      value: rows.values[row]!,
      detail: rows.details[row] ?? undefined,
    };
    const before = open.get(kind);
    if (JOINED.includes(kind) && before !== undefined && from <= before.to) {
      before.to = to;
      before.count += one.count;
      before.value += one.value;
      return;
    }
    found.push(one);
    open.set(kind, one);
  });
  return found.sort((a, b) => a.from - b.from);
}

/** A fall of a register: what it showed before and after. */
export interface Fall {
  time: number;
  before: number;
  after: number;
}

/** Where exactly it fell, of what a bucket tells: the readings know. */
export function fallIn(happening: Happening, times: ArrayLike<number>, values: ArrayLike<number>): Fall | undefined {
  const row = drops(values).find((row) => happening.from <= times[row]! && times[row]! <= happening.to);
  return row === undefined ? undefined : { time: times[row]!, before: values[row - 1]!, after: values[row]! };
}
