import { describe, expect, test } from "vitest";
import { extent, isMissing, pieces, runs } from "../src/chart/stack";

const NONE = Number.NaN;

describe("columns of parts", () => {
  test("stand on one another, and what is negative hangs below zero", () => {
    expect(
      pieces(
        [
          [5, 3],
          [1, -2],
          [2, -1],
        ],
        2,
      ),
    ).toEqual([
      { column: 0, part: 0, from: 0, to: 5 },
      { column: 0, part: 1, from: 5, to: 6 },
      { column: 0, part: 2, from: 6, to: 8 },
      { column: 1, part: 0, from: 0, to: 3 },
      { column: 1, part: 1, from: 0, to: -2 },
      { column: 1, part: 2, from: -2, to: -3 },
    ]);
  });

  test("what is missing is no zero", () => {
    const parts = [
      [NONE, 0, 1],
      [NONE, NONE, 2],
    ];
    expect([0, 1, 2].map((column) => isMissing(parts, column))).toEqual([true, false, false]);
    expect(pieces(parts, 3).map(({ column }) => column)).toEqual([2, 2]);
  });

  test("an axis has zero, all columns and all levels", () => {
    expect(extent(pieces([[100]], 1), [])).toEqual([0, 108]);
    const [low, high] = extent(pieces([[-50, NONE]], 2), [[NONE, 100]]);
    expect([low < -50, 100 < high]).toEqual([true, true]);
    expect(extent([], [])).toEqual([0, 1]);
  });

  test("neighbours that say the same are said once", () => {
    const value = "silent";
    expect(runs([value, value, undefined, value, "other"])).toEqual([
      { from: 0, to: 1, value },
      { from: 3, to: 3, value },
      { from: 4, to: 4, value: "other" },
    ]);
  });
});
