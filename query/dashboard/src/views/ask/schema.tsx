/** What can be asked for: tables and columns, which a click writes into the statement. */

import { createSignal, createUniqueId, For, Match, Show, Switch } from "solid-js";
import { type Dataset, type DatasetColumn, datasets, datasetsState, hasWidth, readDatasets } from "../../city/datasets";
import { shownUnit } from "../../city/unit";
import { words } from "../../words/ask";
import { common } from "../../words/common";
import { called, found } from "./find";

const unit = (column: DatasetColumn): string => shownUnit(column.unit ?? undefined, "metric").text; // as statements get it

export function Schema(props: { onInsert: (text: string) => void }) {
  const id = createUniqueId();
  const [typed, setTyped] = createSignal("");
  // Beside the editor it stands open, below it it is folded.
  const isWide = matchMedia("(min-width: 1000px)").matches;
  return (
    <details class="schema figure" open={isWide}>
      <summary>{words().schema}</summary>
      <Switch>
        <Match when={datasetsState() === "failed"}>
          <p class="failed" role="alert">
            {words().noSchema}{" "}
            <button type="button" onClick={readDatasets}>{common().retry}</button>
          </p>
        </Match>
        <Match when={datasetsState() === "loading"}>
          <p class="hint" role="status">{common().loading} …</p>
        </Match>
        <Match when={true}>
          <label for={id} class="unseen">{words().filter}</label>
          <input id={id} type="search" placeholder={words().filter} value={typed()} onInput={(event) => setTyped(event.currentTarget.value)} />
          <ul class="tables">
            <For each={found(datasets(), typed())} fallback={<li class="hint">{words().nothingNamed}</li>}>
              {({ dataset, columns, isOpen }) => <Table dataset={dataset} columns={columns} isOpen={isOpen} onInsert={props.onInsert} />}
            </For>
          </ul>
        </Match>
      </Switch>
    </details>
  );
}

function Table(props: { dataset: Dataset; columns: DatasetColumn[]; isOpen: boolean; onInsert: (text: string) => void }) {
  return (
    <li>
      <details open={props.isOpen}>
        <summary>
          <code>{props.dataset.name}</code>
          <Show when={hasWidth(props.dataset)}> <span class="hint">{words().computed}</span></Show>
        </summary>
        <p class="hint">
          {props.dataset.about}
          <Show when={hasWidth(props.dataset)}> — {words().width}</Show>
        </p>
        <button type="button" class="quiet" aria-label={words().insert(called(props.dataset))} onClick={() => props.onInsert(called(props.dataset))}>
          + <code>{called(props.dataset)}</code>
        </button>
        <ul>
          <For each={props.columns}>
            {(column) => (
              <li>
                <button type="button" class="quiet" aria-label={words().insert(column.name)} onClick={() => props.onInsert(column.name)}>
                  <code>{column.name}</code>
                </button>
                <span class="hint">
                  {column.type}
                  {unit(column) === "" ? "" : `, ${unit(column)}`}: {column.comment}
                </span>
              </li>
            )}
          </For>
        </ul>
      </details>
    </li>
  );
}
