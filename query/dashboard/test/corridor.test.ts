import { describe, expect, test } from "vitest";
import type { Segment } from "../src/city/registry";
import type { Table } from "../src/flight/arrow";
import { cells } from "../src/views/corridor/cells";
import { chains, lengthM, shortened } from "../src/views/corridor/chain";
import { rowAt, rowsBack, stretches } from "../src/views/corridor/stretch";

const nan = Number.NaN;

function segment(id: string, from?: string, to?: string, direction?: string, more: Partial<Segment> = {}): Segment {
  return { id, name: undefined, roadClass: undefined, direction, from, to, lengthM: 100, limitKmh: 50, freeKmh: nan, lanes: 2, line: [], ...more };
}

const roads = (segments: Segment[]) => chains(segments).map((chain) => chain.segments.map((one) => one.id).join(" "));

describe("roads", () => {
  test("are segments one behind the other in one direction, longest first", () => {
    const grid = [
      segment("A1B1", "A1", "B1", "EB"), segment("B1C1", "B1", "C1", "EB"), segment("C1D1", "C1", "D1", "EB"),
      segment("D1C1", "D1", "C1", "WB"), segment("C1C2", "C1", "C2", "NB"), segment("C2C3", "C2", "C3", "NB"),
    ];
    expect(roads(grid)).toEqual(["A1B1 B1C1 C1D1", "C1C2 C2C3", "D1C1"]);
  });

  test("do not turn back, and without directions go on only where there is one way", () => {
    expect(roads([segment("ab", "a", "b"), segment("ba", "b", "a")])).toEqual(["ab", "ba"]);
    expect(roads([segment("ab", "a", "b"), segment("bc", "b", "c"), segment("bd", "b", "d")])).toEqual(["ab", "bc", "bd"]);
    expect(roads([segment("ac", "a", "c"), segment("bc", "b", "c"), segment("cd", "c", "d")])).toEqual(["ac", "bc", "cd"]);
  });

  test("keep their name at a fork", () => {
    const name = { name: "Ring" };
    expect(roads([segment("1", "a", "b", "NB", name), segment("2", "b", "c", "NB", name), segment("3", "b", "d", "NB")])).toEqual(["1 2", "3"]);
  });

  test("that go round are cut once", () => {
    expect(roads([segment("ab", "a", "b"), segment("bc", "b", "c"), segment("ca", "c", "a")])).toEqual(["ab bc ca"]);
  });

  test("are single segments where no node is known", () => {
    expect(roads([segment("x"), segment("y")])).toEqual(["x", "y"]);
  });

  test("are as long as their segments", () => {
    expect(lengthM({ id: "", segments: [segment("a"), segment("b")] })).toBe(200);
    expect(lengthM({ id: "", segments: [segment("a", "", "", "", { lengthM: nan })] })).toBe(nan);
  });

  test("say what their names share only once", () => {
    expect(shortened(["sim-0-EB0-1", "sim-0-EB1-2"])).toEqual(["EB0-1", "EB1-2"]);
    expect(shortened(["A1B1", "A1B2"])).toEqual(["A1B1", "A1B2"]);
    expect(shortened(["one"])).toEqual(["one"]);
  });
});

describe("stretches", () => {
  const road = [segment("a"), segment("b", "", "", "", { lengthM: 300 }), segment("c", "", "", "", { lengthM: nan })];

  test("are as long as what a station stands for; where there is none, nobody stands for it", () => {
    const rows = stretches(road, new Map([["a", [60]], ["b", [200, 100]]]));
    expect(rows.map((row) => [row.segment.id, row.offsetM, row.fromM, row.toM])).toEqual([
      ["a", 60, 0, 100],
      ["b", 100, 100, 250],
      ["b", 200, 250, 400],
      ["c", undefined, 400, 600], // as long as the others are on average
    ]);
  });

  test("have the places of incidents and queues on them", () => {
    const rows = stretches(road, new Map([["a", [60]], ["b", [100, 200]]]));
    expect([rowAt(rows, "a", 60), rowAt(rows, "b", 100), rowAt(rows, "b", 200), rowAt(rows, "b", 999), rowAt(rows, "x", 0)]).toEqual([0, 1, 2, 2, -1]);
    expect(rowsBack(rows, 2, 240)).toEqual({ first: 0, last: 2 });
    expect(rowsBack(rows, 2, 100)).toEqual({ first: 1, last: 2 });
    expect(rowsBack(rows, 2, nan)).toEqual({ first: 2, last: 2 });
  });
});

test("cells are missing where no row is, of steps that have ended, and of the own direction", () => {
  const rows = [
    { time: 0, segment: "a", direction: "EB", offset_m: 50, speed: 30, estimated: 0 },
    { time: 0, segment: "a", direction: "WB", offset_m: 50, speed: 99, estimated: 1 },
    { time: 10, segment: "b", direction: "EB", offset_m: 20, speed: 40, estimated: 0 },
    { time: 20, segment: "b", direction: "EB", offset_m: 20, speed: 50, estimated: 0 },
  ];
  const numeric = (name: "time" | "offset_m" | "speed" | "estimated") => ({ name, kind: "number" as const, values: Float64Array.from(rows, (row) => row[name]) });
  const text = (name: "segment" | "direction") => ({ name, kind: "text" as const, values: rows.map((row) => row[name]) });
  const answer: Table = { rows: rows.length, columns: [numeric("time"), text("segment"), text("direction"), numeric("offset_m"), numeric("speed"), numeric("estimated")] };
  const road = [segment("a", "1", "2", "EB"), segment("b", "2", "3", "EB"), segment("c", "3", "4", "EB")];
  const { times, values, rows: places, isEstimated } = cells(answer, road, "speed", 10, 25);
  expect(times).toEqual([0, 10]);
  expect(places.map((row) => row.segment.id)).toEqual(["a", "b", "c"]);
  expect(values.map((row) => [...row])).toEqual([[30, nan], [nan, 40], [nan, nan]]);
  expect(isEstimated).toBe(false);
});
