import { describe, expect, test } from "vitest";
import { plain } from "../src/flight/plain";
import type { Column, Table } from "../src/flight/arrow";
import { EXAMPLES } from "../src/views/ask/examples";
import { called, found } from "../src/views/ask/find";
import { categories, drawing, lines } from "../src/views/ask/guess";
import { added } from "../src/views/ask/history";
import { place } from "../src/views/ask/place";

const numbers = (name: string, values: number[], unit?: string): Column => ({ name, kind: "number", values: Float64Array.from(values), ...(unit === undefined ? {} : { unit }) });
const times = (name: string, values: number[]): Column => ({ name, kind: "time", values: Float64Array.from(values) });
const texts = (name: string, values: (string | null)[]): Column => ({ name, kind: "text", values });
const table = (...columns: Column[]): Table => ({ rows: columns[0]!.values.length, columns });

describe("a drawing", () => {
  const air = table(times("time", [1, 1, 2, 2]), texts("unit", ["u", "u", "u", "u"]), texts("metric", ["no2", "pm10", "no2", "pm10"]), numbers("mean", [1, 2, 3, Number.NaN]));

  test("is lines over time, one for each part that tells rows apart", () => {
    expect(drawing(air, {})).toEqual({ x: "time", y: ["mean"], split: "metric" });
    const { charts, times, all, covered } = lines(air, drawing(air, {})!);
    expect([...times]).toEqual([1, 2]);
    expect(charts.map((chart) => chart.unit)).toEqual(["u"]);
    expect(charts[0]!.lines.map((line) => [line.label, ...line.values])).toEqual([["no2", 1, 3], ["pm10", 2, Number.NaN]]);
    expect([all, covered]).toEqual([2, 0]);
  });

  test("splits by what tells rows apart, though another text has fewer parts", () => {
    const mixed = table(times("time", [1, 1, 1]), texts("unit", ["m3", "m3", "kW.h"]), texts("metric", ["gas", "water", "power"]), numbers("amount", [1, 2, 3]));
    expect(drawing(mixed, {})?.split).toBeUndefined(); // one time is no line
    const longer = table(times("time", [1, 1, 1, 2, 2, 2]), texts("unit", ["m3", "m3", "kW.h", "m3", "m3", "kW.h"]), texts("metric", ["gas", "water", "power", "gas", "water", "power"]), numbers("amount", [1, 2, 3, 4, 5, 6]));
    expect(drawing(longer, {})?.split).toBe("metric");
    expect(lines(longer, drawing(longer, {})!).charts.map((chart) => [chart.unit, chart.lines.length])).toEqual([["m3", 2], ["kW.h", 1]]);
  });

  test("says how many rows are covered where nothing tells them apart", () => {
    expect(lines(air, { x: "time", y: ["mean"], split: undefined }).covered).toBe(2);
  });

  test("is bars where there is no time, and never of a number that is a name", () => {
    const roads = table(texts("segment", ["a", "a", "b"]), texts("direction", ["N", "S", "N"]), numbers("lane", [1, 2, 3]), numbers("vehicles", [5, 6, 7]));
    expect(drawing(roads, {})).toEqual({ x: "segment", y: ["vehicles"], split: undefined });
    expect(categories(roads, "segment")).toEqual(["a · N", "a · S", "b · N"]);
  });

  test("is none of nothing, and follows what was chosen", () => {
    expect(drawing(table(texts("a", [])), {})).toBeUndefined();
    expect(drawing(table(texts("a", ["x"])), {})).toBeUndefined();
    expect(drawing(air, { y: ["mean", "gone"], split: "-" })).toEqual({ x: "time", y: ["mean"], split: undefined });
  });
});

describe("an error", () => {
  test("is where the service says it is", () => {
    const sql = "SELECT sensor\nFORM sensor";
    const message = 'SQL error: ParserError("Expected: end of statement, found: sensor at Line: 2, Column: 6")';
    expect(place(sql, message)).toMatchObject({ line: 2, column: 6, text: "FORM sensor", offset: 19, length: 6 });
    expect(plain(message)).toBe("Expected: end of statement, found: sensor");
  });

  test("is at the name that is not known", () => {
    expect(place("SELECT 1,\n  frm FROM sensor", "Schema error: No field named frm.\nValid fields are sensor.id")).toMatchObject({ line: 2, column: 3, length: 3 });
    expect(place("SELECT * FROM sensr", 'no dataset "sensr"; did you mean sensor?')).toMatchObject({ offset: 14, length: 5 });
    expect(place("SELECT 1/0", "Arrow error: Divide by zero error")).toBeUndefined();
  });
});

test("what was asked before is there once, the newest first", () => {
  const past = (sql: string) => ({ sql, at: 0, rows: 0, tookMs: 0 });
  expect(added([past("a"), past("b")], past("b")).map(({ sql }) => sql)).toEqual(["b", "a"]);
  expect(added(Array.from({ length: 30 }, (_, at) => past(`${at}`)), past("new")).length).toBe(20);
});

test("tables and columns are found by all words", () => {
  const speed = { name: "v85", type: "float", unit: "km/h", comment: "not exceeded by 85 %" };
  const all = [{ name: "traffic", about: "one detector", filters: ["width"], columns: [speed, { ...speed, name: "volume", comment: "vehicles" }] }];
  expect(found(all, "exceeded traffic").map(({ columns, isOpen }) => [columns.length, isOpen])).toEqual([[1, true]]);
  expect(found(all, "detector")[0]!.columns.length).toBe(2);
  expect(found(all, "water")).toEqual([]);
  expect(called(all[0]!)).toBe("traffic('1h')");
});

test("examples name what they need", () => {
  for (const { sql, needs } of EXAMPLES) for (const name of needs) expect(sql).toMatch(new RegExp(`\\b${name}\\b`));
  expect(new Set(EXAMPLES.map(({ id }) => id)).size).toBe(EXAMPLES.length);
});

test("where a line has no row it goes on, and where its row has no number it has a gap", () => {
  const mixed = table(times("time", [1, 2, 3, 3]), texts("sensor", ["a", "b", "a", "b"]), numbers("value", [1, 2, Number.NaN, 4]));
  const [chart] = lines(mixed, { x: "time", y: ["value"], split: "sensor" }).charts;
  const none = Number.POSITIVE_INFINITY;
  expect(chart!.lines.map((line) => [...line.values])).toEqual([[1, none, Number.NaN], [none, 2, 4]]);
});
