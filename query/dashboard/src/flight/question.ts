/** What is asked: a dataset by its filters, or a statement. The same question is an answer, a file, and a text to read. */

/** Filters of a dataset, as `query/src/ticket.rs` has them; times are RFC 3339, `to` is not included. */
export interface Ticket {
  dataset: string;
  from?: string;
  to?: string;
  sensor?: string[];
  metric?: string[];
  segment?: string[];
  zone?: string[];
  columns?: string[];
  width?: string;
  limit?: number;
  live?: true;
  resume?: string;
}

export type Question = { sql: string } | Ticket;

export const isSql = (question: Question): question is { sql: string } => "sql" in question;

export function ticketBytes(question: Question): Uint8Array {
  return new TextEncoder().encode(isSql(question) ? question.sql : JSON.stringify(question));
}

export type Format = "csv" | "parquet";

/** Where the answer is a file; `name` is what it is called where the question has no dataset. */
export function downloadPath(question: Question, format: Format, name = "answer"): string {
  const parameters = new URLSearchParams();
  if (isSql(question)) {
    parameters.set("sql", question.sql);
    return `/export/${name}.${format}?${parameters}`;
  }
  const { dataset, ...filters } = question;
  for (const [key, value] of Object.entries(filters)) {
    if (value !== undefined) parameters.set(key, Array.isArray(value) ? value.join(",") : `${value}`);
  }
  return `/export/${dataset}.${format}?${parameters}`;
}

/** A text as SQL quotes it. */
export const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** `column IN (..)`, or true where nothing is chosen. */
export function among(column: string, names: string[]): string {
  return names.length === 0 ? "true" : `${column} IN (${names.map(quoted).join(", ")})`;
}

/** The same question as a statement that somebody can read and change. */
export function sqlOf(question: Question): string {
  if (isSql(question)) return question.sql;
  const { dataset, from, to, width, columns, limit } = question;
  const conditions = (["sensor", "metric", "segment", "zone"] as const).flatMap((name) => {
    const names = question[name];
    return names === undefined ? [] : [among(name, names)];
  });
  if (from !== undefined) conditions.push(`time >= ${quoted(from)}`);
  if (to !== undefined) conditions.push(`time < ${quoted(to)}`);
  const where = conditions.length === 0 ? "" : `\nWHERE ${conditions.join("\n  AND ")}`;
  const end = limit === undefined ? "" : `\nLIMIT ${limit}`;
  return `SELECT ${columns?.join(", ") ?? "*"}\nFROM ${dataset}${width === undefined ? "" : `(${quoted(width)})`}${where}${end}`;
}
