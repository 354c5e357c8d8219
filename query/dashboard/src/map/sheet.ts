/** A map as something to be told: what is where, how each looks now, and what was just heard. Knows nothing of views. */

import type { Feature, Geometry } from "geojson";
import { type GeoJSONSource, Map as Gl, type MapMouseEvent, setWorkerUrl } from "maplibre-gl";
import "maplibre-gl/dist/maplibre-gl.css";
import worker from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import { themed } from "../chart/colour";
import { icons, type Mark } from "./icons";
import { Pulses } from "./pulses";
import { boundsOf, boundsOfGeometry, type Bounds, type Point } from "./road";
import { type Look, type Source, style } from "./style";

setWorkerUrl(worker);

export type { Look, Mark };

export interface Dot {
  id: string;
  at: Point;
}

export interface Road {
  id: string;
  line: Point[];
  /** Of both directions: each is drawn on its side of it. */
  isShared: boolean;
}

export interface Place {
  lon: number;
  lat: number;
  zoom: number;
}

export type Kind = "dot" | "road";

export interface Target {
  kind: Kind;
  id: string;
}

export interface SheetOptions {
  label: string;
  /** Of gestures on a small screen, which scrolls with one finger. */
  words: { wheel: string; wheelMac: string; touch: string };
  side: 1 | -1;
  place: Place | undefined;
  /** Something is seen. */
  onDrawn(): void;
  onMove(place: Place): void;
  onChoose(target: Target | undefined): void;
  /** With the place on the screen. */
  onPoint(target: Target | undefined, x: number, y: number): void;
}

const FIT = { padding: 48, maxZoom: 16.5 };
const HIT_PX = 6;

/** What is on one source, by the numbers that features have there. */
class Shown {
  ids: string[] = [];
  private numbers = new Map<string, number>();
  private looks = new Map<string, string>();

  set(ids: string[]): void {
    this.ids = ids;
    this.numbers = new Map(ids.map((id, number) => [id, number]));
    this.looks.clear();
  }

  number(id: string): number | undefined {
    return this.numbers.get(id);
  }

  /** Whether it looks different now. */
  differs(id: string, look: Look): boolean {
    const text = `${look.fill} ${look.weight}`;
    if (this.looks.get(id) === text) return false;
    this.looks.set(id, text);
    return true;
  }
}

export class Sheet {
  private readonly map: Gl;
  private readonly pulses: Pulses;
  private readonly shown = { dot: new Shown(), road: new Shown() };
  private places = new Map<string, Point>();
  private bounds: Bounds | undefined;
  private ready = false;
  private later: (() => void)[] = [];

  constructor(
    holder: HTMLElement,
    over: HTMLCanvasElement,
    private readonly options: SheetOptions,
  ) {
    const { place, words } = options;
    const map = new Gl({
      container: holder,
      style: style(options.side),
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      maxPitch: 0,
      renderWorldCopies: false,
      fadeDuration: 0,
      maxZoom: 19,
      cooperativeGestures: matchMedia("(pointer: coarse)").matches,
      locale: {
        "Map.Title": options.label,
        "CooperativeGesturesHandler.WindowsHelpText": words.wheel,
        "CooperativeGesturesHandler.MacHelpText": words.wheelMac,
        "CooperativeGesturesHandler.MobileHelpText": words.touch,
      },
      ...(place === undefined ? {} : { center: [place.lon, place.lat] as Point, zoom: place.zoom }),
    });
    map.touchZoomRotate.disableRotation();
    map.keyboard.disableRotation();
    this.map = map;
    this.pulses = new Pulses(over, map, () => themed("--ink"));
    map.once("style.load", () => {
      this.draw();
      this.ready = true;
      for (const act of this.later.splice(0)) act();
    });
    map.on("sourcedata", ({ sourceId, isSourceLoaded }) => {
      if (sourceId === "dots" && isSourceLoaded && 0 < this.places.size) options.onDrawn();
    });
    map.on("moveend", (event) => {
      if (!("originalEvent" in event)) return;
      const { lng, lat } = map.getCenter();
      options.onMove({ lon: lng, lat, zoom: map.getZoom() });
    });
    map.on("click", (event) => options.onChoose(this.at(event)));
    map.on("mousemove", (event) => {
      const target = this.at(event);
      map.getCanvas().style.cursor = target === undefined ? "" : "pointer";
      options.onPoint(target, event.point.x, event.point.y);
    });
    map.on("mouseout", () => options.onPoint(undefined, 0, 0));
  }

  private when(act: () => void): void {
    if (this.ready) act();
    else this.later.push(act);
  }

  private at(event: MapMouseEvent): Target | undefined {
    if (!this.ready) return undefined;
    const { x, y } = event.point;
    const box: [Point, Point] = [
      [x - HIT_PX, y - HIT_PX],
      [x + HIT_PX, y + HIT_PX],
    ];
    const [dot] = this.map.queryRenderedFeatures(box, { layers: ["dots"] });
    if (dot !== undefined) return { kind: "dot", id: this.shown.dot.ids[Number(dot.id)]! };
    const [road] = this.map.queryRenderedFeatures(event.point, { layers: ["near"] });
    return road === undefined ? undefined : { kind: "road", id: this.shown.road.ids[Number(road.id)]! };
  }

  private draw(): void {
    for (const { name, data, pixelRatio } of icons(themed("--ink"), themed("--paper"))) {
      if (this.map.hasImage(name)) this.map.updateImage(name, data);
      else this.map.addImage(name, data, { pixelRatio });
    }
  }

  private data(source: Source, features: Feature[]): void {
    this.map.getSource<GeoJSONSource>(source)!.setData({ type: "FeatureCollection", features });
  }

  /** What is where. Looks have to be told again. */
  lay(areas: Geometry[], roads: Road[], dots: Dot[]): void {
    this.when(() => {
      this.shown.road.set(roads.map(({ id }) => id));
      this.shown.dot.set(dots.map(({ id }) => id));
      this.places = new Map(dots.map(({ id, at }) => [id, at]));
      this.map.removeFeatureState({ source: "roads" });
      this.map.removeFeatureState({ source: "dots" });
      this.data(
        "areas",
        areas.map((geometry) => ({ type: "Feature", properties: {}, geometry })),
      );
      this.data(
        "roads",
        roads.map(({ line, isShared }, id) => ({
          type: "Feature",
          id,
          properties: { isShared },
          geometry: { type: "LineString", coordinates: line },
        })),
      );
      this.data(
        "dots",
        dots.map(({ at }, id) => ({
          type: "Feature",
          id,
          properties: {},
          geometry: { type: "Point", coordinates: at },
        })),
      );
      const corners = areas.map(boundsOfGeometry).flatMap((bounds) =>
        bounds === undefined
          ? []
          : [
              [bounds[0], bounds[1]],
              [bounds[2], bounds[3]],
            ],
      );
      const things = boundsOf([...roads.flatMap(({ line }) => line), ...dots.map(({ at }) => at)]);
      this.bounds = things ?? boundsOf(corners);
    });
  }

  look(kind: Kind, looks: Iterable<[id: string, look: Look]>): void {
    this.when(() => {
      const [source, shown] = [kind === "dot" ? "dots" : "roads", this.shown[kind]];
      for (const [id, look] of looks) {
        const number = shown.number(id);
        if (number === undefined || !shown.differs(id, look)) continue;
        this.map.setFeatureState(
          { source, id: number },
          { fill: look.fill, weight: look.weight, isKnown: look.fill !== undefined },
        );
      }
    });
  }

  /** Those that are not as they should be. */
  mark(marks: [id: string, mark: Mark][]): void {
    this.when(() => {
      const features = marks.flatMap(([id, mark]): Feature[] => {
        const at = this.places.get(id);
        return at === undefined
          ? []
          : [{ type: "Feature", properties: { mark }, geometry: { type: "Point", coordinates: at } }];
      });
      this.data("marks", features);
    });
  }

  pulse(ids: Iterable<string>): void {
    if (!this.ready) return;
    const places: Point[] = [];
    for (const id of ids) {
      const at = this.places.get(id);
      if (at !== undefined) places.push(at);
    }
    this.pulses.add(places);
  }

  choose(target: Target | undefined): void {
    this.when(() => {
      for (const kind of ["dot", "road"] as const) {
        const number = target?.kind === kind ? this.shown[kind].number(target.id) : undefined;
        this.map.setFilter(`chosen-${kind}`, ["==", ["id"], number ?? -1]);
      }
    });
  }

  /** Brings it into sight. */
  reach(target: Target): void {
    const at = this.places.get(target.id);
    if (at !== undefined && !this.map.getBounds().contains(at)) this.map.panTo(at);
  }

  fit(): void {
    this.when(() => {
      if (this.bounds !== undefined) this.map.fitBounds(this.bounds, { ...FIT, animate: false });
    });
  }

  zoom(by: number): void {
    this.map.easeTo({ zoom: this.map.getZoom() + by, duration: 150 }, { originalEvent: true });
  }

  /** The theme changed. */
  repaint(): void {
    this.when(() => {
      const { layers } = style(this.options.side);
      for (const { id, paint } of layers) {
        for (const [property, value] of Object.entries(paint ?? {}))
          this.map.setPaintProperty(id, property as never, value as never);
      }
      this.draw();
    });
  }

  stop(): void {
    this.pulses.stop();
    this.map.remove();
  }
}
