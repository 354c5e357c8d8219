/** How a sensor does: what a dispatcher asks first. Pure. */

import type { Entry, Finding } from "./board";

const MINUTE_MS = 60_000;

/** From worst to best. */
export const STATES = ["silent", "finding", "quarantined", "ok"] as const;
export type State = (typeof STATES)[number];

/** A message may be late, and one may be lost. */
const MISSED = 3;
const LEAST_MS = 10 * MINUTE_MS;
/** Of a sensor that says when something is, and not every so often. */
const UNTIMED_MS = 24 * 60 * MINUTE_MS;

/** Bad by its source, out of range, implausible: bits of `quality`. */
const DOUBTFUL = 1 | 128 | 256;

export interface Condition {
  state: State;
  /** Of yesterday, by `health`; or of the last reading: then since then. */
  finding: Finding | undefined;
  /** Health found it silent yesterday, and it is heard now. */
  isBack: boolean;
}

/** After which it is silent; by the series that speaks most often. */
export function patienceMs(entry: Entry): number {
  const intervals = Array.from(entry.series.values(), ({ intervalMs }) => intervalMs).filter(
    (interval) => 0 < interval,
  );
  return intervals.length === 0 ? UNTIMED_MS : Math.max(MISSED * Math.min(...intervals), LEAST_MS);
}

export function conditionOf(entry: Entry, now: number): Condition {
  const isHeard = now - entry.heardAt <= patienceMs(entry);
  const lasting = entry.findings.find(({ finding }) => finding !== "silent");
  const isBack = isHeard && lasting === undefined && 0 < entry.findings.length;
  if (entry.sensor.isQuarantined) return { state: "quarantined", finding: lasting, isBack: false };
  if (!isHeard) return { state: "silent", finding: lasting, isBack: false };
  return {
    state: lasting === undefined && doubtful(entry) === undefined ? "ok" : "finding",
    finding: lasting ?? doubtful(entry),
    isBack,
  };
}

function doubtful(entry: Entry): Finding | undefined {
  for (const { metric, latest } of entry.series.values()) {
    if (latest !== undefined && (latest.quality & DOUBTFUL) !== 0)
      return { finding: "doubtful", metric, since: latest.time, detail: "" };
  }
  return undefined;
}
