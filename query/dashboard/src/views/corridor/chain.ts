/** Roads: segments one behind the other in one direction, as the nodes of the registry join them. Pure. */

import type { Segment } from "../../city/registry";

export interface Chain {
  /** Of its first segment. */
  id: string;
  segments: Segment[];
}

/** The one of some; where a street forks, the one that keeps its name. */
function only(found: Segment[], name: string | undefined): Segment | undefined {
  if (found.length <= 1) return found[0];
  const same = found.filter((segment) => name !== undefined && segment.name === name);
  return same.length === 1 ? same[0] : undefined;
}

/** Most segments first. Each segment is in one chain; a fork or a join that nothing decides ends it. */
export function chains(segments: Iterable<Segment>): Chain[] {
  const all = [...segments].sort((a, b) => a.id.localeCompare(b.id));
  const goesOn = (one: Segment, next: Segment) =>
    one !== next && one.to === next.from && one.direction === next.direction && next.to !== one.from;
  const by = (node: (segment: Segment) => string | undefined) => {
    const groups = new Map<string | undefined, Segment[]>();
    for (const segment of all) groups.set(node(segment), [...(groups.get(node(segment)) ?? []), segment]);
    return groups;
  };
  const [leaving, arriving] = [by((segment) => segment.from), by((segment) => segment.to)];
  const next = new Map<Segment, Segment>();
  const hasBefore = new Set<Segment>();
  for (const one of all) {
    if (one.to === undefined) continue;
    const ahead = only((leaving.get(one.to) ?? []).filter((other) => goesOn(one, other)), one.name);
    if (ahead === undefined) continue;
    const behind = only((arriving.get(ahead.from) ?? []).filter((other) => goesOn(other, ahead)), ahead.name);
    if (behind !== one) continue;
    next.set(one, ahead);
    hasBefore.add(ahead);
  }
  const taken = new Set<Segment>();
  const from = (first: Segment): Chain => {
    const road: Segment[] = [];
    for (let at: Segment | undefined = first; at !== undefined && !taken.has(at); at = next.get(at)) {
      taken.add(at);
      road.push(at);
    }
    return { id: first.id, segments: road };
  };
  const begun = all.filter((segment) => !hasBefore.has(segment)).map(from);
  // What is left goes round.
  const round = all.flatMap((segment) => (taken.has(segment) ? [] : [from(segment)]));
  return [...begun, ...round].sort((a, b) => b.segments.length - a.segments.length || a.id.localeCompare(b.id));
}

export const lengthM = ({ segments }: Chain): number => segments.reduce((sum, segment) => sum + segment.lengthM, 0);

/** Names without what all of them begin with, cut where a part of a name begins. */
export function shortened(names: string[]): string[] {
  const [first = "", ...others] = names;
  let same = others.length === 0 ? 0 : first.length;
  for (const other of others) while (!other.startsWith(first.slice(0, same))) same--;
  const cut = Math.max(...["-", "_", " ", ":", "/"].map((mark) => first.slice(0, same).lastIndexOf(mark))) + 1;
  return names.map((name) => (cut < name.length ? name.slice(cut) : name));
}
