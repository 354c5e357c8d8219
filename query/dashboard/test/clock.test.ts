import { describe, expect, test } from "vitest";
import { addDays, Clock, daysBetween, isDay, isoWeek, weekday } from "../src/city/clock";
import { numberTicks, timeTicks } from "../src/chart/ticks";

const at = (text: string) => Date.parse(text);
const HOUR = 3_600_000;

/** Berlin in 2026. */
const berlin = new Clock("Europe/Berlin", [
  { from: at("2025-10-26T01:00:00Z"), offsetMs: HOUR, abbreviation: "CET" },
  { from: at("2026-03-29T01:00:00Z"), offsetMs: 2 * HOUR, abbreviation: "CEST" },
  { from: at("2026-10-25T01:00:00Z"), offsetMs: HOUR, abbreviation: "CET" },
]);

describe("the city's clocks", () => {
  test("days have 23 or 25 hours where the clocks change", () => {
    expect(["2026-03-28", "2026-03-29", "2026-10-25", "2026-10-26"].map((day) => berlin.hours(day))).toEqual([24, 23, 25, 24]);
    expect(berlin.range("2026-03-29")).toEqual({ from: at("2026-03-28T23:00:00Z"), to: at("2026-03-29T22:00:00Z") });
  });

  test("an hour that is shown twice is the earlier one, and one that is never shown comes after the gap", () => {
    expect(berlin.instant(at("2026-10-25T02:30:00Z"))).toBe(at("2026-10-25T00:30:00Z"));
    expect(berlin.instant(at("2026-03-29T02:30:00Z"))).toBe(at("2026-03-29T01:30:00Z"));
    expect(berlin.instant(at("2026-03-29T03:30:00Z"))).toBe(at("2026-03-29T01:30:00Z"));
    expect(berlin.instant(at("2026-10-25T03:30:00Z"))).toBe(at("2026-10-25T02:30:00Z"));
  });

  test("a day is the local one", () => {
    expect(berlin.day(at("2026-11-22T23:30:00Z"))).toBe("2026-11-23");
    expect(berlin.abbreviation(at("2026-07-01T00:00:00Z"))).toBe("CEST");
    expect(berlin.minuteOfDay(at("2026-11-22T23:30:00Z"))).toBe(30);
  });

  test("the calendar is ISO 8601's", () => {
    expect(["2026-11-23", "2026-11-22"].map(weekday)).toEqual([1, 7]);
    expect(["2026-11-23", "2027-01-03", "2024-12-30"].map(isoWeek)).toEqual(["2026-W48", "2026-W53", "2025-W01"]);
    expect(addDays("2026-03-01", -1)).toBe("2026-02-28");
    expect(daysBetween("2026-03-28", "2026-03-30")).toBe(2);
    expect(["2026-02-29", "2026-2-1", "today"].filter(isDay)).toEqual([]);
  });
});

describe("marks", () => {
  test("stand at whole local times, and not at those that are never shown", () => {
    const { from, to } = berlin.range("2026-03-29");
    const { at: ticks, stepMs } = timeTicks(berlin, from, to, 24);
    expect(stepMs).toBe(HOUR);
    expect(ticks.length).toBe(24); // 23 hours and the next midnight
    expect(new Set(ticks).size).toBe(24);
  });

  test("are round numbers", () => {
    expect(numberTicks(0, 97, 5)).toEqual([0, 20, 40, 60, 80]);
    expect(numberTicks(0.1, 0.32, 5)).toEqual([0.1, 0.15, 0.2, 0.25, 0.3]);
    expect(numberTicks(3, 3, 5)).toEqual([3]);
  });
});
