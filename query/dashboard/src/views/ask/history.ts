/** What was asked before, in this browser. */

import { createSignal } from "solid-js";

const KEPT = "screenline.asked";
const MOST = 20;

export interface Past {
  sql: string;
  /** Milliseconds since 1970. */
  at: number;
  rows: number;
  tookMs: number;
}

const isPast = (value: unknown): value is Past => typeof value === "object" && value !== null && typeof (value as Past).sql === "string";

function read(): Past[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
    return Array.isArray(kept) ? kept.filter(isPast).slice(0, MOST) : [];
  } catch {
    return []; // written by something else
  }
}

const [history, set] = createSignal(read());
export { history };

function keep(all: Past[]): void {
  set(all);
  try {
    localStorage.setItem(KEPT, JSON.stringify(all));
  } catch {
    // A browser that keeps nothing still answers.
  }
}

/** The newest first; the same statement again takes its own place. Exported for tests. */
export const added = (all: Past[], past: Past): Past[] => [past, ...all.filter((other) => other.sql !== past.sql)].slice(0, MOST);

export const remember = (past: Past): void => keep(added(history(), past));

export const forget = (): void => keep([]);
