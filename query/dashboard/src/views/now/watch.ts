/** The city as it is now: what is asked every so often, and what comes in between, in one place. */

import { type Accessor, createEffect, createMemo, createSignal, on, onCleanup, untrack } from "solid-js";
import { asked, type Asked } from "../../city/answer";
import { registry } from "../../city/registry";
import type { Table } from "../../flight/arrow";
import { texts } from "../../flight/columns";
import { Board, type Changes, type Entry } from "./board";
import type { Choice } from "./layer";
import { hidden, line, type LineState } from "./live";
import type { By } from "./measure";
import { Meter } from "./meter";
import { DEMAND, HEALTH, LATEST, PASSED, ROADS, SERIES, TRAFFIC } from "./question";

const NONE: Table = { rows: 0, columns: [{ name: "kind", kind: "text", values: [] }] };
const SECOND_MS = 1000;
const EVERY_MS = { latest: 30_000, buckets: 20_000, demand: 60_000, passed: 120_000, health: 300_000 };
/** How often the order of the list and the colours follow by themselves. */
const REFRESH_MS = 5000;

export interface Watch {
  board: Board;
  /** Sensors of the layer, anew when others stand there. */
  entries: Accessor<Entry[]>;
  /** All sensors are known. */
  isReady: Accessor<boolean>;
  /** A number that rises when values changed, at most four times a second. */
  beat: Accessor<number>;
  /** Rises when an answer came, and every few seconds. */
  refreshed: Accessor<number>;
  /** Rises when an answer came. */
  answered: Accessor<number>;
  now: Accessor<number>;
  readings: Accessor<LineState>;
  passages: Accessor<LineState>;
  meters: { readings: Meter; passages: Meter };
  /** Since when something is listened to. */
  since: Accessor<number>;
  latest: Asked;
  traffic: Asked;
  roads: Asked;
  demand: Asked;
  health: Asked;
}

export function watch(
  layer: Accessor<Choice>,
  by: Accessor<By>,
  isPaused: Accessor<boolean>,
  tell: (changes: Changes) => void,
): Watch {
  const isHidden = hidden();
  const isLive = createMemo(() => !isPaused() && !isHidden());
  const [now, setNow] = createSignal(Date.now());
  const [beat, setBeat] = createSignal(0);
  const [slow, setSlow] = createSignal(0);
  const [answered, setAnswered] = createSignal(0);
  const [stood, setStood] = createSignal(0);
  const [since, setSince] = createSignal(Date.now());
  const board = new Board((changes) => {
    setBeat((beat) => beat + 1);
    tell(changes);
  });
  onCleanup(() => board.stop());

  const every = (pause: number) => () => (isLive() ? pause : undefined);
  const isTraffic = () => layer() === "traffic" || layer() === "all";
  const isMetered = () => by() === "demand";
  const series = asked(() => SERIES);
  const latest = asked(() => LATEST, every(EVERY_MS.latest));
  const health = asked(() => HEALTH, every(EVERY_MS.health));
  const traffic = asked(() => (isTraffic() ? TRAFFIC : undefined), every(EVERY_MS.buckets));
  const roads = asked(() => (isTraffic() ? ROADS : undefined), every(EVERY_MS.buckets));
  const hasPassages = createMemo(() => texts(series.answer() ?? NONE, "kind").includes("event"));
  const passed = asked(() => (hasPassages() ? PASSED : undefined), every(EVERY_MS.passed));
  const demand = asked(() => (isMetered() ? DEMAND : undefined), every(EVERY_MS.demand));

  createEffect(
    on([registry, series.answer], ([registry, answer]) => {
      if (answer === undefined || registry.sensors.size === 0) return;
      board.stand(registry, answer);
      setStood((stood) => stood + 1);
    }),
  );
  const taken = (of: Asked, take: (answer: NonNullable<ReturnType<Asked["answer"]>>) => void) =>
    createEffect(
      on([of.answer, stood], ([answer, stood]) => {
        if (answer === undefined || stood === 0) return;
        take(answer);
        setAnswered((answered) => answered + 1);
      }),
    );
  taken(latest, (answer) => board.readings(answer, false));
  taken(traffic, (answer) => board.traffic(answer));
  taken(passed, (answer) => board.passed(answer));
  taken(roads, (answer) => board.road(answer, registry().segments));
  taken(demand, (answer) => board.demand(answer));
  taken(health, (answer) => board.health(answer));

  const meters = { readings: new Meter(), passages: new Meter() };
  const readings = line(
    { dataset: "reading", live: true, columns: ["sensor", "metric", "value", "quality", "time"] },
    isLive,
    (table) => {
      meters.readings.add(table.rows, Date.now());
      board.readings(table, true);
    },
  );
  const passages = line({ dataset: "event", live: true, columns: ["sensor", "time", "speed"] }, isLive, (table) => {
    meters.passages.add(table.rows, Date.now());
    board.passages(table);
  });

  createEffect(
    on(isLive, (isLive, wasLive) => {
      if (!isLive) return;
      setSince(Date.now());
      setNow(Date.now());
      if (wasLive === false) for (const of of [latest, traffic, roads]) untrack(of.again); // what was missed
      const seconds = setInterval(() => setNow(Date.now()), SECOND_MS);
      const refresh = setInterval(() => setSlow((slow) => slow + 1), REFRESH_MS);
      onCleanup(() => (clearInterval(seconds), clearInterval(refresh)));
    }),
  );

  const entries = createMemo(() => {
    stood();
    const chosen = layer();
    const all = Array.from(board.entries.values());
    return chosen === "all" ? all : all.filter((entry) => entry.layer === chosen);
  });
  return {
    board,
    entries,
    beat,
    now,
    readings,
    passages,
    meters,
    since,
    answered,
    latest,
    traffic,
    roads,
    demand,
    health,
    isReady: () => 0 < stood(),
    refreshed: createMemo(() => slow() + answered()),
  };
}
