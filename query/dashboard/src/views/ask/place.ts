/** Where in a statement the service found something wrong. Pure. */

export interface Place {
  /** From 1. */
  line: number;
  column: number;
  /** That line of the statement. */
  text: string;
  /** Characters before the place in the whole statement. */
  offset: number;
  /** Characters that are meant. */
  length: number;
}

function at(sql: string, offset: number, length: number): Place {
  const before = sql.slice(0, offset);
  const line = before.split("\n").length;
  const start = before.lastIndexOf("\n") + 1;
  return { line, column: offset - start + 1, text: sql.split("\n")[line - 1] ?? "", offset, length };
}

/** By line and column where the service tells them, else by the name that it does not know. */
export function place(sql: string, message: string): Place | undefined {
  const told = /Line: (\d+), Column: (\d+)/.exec(message);
  if (told !== null) {
    const [line, column] = [Number(told[1]), Number(told[2])];
    const before = sql.split("\n").slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
    const offset = Math.min(before + column - 1, sql.length);
    return at(sql, offset, /^\w+/.exec(sql.slice(offset))?.[0].length ?? 1);
  }
  const name = /(?:No field named |Invalid function |no dataset |table )["'`]?([\w.]+?)["'`]?(?:[.\s;,]|$)/.exec(message)?.[1];
  if (name === undefined) return undefined;
  const last = name.split(".").at(-1)!;
  const found = new RegExp(`\\b${last}\\b`, "i").exec(sql);
  return found === null ? undefined : at(sql, found.index, last.length);
}
