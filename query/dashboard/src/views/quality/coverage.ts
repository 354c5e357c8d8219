/** How much came of what was due, by row and bucket. A silent sensor has no rows in any table, so all buckets are asked for. Pure. */

import { rfc3339 } from "../../city/clock";
import { numbers, texts } from "../../flight/columns";
import type { Table } from "../../flight/arrow";
import { quoted } from "../../flight/question";
import { conditions, type Filter, today, type Trait } from "./filter";

/** What a row stands for. */
export type By = "sensor" | Trait;
export const BYS: By[] = ["sensor", "kind", "owner", "zone", "segment"];

export interface CoverageQuestion {
  by: By;
  /** One row only. */
  row?: string;
  filter: Filter;
  width: "1d" | "1h";
  /** Milliseconds since 1970. `until`: an hour that is over. */
  from: number;
  until: number;
}

/**
 * Due from the bucket after a series was first heard; of a day that is not over, up to `until`.
 * Speeds are no part of it: without a vehicle there is none, and none is due.
 */
export function coverageSql({ by, row, filter, width, from, until }: CoverageQuestion): string {
  const column = by === "sensor" ? "s.id" : `s.${by}`;
  const only = row === undefined ? "" : `\n    AND ${row === "" ? `${column} IS NULL` : `${column} = ${quoted(row)}`}`;
  const sensor = by === "sensor" && row !== undefined ? `\n    AND r.sensor = ${quoted(row)}` : "";
  const [begin, end] = [quoted(rfc3339(from)), quoted(rfc3339(until))];
  const due =
    width === "1h"
      ? "r.expected"
      : `r.expected * least(1.0, (date_part('epoch', TIMESTAMP ${end}) - date_part('epoch', r.time))
      / (date_part('epoch', r.ends) - date_part('epoch', r.time)))`;
  return `WITH place AS (
  SELECT s.id, coalesce(${column}, '') AS place
  FROM sensor AS s
  WHERE s.state = 'admitted' AND ${today("s")}${conditions(filter, "s").replaceAll("\n", "\n  ")}${only}
), heard AS (
  SELECT sensor, metric, min(first_time) AS since
  FROM rollup_1d
  GROUP BY sensor, metric
), bucket AS (
  SELECT r.time, r.sensor, r.metric, r.count + r.flagged AS came, ${due} AS due
  FROM rollup('${width}') AS r
  WHERE r.time >= ${begin} AND r.time < ${end}${sensor}
    AND r.metric NOT LIKE 'traffic.speed%'
)
SELECT p.place, b.time,
  sum(CASE WHEN h.since < b.time THEN b.due END) AS due,
  sum(CASE WHEN h.since < b.time AND b.due IS NOT NULL THEN least(b.came, b.due) END) AS came,
  sum(b.came) AS heard,
  count(CASE WHEN h.since < b.time THEN 1 END) AS started,
  count(*) AS series
FROM bucket AS b
JOIN place AS p ON p.id = b.sensor
LEFT JOIN heard AS h ON h.sensor = b.sensor AND h.metric = b.metric
GROUP BY p.place, b.time
ORDER BY p.place, b.time`;
}

/** `share`: of what was due. `nothing`: silent though it was heard before. `heard`: how much was due is not known. `never`: not heard before. */
export type State = "share" | "nothing" | "heard" | "never";

export interface Covered {
  state: State;
  /** From 0 to 1, where the state is that. */
  share: number;
  due: number;
  came: number;
  heard: number;
  series: number;
}

export interface CoveredRow {
  place: string;
  /** By the bucket's begin. */
  at: Map<number, Covered>;
  all: Covered;
}

export function covered(due: number, came: number, heard: number, started: number, series: number): Covered {
  const known = { due, came, heard, series };
  if (heard === 0) return { ...known, share: 0, state: started === 0 ? "never" : "nothing" };
  return 0 < due ? { ...known, share: came / due, state: "share" } : { ...known, share: Number.NaN, state: "heard" };
}

const known = (value: number): number => (Number.isNaN(value) ? 0 : value);

/** Rows of an answer, by their places. */
export function coveredRows(answer: Table): CoveredRow[] {
  const place = texts(answer, "place");
  const [time, due, came, heard, started, series] = ["time", "due", "came", "heard", "started", "series"].map((name) => numbers(answer, name));
  const rows = new Map<string, CoveredRow & { started: number }>();
  for (let at = 0; at < answer.rows; at++) {
    const name = place[at] ?? "";
    const row = rows.get(name) ?? { place: name, at: new Map(), all: covered(0, 0, 0, 0, 0), started: 0 };
    const cell = covered(known(due![at]!), known(came![at]!), known(heard![at]!), started![at]!, series![at]!);
    row.at.set(time![at]!, cell);
    row.started += started![at]!;
    const { all } = row;
    row.all = covered(all.due + cell.due, all.came + cell.came, all.heard + cell.heard, row.started, Math.max(all.series, cell.series));
    rows.set(name, row);
  }
  return [...rows.values()];
}

/** Where somebody should look first: nothing at all, then the least share, then those of which no share is known. */
export function worstFirst(rows: CoveredRow[]): CoveredRow[] {
  const rank = ({ all }: CoveredRow) => ({ nothing: 0, share: all.share, heard: 2, never: 3 })[all.state];
  return rows.toSorted((a, b) => rank(a) - rank(b) || a.place.localeCompare(b.place, undefined, { numeric: true }));
}

export const byName = (rows: CoveredRow[]): CoveredRow[] => rows.toSorted((a, b) => a.place.localeCompare(b.place, undefined, { numeric: true }));
