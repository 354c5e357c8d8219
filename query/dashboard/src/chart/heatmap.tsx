/** Numbers over time and place, as colours: one cell a bucket and row. */

import { createEffect, createSignal, For, type JSX, onCleanup, onMount, Show } from "solid-js";
import { dayOf, shortDayOf, timeOf } from "../city/format";
import { clock, units } from "../city/session";
import { shownUnit } from "../city/unit";
import { common } from "../words/common";
import { number, percent } from "../words/language";
import { classCss, sequential, sequentialCss, themed } from "./colour";
import { hatch } from "./hatch";
import { timeTicks } from "./ticks";

/** `left` is as wide as the labels are, between two bounds. */
const MARGIN = { left: { least: 48, most: 190 }, right: 12, top: 8, bottom: 26 };
const LEGEND_STEPS = 5;

export interface HeatmapProps {
  label: string;
  /** Begins of the columns, in milliseconds since 1970. */
  times: ArrayLike<number>;
  /** End of the last column. */
  until: number;
  /** From top to bottom; `size` is how much of the height a row takes, such as metres. */
  rows: { label: string; size?: number }[];
  /** `values[row][column]` in the storage unit; NaN is missing. */
  values: ArrayLike<number>[];
  unit: string;
  /** Values are shares, and told as percent. */
  isShare?: boolean;
  /** What the scale begins and ends with; by itself the extremes. */
  low?: number;
  high?: number;
  /** Colours of classes, from bad to good, instead of a scale: five borders between six of them, and what each is. */
  classes?: { borders: number[]; titles: string[] };
  height?: number;
  /** What is told about the rows, such as the direction of travel. */
  rowsLabel?: string;
  /** Signs on cells, such as an incident: a column's time, a row, and a word. */
  marks?: { time: number; row: number; text: string }[];
  /** Outlines of some time and some rows, such as a queue: with a word, too. */
  areas?: { from: number; to: number; first: number; last: number; text: string }[];
  /** What marks and outlines mean. */
  keys?: JSX.Element;
  /** A cell was chosen, by pointer or Enter. */
  onChoose?: (row: number, column: number) => void;
}

export function Heatmap(props: HeatmapProps) {
  let holder!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  let left = MARGIN.left.least; // where the cells begin
  const [width, setWidth] = createSignal(0);
  const [cell, setCell] = createSignal<{ row: number; column: number }>();
  const height = () => props.height ?? Math.max(180, Math.min(props.rows.length * 26, 520)) + MARGIN.top + MARGIN.bottom;
  const unit = () => shownUnit(props.unit, units());

  const scale = () => {
    let [low, high] = [props.low ?? Number.POSITIVE_INFINITY, props.high ?? Number.NEGATIVE_INFINITY];
    for (const row of props.values) {
      for (let at = 0; at < row.length; at++) {
        const value = row[at]!;
        if (props.low === undefined && value < low) low = value;
        if (props.high === undefined && high < value) high = value;
      }
    }
    return low < high ? { low, high } : { low: Number.isFinite(low) ? low : 0, high: (Number.isFinite(low) ? low : 0) + 1 };
  };

  /** Upper edges of the rows and the lower one of the last, in pixels. */
  const edges = () => {
    const all = props.rows.reduce((sum, row) => sum + (row.size ?? 1), 0) || 1;
    const inner = height() - MARGIN.top - MARGIN.bottom;
    let at = MARGIN.top;
    return [at, ...props.rows.map((row) => (at += ((row.size ?? 1) / all) * inner))];
  };

  const x = (time: number) => {
    const from = props.times[0] ?? 0;
    return left + ((time - from) / (props.until - from || 1)) * (width() - left - MARGIN.right);
  };

  const end = (column: number) => (column + 1 < props.times.length ? props.times[column + 1]! : props.until);

  function colour(value: number, low: number, high: number): string {
    const { classes } = props;
    if (classes !== undefined) return classCss(classes.borders.filter((border) => border < value).length);
    return `rgb(${sequential((value - low) / (high - low)).join(" ")})`;
  }

  function draw(): void {
    const ratio = devicePixelRatio;
    canvas.width = Math.round(width() * ratio);
    canvas.height = Math.round(height() * ratio);
    const ctx = canvas.getContext("2d")!;
    ctx.scale(ratio, ratio);
    ctx.font = `12px ${getComputedStyle(holder).fontFamily}`;
    const widest = Math.max(0, ...props.rows.map((row) => ctx.measureText(row.label).width));
    left = Math.min(Math.max(widest + 12, MARGIN.left.least), MARGIN.left.most, width() * 0.32);
    const [ink, rule] = [themed("--ink-soft"), themed("--rule-strong")];
    const { low, high } = scale();
    const tops = edges();
    const right = width() - MARGIN.right;
    for (let row = 0; row < props.rows.length; row++) {
      const [top, bottom] = [tops[row]!, tops[row + 1]!];
      hatch(ctx, left, top, right - left, bottom - top, rule);
      for (let column = 0; column < props.times.length; column++) {
        const value = props.values[row]?.[column] ?? Number.NaN;
        if (Number.isNaN(value)) continue;
        ctx.fillStyle = colour(value, low, high);
        const begin = Math.floor(x(props.times[column]!));
        ctx.fillRect(begin, Math.floor(top), Math.ceil(x(end(column))) - begin, Math.ceil(bottom) - Math.floor(top));
      }
    }
    ctx.fillStyle = ink;
    ctx.textBaseline = "middle";
    ctx.textAlign = "right";
    let last = -20;
    props.rows.forEach((row, at) => {
      const middle = (tops[at]! + tops[at + 1]!) / 2;
      if (middle - last < 15) return; // labels must not lie on each other
      ctx.fillText(clipped(ctx, row.label, left - 10), left - 6, middle);
      last = middle;
    });
    ctx.textAlign = "center";
    const from = props.times[0] ?? 0;
    for (const tick of timeTicks(clock(), from, props.until, Math.max(2, width() / 85)).at) {
      ctx.fillRect(Math.round(x(tick)), height() - MARGIN.bottom, 1, 4);
      ctx.fillText(clock().minuteOfDay(tick) === 0 ? shortDayOf(tick) : timeOf(tick), Math.min(Math.max(x(tick), 22), right - 10), height() - 12);
    }
    for (const { from, to, first, last } of props.areas ?? []) {
      const [begin, top, bottom] = [Math.max(x(from), left), tops[first]!, tops[last + 1]!];
      const [across, down] = [Math.max(Math.min(x(to), right) - begin, 4), bottom - top];
      for (const [wide, ink] of [[5, "--paper"], [2, "--alarm"]] as const) {
        ctx.lineWidth = wide;
        ctx.strokeStyle = themed(ink);
        ctx.strokeRect(begin, top + 2, across, down - 4);
      }
    }
    for (const { time, row } of props.marks ?? []) {
      const [across, top] = [x(time), (tops[row]! + tops[row + 1]!) / 2];
      ctx.beginPath();
      ctx.moveTo(across, top - 8);
      ctx.lineTo(across + 8, top + 6);
      ctx.lineTo(across - 8, top + 6);
      ctx.closePath();
      ctx.fillStyle = themed("--alarm");
      ctx.strokeStyle = themed("--paper");
      ctx.lineWidth = 2;
      ctx.stroke();
      ctx.fill();
    }
    const chosen = cell();
    if (chosen !== undefined && chosen.column < props.times.length && chosen.row < props.rows.length) {
      const begin = x(props.times[chosen.column]!);
      ctx.lineWidth = 2;
      for (const [inset, colour] of [[0, themed("--paper")], [2, themed("--ink")]] as const) {
        ctx.strokeStyle = colour;
        ctx.strokeRect(begin - 1 + inset, tops[chosen.row]! - 1 + inset, Math.max(x(end(chosen.column)) - begin, 4) + 2 - 2 * inset, tops[chosen.row + 1]! - tops[chosen.row]! + 2 - 2 * inset);
      }
    }
  }

  onMount(() => {
    const watch = new ResizeObserver(() => setWidth(holder.clientWidth));
    watch.observe(holder);
    const theme = matchMedia("(prefers-color-scheme: dark)");
    theme.addEventListener("change", draw);
    createEffect(() => 0 < width() && draw());
    onCleanup(() => {
      watch.disconnect();
      theme.removeEventListener("change", draw);
    });
  });

  function point(event: PointerEvent): void {
    const box = canvas.getBoundingClientRect();
    const [across, top] = [event.clientX - box.left, event.clientY - box.top];
    const tops = edges();
    const row = tops.findLastIndex((edge) => edge <= top);
    let column = props.times.length - 1;
    while (0 <= column && across < x(props.times[column]!)) column--;
    setCell(0 <= row && row < props.rows.length && 0 <= column && across < width() - MARGIN.right ? { row, column } : undefined);
  }

  function choose(): void {
    const chosen = cell();
    if (chosen !== undefined) props.onChoose?.(chosen.row, chosen.column);
  }

  function key(event: KeyboardEvent): void {
    const { row, column } = cell() ?? { row: 0, column: 0 };
    const by = event.shiftKey ? 10 : 1;
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [0, -by],
      ArrowRight: [0, by],
      ArrowUp: [-by, 0],
      ArrowDown: [by, 0],
      Home: [0, -props.times.length],
      End: [0, props.times.length],
    };
    if (event.key === "Enter") return choose();
    const move = moves[event.key];
    if (move === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const inside = (at: number, length: number) => Math.min(Math.max(at, 0), length - 1);
    setCell(cell() === undefined ? { row: 0, column: 0 } : { row: inside(row + move[0], props.rows.length), column: inside(column + move[1], props.times.length) });
  }

  const told = () => {
    const chosen = cell();
    const time = chosen && props.times[chosen.column];
    if (chosen === undefined || time === undefined) return undefined;
    const value = props.values[chosen.row]?.[chosen.column] ?? Number.NaN;
    const isIn = (from: number, to: number) => from < end(chosen.column) && time < to;
    const marks = (props.marks ?? []).filter((mark) => mark.row === chosen.row && isIn(mark.time, mark.time + 1));
    const areas = (props.areas ?? []).filter(({ from, to, first, last }) => first <= chosen.row && chosen.row <= last && isIn(from, to));
    const said = [...marks, ...areas].map((one) => ` · ${one.text}`).join("");
    const text = Number.isNaN(value) ? common().noData : props.isShare ? percent(value) : `${number(value * unit().factor, 1)} ${unit().text}`;
    return `${props.rows[chosen.row]?.label}, ${dayOf(time)} ${timeOf(time)}: ${text}${said}`;
  };

  function Scale() {
    const end = (of: "low" | "high") => number(scale()[of] * unit().factor, 1);
    return (
      <span class="key">
        {end("low")}
        <svg width="120" height="12" aria-hidden="true">
          <For each={Array.from({ length: LEGEND_STEPS * 4 }, (_, at) => at)}>
            {(at) => <rect x={at * 6} width="6.5" height="12" fill={sequentialCss(at / (LEGEND_STEPS * 4 - 1))} />}
          </For>
        </svg>
        {end("high")} {unit().text}
      </span>
    );
  }

  return (
    <div class="heatmap">
      <div class="keys">
        <Show when={props.classes} fallback={<Scale />}>
          {(classes) => (
            <For each={classes().titles}>
              {(title, at) => (
                <span class="key">
                  <svg width="14" height="12" aria-hidden="true">
                    <rect width="14" height="12" fill={classCss(at())} />
                  </svg>
                  {title}
                </span>
              )}
            </For>
          )}
        </Show>
        <span class="key">{common().noDataHatched}</span>
        <Show when={props.rowsLabel}>
          <span class="key">{props.rowsLabel}</span>
        </Show>
        {props.keys}
      </div>
      <div
        ref={holder}
        class="canvas"
        tabindex="0"
        role="group"
        aria-label={props.label}
        onKeyDown={key}
        onPointerMove={point}
        onPointerLeave={() => setCell(undefined)}
        onClick={choose}
        style={{ height: `${height()}px` }}
      >
        <canvas ref={canvas} aria-hidden="true" />
      </div>
      <output class="readout" aria-live="polite">
        {told() ?? " "}
      </output>
    </div>
  );
}

function clipped(ctx: CanvasRenderingContext2D, text: string, width: number): string {
  if (ctx.measureText(text).width <= width) return text;
  let length = text.length;
  while (1 < length && width < ctx.measureText(`${text.slice(0, length)}…`).width) length--;
  return `${text.slice(0, length)}…`;
}
