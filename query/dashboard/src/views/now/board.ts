/** What is known of every sensor now: answers and what comes in meet here. No signals: thousands of values change a second. */

import type { Registry, Segment, Sensor } from "../../city/registry";
import type { Table } from "../../flight/arrow";
import { numbers, texts } from "../../flight/columns";
import { type Layer, layerOf } from "./layer";

/** Changes are told together, so that a page with 5,000 sensors draws four times a second and not 5,000 times. */
const TELL_MS = 250;

export interface Known {
  value: number;
  /** Of the reading, or the end of the bucket. */
  time: number;
}

export interface Series {
  metric: string;
  unit: string | undefined;
  kind: string;
  intervalMs: number;
  latest: (Known & { quality: number }) | undefined;
}

export interface Finding {
  finding: string;
  metric: string;
  since: number;
  detail: string;
}

export interface Entry {
  sensor: Sensor;
  layer: Layer;
  series: Map<string, Series>;
  /** The newest time that something was said of. */
  heardAt: number;
  findings: Finding[];
  /** Space-mean speed in km/h and occupancy in %, of the last closed bucket or of a reading since. */
  speed: Known | undefined;
  occupancy: Known | undefined;
  flow: Known | undefined;
  /** By metric: the rate of a register in its unit an hour. */
  demand: Map<string, Known>;
  /** Speed in km/h of the last vehicle. */
  passage: Known | undefined;
}

export interface RoadState {
  segment: Segment;
  direction: string | undefined;
  time: number;
  ends: number;
  speed: number;
  freeSpeed: number;
  ratio: number;
  flow: number;
  occupancy: number;
  density: number;
  los: string | null;
  losOf: string | null;
  coverage: number;
  isEstimated: boolean;
}

export interface Changes {
  /** Whose value or age is another now. */
  changed: ReadonlySet<string>;
  /** Who said something that is newer than all before. */
  heard: ReadonlySet<string>;
}

const later = (known: Known | undefined, value: number, time: number): Known | undefined =>
  Number.isNaN(value) || (known !== undefined && time <= known.time) ? known : { value, time };

export const roadKey = (segment: string, direction: string | null | undefined): string =>
  `${segment} ${direction ?? ""}`;

export class Board {
  readonly entries = new Map<string, Entry>();
  readonly roads = new Map<string, RoadState>();
  private changed = new Set<string>();
  private heard = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly tell: (changes: Changes) => void) {}

  /** Sensors as the registry has them, with their series. What is known of them stays. */
  stand(registry: Registry, series: Table): void {
    const [sensor, metric, unit, kind] = ["sensor", "metric", "unit", "kind"].map((name) => texts(series, name));
    const interval = numbers(series, "interval_s");
    const all = new Map<string, Map<string, Series>>();
    for (let row = 0; row < series.rows; row++) {
      const [id, name] = [sensor![row]!, metric![row]!];
      const known = this.entries.get(id)?.series.get(name)?.latest;
      if (!all.has(id)) all.set(id, new Map());
      all
        .get(id)!
        .set(name, {
          metric: name,
          unit: unit![row] ?? undefined,
          kind: kind![row] ?? "",
          intervalMs: interval[row]! * 1000,
          latest: known,
        });
    }
    const before = new Map(this.entries);
    this.entries.clear();
    for (const [id, sensor] of registry.sensors) {
      const series = all.get(id) ?? new Map<string, Series>();
      const rest = before.get(id) ?? {
        heardAt: Number.NaN,
        findings: [],
        speed: undefined,
        occupancy: undefined,
        flow: undefined,
        demand: new Map(),
        passage: undefined,
      };
      this.entries.set(id, { ...rest, sensor, series, layer: layerOf(series.keys()) });
    }
  }

  /** Readings: of `latest`, or as they come. What is older than what is known changes nothing. */
  readings(table: Table, isLive: boolean): void {
    const [sensor, metric] = ["sensor", "metric"].map((name) => texts(table, name));
    const [value, time, quality] = ["value", "time", "quality"].map((name) => numbers(table, name));
    for (let row = 0; row < table.rows; row++) {
      const entry = this.entries.get(sensor![row]!);
      const series = entry?.series.get(metric![row]!);
      if (entry === undefined || series === undefined) continue;
      const at = time![row]!;
      if (series.latest !== undefined && at <= series.latest.time) continue;
      series.latest = { value: value![row]!, time: at, quality: quality![row]! };
      if (series.metric === "traffic.speed.mean") entry.speed = later(entry.speed, value![row]!, at);
      else if (series.metric === "traffic.occupancy") entry.occupancy = later(entry.occupancy, value![row]!, at);
      this.hear(entry, at, isLive);
    }
  }

  passages(table: Table): void {
    const sensor = texts(table, "sensor");
    const [time, speed] = ["time", "speed"].map((name) => numbers(table, name));
    for (let row = 0; row < table.rows; row++) {
      const entry = this.entries.get(sensor[row]!);
      if (entry === undefined) continue;
      const at = time![row]!;
      if (entry.passage === undefined || entry.passage.time < at) entry.passage = { value: speed![row]!, time: at };
      this.hear(entry, at, true);
    }
  }

  /** Closed buckets of `traffic`, the newest of each detector. */
  traffic(table: Table): void {
    const sensor = texts(table, "sensor");
    const [ends, speed, occupancy, flow] = ["ends", "space_mean_speed", "occupancy", "flow"].map((name) =>
      numbers(table, name),
    );
    for (let row = 0; row < table.rows; row++) {
      const entry = this.entries.get(sensor[row]!);
      if (entry === undefined) continue;
      const at = ends![row]!;
      entry.speed = later(entry.speed, speed![row]!, at);
      entry.occupancy = later(entry.occupancy, occupancy![row]!, at);
      entry.flow = later(entry.flow, flow![row]!, at);
      this.change(entry.sensor.id);
    }
  }

  /** When detectors last saw somebody. */
  passed(table: Table): void {
    const [sensor, time] = [texts(table, "sensor"), numbers(table, "time")];
    for (let row = 0; row < table.rows; row++) {
      const entry = this.entries.get(sensor[row]!);
      if (entry !== undefined && !Number.isNaN(time[row]!)) this.hear(entry, time[row]!, false);
    }
  }

  demand(table: Table): void {
    const [sensor, metric] = ["sensor", "metric"].map((name) => texts(table, name));
    const [ends, demand] = ["ends", "demand"].map((name) => numbers(table, name));
    for (const entry of this.entries.values()) entry.demand.clear();
    for (let row = 0; row < table.rows; row++) {
      const entry = this.entries.get(sensor![row]!);
      if (entry === undefined) continue;
      entry.demand.set(metric![row]!, { value: demand![row]!, time: ends![row]! });
      this.change(entry.sensor.id);
    }
  }

  health(table: Table): void {
    const [sensor, metric, finding, detail] = ["sensor", "metric", "finding", "detail"].map((name) =>
      texts(table, name),
    );
    const since = numbers(table, "since");
    for (const entry of this.entries.values()) entry.findings = [];
    for (let row = 0; row < table.rows; row++) {
      const found = {
        finding: finding![row] ?? "",
        metric: metric![row] ?? "",
        since: since[row]!,
        detail: detail![row] ?? "",
      };
      this.entries.get(sensor![row]!)?.findings.push(found);
    }
    for (const id of this.entries.keys()) this.change(id);
  }

  /** Closed buckets of `road`, the newest of each segment and direction. */
  road(table: Table, segments: ReadonlyMap<string, Segment>): void {
    const [segment, direction, los, losOf] = ["segment", "direction", "los", "los_of"].map((name) =>
      texts(table, name),
    );
    const [time, ends, speed, freeSpeed, ratio, flow, occupancy, density, coverage, estimated] = [
      "time",
      "ends",
      "speed",
      "free_flow_speed",
      "speed_ratio",
      "flow",
      "occupancy",
      "density",
      "coverage",
      "estimated",
    ].map((name) => numbers(table, name));
    this.roads.clear();
    for (let row = 0; row < table.rows; row++) {
      const of = segments.get(segment![row]!);
      if (of === undefined) continue;
      this.roads.set(roadKey(of.id, direction![row]), {
        segment: of,
        direction: direction![row] ?? undefined,
        time: time![row]!,
        ends: ends![row]!,
        speed: speed![row]!,
        freeSpeed: freeSpeed![row]!,
        ratio: ratio![row]!,
        flow: flow![row]!,
        occupancy: occupancy![row]!,
        density: density![row]!,
        los: los![row] ?? null,
        losOf: losOf![row] ?? null,
        coverage: coverage![row]!,
        isEstimated: estimated![row] === 1,
      });
    }
  }

  private hear(entry: Entry, at: number, isLive: boolean): void {
    if (!(at <= entry.heardAt)) {
      entry.heardAt = at;
      if (isLive) this.heard.add(entry.sensor.id);
    }
    this.change(entry.sensor.id);
  }

  private change(id: string): void {
    this.changed.add(id);
    this.timer ??= setTimeout(() => this.flush(), TELL_MS);
  }

  private flush(): void {
    const changes = { changed: this.changed, heard: this.heard };
    [this.changed, this.heard, this.timer] = [new Set(), new Set(), undefined];
    this.tell(changes);
  }

  stop(): void {
    clearTimeout(this.timer);
  }
}
