import { describe, expect, test } from "vitest";
import { Clock } from "../src/city/clock";
import {
  type Counting,
  demandUnit,
  firstZone,
  metricsOf,
  NO_ZONE,
  together,
  widthsFor,
  zonesOf,
} from "../src/views/utilities/counting";
import { drops, type EventRows, fallIn, happenings, track } from "../src/views/utilities/history";
import { peakOf, profile, twoDays } from "../src/views/utilities/profile";
import { events, used, zoneProfile } from "../src/views/utilities/questions";
import { ordered, totals, type Used } from "../src/views/utilities/used";
import { type BalanceDays, left, total, unheardByDay } from "../src/views/utilities/water";

const NONE = Number.NaN;
const HOUR = 3_600_000;
const at = (text: string) => Date.parse(text);

const counting = (
  zone: string | undefined,
  role: string | undefined,
  metric: string,
  meters: number,
  unit = "m3",
): Counting => ({ zone, role, metric, unit, meters, intervalS: 900 });

const CITY = [
  counting("power", "customer", "energy.active.import", 90, "kW.h"),
  counting("power", undefined, "energy.active.export", 5, "kW.h"),
  counting("water", "inlet", "water.volume.total", 1),
  counting("water", "customer", "water.volume.total", 14),
  counting("water", "storage", "water.volume.total.stored", 1),
  counting("warmth", "customer", "gas.volume.total", 5),
  counting("warmth", "customer", "heat.energy.total", 4, "kW.h"),
  counting(undefined, undefined, "water.volume.total", 200),
];
const of = (zone: string) => CITY.filter((one) => one.zone === zone);

describe("what is counted where", () => {
  test("a view begins with a zone whose water balances, however many meters others have", () => {
    expect(firstZone(CITY)).toBe("water");
    expect(firstZone(of("warmth"))).toBe("warmth");
    expect(firstZone([])).toBeUndefined();
    expect(zonesOf(CITY)).toEqual(["power", "warmth", "water", NO_ZONE]);
  });

  test("metrics are told apart, those of most meters first", () => {
    expect(metricsOf(of("warmth"))).toEqual([
      { name: "gas.volume.total", unit: "m3" },
      { name: "heat.energy.total", unit: "kW.h" },
    ]);
    expect(metricsOf(of("water")).map(({ name }) => name)).toEqual(["water.volume.total"]);
  });

  test("what tanks took up belongs to the water, and nothing to other metrics", () => {
    expect(together(of("water"), "water.volume.total")).toEqual(["water.volume.total", "water.volume.total.stored"]);
    expect(together(of("warmth"), "gas.volume.total")).toEqual(["gas.volume.total"]);
    const litres = [...of("water"), counting("water", "inlet", "water.volume.litres", 1, "L")];
    expect(together(litres, "water.volume.total")).not.toContain("water.volume.litres");
  });

  test("no step is finer than the readings, and demand is an hour's", () => {
    expect(widthsFor(900)).toEqual(["15m", "1h", "1d"]);
    expect(widthsFor(3_600)).toEqual(["1h", "1d"]);
    expect(widthsFor(NONE)).toEqual(["15m", "1h", "1d"]);
    expect(["kW.h", "m3", "L"].map(demandUnit)).toEqual(["kW", "m3/h", "L/h"]);
  });
});

describe("a water balance", () => {
  const days = (loss: number[], imputed: number[]): BalanceDays => {
    const same = (value: number) => Float64Array.from(loss, (loss) => (Number.isNaN(loss) ? NONE : value));
    return {
      times: Float64Array.from(loss, (_, day) => day),
      inflow: same(120),
      exported: same(15),
      stored: same(5),
      metered: Float64Array.from(loss, (loss) => 100 - loss),
      loss: Float64Array.from(loss),
      nrw: Float64Array.from(loss),
      imputed: Float64Array.from(imputed),
      nrwImputed: same(0),
      unknown: same(0),
    };
  };

  test("of some days is of those that are known", () => {
    expect(total(days([10, NONE, 20], [0, NONE, 5]))).toEqual({
      days: 3,
      known: 2,
      supplied: 200,
      metered: 170,
      loss: 30,
      imputed: 5,
      nrw: 15,
      nrwImputed: 12.5,
    });
    expect(total(days([NONE], [NONE]))).toMatchObject({ known: 0, nrw: NONE });
  });

  test("what is estimated is not lost, and the parts are what was supplied", () => {
    const of = days([10, NONE, -3], [4, NONE, 0]);
    expect([...left(of)]).toEqual([6, NONE, -3]);
    expect(of.metered[0]! + of.imputed[0]! + left(of)[0]!).toBe(100);
  });

  test("a day knows all meters that were not heard", () => {
    expect(unheardByDay([1, 1, 2], ["a", "b", "a"], [0, 0.5, 0.9]).get(1)).toEqual([
      { sensor: "a", coverage: 0 },
      { sensor: "b", coverage: 0.5 },
    ]);
  });
});

describe("a register", () => {
  test("has a gap where it was not read for too long, also at the begin and the end", () => {
    const read = track([10, 20, 60, 70], [1, 2, 3, 4], { from: -50, to: 200 }, 15);
    expect([...read.times]).toEqual([-50, 10, 20, 21, 60, 70, 71]);
    expect([...read.values]).toEqual([NONE, 1, 2, NONE, 3, 4, NONE]);
    expect(read.gaps).toBe(3);
    expect(track([10, 20], [1, 2], { from: 0, to: 25 }, NONE).gaps).toBe(0);
    expect(track([], [], { from: 0, to: 25 }, 1)).toMatchObject({ gaps: 0 });
  });

  test("fell where it shows less than before", () => {
    expect(drops([5, 6, 6, 1, 2])).toEqual([3]);
    const rollover = { kind: "rollover" as const, from: 0, to: HOUR, count: 1, value: 3, detail: undefined };
    expect(fallIn(rollover, [1, 2, 3, 4, 5], [5, 6, 6, 1, 2])).toEqual({ time: 4, before: 6, after: 1 });
    expect(fallIn({ ...rollover, from: 5 }, [1, 2, 3, 4, 5], [5, 6, 6, 1, 2])).toBeUndefined();
  });

  test("what lasts is one event, and what happens twice is two", () => {
    const kinds = ["late", "spread", "late", "reset", "late", "spread", "reset", "nonsense"];
    const rows: EventRows = {
      events: kinds,
      times: [0, 0, HOUR, HOUR, 5 * HOUR, HOUR, 2 * HOUR, 0],
      counts: [4, 0, 3, 1, 2, 0, 1, 9],
      values: [NONE, 1, NONE, 7, NONE, 2, 8, 9],
      details: kinds.map(() => null),
    };
    const told = happenings(rows, HOUR).map(({ kind, from, to, count, value }) => [
      kind,
      from / HOUR,
      to / HOUR,
      count,
      value,
    ]);
    expect(told).toEqual([
      ["late", 0, 2, 7, NONE],
      ["spread", 0, 2, 0, 3],
      ["reset", 1, 2, 1, 7],
      ["reset", 2, 3, 1, 8],
      ["late", 5, 6, 2, NONE],
    ]);
  });
});

describe("a day's demand", () => {
  const berlin = new Clock("Europe/Berlin", [
    { from: at("2025-10-26T01:00:00Z"), offsetMs: HOUR, abbreviation: "CET" },
    { from: at("2026-03-29T01:00:00Z"), offsetMs: 2 * HOUR, abbreviation: "CEST" },
    { from: at("2026-10-25T01:00:00Z"), offsetMs: HOUR, abbreviation: "CET" },
  ]);

  test("stands beside the same weekday by the clock, also where the clocks change", () => {
    const [day, before] = twoDays(berlin, "2026-10-25");
    expect([(day.to - day.from) / HOUR, (before.to - before.from) / HOUR]).toEqual([25, 24]);
    const hours = (from: number, count: number) => Array.from({ length: count }, (_, hour) => from + hour * HOUR);
    const times = [...hours(before.from, 24), ...hours(day.from, 25)];
    const of = profile(
      berlin,
      day,
      times,
      times.map((_, row) => row),
    );
    // 02:00 is shown twice that day, and was shown once the week before.
    expect([...of.before.slice(0, 5)]).toEqual([0, 1, 2, 2, 3]);
    expect([...of.values.slice(0, 2)]).toEqual([24, 25]);
    expect(of.rows.length).toBe(25);
  });

  test("peaks at the first of its highest steps, of those that were observed", () => {
    expect(peakOf([0, 1, 2, 3], [1, NONE, 3, 3])).toMatchObject({ at: 2, value: 3, observed: 3, steps: 4 });
    expect(peakOf([0, 1, 2, 3], [1, NONE, 3, 2])?.loadFactor).toBeCloseTo(2 / 3);
    expect(peakOf([0], [NONE])).toBeUndefined();
    expect(peakOf([0], [0])?.loadFactor).toBeNaN();
  });
});

describe("the meters of a zone", () => {
  const meter = (sensor: string, amount: number, role: string | null = "customer", unit = "m3"): Used => ({
    sensor,
    role,
    unit,
    amount,
    sharePercent: amount,
    coveragePercent: 100 - amount,
    daysKnown: 1,
    days: 1,
    daysSpread: 0,
    resets: 0,
    rollovers: 0,
  });
  const all = [meter("m-10", 1), meter("m-2", NONE), meter("m-1", 7, "inlet"), meter("m-3", 3)];

  test("stand in the order that is wanted, and unknown ones last", () => {
    const names = (order: Parameters<typeof ordered>[1]) => ordered(all, order).map(({ sensor }) => sensor);
    expect(names("amount")).toEqual(["m-1", "m-3", "m-10", "m-2"]);
    expect(names("meter")).toEqual(["m-1", "m-2", "m-3", "m-10"]);
    expect(names("role")).toEqual(["m-3", "m-10", "m-2", "m-1"]);
    expect(names("coverage")).toEqual(["m-1", "m-3", "m-10", "m-2"]);
  });

  test("different roles and units are never added", () => {
    expect(totals([...all, meter("l-1", 5, "customer", "L")])).toEqual([
      { role: "customer", unit: "m3", meters: 3, amount: 4 },
      { role: "inlet", unit: "m3", meters: 1, amount: 7 },
      { role: "customer", unit: "L", meters: 1, amount: 5 },
    ]);
    expect(totals([meter("m-2", NONE)])[0]?.amount).toBeNaN();
  });
});

describe("questions", () => {
  const day = { from: at("2026-11-21T00:00:00Z"), to: at("2026-11-22T00:00:00Z") };

  test("names are quoted, and no zone is none", () => {
    expect(used("it's", ["m"], day).sql).toContain("WHERE zone = 'it''s'");
    expect(used(NO_ZONE, ["m"], day).sql).toContain("WHERE zone IS NULL");
  });

  test("days are asked for one by one, so that those between are not read", () => {
    const { sql } = zoneProfile("z", "inflow", ["m"], "15m", [
      day,
      { from: day.from - 7 * 24 * HOUR, to: day.to - 7 * 24 * HOUR },
    ]);
    expect(sql.match(/UNION ALL/g)?.length).toBe(1);
    expect(sql).toContain("time >= '2026-11-14T00:00:00Z' AND time < '2026-11-15T00:00:00Z'");
  });

  test("a role is not made to ask for what it may not see", () => {
    const seen = { conflicts: false, calibrations: false, readings: false, serials: false };
    const { sql } = events("a", "m", "1h", day, seen);
    expect(
      ["conflict", "calibration", "reading", "serial"].filter(
        (name) => sql.includes(`FROM ${name}`) || sql.includes(`, ${name}`),
      ),
    ).toEqual([]);
    expect(events("a", "m", "1h", day, { ...seen, conflicts: true }).sql).toContain("FROM conflict");
  });
});
