/** Roads as the map draws them: a line for each segment and direction. Pure. */

import type { Registry, Segment } from "../../city/registry";
import type { Road } from "../../map/sheet";
import { guessed, type Point, type Stand } from "../../map/road";
import { roadKey } from "./board";

export interface DrawnRoad extends Road {
  segment: Segment;
  direction: string | undefined;
  isGuessed: boolean;
}

/** Those of which nobody knows where they run are left out. */
export function network(registry: Registry): DrawnRoad[] {
  const stands = new Map<string, Map<string | undefined, Stand[]>>();
  for (const sensor of registry.sensors.values()) {
    if (sensor.segment === undefined) continue;
    const ways = stands.get(sensor.segment) ?? new Map<string | undefined, Stand[]>();
    stands.set(sensor.segment, ways.set(sensor.direction, [...(ways.get(sensor.direction) ?? []), sensor]));
  }
  const roads: DrawnRoad[] = [];
  for (const segment of registry.segments.values()) {
    const ways = stands.get(segment.id) ?? new Map<string | undefined, Stand[]>([[segment.direction, []]]);
    for (const [direction, there] of ways) {
      const isOpposite = 1 < ways.size && segment.direction !== undefined && direction !== segment.direction;
      const known: Point[] = isOpposite ? segment.line.toReversed() : segment.line;
      const line = 1 < known.length ? known : guessed(there, segment.lengthM);
      const isGuessed = known.length < 2;
      if (line.length < 2) continue;
      roads.push({ id: roadKey(segment.id, direction), line, segment, direction, isGuessed, isShared: false });
    }
  }
  const ends = (from: Point | undefined, to: Point | undefined): string => `${from} ${to}`;
  const all = new Set(roads.map(({ line }) => ends(line[0], line.at(-1))));
  return roads.map((road) => ({ ...road, isShared: all.has(ends(road.line.at(-1), road.line[0])) }));
}
