/** The answer as a chart: lines over time, or bars of categories. */

import { createMemo, createUniqueId, For, Match, Show, Switch } from "solid-js";
import { Ranking } from "../../chart/ranking";
import { Plot } from "../../chart/plot";
import { Choice } from "../../controls/choice";
import type { Table } from "../../flight/arrow";
import { numbers } from "../../flight/columns";
import { param, params, show } from "../../route";
import { words } from "../../words/ask";
import { number } from "../../words/language";
import { amountColumns, BARS_MAX, categories, type Drawing, drawing, lines, LINES_MAX, textColumns, timeColumns, unitOf } from "./guess";

export function chosenDrawing(table: Table): Drawing | undefined {
  const y = params("y");
  return drawing(table, { ...(param("x") ? { x: param("x")! } : {}), ...(0 < y.length ? { y } : {}), ...(param("split") ? { split: param("split")! } : {}) });
}

export function AnswerPlot(props: { table: Table; drawing: Drawing }) {
  const isTime = () => timeColumns(props.table).includes(props.drawing.x);
  return (
    <div class="answer-plot">
      <Axes table={props.table} drawing={props.drawing} />
      <Switch>
        <Match when={isTime()}>
          <Over table={props.table} drawing={props.drawing} />
        </Match>
        <Match when={true}>
          <Categories table={props.table} drawing={props.drawing} />
        </Match>
      </Switch>
    </div>
  );
}

function Axes(props: { table: Table; drawing: Drawing }) {
  const [x, split] = [createUniqueId(), createUniqueId()];
  const along = () => [...timeColumns(props.table), ...textColumns(props.table)];
  const options = () => amountColumns(props.table).map((name) => ({ id: name, title: name }));
  return (
    <div class="row axes">
      <div class="select">
        <label for={x}>{words().plot.x}</label>
        <select id={x} value={props.drawing.x} onChange={(event) => show({ x: event.currentTarget.value })}>
          <For each={along()}>{(name) => <option value={name} selected={name === props.drawing.x}>{name}</option>}</For>
        </select>
      </div>
      <Choice label={words().plot.y} options={options()} chosen={props.drawing.y} most={LINES_MAX} onChoose={(y) => show({ y: y.join(",") })} />
      <Show when={timeColumns(props.table).includes(props.drawing.x)}>
        <div class="select">
          <label for={split}>{words().plot.split}</label>
          <select id={split} value={props.drawing.split ?? "-"} onChange={(event) => show({ split: event.currentTarget.value })}>
            <option value="-" selected={props.drawing.split === undefined}>{words().plot.none}</option>
            <For each={textColumns(props.table)}>{(name) => <option value={name} selected={name === props.drawing.split}>{name}</option>}</For>
          </select>
        </div>
      </Show>
    </div>
  );
}

function Over(props: { table: Table; drawing: Drawing }) {
  const drawn = createMemo(() => lines(props.table, props.drawing));
  const shown = () => drawn().charts.reduce((sum, chart) => sum + chart.lines.length, 0);
  return (
    <>
      <Show when={shown() < drawn().all}>
        <p class="hint">{words().plot.lines(number(shown()), number(drawn().all))}</p>
      </Show>
      <Show when={0 < drawn().covered}>
        <p class="hint">{words().plot.covered(number(drawn().covered))}</p>
      </Show>
      <For each={drawn().charts}>
        {(chart) => (
          <Plot
            label={words().plot.over(props.drawing.y.join(", "), props.drawing.x)}
            times={drawn().times}
            lines={chart.lines.map((line, style) => ({ ...line, style, digits: 2 }))}
            unit={chart.unit ?? ""}
          />
        )}
      </For>
    </>
  );
}

function Categories(props: { table: Table; drawing: Drawing }) {
  const labels = createMemo(() => categories(props.table, props.drawing.x));
  const rows = (name: string) => {
    const values = numbers(props.table, name);
    return Array.from({ length: Math.min(props.table.rows, BARS_MAX) }, (_, row) => ({ label: labels()[row]!, value: values[row]! }));
  };
  return (
    <>
      <Show when={BARS_MAX < props.table.rows}>
        <p class="hint">{words().plot.bars(number(BARS_MAX), number(props.table.rows))}</p>
      </Show>
      <div class="columns">
        <For each={props.drawing.y}>
          {(name) => <Ranking label={name} unit={unitOf(props.table, name)} rows={rows(name)} />}
        </For>
      </div>
    </>
  );
}
