/** What is chosen, from near: its last values, how it does, its last hours, and where else to look. */

import { For, type JSX, Show } from "solid-js";
import { timeOf } from "../../city/format";
import { registry, titled } from "../../city/registry";
import { go, linkTo, type Params, type View } from "../../route";
import { common } from "../../words/common";
import { number, percent } from "../../words/language";
import { metricTitle } from "../../words/metric";
import { nowWords } from "../../words/now";
import { type Entry, roadKey, type RoadState } from "./board";
import { isUtility } from "./layer";
import { STATE_SIGNS } from "./list";
import { type By, metricsOf, RATIO, classOf } from "./measure";
import type { DrawnRoad } from "./network";
import { ofDetector, ofMeter, ofRoad, ofSeries } from "./question";
import { ago, directionText, hourly, measured, stateText } from "./said";
import { Spark, type SparkProps } from "./spark";
import { conditionOf } from "./state";
import type { Watch } from "./watch";

function Card(props: { title: string; what: string; onClose: () => void; children: JSX.Element }) {
  return (
    <aside
      class="card"
      aria-label={`${props.what} ${props.title}`}
      onKeyDown={(event) => event.key === "Escape" && props.onClose()}
    >
      <header>
        <h2>
          <small>{props.what}</small> {props.title}
        </h2>
        <button
          type="button"
          class="quiet"
          aria-label={nowWords().card.close}
          title={nowWords().card.close}
          onClick={props.onClose}
        >
          ×
        </button>
      </header>
      {props.children}
    </aside>
  );
}

function Facts(props: { of: [name: string, value: string | undefined][] }) {
  return (
    <dl class="pairs">
      <For each={props.of.filter(([, value]) => value !== undefined && value !== "")}>
        {([name, value]) => (
          <div>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        )}
      </For>
    </dl>
  );
}

function Links(props: { to: [view: View, params: Params][] }) {
  return (
    <p class="row">
      <For each={props.to}>
        {([view, params]) => (
          <a
            class="button"
            href={linkTo(view, params)}
            onClick={(event) => {
              if (event.ctrlKey || event.metaKey || event.shiftKey) return;
              event.preventDefault();
              go(linkTo(view, params));
            }}
          >
            {common().views[view]}
          </a>
        )}
      </For>
    </p>
  );
}

function sparkOf(entry: Entry, by: By, metric: string | undefined): Omit<SparkProps, "isLive"> | undefined {
  const id = entry.sensor.id;
  const words = nowWords();
  if (entry.layer === "traffic") {
    const isOccupancy = by === "occupancy";
    const title = isOccupancy ? words.bys.occupancy : words.card.speed;
    return {
      title,
      label: title,
      question: ofDetector(id),
      column: isOccupancy ? "occupancy" : "space_mean_speed",
      unit: isOccupancy ? "%" : "km/h",
      fromZero: true,
    };
  }
  const [counter] = metricsOf([entry], "demand");
  const [other] = metricsOf([entry], "value");
  const chosen = metric !== undefined && entry.series.has(metric) ? metric : (counter ?? other);
  const series = chosen === undefined ? undefined : entry.series.get(chosen);
  if (series === undefined) return undefined;
  const title = metricTitle(series.metric);
  return series.kind === "counter"
    ? {
        title,
        label: words.bys.demand,
        question: ofMeter(id, series.metric),
        column: "demand",
        unit: hourly(series.unit),
        fromZero: true,
      }
    : {
        title,
        label: title,
        question: ofSeries(id, series.metric),
        column: "mean",
        unit: series.unit ?? "",
        fromZero: false,
      };
}

export function SensorCard(props: {
  entry: Entry;
  by: By;
  metric: string | undefined;
  watch: Watch;
  isLive: () => boolean;
  onClose: () => void;
}) {
  const now = () => (props.watch.beat(), props.watch.answered(), props.watch.now());
  const condition = () => conditionOf(props.entry, now());
  const advice = () => {
    const finding = condition().finding;
    return finding === undefined ? undefined : (nowWords().advice[finding.finding] ?? finding.detail);
  };
  const sensor = () => props.entry.sensor;
  const series = () => (now(), Array.from(props.entry.series.values()).filter(({ kind }) => kind !== "event"));
  const segment = () => {
    const { segment, direction, lane } = sensor();
    if (segment === undefined) return undefined;
    const lanes = Number.isNaN(lane) ? "" : `, ${nowWords().card.lane} ${lane}`;
    return `${titled(registry().segments.get(segment) ?? { id: segment, name: undefined })} ${directionText(direction)}${lanes}`;
  };
  const links = (): [View, Params][] => {
    const { id, zone } = sensor();
    if (props.entry.layer === "traffic")
      return [
        ["traffic", { sensor: id }],
        ["quality", { by: "sensor", row: id }],
      ];
    if (isUtility(props.entry.layer))
      return [
        ["utilities", { zone, meter: id }],
        ["quality", { by: "sensor", row: id }],
      ];
    return [["quality", { by: "sensor", row: id }]];
  };
  // A new entry stands there after each change of the registry: the question is the same then.
  const spark = () => sparkOf(props.entry, props.by, props.metric);
  return (
    <Card title={titled(sensor())} what={nowWords().card.sensor} onClose={props.onClose}>
      <p class={`state ${condition().state}`}>
        <span aria-hidden="true">{STATE_SIGNS[condition().state]}</span> {stateText(props.entry, condition(), true)}
      </p>
      <Show when={advice()}>{(advice) => <p class="hint">{advice()}</p>}</Show>
      <Facts
        of={[
          [nowWords().card.kind, sensor().kind],
          [nowWords().card.segment, segment()],
          [nowWords().card.zone, sensor().zone],
          [nowWords().card.owner, sensor().owner],
        ]}
      />
      <Show
        when={0 < series().length}
        fallback={<p class="hint">{props.entry.series.size === 0 ? nowWords().card.noSeries : ""}</p>}
      >
        <table>
          <caption class="unseen">{nowWords().card.lastValues}</caption>
          <thead>
            <tr>
              <th scope="col">{nowWords().card.metric}</th>
              <th scope="col" class="number">
                {nowWords().card.value}
              </th>
              <th scope="col" class="number">
                {nowWords().age}
              </th>
            </tr>
          </thead>
          <tbody>
            <For each={series().map(({ metric }) => metric)}>
              {(metric) => {
                const one = () => (now(), props.entry.series.get(metric));
                return (
                  <tr>
                    <th scope="row">{metricTitle(metric)}</th>
                    <td class="number">{measured(one()?.latest?.value ?? Number.NaN, one()?.unit)}</td>
                    <td class="number">{ago(one()?.latest?.time ?? Number.NaN, now())}</td>
                  </tr>
                );
              }}
            </For>
          </tbody>
        </table>
      </Show>
      <Show when={(now(), props.entry.passage)}>
        {(passage) => <p>{nowWords().card.passage(measured(passage().value, "km/h"), ago(passage().time, now()))}</p>}
      </Show>
      <Show when={spark()}>{(spark) => <Spark {...spark()} isLive={props.isLive} />}</Show>
      <Links to={links()} />
    </Card>
  );
}

export function RoadCard(props: {
  road: DrawnRoad;
  by: By;
  watch: Watch;
  isLive: () => boolean;
  onClose: () => void;
  onSensor: (id: string) => void;
}) {
  const state = (): RoadState | undefined => (props.watch.answered(), props.watch.board.roads.get(props.road.id));
  const sensors = () =>
    Array.from(registry().sensors.values()).filter(
      ({ segment, direction }) => segment !== undefined && roadKey(segment, direction) === props.road.id,
    );
  const isOccupancy = () => props.by === "occupancy";
  const title = () => (isOccupancy() ? nowWords().bys.occupancy : nowWords().card.speed);
  const facts = (state: RoadState): [string, string][] => [
    [
      nowWords().bys.ratio,
      Number.isNaN(state.ratio)
        ? "–"
        : `${number(state.ratio, 2)} (${nowWords().ratios[classOf(RATIO, state.ratio)!]})`,
    ],
    [nowWords().card.speed, measured(state.speed, "km/h")],
    [nowWords().card.free, measured(state.freeSpeed, "km/h")],
    [nowWords().card.flow, measured(state.flow, "{veh}/h")],
    [nowWords().bys.occupancy, measured(state.occupancy, "%")],
    [nowWords().card.density, measured(state.density, "{veh}/km")],
  ];
  return (
    <Card
      title={`${titled(props.road.segment)} ${directionText(props.road.direction)}`}
      what={nowWords().card.road}
      onClose={props.onClose}
    >
      <Show when={state()} fallback={<p class="hint">{nowWords().unknown}</p>}>
        {(state) => (
          <>
            <p>
              {nowWords().card.closed(timeOf(state().time), timeOf(state().ends))},{" "}
              {nowWords().card.coverage(percent(state().coverage))}
              {state().isEstimated ? `, ${nowWords().card.estimated}` : ""}
            </p>
            <Facts of={facts(state())} />
            <Show when={state().los !== null && state().losOf !== null}>
              <p>{nowWords().card.los(state().los!, nowWords().card.losOf[state().losOf!] ?? state().losOf!)}</p>
            </Show>
          </>
        )}
      </Show>
      <Spark
        title={title()}
        label={title()}
        question={ofRoad(props.road.segment.id, props.road.direction)}
        column={isOccupancy() ? "occupancy" : "speed"}
        unit={isOccupancy() ? "%" : "km/h"}
        fromZero
        isLive={props.isLive}
      />
      <Show when={0 < sensors().length}>
        <p class="row">
          <span class="hint">{nowWords().card.detectors(number(sensors().length))}</span>
          <For each={sensors()}>
            {(sensor) => (
              <button type="button" class="quiet" onClick={() => props.onSensor(sensor.id)}>
                {titled(sensor)}
              </button>
            )}
          </For>
        </p>
      </Show>
      <Links to={[["traffic", { segment: props.road.segment.id }]]} />
    </Card>
  );
}
