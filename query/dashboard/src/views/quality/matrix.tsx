/** Rows by columns of small bars: how full a cell is says how much, and its shape says it without its colour. */

import { createMemo, createSignal, For, type JSX, onMount, Show } from "solid-js";
import { common } from "../../words/common";
import { number } from "../../words/language";

/** `bar`: filled by its share. `nothing`: none where something was due. `some`: known, but no share. `none`: there is nothing to say. */
export interface Cell {
  look: "bar" | "nothing" | "some" | "none";
  share?: number;
  /** Written into the cell, where there is room. */
  text?: string;
  /** What it says, in words. */
  told: string;
}

export interface MatrixRow {
  id: string;
  title: string;
  cells: Cell[];
  /** Of all cells, at the end of the row. */
  sum?: string;
}

export interface MatrixProps {
  label: string;
  /** `text` is empty where there is no room for all. */
  columns: { text: string; title: string }[];
  rowsTitle: string;
  sumTitle?: string;
  rows: MatrixRow[];
  /** Low shares are warnings. */
  isJudged?: boolean;
  chosen?: string | undefined;
  onChoose?: (id: string) => void;
  keys?: JSX.Element;
  /** Where not all columns fit, the last ones are seen first. */
  fromEnd?: boolean;
}

const ROWS_SHOWN = 40;
/** Narrow columns that a label takes. */
const LABEL_COLUMNS = 4;
/** What a table takes at least, before it scrolls. */
const [LABEL_PX, CELL_PX, NARROW_PX] = [200, 23, 9];

const level = (cell: Cell, isJudged: boolean): string =>
  cell.look !== "bar" || !isJudged ? "" : 0.95 <= (cell.share ?? 0) ? "good" : 0.8 <= (cell.share ?? 0) ? "fair" : "poor";

export function Matrix(props: MatrixProps) {
  let holder!: HTMLDivElement;
  const columns = createMemo(() => props.columns); // each cell looks at them
  const [most, setMost] = createSignal(ROWS_SHOWN);
  const [told, setTold] = createSignal<string>();
  const rows = createMemo(() => props.rows.slice(0, most()));
  const isWide = createMemo(() => columns().length <= 31);
  /** A column that says nothing stands under the one before it. */
  const heads = () => {
    const heads: { text: string; title: string; span: number }[] = [];
    for (const column of columns()) {
      const last = heads.at(-1);
      if (column.text === "" && last !== undefined) last.span += 1;
      else heads.push({ ...column, span: 1 });
    }
    const last = heads.at(-1);
    return last === undefined || isWide() || LABEL_COLUMNS <= last.span ? heads : [...heads.slice(0, -1), { ...last, text: "" }];
  };
  let at: { row: number; column: number } | undefined;

  function point(row: number, column: number): void {
    holder.querySelector("td.at")?.classList.remove("at");
    const [of, cell] = [rows()[row], rows()[row]?.cells[column]];
    if (of === undefined || cell === undefined) return;
    at = { row, column };
    const element = holder.querySelector(`td[data-at="${row},${column}"]`);
    element?.classList.add("at");
    element?.scrollIntoView({ block: "nearest", inline: "nearest" });
    setTold(`${of.title}, ${columns()[column]?.title}: ${cell.told}`);
  }

  function key(event: KeyboardEvent): void {
    if (event.target !== holder || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = event.shiftKey ? 10 : 1;
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [0, -by],
      ArrowRight: [0, by],
      ArrowUp: [-by, 0],
      ArrowDown: [by, 0],
      Home: [0, -columns().length],
      End: [0, columns().length],
    };
    if (event.key === "Enter" && at !== undefined) return props.onChoose?.(rows()[at.row]!.id);
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const inside = (value: number, length: number) => Math.min(Math.max(value, 0), length - 1);
    if (at === undefined) point(0, 0);
    else point(inside(at.row + move[0], rows().length), inside(at.column + move[1], columns().length));
  }

  onMount(() => {
    if (props.fromEnd) holder.scrollLeft = holder.scrollWidth;
  });

  const hover = (event: PointerEvent) => {
    const place = (event.target as HTMLElement).closest<HTMLElement>("td[data-at]")?.dataset["at"]?.split(",").map(Number);
    if (place === undefined) return;
    holder.querySelector("td.at")?.classList.remove("at");
    at = { row: place[0]!, column: place[1]! };
    const [of, cell] = [rows()[at.row], rows()[at.row]?.cells[at.column]];
    if (of !== undefined && cell !== undefined) setTold(`${of.title}, ${columns()[at.column]?.title}: ${cell.told}`);
  };
  return (
    <div class="matrix" classList={{ narrow: !isWide() }}>
      <div class="keys">{props.keys}</div>
      <div ref={holder} class="scroll" tabindex="0" role="region" aria-label={`${props.label}. ${common().chartKeys.split(",")[0]}.`} onKeyDown={key} onPointerOver={hover}>
        <table style={{ "min-width": `${LABEL_PX + columns().length * (isWide() ? CELL_PX : NARROW_PX)}px` }}>
          <caption class="unseen">{props.label}</caption>
          <thead>
            <tr>
              <th scope="col" class="rows">{props.rowsTitle}</th>
              <For each={heads()}>{(head) => <th scope="col" class="column" colspan={head.span} title={head.title}>{head.text}</th>}</For>
              <Show when={props.sumTitle}><th scope="col" class="number sum">{props.sumTitle}</th></Show>
            </tr>
          </thead>
          <tbody>
            <For each={rows()}>
              {(row, index) => (
                <tr classList={{ chosen: row.id === props.chosen }}>
                  <th scope="row" title={row.title}>
                    <Show when={props.onChoose} fallback={row.title}>
                      <button type="button" class="quiet" aria-pressed={row.id === props.chosen} onClick={() => props.onChoose?.(row.id)}>{row.title}</button>
                    </Show>
                  </th>
                  <For each={row.cells}>
                    {(cell, column) => (
                      <td class={`cell ${cell.look} ${level(cell, props.isJudged === true)}`} data-at={`${index()},${column()}`} style={{ "--share": `${(cell.share ?? 0) * 100}%` }}>
                        <Show when={isWide() && cell.text} fallback={<span class="unseen">{isWide() ? cell.told : `${columns()[column()]?.title}: ${cell.told}`}</span>}><span class="text">{cell.text}</span></Show>
                      </td>
                    )}
                  </For>
                  <Show when={props.sumTitle}><td class="number">{row.sum}</td></Show>
                </tr>
              )}
            </For>
          </tbody>
        </table>
      </div>
      <output class="readout" aria-live="polite">{told() ?? " "}</output>
      <Show when={most() < props.rows.length}>
        <button type="button" class="quiet" onClick={() => setMost((most) => most + 5 * ROWS_SHOWN)}>{common().more(number(props.rows.length - most()))}</button>
      </Show>
    </div>
  );
}
