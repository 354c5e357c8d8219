/** What the address says of this view. */

import { type Accessor, createMemo, createSignal, type Setter } from "solid-js";
import type { Place, Target } from "../../map/sheet";
import { param, show } from "../../route";
import { type Choice, type Layer } from "./layer";
import { type By, bysOf } from "./measure";
import { type Order, orderOf, type Sort } from "./rows";

const PLACE_DIGITS = { degrees: 5, zoom: 2 };

export interface Choices {
  /** Of which there are sensors. */
  layers: Accessor<Layer[]>;
  setLayers: Setter<Layer[]>;
  layer: Accessor<Choice>;
  by: Accessor<By>;
  /** Roads have it, too. */
  isRoadMeasure: Accessor<boolean>;
  isPaused: Accessor<boolean>;
  isMapWanted: Accessor<boolean>;
  isAttention: Accessor<boolean>;
  isRoadsWanted: Accessor<boolean>;
  typed: Accessor<string>;
  order: Accessor<Order>;
  place: Accessor<Place | undefined>;
  chosen: Accessor<Target | undefined>;
}

function placeOf(text: string | undefined): Place | undefined {
  const [lon, lat, zoom] = (text ?? "").split(",").map(Number);
  return text !== undefined && [lon, lat, zoom].every(Number.isFinite)
    ? { lon: lon!, lat: lat!, zoom: zoom! }
    : undefined;
}

export const placeText = ({ lon, lat, zoom }: Place): string =>
  `${lon.toFixed(PLACE_DIGITS.degrees)},${lat.toFixed(PLACE_DIGITS.degrees)},${zoom.toFixed(PLACE_DIGITS.zoom)}`;

export function choices(): Choices {
  const [layers, setLayers] = createSignal<Layer[]>([]);
  const layer = createMemo((): Choice => {
    const asked = param("layer");
    return asked === "all" ? "all" : (layers().find((layer) => layer === asked) ?? layers()[0] ?? "traffic");
  });
  const by = createMemo((): By => bysOf(layer()).find((by) => by === param("by")) ?? bysOf(layer())[0]!);
  const place = createMemo(() => placeOf(param("at")));
  const chosen = createMemo((): Target | undefined => {
    const [sensor, road] = [param("sensor"), param("road")];
    return sensor !== undefined
      ? { kind: "dot", id: sensor }
      : road !== undefined
        ? { kind: "road", id: road }
        : undefined;
  });
  return {
    layers,
    setLayers,
    layer,
    by,
    place,
    chosen,
    isRoadMeasure: () => by() === "ratio" || by() === "occupancy",
    isPaused: () => param("live") === "off",
    isMapWanted: () => param("map") !== "off",
    isAttention: () => param("only") === "attention",
    isRoadsWanted: () => param("of") === "roads",
    typed: () => param("q") ?? "",
    order: () => orderOf(param("sort")),
  };
}

export const choose = (target: Target | undefined): void =>
  show({
    sensor: target?.kind === "dot" ? target.id : undefined,
    road: target?.kind === "road" ? target.id : undefined,
    table: undefined,
  });

export function chooseSort(now: Order, sort: Sort): void {
  const next = now.sort === sort && !now.isReversed ? `-${sort}` : sort;
  show({ sort: next === "worst" ? undefined : next });
}
