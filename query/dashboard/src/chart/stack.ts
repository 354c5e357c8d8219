/** Columns of parts on top of one another. Pure. */

/** A part of a column, from one value to another: what is negative hangs below zero. */
export interface Piece {
  column: number;
  part: number;
  from: number;
  to: number;
}

/** Whether nothing is known of a column. */
export const isMissing = (parts: ArrayLike<number>[], column: number): boolean =>
  parts.every((values) => Number.isNaN(values[column] ?? Number.NaN));

export function pieces(parts: ArrayLike<number>[], columns: number): Piece[] {
  const all: Piece[] = [];
  for (let column = 0; column < columns; column++) {
    let [above, below] = [0, 0];
    parts.forEach((values, part) => {
      const value = values[column] ?? Number.NaN;
      if (Number.isNaN(value) || value === 0) return;
      if (0 < value) all.push({ column, part, from: above, to: (above += value) });
      else all.push({ column, part, from: below, to: (below += value) });
    });
  }
  return all;
}

/** What an axis of amounts shows: zero, all columns, all levels, and some air. */
export function extent(pieces: Piece[], levels: ArrayLike<number>[]): [number, number] {
  let [low, high] = [0, 0];
  const take = (value: number) => {
    if (value < low) low = value;
    if (high < value) high = value;
  };
  for (const { to } of pieces) take(to);
  for (const values of levels) for (let at = 0; at < values.length; at++) take(values[at]!);
  const air = (high - low || 1) * 0.08;
  return [low < 0 ? low - air : 0, high === 0 && low === 0 ? 1 : high + air];
}

/** From the first to the last of neighbours that say the same. */
export interface Run<T> {
  from: number;
  to: number;
  value: T;
}

/** Neighbours with the same text as one; what has none is left out. */
export function runs(texts: (string | undefined)[]): Run<string>[] {
  const found: Run<string>[] = [];
  texts.forEach((text, at) => {
    if (text === undefined) return;
    const last = found.at(-1);
    if (last !== undefined && last.to === at - 1 && last.value === text) last.to = at;
    else found.push({ from: at, to: at, value: text });
  });
  return found;
}
