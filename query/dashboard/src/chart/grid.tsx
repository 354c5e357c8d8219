/** A table of numbers: what every chart is, too. */

import { createSignal, For, type JSX, Show } from "solid-js";
import { Link } from "../controls/link";
import type { Column } from "../flight/arrow";
import { stampOf } from "../city/format";
import { units } from "../city/session";
import { shownUnit } from "../city/unit";
import { common } from "../words/common";
import { number } from "../words/language";

/** Rows that are shown before somebody asks for more: a browser is slow with many. */
const ROWS_SHOWN = 100;
const ROWS_MORE = 400;

export interface GridColumn {
  title: string;
  /** As it stands there. */
  cell: (row: number) => string;
  isNumber?: boolean;
  /** Where the cell leads, within the page. */
  link?: (row: number) => string | undefined;
}

/** Numbers of one unit, in what is chosen for it. */
export function numberColumn(title: string, unit: string | undefined, values: ArrayLike<number>, digits = 1): GridColumn {
  const { text, factor } = shownUnit(unit, units());
  return { title: text === "" ? title : `${title} (${text})`, cell: (row) => number(values[row]! * factor, digits), isNumber: true };
}

/** Columns of an answer as they are, in the units that are chosen. */
export function gridColumns(columns: Column[]): GridColumn[] {
  return columns.map((column) => {
    const { text: unit, factor } = shownUnit(column.unit, units());
    const title = unit === "" ? column.name : `${column.name} (${unit})`;
    switch (column.kind) {
      case "text":
        return { title, cell: (row) => column.values[row] ?? "–" };
      case "time":
        return { title, cell: (row) => stampOf(column.values[row]!) };
      case "flag":
        return { title, cell: (row) => ({ 0: "false", 1: "true" })[column.values[row]!] ?? "–" };
      case "number":
        return { title, cell: (row) => number(column.values[row]! * factor, 3), isNumber: true };
    }
  });
}

function linked(column: GridColumn, row: number): JSX.Element {
  const to = column.link?.(row);
  return to === undefined ? column.cell(row) : <Link to={to}>{column.cell(row)}</Link>;
}

export function Grid(props: { caption: string; rows: number; columns: GridColumn[] }) {
  const [most, setMost] = createSignal(ROWS_SHOWN);
  const rows = () => Array.from({ length: Math.min(props.rows, most()) }, (_, row) => row);
  return (
    <div class="grid" tabindex="0" role="region" aria-label={props.caption}>
      <table>
        <caption class="unseen">{props.caption}</caption>
        <thead>
          <tr>
            <For each={props.columns}>{(column) => <th scope="col" classList={{ number: column.isNumber }}>{column.title}</th>}</For>
          </tr>
        </thead>
        <tbody>
          <For each={rows()}>
            {(row) => (
              <tr>
                <For each={props.columns}>{(column) => <td classList={{ number: column.isNumber }}>{linked(column, row)}</td>}</For>
              </tr>
            )}
          </For>
        </tbody>
      </table>
      <Show when={most() < props.rows}>
        <button type="button" class="quiet" onClick={() => setMost((most) => most + ROWS_MORE)}>
          {common().more(number(props.rows - most()))}
        </button>
      </Show>
    </div>
  );
}
