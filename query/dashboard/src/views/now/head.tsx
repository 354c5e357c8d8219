/** How the live line does, and what came through it. */

import { Show } from "solid-js";
import { common } from "../../words/common";
import { number } from "../../words/language";
import { nowWords } from "../../words/now";
import type { LineState } from "./live";
import type { Watch } from "./watch";

const SECOND_MS = 1000;
const MINUTE_S = 60;

export function LiveBadge(props: { watch: Watch; isPaused: boolean; onPause: (isPaused: boolean) => void }) {
  const state = (): LineState => props.watch.readings();
  const text = () => {
    const { live } = common();
    const now = state();
    if (props.isPaused || now.state === "paused") return live.paused;
    if (now.state === "broken")
      return live.broken(number(Math.max(Math.ceil((now.until - props.watch.now()) / SECOND_MS), 0)));
    if (now.state === "refused") return nowWords().notLive;
    return now.state === "open" ? live.open : live.connecting;
  };
  const mark = () =>
    props.isPaused
      ? "paused"
      : { open: "fresh", connecting: "late", broken: "old", paused: "paused", refused: "paused" }[state().state];
  return (
    <span class="live row">
      <span class={`badge ${mark()}`} role="status">
        {text()}
      </span>
      <button type="button" onClick={() => props.onPause(!props.isPaused)}>
        {props.isPaused ? common().live.resume : common().live.pause}
      </button>
    </span>
  );
}

/** Nothing comes in, so that there is nothing to count. */
const isStill = ({ state }: LineState): boolean => state === "paused" || state === "refused";

export interface Counts {
  all: number;
  heard: number;
  attention: number;
  known: number;
}

export function Counters(props: { watch: Watch; counts: Counts; measure: string | undefined }) {
  const now = () => (props.watch.beat(), props.watch.now());
  const seconds = () =>
    number(Math.max(Math.min(Math.round((props.watch.now() - props.watch.since()) / SECOND_MS), MINUTE_S), 1));
  const { meters } = props.watch;
  return (
    <dl class="facts now-facts">
      <Show when={!isStill(props.watch.readings())}>
        <div>
          <dt>{nowWords().facts.readings(seconds())}</dt>
          <dd>{number((now(), meters.readings.total(Date.now())))}</dd>
        </div>
      </Show>
      <Show when={!isStill(props.watch.passages())}>
        <div>
          <dt>{nowWords().facts.passages(seconds())}</dt>
          <dd>{number((now(), meters.passages.total(Date.now())))}</dd>
        </div>
      </Show>
      <div>
        <dt>{nowWords().facts.heard}</dt>
        <dd>
          {number(props.counts.heard)} <small>{nowWords().facts.of(number(props.counts.all))}</small>
        </dd>
      </div>
      <div>
        <dt>{nowWords().facts.attention}</dt>
        <dd>{number(props.counts.attention)}</dd>
      </div>
      <Show when={props.measure}>
        {(measure) => (
          <div>
            <dt>{nowWords().facts.known(measure())}</dt>
            <dd>
              {number(props.counts.known)} <small>{nowWords().facts.of(number(props.counts.all))}</small>
            </dd>
          </div>
        )}
      </Show>
    </dl>
  );
}
