/** The map in words: sorted, searched, and walked through with the arrow keys. */

import { createEffect, createMemo, createSignal, For, on, onCleanup, Show } from "solid-js";
import { themed } from "../../chart/colour";
import type { Target } from "../../map/sheet";
import { number } from "../../words/language";
import { nowWords } from "../../words/now";
import { type Order, type Row, ROWS_MOST, type Sort } from "./rows";
import type { State } from "./state";

export interface ListProps {
  caption: string;
  /** In their order; all of them. */
  rows: Row[];
  measure: string;
  order: Order;
  chosen: Target | undefined;
  value: (target: Target) => string;
  age: (target: Target) => string;
  state: (target: Target) => { state: State; text: string };
  /** The colour of its class; none where nothing is known. */
  colour: (target: Target) => string | undefined;
  onSort: (sort: Sort) => void;
  onChoose: (target: Target) => void;
  /** Somebody is in the list: then it keeps its order. */
  onHold: (isHeld: boolean) => void;
  /** Told how to show that something was heard. */
  onPulse: (pulse: (ids: ReadonlySet<string>) => void) => void;
}

const PULSE_MS = 900;
/** Those at the top, which are seen. */
const PULSES_MOST = 30;

const key = ({ kind, id }: Target): string => `${kind} ${id}`;
const target = (key: string): Target => {
  const at = key.indexOf(" ");
  return { kind: key.slice(0, at) as Target["kind"], id: key.slice(at + 1) };
};

export const STATE_SIGNS: Record<State, string> = { ok: "●", finding: "▲", silent: "✕", quarantined: "■" };

export function List(props: ListProps) {
  let body!: HTMLTableSectionElement;
  const [at, setAt] = createSignal(0);
  const shown = createMemo(() => new Map(props.rows.slice(0, ROWS_MOST).map((row) => [key(row.target), row])));
  // Texts, so that a row that stays keeps its elements, and the focus on them.
  const keys = createMemo(() => Array.from(shown().keys()));
  const elements = new Map<string, HTMLTableRowElement>();
  createEffect(
    on(
      () => keys().length,
      (length) => setAt((at) => Math.min(at, Math.max(length - 1, 0))),
    ),
  );
  props.onPulse((ids) => {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const colour = themed("--accent-wash");
    let left = PULSES_MOST;
    for (const name of keys()) {
      if (!ids.has(target(name).id)) continue;
      if (left-- === 0) return;
      elements.get(name)?.animate([{ backgroundColor: colour }, { backgroundColor: "transparent" }], PULSE_MS);
    }
  });
  const walk = (event: KeyboardEvent) => {
    const last = keys().length - 1;
    const steps: Record<string, number> = {
      ArrowDown: at() + 1,
      ArrowUp: at() - 1,
      Home: 0,
      End: last,
      PageDown: at() + 10,
      PageUp: at() - 10,
    };
    const next = steps[event.key];
    if (next === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    setAt(Math.min(Math.max(next, 0), last));
    body.querySelectorAll<HTMLButtonElement>("button")[at()]?.focus();
  };
  const head = (sort: Sort, title: string, isNumber = false) => {
    const isIt = () => props.order.sort === sort;
    return (
      <th
        scope="col"
        classList={{ number: isNumber }}
        aria-sort={isIt() ? (props.order.isReversed ? "descending" : "ascending") : undefined}
      >
        <button type="button" class="quiet" title={nowWords().sortBy(title)} onClick={() => props.onSort(sort)}>
          {title}
          <span aria-hidden="true">{isIt() ? (props.order.isReversed ? " ▴" : " ▾") : ""}</span>
        </button>
      </th>
    );
  };
  return (
    <>
      <div
        class="now-list"
        onPointerEnter={() => props.onHold(true)}
        onPointerLeave={() => props.onHold(false)}
        onFocusIn={() => props.onHold(true)}
        onFocusOut={() => props.onHold(false)}
      >
        <table>
          <caption class="unseen">{props.caption}</caption>
          <thead>
            <tr>
              {head("name", nowWords().name)}
              {head("worst", props.measure, true)}
              {head("age", nowWords().age, true)}
              {head("state", nowWords().state)}
            </tr>
          </thead>
          <tbody ref={body} onKeyDown={walk}>
            <For each={keys()}>
              {(name, index) => {
                const of = target(name);
                onCleanup(() => elements.delete(name));
                const row = () => shown().get(name);
                const state = () => props.state(of);
                const isChosen = () => props.chosen?.kind === of.kind && props.chosen.id === of.id;
                return (
                  <tr ref={(element) => elements.set(name, element)} classList={{ chosen: isChosen() }}>
                    <th scope="row">
                      <button
                        type="button"
                        class="quiet"
                        tabindex={index() === at() ? 0 : -1}
                        aria-pressed={isChosen()}
                        onFocus={() => setAt(index())}
                        onClick={() => props.onChoose(of)}
                      >
                        {row()?.title}
                      </button>
                      <span class="hint">{row()?.place}</span>
                    </th>
                    <td class="number">
                      <span
                        class="swatch"
                        classList={{ none: props.colour(of) === undefined }}
                        style={{ background: props.colour(of) ?? "" }}
                        aria-hidden="true"
                      />
                      {props.value(of)}
                    </td>
                    <td class="number">{props.age(of)}</td>
                    <td class={`state ${state().state}`}>
                      <span aria-hidden="true">{STATE_SIGNS[state().state]}</span>
                      {"\u00a0"}
                      {state().text}
                    </td>
                  </tr>
                );
              }}
            </For>
          </tbody>
        </table>
      </div>
      <Show when={keys().length < props.rows.length}>
        <p class="hint">{nowWords().shown(number(keys().length), number(props.rows.length))}</p>
      </Show>
    </>
  );
}
