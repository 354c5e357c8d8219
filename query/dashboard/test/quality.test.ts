import { describe, expect, test } from "vitest";
import { Clock } from "../src/city/clock";
import type { Column, Table } from "../src/flight/arrow";
import { account, accountSql, COLUMNS } from "../src/views/quality/account";
import { adoptLike, adoptOne, like } from "../src/views/quality/adopt";
import { covered, coveredRows, coverageSql, worstFirst } from "../src/views/quality/coverage";
import { counted, lastDays } from "../src/views/quality/days";
import { type Filter, oneOf } from "../src/views/quality/filter";
import { groups } from "../src/views/quality/health";

const utc = new Clock("UTC", [{ from: 0, offsetMs: 0, abbreviation: "UTC" }]);
const at = (text: string) => Date.parse(text);
const numbers = (name: string, values: number[]): Column => ({ name, kind: "number", values: Float64Array.from(values) });
const texts = (name: string, values: (string | null)[]): Column => ({ name, kind: "text", values });
const table = (...columns: Column[]): Table => ({ rows: columns[0]!.values.length, columns });
const NO_FILTER: Filter = { kind: [], owner: [], zone: [], segment: [] };

describe("coverage", () => {
  test("a silent sensor is nothing heard, not missing; a new one is not yet heard", () => {
    expect(covered(96, 0, 0, 1, 1).state).toBe("nothing");
    expect(covered(0, 0, 0, 1, 1).state).toBe("nothing"); // of passages, nothing says how many are due
    expect(covered(0, 0, 0, 0, 1).state).toBe("never");
    expect(covered(0, 0, 40, 0, 1).state).toBe("heard");
    expect(covered(96, 48, 48, 1, 1)).toMatchObject({ state: "share", share: 0.5 });
  });

  test("rows are added up, and the worst come first", () => {
    const answer = table(
      texts("place", ["a", "a", "b", "b"]),
      numbers("time", [1, 2, 1, 2]),
      numbers("due", [10, 10, 10, 10]),
      numbers("came", [10, 0, 10, 9]),
      numbers("heard", [10, 0, 10, 9]),
      numbers("started", [1, 1, 1, 1]),
      numbers("series", [1, 1, 1, 1]),
    );
    const rows = worstFirst(coveredRows(answer));
    expect(rows.map((row) => [row.place, row.all.share])).toEqual([["a", 0.5], ["b", 0.95]]);
    expect(rows[0]!.at.get(2)!.state).toBe("nothing");
  });

  test("the statement asks for all buckets, of the chosen row only", () => {
    const sql = coverageSql({ by: "kind", row: "it's", filter: { ...NO_FILTER, zone: ["-", "north"] }, width: "1d", from: 0, until: 3_600_000 });
    expect(sql).toContain("FROM rollup('1d')");
    expect(sql).toContain("s.kind = 'it''s'");
    expect(sql).toContain("(s.zone IN ('north') OR s.zone IS NULL)");
    expect(coverageSql({ by: "sensor", row: "x", filter: NO_FILTER, width: "1h", from: 0, until: 1 })).toContain("r.sensor = 'x'");
  });

  test("those without are found, too", () => {
    expect([oneOf("a", []), oneOf("a", ["-"]), oneOf("a", ["x", "y"])]).toEqual(["true", "a IS NULL", "a IN ('x', 'y')"]);
  });
});

test("counts of days: without a row nothing is known, which is not zero", () => {
  const days = lastDays("2026-11-23", 3);
  expect(days).toEqual(["2026-11-21", "2026-11-22", "2026-11-23"]);
  const answer = table(texts("source", ["a", "b", "b"]), numbers("time", ["2026-11-22", "2026-11-21", "2026-11-23"].map((day) => at(`${day}T00:00:00Z`))), numbers("late", [0, 5, 7]));
  expect(counted(answer, "source", "late", days, utc)).toEqual([
    { name: "b", values: Float64Array.from([5, Number.NaN, 7]), sum: 12 },
    { name: "a", values: Float64Array.from([Number.NaN, 0, Number.NaN]), sum: 0 },
  ]);
});

describe("the account", () => {
  const of = (counts: Partial<Record<(typeof COLUMNS)[number], number>>) => table(texts("source", ["north"]), ...COLUMNS.map((name) => numbers(name, [counts[name] ?? 0])));

  test("its sums hold, or it says which do not", () => {
    expect(account(of({ received: 5, accepted: 3, rejected_messages: 2, decoded: 9, stored: 8, duplicate: 1 })).problems).toEqual([]);
    expect(account(of({ received: 5, accepted: 3, decoded: 9, stored: 9 })).problems).toEqual([{ source: "north", of: "messages", whole: 5, parts: 3 }]);
  });

  test("its statement checks each hour", () => {
    expect(accountSql(0, 1)).toContain("received <> accepted + repeated + ignored + rejected_messages");
    expect(accountSql(0, 1)).toContain("decoded <> stored + duplicate + conflict + rejected");
  });
});

test("the maintenance list has what still holds first, the longest first", () => {
  const day = (text: string) => at(`${text}T00:00:00Z`);
  const answer = table(
    texts("finding", ["silent", "silent", "stuck", "silent"]),
    texts("sensor", ["s1", "s2", "m1", "s3"]),
    texts("metric", ["a", "a", "b", "a"]),
    texts("detail", ["look", "look", "look", "look"]),
    ...["name", "kind", "owner", "zone", "segment"].map((name) => texts(name, [null, null, null, null])),
    numbers("since", [day("2026-11-22"), day("2026-11-16"), day("2026-11-20"), day("2026-11-16")]),
    numbers("last_heard", [day("2026-11-21"), day("2026-11-10"), Number.NaN, day("2026-11-23")]),
  );
  const [silent, stuck] = groups(answer, "2026-11-22", utc);
  expect(silent!.rows.map((row) => [row.sensor, row.days, row.isLonger, row.isBack])).toEqual([["s2", 7, true, false], ["s1", 1, false, false], ["s3", 7, true, true]]);
  expect(stuck!.rows[0]!.days).toBe(3);
});

test("commands take names as a shell does", () => {
  expect(adoptOne("cam-7")).toBe("screenline registry adopt cam-7");
  expect(adoptOne("it's here")).toBe(`screenline registry adopt 'it'\\''s here'`);
  expect(like(["north/a", "north/b"])).toBe("north/%");
  expect(like(["a", "b"])).toBeUndefined();
  expect(like(["north"])).toBeUndefined();
  expect(adoptLike("north/%")).toBe("screenline registry adopt --like 'north/%'");
});
