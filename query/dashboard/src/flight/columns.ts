/** Columns of an answer by their names. */

import type { Column, Table } from "./arrow";

const missing = (name: string): never => {
  throw new Error(`the answer has no column ${name}`);
};

const column = (table: Table, name: string): Column => table.columns.find((column) => column.name === name) ?? missing(name);

/** Numbers, flags or times (milliseconds since 1970); NaN is what is missing. */
export function numbers(table: Table, name: string): Float64Array {
  const { kind, values } = column(table, name);
  return kind === "text" ? Float64Array.from(values, (value) => (value === null ? Number.NaN : Number(value))) : values;
}

export function texts(table: Table, name: string): (string | null)[] {
  const { kind, values } = column(table, name);
  return kind === "text" ? values : Array.from(values, (value) => (Number.isNaN(value) ? null : `${value}`));
}

/** A column of every row, or of those that `keep` takes. */
export const where = (table: Table, keep: (row: number) => boolean): number[] =>
  Array.from({ length: table.rows }, (_, row) => row).filter(keep);

export const has = (table: Table, name: string): boolean => table.columns.some((column) => column.name === name);
