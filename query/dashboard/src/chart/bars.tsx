/** Amounts of days, or of other steps that somebody counts: columns of parts, by mouse, touch and keyboard. */

import { createMemo, createSignal, createUniqueId, For, onCleanup, onMount, Show } from "solid-js";
import { dayOf, shortDayOf } from "../city/format";
import { units } from "../city/session";
import { shownUnit } from "../city/unit";
import { common } from "../words/common";
import { number } from "../words/language";
import { LINES } from "./colour";
import { DASHES, Fillings } from "./filling";
import { extent, isMissing, pieces } from "./stack";
import { numberTicks } from "./ticks";

const MARGIN = { left: 66, right: 10, top: 22, bottom: 26 };
/** Share of a column's place that stays empty. */
const AIR = 0.24;
const LABEL_PX = 52;
const NOTE_PX = 38;

type Style = 0 | 1 | 2 | 3;

export interface Part {
  label: string;
  /** In the storage unit; NaN is missing. */
  values: ArrayLike<number>;
  /** Which of the theme's lines; each has its own filling, too. */
  style: Style;
  digits?: number;
}

export interface BarsProps {
  label: string;
  /** Begins of the columns, in milliseconds since 1970. */
  times: ArrayLike<number>;
  /** What a column is called; by itself its day. */
  title?: (column: number) => string;
  /** From the bottom to the top. */
  parts: Part[];
  /** Levels over each column, such as a limit: drawn, and not added. */
  levels?: Part[];
  /** In UCUM, of all numbers. */
  unit: string;
  /** A few letters over a column. */
  notes?: (string | undefined)[];
  /** Signs over columns, such as an alarm, with a word each. */
  marks?: { column: number; text: string }[];
  /** More about a column, such as why nothing is known of it. */
  about?: (string | undefined)[];
  chosen?: number;
  /** A column was chosen, by pointer or Enter. */
  onChoose?: (column: number) => void;
  height?: number;
}

export function Bars(props: BarsProps) {
  let holder!: HTMLDivElement;
  const id = createUniqueId();
  const [width, setWidth] = createSignal(0);
  const [at, setAt] = createSignal<number>();
  const height = () => props.height ?? 260;
  const inner = () => height() - MARGIN.top - MARGIN.bottom;
  const count = () => props.times.length;
  const unit = () => shownUnit(props.unit, units());
  const levels = () => props.levels ?? [];
  const all = createMemo(() =>
    pieces(
      props.parts.map((part) => part.values),
      count(),
    ),
  );
  const span = createMemo(() =>
    extent(
      all(),
      levels().map((level) => level.values),
    ),
  );
  const step = () => Math.max(width() - MARGIN.left - MARGIN.right, 1) / Math.max(count(), 1);
  const left = (column: number) => MARGIN.left + column * step();
  const y = (value: number) => {
    const [low, high] = span();
    return MARGIN.top + ((high - value) / (high - low)) * inner();
  };
  const ticks = () => {
    const { factor } = unit();
    const [low, high] = span();
    return numberTicks(low * factor, high * factor, Math.max(2, height() / 55)).map((tick) => ({
      at: y(tick / factor),
      text: number(tick, 3),
    }));
  };
  const columns = createMemo(() => Array.from({ length: count() }, (_, column) => column));
  const missing = () =>
    columns().filter((column) =>
      isMissing(
        props.parts.map((part) => part.values),
        column,
      ),
    );
  const labelled = () => columns().filter((column) => column % Math.max(1, Math.ceil(LABEL_PX / step())) === 0);
  const top = (column: number) =>
    y(
      Math.max(
        0,
        ...all()
          .filter((piece) => piece.column === column)
          .map((piece) => piece.to),
      ),
    );
  const now = () => {
    const column = at();
    return column === undefined || count() <= column ? undefined : column;
  };

  onMount(() => {
    const watch = new ResizeObserver(() => setWidth(holder.clientWidth));
    watch.observe(holder);
    onCleanup(() => watch.disconnect());
  });

  function point(event: PointerEvent): void {
    const column = Math.floor((event.clientX - holder.getBoundingClientRect().left - MARGIN.left) / step());
    setAt(0 <= column && column < count() ? column : undefined);
  }

  function key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || count() === 0) return;
    const moves: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, Home: -count(), End: count() };
    const move = moves[event.key];
    if (event.key === "Enter" && now() !== undefined) return props.onChoose?.(now()!);
    if (move === undefined) return;
    event.preventDefault();
    setAt(Math.min(Math.max((now() ?? (move < 0 ? count() : -1)) + move, 0), count() - 1));
  }

  const title = (column: number) => props.title?.(column) ?? dayOf(props.times[column]!);
  const value = (part: Part, column: number) => {
    const value = part.values[column] ?? Number.NaN;
    return Number.isNaN(value) ? common().noData : `${number(value * unit().factor, part.digits ?? 1)} ${unit().text}`;
  };
  const told = () => {
    const column = now();
    if (column === undefined) return undefined;
    const parts = [...props.parts, ...levels()].map((part) => `${part.label} ${value(part, column)}`);
    const marks = (props.marks ?? []).filter((mark) => mark.column === column).map((mark) => `▼ ${mark.text}`);
    return `${title(column)}: ${[...parts, ...marks, props.about?.[column]].filter((text) => text !== undefined).join(" · ")}`;
  };
  return (
    <div class="bars">
      <div class="keys">
        <For each={props.parts}>
          {(part) => (
            <span class="key">
              <svg width="26" height="14" aria-hidden="true">
                <rect width="26" height="14" fill={`url(#${id}-${part.style})`} stroke={`var(${LINES[part.style]})`} />
              </svg>
              {part.label}
            </span>
          )}
        </For>
        <For each={levels()}>
          {(level) => (
            <span class="key">
              <svg width="26" height="10" aria-hidden="true">
                <line
                  x1="0"
                  y1="5"
                  x2="26"
                  y2="5"
                  stroke={`var(${LINES[level.style]})`}
                  stroke-width="2.5"
                  stroke-dasharray={DASHES[level.style]}
                />
              </svg>
              {level.label}
            </span>
          )}
        </For>
        <span class="key">{common().noDataHatched}</span>
      </div>
      <div
        ref={holder}
        class="canvas"
        classList={{ chooses: props.onChoose !== undefined }}
        tabindex="0"
        role="group"
        aria-label={`${props.label}. ${common().barKeys}`}
        onKeyDown={key}
        onPointerMove={point}
        onPointerLeave={() => setAt(undefined)}
        onClick={() => now() !== undefined && props.onChoose?.(now()!)}
        style={{ height: `${height()}px` }}
      >
        <svg width={width()} height={height()} aria-hidden="true">
          <Fillings id={id} />
          <For each={ticks()}>
            {(tick) => (
              <>
                <line x1={MARGIN.left} x2={width() - MARGIN.right} y1={tick.at} y2={tick.at} stroke="var(--rule)" />
                <text class="tick" x={MARGIN.left - 6} y={tick.at + 4} text-anchor="end">
                  {tick.text}
                </text>
              </>
            )}
          </For>
          <text class="tick" x={4} y={13}>
            {unit().text}
          </text>
          <For each={missing()}>
            {(column) => (
              <rect x={left(column)} y={MARGIN.top} width={step()} height={inner()} fill={`url(#${id}-missing)`} />
            )}
          </For>
          <Show when={now() !== undefined}>
            <rect class="at" x={left(now()!)} y={MARGIN.top - 4} width={step()} height={inner() + 8} />
          </Show>
          <For each={all()}>
            {(piece) => (
              <rect
                x={left(piece.column) + (step() * AIR) / 2}
                width={Math.max(step() * (1 - AIR), 1)}
                y={Math.min(y(piece.from), y(piece.to))}
                height={Math.max(Math.abs(y(piece.to) - y(piece.from)), 1)}
                fill={`url(#${id}-${props.parts[piece.part]!.style})`}
                stroke={`var(${LINES[props.parts[piece.part]!.style]})`}
              />
            )}
          </For>
          <For each={levels()}>
            {(level) => (
              <For each={columns().filter((column) => !Number.isNaN(level.values[column] ?? Number.NaN))}>
                {(column) => (
                  // With a border, as it may lie on a column.
                  <For each={[{ stroke: "var(--paper)", width: 5.5, dash: "" }, lineOf(level.style)]}>
                    {(line) => (
                      <line
                        x1={left(column)}
                        x2={left(column) + step()}
                        y1={y(level.values[column]!)}
                        y2={y(level.values[column]!)}
                        stroke={line.stroke}
                        stroke-width={line.width}
                        stroke-dasharray={line.dash}
                      />
                    )}
                  </For>
                )}
              </For>
            )}
          </For>
          <line x1={MARGIN.left} x2={width() - MARGIN.right} y1={y(0)} y2={y(0)} stroke="var(--control)" />
          <Show when={NOTE_PX <= step()}>
            <For each={columns()}>
              {(column) => (
                <text class="note" x={left(column) + step() / 2} y={top(column) - 5} text-anchor="middle">
                  {props.notes?.[column] ?? ""}
                </text>
              )}
            </For>
          </Show>
          <For each={props.marks}>
            {(mark) => (
              <path class="mark" d={`M${left(mark.column) + step() / 2 - 7} ${top(mark.column) - 14} h14 l-7 11 z`} />
            )}
          </For>
          <Show when={props.chosen !== undefined && 0 <= props.chosen}>
            <rect
              class="chosen"
              x={left(props.chosen!) + 1}
              y={MARGIN.top - 4}
              width={Math.max(step() - 2, 2)}
              height={inner() + 8}
            />
          </Show>
          <For each={labelled()}>
            {(column) => (
              <text class="tick" x={left(column) + step() / 2} y={height() - 8} text-anchor="middle">
                {shortDayOf(props.times[column]!)}
              </text>
            )}
          </For>
        </svg>
      </div>
      <output class="readout" aria-live="polite">
        {told() ?? " "}
      </output>
      <Show when={props.marks?.length}>
        <ul class="marks">
          <For each={props.marks}>
            {(mark) => (
              <li>
                ▼ {title(mark.column)}: {mark.text}
              </li>
            )}
          </For>
        </ul>
      </Show>
    </div>
  );
}

const lineOf = (style: Style) => ({ stroke: `var(${LINES[style]})`, width: 2.5, dash: DASHES[style]! });
