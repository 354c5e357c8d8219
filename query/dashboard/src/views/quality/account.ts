/** The account of a day: every message and every reading has exactly one place. Pure. */

import { rfc3339 } from "../../city/clock";
import { numbers, texts } from "../../flight/columns";
import type { Table } from "../../flight/arrow";
import { quoted } from "../../flight/question";

export const MESSAGES = ["accepted", "repeated", "ignored", "rejected_messages"] as const;
export const READINGS = ["stored", "duplicate", "conflict", "rejected"] as const;
/** Of the readings and messages above, and no further place of theirs. */
export const ASIDE = ["late", "quarantined", "unkept", "shed", "reused"] as const;
const WHOLES = ["received", "decoded"] as const;
export const COLUMNS = [...WHOLES, ...MESSAGES, ...READINGS, ...ASIDE, "wrong_hours"] as const;
export type Column = (typeof COLUMNS)[number];

/** Hours are checked one by one: what is too much in one and too little in another would cancel out. */
export function accountSql(from: number, to: number): string {
  const sums = [...WHOLES, ...MESSAGES, ...READINGS, ...ASIDE].map((column) => `sum(${column}) AS ${column}`);
  const lines = [sums.slice(0, 6), sums.slice(6, 10), sums.slice(10)].map((line) => line.join(", ")).join(",\n  ");
  return `SELECT source, ${lines},
  sum(CASE WHEN received <> ${MESSAGES.join(" + ")}
    OR decoded <> ${READINGS.join(" + ")} THEN 1 ELSE 0 END) AS wrong_hours
FROM ledger
WHERE hour >= ${quoted(rfc3339(from))} AND hour < ${quoted(rfc3339(to))}
GROUP BY source
ORDER BY source`;
}

export type Counts = Record<Column, number>;

export interface Account {
  sources: (Counts & { source: string })[];
  all: Counts;
  /** Sources and sums that do not hold. */
  problems: { source: string; whole: number; parts: number; of: "messages" | "readings" }[];
  wrongHours: number;
}

const sum = (counts: Counts, columns: readonly Column[]): number => columns.reduce((sum, column) => sum + counts[column], 0);

export function account(answer: Table): Account {
  const source = texts(answer, "source");
  const columns = COLUMNS.map((column) => numbers(answer, column));
  const counts = (of: (values: Float64Array) => number): Counts => Object.fromEntries(COLUMNS.map((column, at) => [column, of(columns[at]!)])) as Counts;
  const sources = source.map((name, row) => ({ source: name ?? "", ...counts((values) => values[row]!) }));
  const all = counts((values) => values.reduce((sum, value) => sum + value, 0));
  const problems = sources.flatMap((one) => {
    const checks = [
      { of: "messages" as const, whole: one.received, parts: sum(one, MESSAGES) },
      { of: "readings" as const, whole: one.decoded, parts: sum(one, READINGS) },
    ];
    return checks.filter(({ whole, parts }) => whole !== parts).map((check) => ({ source: one.source, ...check }));
  });
  return { sources, all, problems, wrongHours: all.wrong_hours };
}
