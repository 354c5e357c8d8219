import { describe, expect, test, vi } from "vitest";
import type { Registry, Sensor } from "../src/city/registry";
import type { Column, Table } from "../src/flight/arrow";
import { boundsOf, distanceM, guessed, keepsLeft } from "../src/map/road";
import { Board, type Changes, type Entry } from "../src/views/now/board";
import { layerOf } from "../src/views/now/layer";
import {
  AGE,
  bysOf,
  classOf,
  lookOf,
  metricsOf,
  OCCUPANCY,
  RATIO,
  scaleOf,
  UNKNOWN,
  valueOf,
} from "../src/views/now/measure";
import { Meter } from "../src/views/now/meter";
import { network } from "../src/views/now/network";
import { found, orderOf, ordered, type Row } from "../src/views/now/rows";
import { conditionOf, patienceMs } from "../src/views/now/state";

const MINUTE_MS = 60_000;
const NOW = Date.parse("2026-11-23T08:00:00Z");

const sensor = (id: string, more: Partial<Sensor> = {}): Sensor => ({
  id,
  name: undefined,
  kind: "loop",
  owner: undefined,
  lon: 10,
  lat: 50,
  segment: "S",
  direction: "NB",
  lane: 0,
  offsetM: 100,
  zone: undefined,
  role: undefined,
  isQuarantined: false,
  ...more,
});

function table(columns: Record<string, (string | number | null)[]>): Table {
  const all = Object.entries(columns).map(
    ([name, values]): Column =>
      values.some((value) => typeof value === "string")
        ? { name, kind: "text", values: values as (string | null)[] }
        : {
            name,
            kind: "number",
            values: Float64Array.from(values, (value) => (value === null ? Number.NaN : Number(value))),
          },
  );
  return { rows: Object.values(columns)[0]!.length, columns: all };
}

const segment = {
  id: "S",
  name: undefined,
  roadClass: undefined,
  direction: "NB",
  from: undefined,
  to: undefined,
  lengthM: 200,
  limitKmh: 50,
  freeKmh: Number.NaN,
  lanes: 1,
  line: [],
};
const registry = (...sensors: Sensor[]): Registry => ({
  sensors: new Map(sensors.map((one) => [one.id, one])),
  segments: new Map([["S", segment]]),
  zones: new Map(),
  isCut: false,
});

const SERIES = table({
  sensor: ["a", "a", "b", "c"],
  metric: ["traffic.speed.mean", "traffic.volume", "water.volume.total", "traffic.vehicle"],
  unit: ["km/h", "{veh}", "m3", "{veh}"],
  kind: ["rate", "total", "counter", "event"],
  interval_s: [60, 60, 900, null],
});

function board(tell: (changes: Changes) => void = () => {}): Board {
  const board = new Board(tell);
  board.stand(registry(sensor("a"), sensor("b", { segment: undefined }), sensor("c")), SERIES);
  return board;
}

const reading = (id: string, metric: string, value: number, time: number, quality = 0) =>
  table({ sensor: [id], metric: [metric], value: [value], time: [time], quality: [quality] });

describe("layers", () => {
  test("a sensor is where its metrics are, whatever its kind is called", () => {
    expect(layerOf(["traffic.volume", "traffic.speed.mean"])).toBe("traffic");
    expect(layerOf(["power.active", "energy.active.import"])).toBe("power");
    expect(layerOf(["air.temperature", "wind.speed"])).toBe("weather");
    expect(layerOf(["soil.moisture"])).toBe("other");
    expect(layerOf([])).toBe("other");
  });
});

describe("what is known", () => {
  test("a reading that is older than what is known changes nothing, and is no news", () => {
    vi.useFakeTimers();
    const told: Changes[] = [];
    const one = board((changes) => told.push(changes));
    one.readings(reading("a", "traffic.speed.mean", 40, NOW), true);
    one.readings(reading("a", "traffic.speed.mean", 99, NOW - MINUTE_MS), true);
    expect(one.entries.get("a")!.speed).toEqual({ value: 40, time: NOW });
    vi.advanceTimersByTime(300);
    one.readings(reading("a", "traffic.speed.mean", 99, NOW - MINUTE_MS), true);
    vi.advanceTimersByTime(300);
    expect(told.map(({ heard }) => [...heard])).toEqual([["a"]]);
    vi.useRealTimers();
  });

  test("a thousand readings are told once", () => {
    vi.useFakeTimers();
    const told: Changes[] = [];
    const one = board((changes) => told.push(changes));
    for (let at = 0; at < 1000; at++) one.readings(reading("a", "traffic.speed.mean", 40, NOW + at), true);
    vi.advanceTimersByTime(250);
    expect(told.length).toBe(1);
    vi.useRealTimers();
  });

  test("a closed bucket gives way to a reading since, and an empty one says nothing", () => {
    const one = board();
    const bucket = (ends: number, speed: number | null) =>
      table({ sensor: ["a"], ends: [ends], space_mean_speed: [speed], occupancy: [3], flow: [60] });
    one.traffic(bucket(NOW - 5 * MINUTE_MS, 30));
    one.readings(reading("a", "traffic.speed.mean", 40, NOW), true);
    one.traffic(bucket(NOW - MINUTE_MS, 31));
    one.traffic(bucket(NOW + MINUTE_MS, null));
    expect(one.entries.get("a")!.speed).toEqual({ value: 40, time: NOW });
  });

  test("who moves in the registry keeps what was said", () => {
    const one = board();
    one.readings(reading("a", "traffic.speed.mean", 40, NOW), false);
    one.stand(registry(sensor("a", { lane: 3 }), sensor("new")), SERIES);
    expect(one.entries.get("a")).toMatchObject({ heardAt: NOW, speed: { value: 40 }, sensor: { lane: 3 } });
    expect(one.entries.has("b")).toBe(false);
  });
});

describe("states", () => {
  const entry = (more: (one: Board) => void, id = "a"): Entry => {
    const one = board();
    more(one);
    return one.entries.get(id)!;
  };
  const finding = (kind: string) =>
    table({ sensor: ["a"], metric: ["traffic.volume"], finding: [kind], since: [NOW], detail: ["look"] });

  test("silence is judged by how often a sensor speaks", () => {
    const heard = entry((one) => one.readings(reading("b", "water.volume.total", 1, NOW), false), "b");
    expect(patienceMs(heard)).toBe(45 * MINUTE_MS);
    expect(conditionOf(heard, NOW + 45 * MINUTE_MS).state).toBe("ok");
    expect(conditionOf(heard, NOW + 46 * MINUTE_MS).state).toBe("silent");
    expect(
      conditionOf(
        entry(() => {}),
        NOW,
      ).state,
    ).toBe("silent");
  });

  test("a sensor that was silent yesterday and speaks now is well, and one that repeats itself is not", () => {
    const back = entry(
      (one) => (one.health(finding("silent")), one.readings(reading("a", "traffic.volume", 1, NOW), false)),
    );
    expect(conditionOf(back, NOW)).toMatchObject({ state: "ok", isBack: true });
    const stuck = entry(
      (one) => (one.health(finding("constant")), one.readings(reading("a", "traffic.volume", 1, NOW), false)),
    );
    expect(conditionOf(stuck, NOW)).toMatchObject({ state: "finding", finding: { finding: "constant" } });
  });

  test("a last reading out of range is doubtful, a late one is not", () => {
    const at = (quality: number) =>
      entry((one) => one.readings(reading("a", "traffic.volume", 1, NOW, quality), false));
    expect(conditionOf(at(128), NOW).finding?.finding).toBe("doubtful");
    expect(conditionOf(at(16), NOW).state).toBe("ok");
  });
});

describe("measures", () => {
  test("missing is no class, and a border belongs below", () => {
    expect(classOf(RATIO, Number.NaN)).toBeUndefined();
    expect(lookOf(RATIO, Number.NaN)).toBe(UNKNOWN);
    expect([0.3, 0.31, 0.85, 0.86].map((ratio) => classOf(RATIO, ratio))).toEqual([0, 1, 4, 5]);
    expect(classOf(OCCUPANCY, 0)).toBe(0);
    expect(classOf(AGE, MINUTE_MS)).toBe(0);
  });

  test("the ratio needs a road, and a speed of now", () => {
    const one = board();
    one.readings(reading("a", "traffic.speed.mean", 40, NOW), true);
    const ratio = (now: number) => valueOf(one.entries.get("a")!, "ratio", undefined, () => 50, now);
    expect(ratio(NOW)).toBe(0.8);
    expect(ratio(NOW + 31 * MINUTE_MS)).toBeNaN();
    expect(valueOf(one.entries.get("a")!, "ratio", undefined, () => Number.NaN, NOW)).toBeNaN();
    expect(valueOf(one.entries.get("b")!, "ratio", undefined, () => 50, NOW)).toBeNaN();
  });

  test("one value far out leaves the others apart", () => {
    const scale = scaleOf([...Array.from({ length: 60 }, (_, at) => at + 1), 1e6, Number.NaN]);
    expect(scale.borders.length).toBe(5);
    expect(scale.borders.at(-1)).toBeLessThan(60);
    expect(scale.looks.length).toBe(6);
    expect(scaleOf([]).looks.length).toBe(1);
    expect(scaleOf([2, 2, 2])).toMatchObject({ borders: [] });
  });

  test("registers have a demand, other series a value", () => {
    const entries = [...board().entries.values()];
    expect(metricsOf(entries, "demand")).toEqual(["water.volume.total"]);
    expect(metricsOf(entries, "value")).toEqual(["traffic.speed.mean", "traffic.volume"]);
    expect(bysOf("all")).toEqual(["health", "age"]);
  });
});

describe("the list", () => {
  const row = (title: string, value: number, heardAt = NOW, state: Row["state"] = "ok"): Row => ({
    target: { kind: "dot", id: title },
    title,
    place: "Main Street",
    value,
    heardAt,
    state,
  });
  const rows = [
    row("b", 2),
    row("a10", Number.NaN),
    row("a2", 1, Number.NaN, "silent"),
    row("c", 3, NOW - 1, "finding"),
  ];
  const names = (sort: string | undefined, worst: Parameters<typeof ordered>[2]) =>
    ordered(rows, orderOf(sort), worst).map(({ title }) => title);

  test("the worst is first, and what is not known last, whichever way", () => {
    expect(names(undefined, "low")).toEqual(["a2", "b", "c", "a10"]);
    expect(names(undefined, "high")).toEqual(["c", "b", "a2", "a10"]);
    expect(names("-worst", "low")).toEqual(["c", "b", "a2", "a10"]);
    expect(names(undefined, "state")).toEqual(["a2", "c", "a10", "b"]);
  });

  test("who was never heard is silent longest, and names are sorted as people count", () => {
    expect(names("age", "low")[0]).toBe("a2");
    expect(names("name", "low")).toEqual(["a2", "a10", "b", "c"]);
    expect(names("nonsense", "low")).toEqual(names(undefined, "low"));
  });

  test("every word is looked for, in names and places", () => {
    expect(found(rows, "main 10").map(({ title }) => title)).toEqual(["a10"]);
    expect(found(rows, " ").length).toBe(4);
    expect(found(rows, "a1 street").map(({ title }) => title)).toEqual(["a10"]);
    expect(found(rows, "elsewhere")).toEqual([]);
  });
});

test("a minute forgets what is older", () => {
  const meter = new Meter();
  meter.add(5, NOW);
  meter.add(7, NOW + 30_000);
  expect(meter.total(NOW + 59_000)).toBe(12);
  expect(meter.total(NOW + 60_000)).toBe(7);
  meter.add(1, NOW + 60_000);
  expect(meter.total(NOW + 60_000)).toBe(8);
  expect(meter.total(NOW + 200_000)).toBe(0);
});

describe("roads without a line", () => {
  const stand = (lon: number, lat: number, offsetM: number, direction: string | undefined = "NB") => ({
    lon,
    lat,
    offsetM,
    direction,
  });

  test("run through their detectors in the order of the traffic", () => {
    expect(guessed([stand(10, 50.002, 300), stand(10, 50, 100)], 400)).toEqual([
      [10, 50],
      [10, 50.002],
    ]);
  });

  test("run ahead in their direction where all stand beside each other", () => {
    const line = guessed([stand(10, 50, 100), stand(10.00004, 50, 100)], 200);
    expect(distanceM(line[0]!, line[1]!)).toBeCloseTo(200, 0);
    expect(line[0]![1]).toBeLessThan(50);
    expect(line[1]![1]).toBeGreaterThan(50);
  });

  test("are not drawn where the registry contradicts itself, or says nothing", () => {
    expect(guessed([stand(10, 50, 100), stand(10.1, 50, 100)], 200)).toEqual([]);
    expect(guessed([stand(10, 50, 100), stand(10.1, 50, 150)], 200)).toEqual([]);
    expect(guessed([stand(10, 50, 100, "")], 200)).toEqual([]);
    expect(guessed([stand(Number.NaN, 50, 100)], 200)).toEqual([]);
    expect(guessed([], 200)).toEqual([]);
  });

  test("a line of both directions is turned round for the one against it", () => {
    const both = registry(sensor("a"), sensor("b", { direction: "SB" }));
    both.segments.set("S", {
      ...segment,
      line: [
        [10, 50],
        [10, 51],
      ],
    });
    expect(network(both).map(({ isShared }) => isShared)).toEqual([true, true]);
    expect(network(registry(sensor("a")))).toMatchObject([{ isShared: false, isGuessed: true }]);
    expect(network(both).map(({ direction, line }) => [direction, line[0]![1]])).toEqual([
      ["NB", 50],
      ["SB", 51],
    ]);
  });
});

test("bounds leave out what has no place", () => {
  expect(
    boundsOf([
      [1, 2],
      [Number.NaN, 9],
      [-3, 4],
    ]),
  ).toEqual([-3, 2, 1, 4]);
  expect(boundsOf([])).toBeUndefined();
});

test("some keep left", () => {
  expect(["Europe/London", "Australia/Perth", "Europe/Berlin", "UTC"].map(keepsLeft)).toEqual([
    true,
    true,
    false,
    false,
  ]);
});
