/** The map of a view. Loaded only where one is shown: it is the largest part of the page. */

import { createEffect, createSignal, on, onCleanup, onMount, Show, untrack } from "solid-js";
import type { Geometry } from "geojson";
import { city } from "../city/session";
import { common } from "../words/common";
import { mapWords } from "../words/map";
import { keepsLeft } from "./road";
import { type Dot, type Place, type Road, Sheet, type Target } from "./sheet";

export interface CityMapProps {
  label: string;
  areas: Geometry[];
  roads: Road[];
  dots: Dot[];
  chosen: Target | undefined;
  /** None: all is shown. */
  place: Place | undefined;
  onMove: (place: Place | undefined) => void;
  onChoose: (target: Target | undefined) => void;
  /** In one line, for whoever points at it. */
  describe: (target: Target) => string;
  /** Told when it is there, and whenever other things are on it: then it has to be told all looks. */
  onSheet: (sheet: Sheet) => void;
  onFail: () => void;
}

export default function CityMap(props: CityMapProps) {
  let holder!: HTMLDivElement;
  let over!: HTMLCanvasElement;
  const [pointed, setPointed] = createSignal<{ target: Target; x: number; y: number }>();
  const [isDrawn, setDrawn] = createSignal(false);
  let sheet: Sheet | undefined;
  onMount(() => {
    try {
      sheet = new Sheet(holder, over, {
        label: props.label,
        words: mapWords().gestures,
        side: keepsLeft(city().clock.zone) ? -1 : 1,
        place: props.place,
        onDrawn: () => setDrawn(true),
        onMove: (place) => props.onMove(place),
        onChoose: (target) => props.onChoose(target),
        onPoint: (target, x, y) => setPointed(target === undefined ? undefined : { target, x, y }),
      });
    } catch {
      return props.onFail();
    }
    const there = sheet;
    createEffect(
      on([() => props.areas, () => props.roads, () => props.dots], ([areas, roads, dots], before) => {
        if (before === undefined && roads.length === 0 && dots.length === 0) return undefined; // not known yet
        there.lay(areas, roads, dots);
        if (untrack(() => props.place) === undefined) there.fit();
        props.onSheet(there);
        return true;
      }),
    );
    createEffect(() => {
      void [props.roads, props.dots];
      there.choose(props.chosen);
      if (props.chosen !== undefined) there.reach(props.chosen);
    });
    const theme = matchMedia("(prefers-color-scheme: dark)");
    const repaint = () => there.repaint();
    theme.addEventListener("change", repaint);
    onCleanup(() => {
      theme.removeEventListener("change", repaint);
      there.stop();
    });
  });
  const fit = () => {
    props.onMove(undefined);
    sheet?.fit();
  };
  return (
    <div class="city-map">
      <div class="sheet" ref={holder} />
      <Show when={!isDrawn() && 0 < props.dots.length}>
        <p class="wait" role="status">
          {common().loading} …
        </p>
      </Show>
      <canvas class="pulses" ref={over} aria-hidden="true" />
      <Show when={pointed()}>
        {(at) => (
          <p class="pointed" style={{ left: `${at().x}px`, top: `${at().y}px` }} aria-hidden="true">
            {props.describe(at().target)}
          </p>
        )}
      </Show>
      <div class="map-tools" role="group" aria-label={mapWords().tools}>
        <button type="button" aria-label={mapWords().zoomIn} title={mapWords().zoomIn} onClick={() => sheet?.zoom(1)}>
          +
        </button>
        <button
          type="button"
          aria-label={mapWords().zoomOut}
          title={mapWords().zoomOut}
          onClick={() => sheet?.zoom(-1)}
        >
          −
        </button>
        <button type="button" title={mapWords().fitAbout} onClick={fit}>
          {mapWords().fit}
        </button>
      </div>
    </div>
  );
}
