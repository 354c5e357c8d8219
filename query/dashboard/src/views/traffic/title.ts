/** Places in words. */

import { registry, titled } from "../../city/registry";
import { common } from "../../words/common";
import { number } from "../../words/language";
import { traffic } from "../../words/traffic";
import { type Member, type Place, split } from "./place";

export const directionOf = (direction: string | null | undefined): string =>
  direction === null || direction === undefined ? "" : (common().directions[direction] ?? direction);

const joined = (...parts: string[]): string => parts.filter((part) => part !== "").join(", ");

/** A segment with its direction; also one that the registry no longer has. */
export function segmentTitle(id: string): string {
  const segment = registry().segments.get(id);
  return segment === undefined ? id : joined(titled(segment), directionOf(segment.direction));
}

export function sensorTitle(id: string): string {
  const sensor = registry().sensors.get(id);
  return sensor === undefined ? id : titled(sensor);
}

/** A detector by its lane, where it stands on a road. */
export function laneTitle(id: string): string {
  const lane = registry().sensors.get(id)?.lane ?? Number.NaN;
  return Number.isNaN(lane) ? sensorTitle(id) : traffic().lane(number(lane), sensorTitle(id));
}

export const memberTitle = (member: Member): string =>
  member.kind === "segment" ? segmentTitle(member.id) : sensorTitle(member.id);

/** Of one line among those of a place. */
export const lineTitle = (place: Place, name: string): string =>
  split(place) === "segment" ? segmentTitle(name) : place.members.length === 1 ? laneTitle(name) : sensorTitle(name);

/** Of the whole place, as the title of the page has it. */
export function placeTitle({ members }: Place): string {
  const [first] = members;
  if (first === undefined) return traffic().network;
  return members.length === 1 ? memberTitle(first) : traffic().screenline(number(members.length));
}
