/** The list in its figure, with its search and filters. */

import { createMemo, createSignal, Show } from "solid-js";
import type { Asked } from "../../city/answer";
import { titled } from "../../city/registry";
import { Figure } from "../../chart/figure";
import { Pick } from "../../controls/pick";
import { show } from "../../route";
import { common } from "../../words/common";
import { nowWords } from "../../words/now";
import type { Entry } from "./board";
import { type Choices, choose, chooseSort } from "./choices";
import { List } from "./list";
import { roadValue } from "./measure";
import type { DrawnRoad } from "./network";
import { found, ordered, type Row } from "./rows";
import { directionText } from "./said";
import type { Shown } from "./shown";
import { conditionOf } from "./state";
import type { Watch } from "./watch";

export interface ListSideProps {
  choices: Choices;
  shown: Shown;
  city: Watch;
  onPulse: (pulse: (ids: ReadonlySet<string>) => void) => void;
}

export function ListSide(props: ListSideProps) {
  const { by, chosen, isAttention, isRoadMeasure, isRoadsWanted, layer, order, typed } = props.choices;
  const { city, shown } = props;
  const hasRoads = () => isRoadMeasure() && 0 < shown.roads().length;
  const isRoads = () => isRoadsWanted() && hasRoads();
  const rowOf = (entry: Entry, now: number): Row => ({
    target: { kind: "dot", id: entry.sensor.id },
    title: titled(entry.sensor),
    place: shown.placeOf(entry),
    value: shown.value(entry, now),
    heardAt: entry.heardAt,
    state: conditionOf(entry, now).state,
  });
  const rowOfRoad = ({ id, segment, direction }: DrawnRoad): Row => {
    const road = shown.road(id);
    return {
      target: { kind: "road", id },
      title: titled(segment),
      place: directionText(direction),
      value: road === undefined ? Number.NaN : roadValue(road, by()),
      heardAt: road?.ends ?? Number.NaN,
      state: road === undefined ? "silent" : "ok",
    };
  };
  const all = createMemo(() => {
    city.refreshed();
    const now = Date.now();
    return isRoads() ? shown.roads().map(rowOfRoad) : shown.entries().map((entry) => rowOf(entry, now));
  });
  const worst = () => (by() === "health" ? "state" : by() === "age" ? "age" : shown.scale().worst);
  const [isHeld, setHeld] = createSignal(false);
  const wanted = () =>
    JSON.stringify([layer(), by(), shown.metric(), typed(), isAttention(), isRoads(), order(), shown.entries().length]);
  const rows = createMemo<{ wanted: string; rows: Row[] }>((before) => {
    const now = wanted();
    // Whoever reads or walks through the list is not to lose the place.
    if (isHeld() && before?.wanted === now && 0 < before.rows.length) return before;
    const rows = isAttention() ? all().filter(({ state }) => state !== "ok") : all();
    return { wanted: now, rows: ordered(found(rows, typed()), order(), worst()) };
  });

  /** What the list stands on: the measure's own question, and its state that of the newest values. */
  const asked = createMemo((): Asked => {
    const buckets = isRoads() ? city.roads : city.traffic;
    const primary = {
      ratio: buckets,
      occupancy: buckets,
      demand: city.demand,
      value: city.latest,
      health: city.health,
      age: city.latest,
    }[by()];
    return {
      ...primary,
      answer: () => primary.answer() ?? (primary.error() === undefined ? undefined : city.latest.answer()),
      // Who saw something once keeps it: the badge says that nothing new comes.
      error: () => (city.latest.answer() === undefined ? city.latest.error() : undefined),
    };
  });
  const title = () => nowWords().listTitle(nowWords().layers[layer()], shown.title());
  const isValueLess = () => by() === "health" || by() === "age";
  return (
    <Figure
      name="now"
      title={title()}
      asked={asked()}
      isEmpty={city.isReady() && all().length === 0}
      empty={nowWords().emptyList}
      about={nowWords().listAbout}
      height={400}
    >
      <div class="list-tools">
        <label>
          <span class="unseen">{common().search}</span>
          <input
            type="search"
            placeholder={common().search}
            value={typed()}
            onInput={(event) => show({ q: event.currentTarget.value }, { replace: true })}
          />
        </label>
        <Show when={hasRoads()}>
          <Pick
            label={nowWords().of}
            options={(["sensors", "roads"] as const).map((id) => ({ id, title: nowWords().ofs[id] }))}
            chosen={isRoads() ? "roads" : "sensors"}
            onChoose={(id) => show({ of: id === "roads" ? id : undefined })}
          />
        </Show>
        <Pick
          label={nowWords().only}
          options={(["all", "attention"] as const).map((id) => ({ id, title: nowWords().onlys[id] }))}
          chosen={isAttention() ? "attention" : "all"}
          onChoose={(id) => show({ only: id === "all" ? undefined : id })}
        />
      </div>
      <Show
        when={0 < rows().rows.length}
        fallback={
          <p class="empty">
            {isRoads() && all().length === 0
              ? nowWords().noRoads
              : isAttention() && typed() === ""
                ? nowWords().allWell
                : nowWords().emptyList}
          </p>
        }
      >
        <List
          caption={title()}
          rows={rows().rows}
          measure={isValueLess() ? nowWords().bys.value : nowWords().bys[by()]}
          order={order()}
          chosen={chosen()}
          value={shown.valueText}
          age={shown.ageText}
          state={shown.stateOf}
          colour={shown.colourOf}
          onSort={(sort) => chooseSort(order(), sort)}
          onChoose={(target) => {
            choose(target);
            // On a small screen it opens above.
            document.querySelector(".list-side .card")?.scrollIntoView({ block: "nearest" });
          }}
          onHold={setHeld}
          onPulse={props.onPulse}
        />
      </Show>
    </Figure>
  );
}
