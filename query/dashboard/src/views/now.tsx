/** City now: a map of roads and sensors as they are, live, with a list beside it that says the same in words. */

import { createEffect, createMemo, on, Show, untrack } from "solid-js";
import "../style/now.css";
import { isRegistryRead, registry, SENSORS_MAX } from "../city/registry";
import { Choice } from "../controls/choice";
import { Pick } from "../controls/pick";
import { show } from "../route";
import { common } from "../words/common";
import { number } from "../words/language";
import { metricTitle } from "../words/metric";
import { nowWords } from "../words/now";
import type { Changes } from "./now/board";
import { RoadCard, SensorCard } from "./now/card";
import { choices as chosenNow, choose } from "./now/choices";
import { type Counts, Counters, LiveBadge } from "./now/head";
import { type Choice as LayerChoice, LAYERS } from "./now/layer";
import { ListSide } from "./now/list_side";
import { expectMap, isMapped, MapSide } from "./now/map_side";
import { bysOf } from "./now/measure";
import { painter } from "./now/painter";
import { shown as shownOf } from "./now/shown";
import { conditionOf } from "./now/state";
import { watch } from "./now/watch";

export default function Now() {
  const choices = chosenNow();
  expectMap(choices);
  const { by, chosen, isPaused, layer, layers } = choices;
  const isLive = () => !isPaused();
  let pulse: ((ids: ReadonlySet<string>) => void) | undefined;
  const city = watch(layer, by, isPaused, (changes) => untrack(() => told(changes)));
  const shown = shownOf(city, choices);
  const paint = painter(city, choices, shown);

  createEffect(
    on(city.isReady, (isReady) => {
      if (!isReady) return;
      const there = new Set(Array.from(city.board.entries.values(), ({ layer }) => layer));
      choices.setLayers(LAYERS.filter((layer) => there.has(layer)));
    }),
  );
  function told({ changed, heard }: Changes): void {
    const isHere = (id: string) => layer() === "all" || city.board.entries.get(id)?.layer === layer();
    const said = new Set(Array.from(heard).filter(isHere));
    paint.told({ changed: new Set(Array.from(changed).filter(isHere)), heard: said });
    if (0 < said.size) pulse?.(said);
  }

  const counts = createMemo((): Counts => {
    city.refreshed();
    const now = Date.now();
    const counts = { all: 0, heard: 0, attention: 0, known: 0 };
    for (const entry of shown.entries()) {
      const { state } = conditionOf(entry, now);
      counts.all += 1;
      counts.heard += Number(state !== "silent" && !Number.isNaN(entry.heardAt));
      counts.attention += Number(state !== "ok");
      counts.known += Number(!Number.isNaN(shown.value(entry, now)));
    }
    return counts;
  });
  const entry = createMemo(() => {
    city.entries();
    const target = chosen();
    return target?.kind === "dot" ? city.board.entries.get(target.id) : undefined;
  });
  const road = createMemo(() => {
    const target = chosen();
    return target?.kind === "road" ? shown.roads().find(({ id }) => id === target.id) : undefined;
  });

  const layerOptions = () =>
    [...layers(), ...(1 < layers().length ? (["all"] as const) : [])].map((id) => ({
      id: id as LayerChoice,
      title: nowWords().layers[id],
    }));
  const chooseLayer = (id: LayerChoice) =>
    show({
      layer: id,
      by: undefined,
      metric: undefined,
      at: undefined,
      sensor: undefined,
      road: undefined,
      of: undefined,
      sort: undefined,
    });
  return (
    <div class="view now">
      <div class="now-head">
        <h1>{common().views.now}</h1>
        <LiveBadge
          watch={city}
          isPaused={isPaused()}
          onPause={(isPaused) => show({ live: isPaused ? "off" : undefined })}
        />
      </div>
      <Show
        when={!isRegistryRead() || 0 < registry().sensors.size}
        fallback={<p class="empty-city">{nowWords().emptyCity}</p>}
      >
        <div class="choices">
          <Pick label={nowWords().layer} options={layerOptions()} chosen={layer()} onChoose={chooseLayer} />
          <Pick
            label={nowWords().by}
            options={bysOf(layer()).map((id) => ({ id, title: nowWords().bys[id] }))}
            chosen={by()}
            onChoose={(id) => show({ by: id, metric: undefined, sort: undefined })}
          />
          <Show when={1 < shown.metrics().length && shown.metric()}>
            {(metric) => (
              <Choice
                label={nowWords().metric}
                options={shown.metrics().map((id) => ({ id, title: metricTitle(id) }))}
                chosen={[metric()]}
                onChoose={([metric]) => show({ metric })}
              />
            )}
          </Show>
        </div>
        <Counters
          watch={city}
          counts={counts()}
          measure={by() === "health" || by() === "age" ? undefined : nowWords().bys[by()]}
        />
        <Show when={registry().isCut}>
          <p class="hint">{common().tooManySensors(number(SENSORS_MAX))}</p>
        </Show>
        <div class="now-body" classList={{ unmapped: !isMapped(choices) }}>
          <MapSide choices={choices} shown={shown} city={city} painter={paint} />
          <div class="list-side">
            <Show when={entry()} keyed>
              {(entry) => (
                <SensorCard
                  entry={entry}
                  by={by()}
                  metric={shown.metric()}
                  watch={city}
                  isLive={isLive}
                  onClose={() => choose(undefined)}
                />
              )}
            </Show>
            <Show when={road()} keyed>
              {(road) => (
                <RoadCard
                  road={road}
                  by={by()}
                  watch={city}
                  isLive={isLive}
                  onClose={() => choose(undefined)}
                  onSensor={(id) => choose({ kind: "dot", id })}
                />
              )}
            </Show>
            <Show when={city.isReady() && chosen() !== undefined && entry() === undefined && road() === undefined}>
              <p class="hint">
                {chosen()!.id}: {nowWords().card.gone}
              </p>
            </Show>
            <ListSide choices={choices} shown={shown} city={city} onPulse={(one) => (pulse = one)} />
          </div>
        </div>
      </Show>
    </div>
  );
}
