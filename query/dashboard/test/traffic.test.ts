import { describe, expect, test } from "vitest";
import { Clock } from "../src/city/clock";
import type { Sensor } from "../src/city/registry";
import { stations } from "../src/city/station";
import type { Table } from "../src/flight/arrow";
import { aligned } from "../src/views/traffic/align";
import { ended, peakHour, whole } from "../src/views/traffic/day";
import { place, split } from "../src/views/traffic/place";
import { shown, weeksKnown } from "../src/views/traffic/shown";
import { each, withDay, withTypical } from "../src/views/traffic/sql";

const at = (text: string) => Date.parse(text);
const HOUR = 3_600_000;
const QUARTER = HOUR / 4;
const nan = Number.NaN;

const berlin = new Clock("Europe/Berlin", [
  { from: at("2025-10-26T01:00:00Z"), offsetMs: HOUR, abbreviation: "CET" },
  { from: at("2026-03-29T01:00:00Z"), offsetMs: 2 * HOUR, abbreviation: "CEST" },
  { from: at("2026-10-25T01:00:00Z"), offsetMs: HOUR, abbreviation: "CET" },
]);
const utc = new Clock("UTC", [{ from: 0, offsetMs: 0, abbreviation: "UTC" }]);

const hours = (day: string): number[] => Array.from({ length: berlin.hours(day) }, (_, hour) => berlin.start(day) + hour * HOUR);
/** What the clocks show, as a value to compare. */
const shows = (times: number[]): number[] => times.map((time) => berlin.minuteOfDay(time) / 60);

function sensor(id: string, place: Partial<Sensor>): Sensor {
  const nowhere = { segment: undefined, direction: undefined, lane: nan, offsetM: nan, zone: undefined, role: undefined };
  return { id, name: undefined, kind: "loop", owner: undefined, lon: nan, lat: nan, ...nowhere, isQuarantined: false, ...place };
}

describe("a peak hour", () => {
  test("is the four quarter hours in a row with most vehicles, also across a full hour", () => {
    expect(peakHour([10, 20, 30, 40, 30, 10])).toEqual({ at: 1, volume: 120, factor: 0.75 });
    expect(peakHour([5, 5, 5, 5])).toEqual({ at: 0, volume: 20, factor: 1 });
  });

  test("is none that was not observed whole", () => {
    expect(peakHour([10, 10, 10, 10, nan, 90, 90, 90])).toEqual({ at: 0, volume: 40, factor: 1 });
    expect(peakHour([90, nan, 90, 90])).toBeUndefined();
    expect(peakHour([1, 2, 3])).toBeUndefined();
    expect(peakHour([0, 0, 0, 0])).toBeUndefined();
  });

  test("of hours has no factor", () => {
    expect(peakHour([1, 7, nan], 1)).toEqual({ at: 1, volume: 7, factor: nan });
  });

  test("is the first of equal ones", () => {
    expect(peakHour([1, 1, 1, 1, 1])?.at).toBe(0);
  });
});

describe("a day in numbers", () => {
  test("counts what is known, and says how much that is", () => {
    const day = whole({ volume: [10, nan, 30, 99], speed: [50, nan, 30, 1], coverage: [1, 0, 0.5, 1] }, 3);
    expect(day).toMatchObject({ volume: 40, coverage: 0.5, steps: 3, known: 2 });
    expect(day.speed).toBeCloseTo(40 / (10 / 50 + 30 / 30)); // space-mean, and not (50 + 30) / 2
  });

  test("of nothing is missing and not zero", () => {
    expect(whole({ volume: [nan], speed: [nan], coverage: [nan] }, 1)).toMatchObject({ volume: nan, speed: nan, coverage: 0, known: 0 });
  });

  test("ends with the last step that has ended", () => {
    const times = [0, 1, 2, 3].map((step) => step * QUARTER);
    expect([0, QUARTER - 1, QUARTER, 10 * HOUR].map((now) => ended(times, QUARTER, now))).toEqual([0, 0, 1, 4]);
  });
});

describe("days are compared by what the clocks show", () => {
  test("where both have 24 hours", () => {
    const [one, other] = [hours("2026-11-23"), hours("2026-11-16")];
    expect([...aligned(berlin, one, other, shows(other))]).toEqual(shows(one));
  });

  test("an hour that the other day skipped is missing", () => {
    const [one, other] = [hours("2026-04-05"), hours("2026-03-29")];
    const values = [...aligned(berlin, one, other, shows(other))];
    expect(values.slice(0, 5)).toEqual([0, 1, nan, 3, 4]);
    expect(values.length).toBe(24);
  });

  test("of an hour that the other day had twice it is the first, and here both are compared with the one", () => {
    const [long, plain] = [hours("2026-10-25"), hours("2026-10-18")];
    expect([...aligned(berlin, plain, long, long.map((_, hour) => hour))].slice(0, 5)).toEqual([0, 1, 2, 4, 5]);
    expect([...aligned(berlin, long, plain, shows(plain))].slice(0, 5)).toEqual([0, 1, 2, 2, 3]);
  });
});

describe("stations", () => {
  const lanes = [0, 1].map((lane) => sensor(`a${lane}`, { segment: "A", direction: "NB", lane, offsetM: 100 + lane }));

  test("are detectors side by side, one a lane", () => {
    const beyond = sensor("b", { segment: "A", direction: "NB", lane: 0, offsetM: 300 });
    const radar = sensor("r", { segment: "A", direction: "NB", lane: 0, offsetM: 105 });
    const found = stations([beyond, radar, ...lanes]);
    expect(found.map((station) => station.detectors.map((one) => one.id))).toEqual([["a0", "a1"], ["r"], ["b"]]);
  });

  test("of which one direction each, and none where no road is known", () => {
    expect(stations([lanes[0]!, { ...lanes[1]!, direction: "SB" }, sensor("x", {})]).length).toBe(2);
  });

  test("without an offset need lanes that differ", () => {
    const bare = (id: string, lane: number) => sensor(id, { segment: "B", lane });
    expect(stations([bare("a", 0), bare("b", 1), bare("c", 1), bare("d", nan)]).length).toBe(3);
  });
});

describe("a place", () => {
  const all = [
    sensor("a0", { segment: "A", lane: 0, offsetM: 100 }),
    sensor("a1", { segment: "A", lane: 1, offsetM: 100 }),
    sensor("far", { segment: "A", lane: 0, offsetM: 400 }),
    sensor("b0", { segment: "B", lane: 0, offsetM: 50 }),
  ];
  const of = (segment: string) => stations(all).filter((station) => station.segment === segment);
  const known = { sensors: new Map(all.map((one) => [one.id, one])), stations: new Map(["A", "B"].map((id) => [id, of(id)])) };

  test("counts a vehicle of a segment once, at the station with most lanes or at the chosen one", () => {
    expect(place(["A"], [], undefined, known).sensors).toEqual(["a0", "a1"]);
    expect(place(["A"], [], 400, known).sensors).toEqual(["far"]);
  });

  test("of several is a screenline, whose detectors are counted once", () => {
    const both = place(["A", "B"], ["a0"], 400, known);
    expect(both.sensors).toEqual(["a0", "a1", "b0"]);
    expect([place(["A", "B"], [], undefined, known), place(["A"], [], undefined, known), both].map(split)).toEqual(["segment", "sensor", "sensor"]);
  });

  test("that nobody knows is told, and not left out", () => {
    expect(place(["C"], ["gone"], undefined, known).members.map((member) => [member.id, member.detectors.length])).toEqual([["C", 0], ["gone", 0]]);
  });
});

describe("an answer", () => {
  const table = (rows: Record<string, number | string | null>[]): Table => ({
    rows: rows.length,
    columns: Object.keys(rows[0]!).map((name) => {
      const values = rows.map((row) => row[name]!);
      const isText = values.some((value) => typeof value === "string");
      if (isText) return { name, kind: "text", values: values as (string | null)[] };
      return { name, kind: name === "time" ? "time" : "number", values: Float64Array.from(values, (value) => (value === null ? nan : Number(value))) };
    }),
  });
  const of = { measure: "volume", day: "1970-01-02", stepMs: HOUR, clock: utc } as const;
  const DAY = 24 * HOUR;

  test("of two days has the other one at this one's times, and no step that still runs", () => {
    const row = (day: string, time: number, volume: number | null) => ({ day, time, volume, coverage: 1 });
    const answer = table([row("1970-01-01", 0, 1), row("1970-01-01", HOUR, 2), row("1970-01-02", DAY, 3), row("1970-01-02", DAY + HOUR, 4)]);
    const { times, total, other } = shown(answer, { ...of, now: DAY + HOUR + 1 });
    expect([[...times], [...total], [...other!]]).toEqual([[DAY, DAY + HOUR], [3, nan], [1, 2]]);
  });

  test("of each has the total where the name is null", () => {
    const row = (sensor: string | null, time: number, volume: number | null, coverage: number) => ({ sensor, time, volume, coverage });
    const first = [row("a", 0, 1, 1), row("b", 0, null, 0.2), row(null, 0, null, 0.6)];
    const second = [row("a", HOUR, 1, 1), row("b", HOUR, 2, 0.4), row(null, HOUR, 3, 0.7)];
    const { total, each, partial } = shown(table([...first, ...second]), { ...of, now: DAY });
    expect([...total]).toEqual([nan, 3]);
    expect(each.map(({ name, values }) => [name, ...values])).toEqual([["a", 1, 1], ["b", nan, 2]]);
    expect(partial).toBe(1); // what is missing is not told as if it were too low
  });

  test("of usual days has a band of enough weeks only, and flows as volumes an hour", () => {
    const row = (time: number, weeks: number) => ({ time, volume: 5, flow: 20, coverage: 1, weeks, volume_p15: 1, volume_p50: 2, volume_p85: 3 });
    const answer = table([row(0, 2), row(QUARTER, 5)]);
    const { usual } = shown(answer, { ...of, measure: "flow", stepMs: QUARTER, now: DAY });
    expect([[...usual!.p15], [...usual!.p50], [...usual!.p85]]).toEqual([[nan, 4], [8, 8], [nan, 12]]);
    expect(weeksKnown(usual!.weeks)).toEqual({ least: 2, most: 5 });
    expect(weeksKnown([0, 0])).toBeUndefined();
  });
});

test("questions are one text each, and quote names", () => {
  const range = { from: 0, to: HOUR };
  expect(withTypical("15m", ["o'x"], range)).toContain("sensor IN ('o''x')");
  expect(withDay("1h", ["a"], [{ day: "d1", range }, { day: "d2", range }]).match(/UNION ALL/g)?.length).toBe(1);
  expect(each("sensor", "5m", ["a"], range)).toContain("GROUPING SETS ((time), (time, sensor))");
});
