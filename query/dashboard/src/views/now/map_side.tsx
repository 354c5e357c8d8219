/** The map with its legend, or why there is none. */

import type { Geometry } from "geojson";
import { createMemo, createSignal, lazy, onCleanup, Show, Suspense } from "solid-js";
import { registry } from "../../city/registry";
import { canDraw } from "../../map/webgl";
import { show } from "../../route";
import { common } from "../../words/common";
import { nowWords } from "../../words/now";
import { type Choices, choose, placeText } from "./choices";
import { Legend } from "./legend";
import type { Painter } from "./painter";
import type { Shown } from "./shown";
import type { Watch } from "./watch";

const CityMap = lazy(() => import("../../map/city_map"));

const [hasFailed, setFailed] = createSignal(false);

export const isMapped = (choices: Choices): boolean => choices.isMapWanted() && canDraw() && !hasFailed();

/** Fetches the map's script beside what it will show, not after it. */
export function expectMap(choices: Choices): void {
  if (isMapped(choices)) void CityMap.preload().catch(() => undefined); // told where the map is drawn
}

export function MapSide(props: { choices: Choices; shown: Shown; city: Watch; painter: Painter }) {
  const { by, chosen, isMapWanted, isRoadMeasure, layer, place } = props.choices;
  const { entries, roads, scale } = props.shown;
  const dots = createMemo(() =>
    entries().flatMap(({ sensor: { id, lon, lat } }) =>
      Number.isFinite(lon) && Number.isFinite(lat) ? [{ id, at: [lon, lat] as [number, number] }] : [],
    ),
  );
  const areas = createMemo(() => {
    const zones = new Set(entries().map(({ sensor: { zone } }) => zone));
    // Several zones may have one area; darker where they lie on each other would say nothing.
    const drawn = new Map<string, Geometry>();
    for (const { id, geometry } of registry().zones.values())
      if (geometry !== undefined && zones.has(id)) drawn.set(JSON.stringify(geometry), geometry);
    return Array.from(drawn.values());
  });
  onCleanup(() => props.painter.attach(undefined));
  const off = () => (
    <p class="row hint">
      {isMapWanted() ? nowWords().noMap : nowWords().mapOff}
      <Show when={!isMapWanted()}>
        <button type="button" onClick={() => show({ map: undefined })}>
          {nowWords().mapOn}
        </button>
      </Show>
    </p>
  );
  return (
    <section class="map-side" aria-label={nowWords().mapTitle}>
      <Show when={isMapped(props.choices)} fallback={off()}>
        <Suspense fallback={<div class="skeleton map-wait" role="status" aria-label={common().loading} />}>
          <CityMap
            label={nowWords().mapLabel(nowWords().layers[layer()], props.shown.title())}
            areas={areas()}
            roads={roads()}
            dots={dots()}
            chosen={chosen()}
            place={place()}
            onMove={(place) => show({ at: place === undefined ? undefined : placeText(place) }, { replace: true })}
            onChoose={choose}
            describe={props.shown.describe}
            onSheet={(sheet) => props.painter.attach(sheet)}
            onFail={() => setFailed(true)}
          />
        </Suspense>
        <Legend
          by={by()}
          scale={scale()}
          border={props.shown.border}
          hasRoads={0 < roads().length}
          isGuessed={roads().some(({ isGuessed }) => isGuessed)}
        />
      </Show>
      <p class="hint">
        {nowWords().byAbout[by()]}
        <Show when={isMapped(props.choices)}>
          {" "}
          <button type="button" class="quiet" onClick={() => show({ map: "off" })}>
            {nowWords().hideMap}
          </button>
        </Show>
      </p>
      <Show when={isRoadMeasure() && props.city.roads.error()}>
        <p class="hint">{nowWords().roadsFailed}</p>
      </Show>
    </section>
  );
}
