/** A road over a day: how fast it was where and when, and what stood in the way. */

import { Show } from "solid-js";
import { asked } from "../city/answer";
import { areDetectorsRead } from "../city/detectors";
import { sees } from "../city/datasets";
import { isRegistryRead } from "../city/registry";
import { param } from "../route";
import "../style/corridor.css";
import { common } from "../words/common";
import { corridor } from "../words/corridor";
import { Choices, roadTitle } from "./corridor/choices";
import { day, range, road, roads, step } from "./corridor/chosen";
import { Incidents, Queues } from "./corridor/events";
import { Heat } from "./corridor/heat";
import { corridor as cells, incidents, queues } from "./corridor/sql";

/** While the day goes on. */
const AGAIN_MS = 300_000;

export default function Corridor() {
  const isReady = () => isRegistryRead() && areDetectorsRead() && day() !== undefined;
  const isRoad = () => isReady() && 0 < road().length;
  const segments = () => road().map((segment) => segment.id);
  const again = () => (Date.now() < range().to ? AGAIN_MS : undefined);
  const of = (dataset: string, sql: () => string) => asked(() => (isRoad() && sees(dataset) ? { sql: sql() } : undefined), again);
  const along = of("station", () => cells(step(), segments(), range()));
  const stopped = of("incident", () => incidents(segments(), range()));
  const queued = of("queue", () => queues(segments(), range()));
  const none = () => {
    const named = param("road");
    return named !== undefined && 0 < roads().length ? corridor().unknownRoad(named) : corridor().noRoads;
  };
  return (
    <div class="view corridor">
      <h1>{isRoad() ? roadTitle({ id: "", segments: road() }) : common().views.corridor}</h1>
      <Show when={isReady()} fallback={<p role="status">{common().loading} …</p>}>
        <Choices />
        <Show when={isRoad()} fallback={<p>{none()}</p>}>
          <Show when={sees("station") !== false} fallback={<p class="failed">{corridor().noStation}</p>}>
            <Heat asked={along} incidents={stopped.answer()} queues={queued.answer()} />
          </Show>
          <Show when={sees("incident") !== false} fallback={<p class="hint">{corridor().noEvents}</p>}>
            <Incidents asked={stopped} />
          </Show>
          <Show when={sees("queue") !== false}>
            <Queues asked={queued} />
          </Show>
        </Show>
      </Show>
    </div>
  );
}
