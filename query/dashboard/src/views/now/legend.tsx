/** What colours, sizes and shapes mean, in words. */

import { For, Match, Show, Switch } from "solid-js";
import type { Look } from "../../map/style";
import { nowWords } from "../../words/now";
import { type By, type Scale, STATE_LOOKS, UNKNOWN } from "./measure";
import { type State, STATES } from "./state";

function Dot(props: { look: Look }) {
  return (
    <svg width="22" height="22" viewBox="-11 -11 22 22" aria-hidden="true">
      <circle
        r={5 + props.look.weight}
        fill={props.look.fill ?? "none"}
        stroke={props.look.fill === undefined ? "var(--ink-soft)" : "var(--ink)"}
        stroke-width="1.5"
      />
    </svg>
  );
}

/** As the map draws it. */
function Sign(props: { state: Exclude<State, "ok"> }) {
  return (
    <svg class="sign" width="22" height="22" viewBox="-24 -24 48 48" aria-hidden="true">
      <Switch>
        <Match when={props.state === "finding"}>
          <path class="outline" d="M0 -20L20 15H-20Z" />
          <path d="M0 -7V3M0 10V10" />
        </Match>
        <Match when={props.state === "silent"}>
          <circle class="outline" r="15" />
          <path d="M-6 -6L6 6M6 -6L-6 6" />
        </Match>
        <Match when={props.state === "quarantined"}>
          <path class="outline" d="M-15 -15H15V15H-15Z" />
          <path d="M-4 -6V6M5 -6V6" />
        </Match>
      </Switch>
    </svg>
  );
}

export interface LegendProps {
  by: By;
  scale: Scale;
  border: (value: number) => string;
  hasRoads: boolean;
  isGuessed: boolean;
}

export function Legend(props: LegendProps) {
  const text = (at: number): string => {
    const { borders } = props.scale;
    const { between, over, ratios, under } = nowWords();
    const [low, high] = [borders[at - 1], borders[at]].map((border) =>
      border === undefined ? undefined : props.border(border),
    );
    const range = low === undefined ? under(high ?? "") : high === undefined ? over(low) : between(low, high);
    return props.by === "ratio" ? `${ratios[at]} (${range})` : range;
  };
  const marks = STATES.filter((state) => state !== "ok");
  return (
    <div class="legend" role="group" aria-label={nowWords().legend}>
      <ul>
        <Show
          when={props.by !== "health"}
          fallback={
            <li>
              <Dot look={STATE_LOOKS.ok} />
              {nowWords().states.ok}
            </li>
          }
        >
          <Show when={0 < props.scale.borders.length}>
            <For each={props.scale.looks}>
              {(look, at) => (
                <li>
                  <Dot look={look} />
                  {text(at())}
                </li>
              )}
            </For>
          </Show>
          <li>
            <Dot look={UNKNOWN} />
            {nowWords().legendUnknown}
          </li>
        </Show>
        <For each={marks}>
          {(state) => (
            <li>
              <Sign state={state} />
              {nowWords().states[state]}
            </li>
          )}
        </For>
      </ul>
      <Show when={props.hasRoads}>
        <p class="hint">
          {nowWords().legendRoad} {props.isGuessed ? nowWords().guessed : ""}
        </p>
      </Show>
    </div>
  );
}
