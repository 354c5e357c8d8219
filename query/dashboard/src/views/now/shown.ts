/** What is shown of the city by what was chosen: the same for the map and for the list. */

import { type Accessor, createMemo } from "solid-js";
import { registry, titled } from "../../city/registry";
import { themed } from "../../chart/colour";
import type { Look, Target } from "../../map/sheet";
import { param } from "../../route";
import { number } from "../../words/language";
import { metricTitle } from "../../words/metric";
import { nowWords } from "../../words/now";
import type { Entry, RoadState } from "./board";
import type { Choices } from "./choices";
import {
  AGE,
  classOf,
  lookOf,
  looks,
  metricsOf,
  OCCUPANCY,
  RATIO,
  roadValue,
  type Scale,
  scaleOf,
  valueOf,
} from "./measure";
import { type DrawnRoad, network } from "./network";
import { ago, directionText, measured, span, stateText, unitOf } from "./said";
import { conditionOf, type State } from "./state";
import type { Watch } from "./watch";

export interface Shown {
  entries: Accessor<Entry[]>;
  roads: Accessor<DrawnRoad[]>;
  metrics: Accessor<string[]>;
  metric: Accessor<string | undefined>;
  scale: Accessor<Scale>;
  value(entry: Entry, now: number): number;
  look(entry: Entry, now: number): Look;
  lookOfRoad(id: string): Look;
  road(id: string): RoadState | undefined;
  /** The measure as words. */
  title: Accessor<string>;
  titleOf(target: Target): string;
  placeOf(entry: Entry): string;
  valueText(target: Target): string;
  ageText(target: Target): string;
  stateOf(target: Target): { state: State; text: string };
  colourOf(target: Target): string | undefined;
  describe(target: Target): string;
  /** A border of the scale. */
  border(value: number): string;
}

export function shown(city: Watch, { layer, by, isRoadMeasure }: Choices): Shown {
  const { board } = city;
  const isByMetric = () => by() === "demand" || by() === "value";
  const metrics = createMemo(() => metricsOf(city.entries(), by()));
  const metric = createMemo(() =>
    isByMetric() ? (metrics().find((metric) => metric === param("metric")) ?? metrics()[0]) : undefined,
  );
  // Who never measures it is not asked why it is not known.
  const entries = createMemo(() => {
    const name = metric();
    return name === undefined ? city.entries() : city.entries().filter(({ series }) => series.has(name));
  });
  const unit = createMemo(() =>
    unitOf(by(), metric() === undefined ? undefined : entries()[0]?.series.get(metric()!)?.unit),
  );
  const freeKmh = (segment: string): number => {
    const of = registry().segments.get(segment);
    return of === undefined ? Number.NaN : Number.isNaN(of.freeKmh) ? of.limitKmh : of.freeKmh;
  };
  const value = (entry: Entry, now: number): number => valueOf(entry, by(), metric(), freeKmh, now);
  const scale = createMemo((): Scale => {
    if (by() === "ratio") return RATIO;
    if (by() === "occupancy") return OCCUPANCY;
    if (!isByMetric()) return AGE;
    city.answered();
    return scaleOf(entries().map((entry) => value(entry, Date.now())));
  });
  const roads = createMemo(() => (layer() === "traffic" || layer() === "all" ? network(registry()) : []));
  const drawn = createMemo(() => new Map(roads().map((road) => [road.id, road])));

  const look = (entry: Entry, now: number): Look => looks(entry, by(), scale(), value(entry, now), now);
  const lookOfRoad = (id: string): Look => {
    if (!isRoadMeasure()) return { fill: themed("--rule-strong"), weight: 0 };
    const road = board.roads.get(id);
    return lookOf(scale(), road === undefined ? Number.NaN : roadValue(road, by()));
  };

  const moment = () => (city.beat(), city.answered(), city.now());
  const ratioText = (ratio: number, speed: number): string =>
    Number.isNaN(ratio) ? "–" : `${number(ratio, 2)} (${measured(speed, "km/h")})`;
  const newestText = ({ series }: Entry): string => {
    const [newest] = Array.from(series.values())
      .filter(({ latest }) => latest !== undefined)
      .sort((a, b) => b.latest!.time - a.latest!.time);
    return newest === undefined ? "–" : measured(newest.latest!.value, newest.unit);
  };
  const titleOf = ({ kind, id }: Target): string => {
    if (kind === "dot") return titled(board.entries.get(id)?.sensor ?? { id, name: undefined });
    const road = drawn().get(id);
    return road === undefined ? id : `${titled(road.segment)} ${directionText(road.direction)}`;
  };
  const placeOf = ({ sensor: { segment, direction, zone, kind } }: Entry): string => {
    if (segment === undefined) return zone ?? kind;
    return `${registry().segments.get(segment)?.name ?? segment} ${directionText(direction)}`.trim();
  };
  const valueText = ({ kind, id }: Target): string => {
    const now = moment();
    if (kind === "road") {
      const road = board.roads.get(id);
      return road === undefined
        ? "–"
        : by() === "ratio"
          ? ratioText(road.ratio, road.speed)
          : measured(roadValue(road, by()), "%");
    }
    const entry = board.entries.get(id);
    if (entry === undefined) return "–";
    if (by() === "ratio") return ratioText(value(entry, now), entry.speed?.value ?? Number.NaN);
    // Where the age or the state is the measure, the value beside it is the newest that was said.
    return by() === "health" || by() === "age" ? newestText(entry) : measured(value(entry, now), unit());
  };
  const ageText = ({ kind, id }: Target): string => {
    const now = moment();
    return ago((kind === "road" ? board.roads.get(id)?.ends : board.entries.get(id)?.heardAt) ?? Number.NaN, now);
  };
  const stateOf = ({ kind, id }: Target): { state: State; text: string } => {
    const now = moment();
    const unknown = { state: "silent" as const, text: nowWords().unknown };
    if (kind === "road") {
      const road = board.roads.get(id);
      const ratio = road === undefined ? undefined : classOf(RATIO, road.ratio);
      if (road === undefined || ratio === undefined) return unknown;
      const words = nowWords().ratios[ratio]!;
      return { state: "ok", text: road.isEstimated ? `${words}, ${nowWords().estimated}` : words };
    }
    const entry = board.entries.get(id);
    if (entry === undefined) return unknown;
    const condition = conditionOf(entry, now);
    return { state: condition.state, text: stateText(entry, condition) };
  };
  const colourOf = ({ kind, id }: Target): string | undefined => {
    const now = moment();
    if (kind === "road") return lookOfRoad(id).fill;
    const entry = board.entries.get(id);
    return entry === undefined ? undefined : look(entry, now).fill;
  };
  return {
    entries,
    roads,
    metrics,
    metric,
    scale,
    value,
    look,
    lookOfRoad,
    titleOf,
    placeOf,
    valueText,
    ageText,
    stateOf,
    colourOf,
    road: (id) => board.roads.get(id),
    title: () => (metric() === undefined ? nowWords().bys[by()] : `${nowWords().bys[by()]}, ${metricTitle(metric()!)}`),
    describe: (target) => `${titleOf(target)}: ${valueText(target)} · ${stateOf(target).text} · ${ageText(target)}`,
    border: (value) => (by() === "age" ? span(value) : by() === "ratio" ? number(value, 2) : measured(value, unit())),
  };
}
