/** Lines over time: by mouse, touch and keyboard. */

import "uplot/dist/uPlot.min.css";
import { createEffect, createMemo, createSignal, For, onCleanup, onMount, Show } from "solid-js";
import uPlot from "uplot";
import { dayOf, shortDayOf, timeOf } from "../city/format";
import { clock, units } from "../city/session";
import { shownUnit } from "../city/unit";
import { common } from "../words/common";
import { number } from "../words/language";
import { LINES, themed } from "./colour";
import { hatch } from "./hatch";
import { numberTicks, timeTicks } from "./ticks";

const DAY_MS = 86_400_000;

export interface Line {
  label: string;
  /** In the storage unit; NaN is missing, and drawn as a gap; infinite where only other lines have a point. */
  values: ArrayLike<number>;
  /** `usual`: thinner, behind; `edge`: of a band, hardly seen by itself. */
  weight?: "usual" | "edge";
  /** Which of sixteen pairs of colour and dash: the first four differ in both. */
  style?: number;
  digits?: number;
}

export interface PlotProps {
  label: string;
  /** Milliseconds since 1970, rising. */
  times: ArrayLike<number>;
  lines: Line[];
  /** In UCUM, of all lines. */
  unit: string;
  /** What is filled between two lines, by their places: the upper first. */
  band?: [number, number];
  /** Where values stand for an interval from their time on, it is drawn as a step. */
  isStepped?: boolean;
  /** The axis begins at zero, as that of every amount. */
  fromZero?: boolean;
  /** Times that are shown, also where nothing is known. */
  range?: { from: number; to: number };
  /** From then on nothing can be known yet, and nothing is hatched. */
  knownUntil?: number;
  height?: number;
  /** Marks with a word each, such as a repair. */
  marks?: { time: number; text: string }[];
}

const DASHES: number[][] = [[], [7, 4], [2, 3], [9, 3, 2, 3]];

const colourOf = (style = 0) => LINES[style % LINES.length]!;
const dashOf = (style = 0) => DASHES[(style + Math.floor(style / LINES.length)) % DASHES.length]!;
const ZOOM = 0.6;

export function Plot(props: PlotProps) {
  let holder!: HTMLDivElement;
  let chart: uPlot | undefined;
  const [at, setAt] = createSignal<number>();
  // Read while it is drawn, where nothing may be computed anew.
  const marked = createMemo(() => props.marks ?? []);
  const whole = () => props.range ?? { from: props.times[0] ?? 0, to: props.times[props.times.length - 1] ?? 1 };
  const unit = () => shownUnit(props.unit, units());
  const shown = (value: number | undefined, digits = 1) => (value === undefined || !Number.isFinite(value) ? "–" : number(value * unit().factor, digits));

  function options(width: number): uPlot.Options {
    const [ink, faint] = [themed("--ink-soft"), themed("--rule")];
    const font = `12px ${getComputedStyle(holder).fontFamily}`;
    const axis = { stroke: ink, font, grid: { stroke: faint, width: 1 }, ticks: { stroke: faint, width: 1, size: 4 } };
    return {
      width,
      height: props.height ?? 260,
      ms: 1,
      legend: { show: false },
      cursor: { y: false, drag: { x: true, y: false }, points: { size: 7 } },
      scales: {
        x: { time: false, range: (_, low, high) => (low === high ? [whole().from, whole().to] : [low, high]) },
        y: { range: (_, low, high) => span(low, high, props.fromZero === true) },
      },
      axes: [
        { ...axis, space: 70, splits: (self, _, from, to) => timeTicks(clock(), from, to, Math.max(2, self.width / 85)).at, values: (_, ticks) => ticks.map((tick) => timeLabel(tick, ticks)) },
        { ...axis, size: (_, texts) => axisSize(texts), label: unit().text, labelFont: font, labelSize: 18, splits: (self, _, low, high) => numberTicks(low, high, Math.max(2, self.height / 55)), values: (_, ticks) => ticks.map((tick) => number(tick, 3)) },
      ],
      series: [{}, ...props.lines.map(series)],
      bands: props.band === undefined ? [] : [{ series: [props.band[0] + 1, props.band[1] + 1], fill: themed("--band") }],
      hooks: {
        drawClear: [(self) => missing(self)],
        draw: [(self) => marks(self)],
        setCursor: [(self) => setAt(typeof self.cursor.idx === "number" ? Math.floor(self.cursor.idx / each()) : undefined)],
      },
    };
  }

  function series(line: Line): uPlot.Series {
    return {
      label: line.label,
      stroke: themed(colourOf(line.style)),
      width: line.weight === "edge" ? 1 : line.weight === "usual" ? 1.5 : 2.25,
      dash: dashOf(line.style),
      spanGaps: false,
      points: { show: props.times.length < 3 },
    };
  }

  function timeLabel(tick: number, ticks: number[]): string {
    const step = ticks.length < 2 ? 0 : ticks[1]! - ticks[0]!;
    return DAY_MS * 0.9 <= step || clock().minuteOfDay(tick) === 0 ? shortDayOf(tick) : timeOf(tick);
  }

  /** Where the first line knows nothing is hatched: what is missing is no zero. */
  function missing(self: uPlot): void {
    const [values] = props.lines.map((line) => line.values);
    if (values === undefined) return;
    const { left, top, width, height } = self.bbox;
    const x = (index: number) => self.valToPos(index < props.times.length ? props.times[index]! : whole().to, "x", true);
    for (let from = 0; from < values.length; from++) {
      if (!Number.isNaN(values[from]!)) continue;
      let to = from;
      while (to + 1 < values.length && Number.isNaN(values[to + 1]!)) to++;
      const known = props.knownUntil === undefined ? Number.POSITIVE_INFINITY : self.valToPos(props.knownUntil, "x", true);
      const [begin, end] = [Math.max(x(from), left), Math.min(x(to + 1), left + width, known)];
      if (begin < end) hatch(self.ctx, begin, top, end - begin, height, themed("--rule-strong"));
      from = to;
    }
  }

  function marks(self: uPlot): void {
    const { left, top, width, height } = self.bbox;
    const { ctx } = self;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = themed("--alarm");
    for (const { time } of marked()) {
      const x = self.valToPos(time, "x", true);
      if (x < left || left + width < x) continue;
      ctx.setLineDash([4, 4]);
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(x - 6, top);
      ctx.lineTo(x + 6, top);
      ctx.lineTo(x, top + 9);
      ctx.fill();
    }
    ctx.restore();
  }

  /** Points of the library for one of ours: a step has a begin and an end, so that it is seen beside a gap, too. */
  const each = () => (props.isStepped ? 2 : 1);

  function data(): uPlot.AlignedData {
    const { factor } = unit();
    const times = Array.from(props.times);
    let width = whole().to - (times[0] ?? 0);
    for (let next = 1; next < times.length; next++) width = Math.min(width, times[next]! - times[next - 1]!);
    const edges = props.isStepped ? times.flatMap((time) => [time, time + width - 1]) : times;
    const column = (values: ArrayLike<number>) => edges.map((_, at) => {
      const value = values[Math.floor(at / each())]!;
      return Number.isNaN(value) ? null : Number.isFinite(value) ? value * factor : undefined;
    });
    return [edges, ...props.lines.map((line) => column(line.values))];
  }

  onMount(() => {
    const watch = new ResizeObserver(() => chart?.setSize({ width: holder.clientWidth, height: props.height ?? 260 }));
    watch.observe(holder);
    const theme = matchMedia("(prefers-color-scheme: dark)");
    const [dark, setDark] = createSignal(theme.matches);
    const changed = () => setDark(theme.matches);
    theme.addEventListener("change", changed);
    createEffect(() => {
      dark();
      chart?.destroy();
      chart = new uPlot(options(holder.clientWidth), data(), holder);
      if (props.range !== undefined) chart.setScale("x", { min: whole().from, max: whole().to });
    });
    // Marks may come later than the lines.
    createEffect(() => {
      marked();
      chart?.redraw(false);
    });
    onCleanup(() => {
      watch.disconnect();
      theme.removeEventListener("change", changed);
      chart?.destroy();
    });
  });

  function zoom(factor: number, move = 0): void {
    if (chart === undefined) return;
    const { min = whole().from, max = whole().to } = chart.scales["x"]!;
    const [from, to] = [min ?? whole().from, max ?? whole().to];
    const index = at();
    const middle = index === undefined ? (from + to) / 2 : props.times[index]!;
    const width = Math.min((to - from) * factor, whole().to - whole().from);
    const begin = middle - ((middle - from) / (to - from)) * width + move * (to - from);
    const low = Math.min(Math.max(begin, whole().from), whole().to - width);
    chart.setScale("x", { min: low, max: low + width });
  }

  const all = () => chart?.setScale("x", { min: whole().from, max: whole().to });

  function step(by: number): void {
    if (chart === undefined || props.times.length === 0) return;
    const index = Math.min(Math.max((at() ?? (by < 0 ? props.times.length : -1)) + by, 0), props.times.length - 1);
    chart.setCursor({ left: chart.valToPos(props.times[index]!, "x"), top: 10 });
    setAt(index);
  }

  function key(event: KeyboardEvent): void {
    const actions: Record<string, () => void> = {
      ArrowLeft: () => step(event.shiftKey ? -10 : -1),
      ArrowRight: () => step(event.shiftKey ? 10 : 1),
      Home: () => step(-props.times.length),
      End: () => step(props.times.length),
      "+": () => zoom(ZOOM),
      "-": () => zoom(1 / ZOOM),
      "0": all,
    };
    const action = actions[event.key];
    if (action === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  }

  const now = () => {
    const index = at();
    return index === undefined || props.times.length <= index ? undefined : index;
  };
  return (
    <div class="plot">
      <div class="keys">
        <For each={props.lines}>
          {(line) => (
            <span class="key">
              <svg width="26" height="10" aria-hidden="true">
                <line x1="0" y1="5" x2="26" y2="5" stroke={`var(${colourOf(line.style)})`} stroke-width={line.weight === undefined ? 2.5 : 1.5} stroke-dasharray={dashOf(line.style).join(" ")} />
              </svg>
              {line.label} <b>{now() === undefined ? "" : `${shown(line.values[now()!], line.digits)} ${unit().text}`}</b>
            </span>
          )}
        </For>
        <span class="key">{common().noDataHatched}</span>
        <span class="buttons">
          <button type="button" class="quiet" aria-label={common().panLeft} title={common().panLeft} onClick={() => zoom(1, -0.3)}>←</button>
          <button type="button" class="quiet" aria-label={common().panRight} title={common().panRight} onClick={() => zoom(1, 0.3)}>→</button>
          <button type="button" class="quiet" aria-label={common().zoomOut} title={common().zoomOut} onClick={() => zoom(1 / ZOOM)}>−</button>
          <button type="button" class="quiet" aria-label={common().zoomIn} title={common().zoomIn} onClick={() => zoom(ZOOM)}>+</button>
          <button type="button" class="quiet" aria-label={common().zoomAll} title={common().zoomAll} onClick={all}>⤢</button>
        </span>
      </div>
      <div class="canvas" ref={holder} tabindex="0" role="group" aria-label={`${props.label}. ${common().chartKeys}`} onKeyDown={key} />
      <output class="readout" aria-live="polite">
        <Show when={now() !== undefined} fallback={" "}>
          {`${dayOf(props.times[now()!]!)}, ${timeOf(props.times[now()!]!)} · ${props.lines.map((line) => `${line.label} ${shown(line.values[now()!], line.digits)}`).join(" · ")} ${unit().text}`}
        </Show>
      </output>
      <Show when={0 < marked().length}>
        <ul class="marks">
          <For each={marked()}>{(mark) => <li>▼ {dayOf(mark.time)}, {timeOf(mark.time)}: {mark.text}</li>}</For>
        </ul>
      </Show>
    </div>
  );
}

/** Pixels that the longest number beside an axis needs, at 12 px. */
const axisSize = (texts: string[] | null): number => Math.max(58, 16 + 7 * Math.max(0, ...(texts ?? []).map((text) => text.length)));

/** What the axis of values shows: with some air, and never upside down. */
function span(low: number | null, high: number | null, fromZero: boolean): [number, number] {
  if (low === null || high === null) return [0, 1];
  const bottom = fromZero ? Math.min(0, low) : low;
  const air = (high - bottom || Math.abs(high) || 1) * 0.06;
  return [bottom === 0 ? 0 : bottom - air, high + air];
}
