/** The list beside the map: what the map shows, in words, the worst first. Pure. */

import type { Target } from "../../map/sheet";
import { type State, STATES } from "./state";

/** A page is slow with more; somebody searches for the others. */
export const ROWS_MOST = 200;

export const SORTS = ["worst", "name", "age", "state"] as const;
export type Sort = (typeof SORTS)[number];

export interface Row {
  target: Target;
  title: string;
  /** Where it is, as words to search in, too. */
  place: string;
  /** Of the measure; NaN is not known. */
  value: number;
  heardAt: number;
  state: State;
}

export interface Order {
  sort: Sort;
  isReversed: boolean;
}

export function orderOf(text: string | undefined): Order {
  const isReversed = text?.startsWith("-") ?? false;
  const name = isReversed ? text!.slice(1) : text;
  return { sort: SORTS.find((sort) => sort === name) ?? "worst", isReversed };
}

export function found(rows: Row[], typed: string): Row[] {
  const words = typed
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  if (words.length === 0) return rows;
  return rows.filter(({ title, place }) => {
    const text = `${title} ${place}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

const rank = (state: State): number => STATES.indexOf(state);
const byName = (a: Row, b: Row): number => a.title.localeCompare(b.title, undefined, { numeric: true });
/** Unknown last, whichever way. */
const byNumber = (a: number, b: number, sign: number): number =>
  Number.isNaN(a) || Number.isNaN(b) ? Number(Number.isNaN(a)) - Number(Number.isNaN(b)) : sign * (a - b);

/** Who was never heard is silent longest. */
const heard = ({ heardAt }: Row): number => (Number.isNaN(heardAt) ? -Infinity : heardAt);

export type Worst = "low" | "high" | "state" | "age";

/** `worst`: which end of the measure; or the order of states; in both ages, who is silent longest comes first. */
export function ordered(rows: Row[], { sort, isReversed }: Order, worst: Worst): Row[] {
  const sign = isReversed ? -1 : 1;
  // Two that were never heard are equal, and their difference is no number.
  const byAge = (a: Row, b: Row): number => sign * (heard(a) - heard(b)) || 0;
  const byState = (a: Row, b: Row): number => sign * (rank(a.state) - rank(b.state)) || byAge(a, b);
  const byValue = (a: Row, b: Row): number => byNumber(a.value, b.value, worst === "low" ? sign : -sign);
  const compare: Record<Sort, (a: Row, b: Row) => number> = {
    worst: worst === "state" ? byState : worst === "age" ? byAge : byValue,
    name: (a, b) => sign * byName(a, b),
    age: byAge,
    state: byState,
  };
  return rows.slice().sort((a, b) => compare[sort](a, b) || byName(a, b));
}
