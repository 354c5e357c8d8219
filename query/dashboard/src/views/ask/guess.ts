/** How an answer is drawn, where nobody says it: lines over time, bars of categories. Pure. */

import type { Column, Table } from "../../flight/arrow";

/** Lines in one chart that can be told apart. */
export const LINES_MAX = 8;
/** Bars that can be read. */
export const BARS_MAX = 40;
/** More rows than that are no chart of bars. */
const CATEGORIES_MAX = 400;

export interface Drawing {
  x: string;
  y: string[];
  /** Whose every value is a line of its own. */
  split: string | undefined;
}

export interface Drawn {
  label: string;
  values: Float64Array;
}

const named = (table: Table, name: string | undefined): Column | undefined => table.columns.find((column) => column.name === name);

/** Names that number things, and are no amounts. */
const isCode = (name: string): boolean => /^(id|lane|epoch|event_id|quality|interval_s|.*_seq)$/.test(name);

export const timeColumns = (table: Table): string[] => table.columns.filter((column) => column.kind === "time").map((column) => column.name);
export const textColumns = (table: Table): string[] => table.columns.filter((column) => column.kind === "text").map((column) => column.name);
export const amountColumns = (table: Table): string[] => table.columns.filter((column) => column.kind === "number").map((column) => column.name);

/** The unit of an amount: its own, or the one that all rows name, or all of those that `keep` takes. */
export function unitOf(table: Table, name: string, keep: (row: number) => boolean = () => true): string | undefined {
  const own = named(table, name)?.unit;
  const column = named(table, "unit");
  if (own !== undefined || column?.kind !== "text") return own;
  const all = new Set(column.values.filter((_, row) => keep(row)));
  return all.size === 1 ? ([...all][0] ?? undefined) : undefined;
}

function distinct(column: Column, most: number): Set<string | number> {
  const seen = new Set<string | number>();
  for (let row = 0; row < column.values.length && seen.size <= most; row++) {
    const value = column.values[row]!;
    if (value !== null && !Number.isNaN(value)) seen.add(value);
  }
  return seen;
}

const isKnown = (column: Column): boolean => distinct(column, 0).size !== 0;

/** The columns that a chart is made of, as chosen or else as they fit; none where there is nothing to draw. */
export function drawing(table: Table, chosen: Partial<Drawing>): Drawing | undefined {
  const amounts = table.columns.filter((column) => column.kind === "number" && !isCode(column.name) && isKnown(column));
  const asked = chosen.y?.filter((name) => named(table, name)?.kind === "number") ?? [];
  if (table.rows === 0 || (asked.length === 0 && amounts.length === 0)) return undefined;
  const x = named(table, chosen.x) ?? along(table);
  if (x === undefined) return undefined;
  const y = 0 < asked.length ? asked : together(amounts.filter((column) => column !== x));
  if (y.length === 0) return undefined;
  const split = chosen.split === "-" ? undefined : (named(table, chosen.split)?.name ?? splitting(table, x));
  return { x: x.name, y, split: x.kind === "time" ? split : undefined };
}

/** A time that moves, else the first text, in an answer that is short enough for bars. */
function along(table: Table): Column | undefined {
  const time = table.columns.find((column) => column.kind === "time" && 1 < distinct(column, 1).size);
  const first = table.columns[0];
  const category = table.rows <= CATEGORIES_MAX ? table.columns.find((column) => column.kind === "text") : undefined;
  // A list of things that begins with their names and ends with a time, such as that of the last reading, is no series.
  if (time !== undefined && category !== undefined && first?.kind === "text" && distinct(category, table.rows).size === table.rows) return category;
  return time ?? category;
}

/** Amounts that share an axis with the first of them. */
function together(amounts: Column[]): string[] {
  const [first] = amounts;
  if (first?.unit === undefined) return amounts.slice(0, 1).map((column) => column.name);
  return amounts.filter((column) => column.unit === first.unit).slice(0, 4).map((column) => column.name);
}

/** The text that tells rows of one time apart: of those that do the one with the fewest parts, else the one with most. */
function splitting(table: Table, x: Column): string | undefined {
  if (x.kind !== "time" || distinct(x, table.rows).size === table.rows) return undefined;
  const texts = table.columns.filter((column) => column.kind === "text" && 1 < distinct(column, 1).size);
  const sized = texts.map((column) => ({ name: column.name, parts: distinct(column, table.rows).size, isEnough: tellsApart(x, column) }));
  const enough = sized.filter((one) => one.isEnough).toSorted((a, b) => a.parts - b.parts);
  return (enough[0] ?? sized.toSorted((a, b) => b.parts - a.parts)[0])?.name;
}

function tellsApart(x: Column, by: Column): boolean {
  const seen = new Set<string>();
  for (let row = 0; row < x.values.length; row++) {
    const key = `${x.values[row]}\n${by.values[row]}`;
    if (seen.has(key)) return false;
    seen.add(key);
  }
  return true;
}

export interface Lines {
  times: Float64Array;
  /** By unit: each has an axis of its own. */
  charts: { unit: string | undefined; lines: Drawn[] }[];
  /** Lines that there would be. */
  all: number;
  /** Rows that fell on another row of the same time and line: the last one is drawn. */
  covered: number;
}

/** Lines over time: one for each amount and part, infinite where it has no row. Of too many, those that come first. */
export function lines(table: Table, { x, y, split }: Drawing): Lines {
  const at = named(table, x)!.values as Float64Array;
  const times = Float64Array.from(new Set(at.filter((time) => !Number.isNaN(time)))).sort();
  const place = new Map(Array.from(times, (time, index) => [time, index]));
  const parts = split === undefined ? undefined : named(table, split)!.values;
  const names = [...new Set(Array.from({ length: table.rows }, (_, row) => (parts === undefined ? "" : `${parts[row] ?? "–"}`)))];
  const kept = names.slice(0, Math.max(1, Math.floor(LINES_MAX / y.length)));
  const drawn = new Map<string, Float64Array>();
  for (const name of y) for (const part of kept) drawn.set(`${name}\n${part}`, new Float64Array(times.length).fill(Number.POSITIVE_INFINITY));
  const columns = y.map((name) => [name, named(table, name)!.values as Float64Array] as const);
  const filled = new Set<string>();
  let covered = 0;
  for (let row = 0; row < table.rows; row++) {
    const index = place.get(at[row]!);
    const part = parts === undefined ? "" : `${parts[row] ?? "–"}`;
    if (index === undefined || !kept.includes(part)) continue;
    const key = `${index}\n${part}`;
    if (filled.has(key)) covered += 1;
    filled.add(key);
    for (const [name, values] of columns) drawn.get(`${name}\n${part}`)![index] = values[row]!;
  }
  const label = (name: string, part: string) => (part === "" ? name : y.length === 1 ? part : `${name}, ${part}`);
  const isOf = (part: string) => (row: number) => parts === undefined || `${parts[row] ?? "–"}` === part;
  const each = y.flatMap((name) => kept.map((part) => ({ unit: unitOf(table, name, isOf(part)), line: { label: label(name, part), values: drawn.get(`${name}\n${part}`)! } })));
  const units = [...new Set(each.map((one) => one.unit))];
  const charts = units.map((unit) => ({ unit, lines: each.filter((one) => one.unit === unit).map((one) => one.line) }));
  return { times, charts, all: names.length * y.length, covered };
}

/** What each row is called: by the chosen column, and by other texts where that is not enough. */
export function categories(table: Table, x: string): string[] {
  const column = named(table, x)!;
  const told = (of: Column, row: number) => `${of.values[row] ?? "–"}`;
  const labels = Array.from({ length: table.rows }, (_, row) => told(column, row));
  if (new Set(labels).size === labels.length) return labels;
  const others = table.columns.filter((other) => other.kind === "text" && other.name !== x);
  return labels.map((label, row) => [label, ...others.map((other) => told(other, row))].join(" · "));
}
