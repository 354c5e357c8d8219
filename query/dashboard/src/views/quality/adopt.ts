/** Commands that adopt sensors that nobody announced. Pure. */

/** A name as a shell takes it. */
export const shell = (text: string): string => (/^[\w.:/@%-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

const LIKE_LEAST = 3;

/** The beginning that all names share, as a pattern; none where it is too short to mean them. */
export function like(names: string[]): string | undefined {
  if (names.length < 2) return undefined;
  const [first, last] = [names.toSorted()[0]!, names.toSorted().at(-1)!];
  let length = 0;
  while (length < first.length && first[length] === last[length]) length++;
  // In a pattern % and _ stand for others; _ for any one, which is no harm.
  const shared = first.slice(0, length).replace(/%.*$/s, "");
  return shared.length < LIKE_LEAST ? undefined : `${shared}%`;
}

export const adoptOne = (name: string): string => `screenline registry adopt ${shell(name)}`;
export const adoptLike = (pattern: string): string => `screenline registry adopt --like '${pattern.replaceAll("'", `'\\''`)}'`;
export const ADOPT_ALL = "screenline registry adopt --all";
