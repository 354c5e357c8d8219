/** Arrow as columns that charts and tables read. The only module that knows the library. */

import { type Vector, DataType, Message, RecordBatchReader, type Schema, TimeUnit } from "apache-arrow";
import type { FlightData } from "./protobuf";

/** Numbers and flags are floats with NaN for what is missing; times are milliseconds since 1970 in UTC, NaN as well. */
export type Column = { name: string; unit?: string; comment?: string } & (
  | { kind: "number" | "time" | "flag"; values: Float64Array }
  | { kind: "text"; values: (string | null)[] }
);

export interface Table {
  rows: number;
  columns: Column[];
}

const CONTINUATION = 0xffffffff;
const PADDING = 8;

/** The columns of some messages of one answer, of which the first has the schema. */
export function table(messages: FlightData[]): Table {
  const reader = RecordBatchReader.from(stream(messages));
  reader.open();
  const schema: Schema = reader.schema; // in a browser, a reader that was read to its end forgets it
  const batches = [...reader];
  const rows = batches.reduce((sum, batch) => sum + batch.numRows, 0);
  const columns = schema.fields.map((field, at) => {
    const vectors = batches.map((batch) => batch.getChildAt(at)!);
    const said = { unit: field.metadata.get("unit"), comment: field.metadata.get("comment") };
    return { name: field.name, ...said, ...values(field.type as DataType, vectors, rows) } as Column;
  });
  return { rows, columns };
}

/** How many rows a message brings, told without reading them. */
export function rowsIn(message: FlightData): number {
  if (message.header.length === 0) return 0;
  const said = Message.decode(message.header);
  return said.isRecordBatch() ? said.header().length : 0;
}

/** The first rows of a table. */
export function first(table: Table, rows: number): Table {
  if (table.rows <= rows) return table;
  const columns = table.columns.map((column) => ({ ...column, values: column.values.slice(0, rows) }) as Column);
  return { rows, columns };
}

/** Flight's messages as a stream of encapsulated IPC messages. */
function stream(messages: FlightData[]): Uint8Array {
  const padded = (length: number) => Math.ceil(length / PADDING) * PADDING;
  const parts = messages.filter((message) => 0 < message.header.length);
  const length = parts.reduce((sum, part) => sum + PADDING + padded(part.header.length) + padded(part.body.length), 0);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { header, body } of parts) {
    view.setUint32(at, CONTINUATION, true);
    view.setUint32(at + 4, padded(header.length), true);
    bytes.set(header, at + PADDING);
    at += PADDING + padded(header.length);
    bytes.set(body, at);
    at += padded(body.length);
  }
  return bytes;
}

type Values = Pick<Column, "kind" | "values">;

function values(type: DataType, vectors: Vector[], rows: number): Values {
  if (DataType.isTimestamp(type)) {
    const perMillisecond = { [TimeUnit.SECOND]: 1e-3, [TimeUnit.MILLISECOND]: 1, [TimeUnit.MICROSECOND]: 1e3, [TimeUnit.NANOSECOND]: 1e6 }[type.unit];
    return { kind: "time", values: floats(vectors, rows, (value) => Number(value) / perMillisecond) };
  }
  if (DataType.isInt(type) && type.bitWidth === 64) return integers(vectors, rows);
  if (DataType.isInt(type) || DataType.isFloat(type)) return { kind: "number", values: floats(vectors, rows, Number) };
  if (DataType.isBool(type)) {
    return { kind: "flag", values: floats(vectors, rows) };
  }
  const texts: (string | null)[] = new Array(rows);
  let at = 0;
  for (const vector of vectors) for (const value of vector) texts[at++] = value === null ? null : text(value);
  return { kind: "text", values: texts };
}

/** Whole numbers; as text where one is too large for a float to be exact. */
function integers(vectors: Vector[], rows: number): Values {
  const numbers = floats(vectors, rows, Number);
  if (numbers.every((number) => Number.isNaN(number) || Number.isSafeInteger(number))) return { kind: "number", values: numbers };
  return { kind: "text", values: vectors.flatMap((vector) => Array.from(vector, (value) => (value === null ? null : `${value}`))) };
}

/** Reads the buffers directly where `of` is given, which is many times cheaper than a value at a time. */
function floats(vectors: Vector[], rows: number, of?: (value: number | bigint) => number): Float64Array {
  const floats = new Float64Array(rows);
  let at = 0;
  for (const vector of vectors) {
    for (const data of vector.data) {
      for (let row = 0; row < data.length; row++, at++) {
        if (data.nullCount !== 0 && !data.getValid(row)) floats[at] = Number.NaN;
        else if (of !== undefined) floats[at] = of(data.values[row]);
        else floats[at] = (data.values[(data.offset + row) >> 3] >> ((data.offset + row) & 7)) & 1;
      }
    }
  }
  return floats;
}

function text(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Uint8Array) return Array.from(value, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return typeof value === "object" ? JSON.stringify(value) : `${value}`;
}
