/** Where a road runs, and what an area spans. Pure. */

import type { Geometry, Position } from "geojson";

export type Point = [lon: number, lat: number];

/** West, south, east, north. */
export type Bounds = [number, number, number, number];

/** A detector on a segment: where it stands, and how far along. */
export interface Stand {
  lon: number;
  lat: number;
  offsetM: number;
  direction: string | undefined;
}

const M_PER_DEGREE = 111_320; // of latitude; of longitude at the equator
/** Detectors of a road that disagree by more do not stand where the registry says. */
const DISAGREE_M = 60;
/** Lanes lie beside each other, not along the road. */
const ALONG_M = 5;

const BEARINGS: Record<string, number> = { NB: 0, NE: 45, EB: 90, SE: 135, SB: 180, SW: 225, WB: 270, NW: 315 };

const isPlace = ({ lon, lat }: Stand): boolean => Number.isFinite(lon) && Number.isFinite(lat);

/** A point so many metres north and east of another. */
function moved([lon, lat]: Point, northM: number, eastM: number): Point {
  return [lon + eastM / (M_PER_DEGREE * Math.cos((lat * Math.PI) / 180)), lat + northM / M_PER_DEGREE];
}

export function distanceM([lon, lat]: Point, [otherLon, otherLat]: Point): number {
  const east = (otherLon - lon) * M_PER_DEGREE * Math.cos((((lat + otherLat) / 2) * Math.PI) / 180);
  return Math.hypot(east, (otherLat - lat) * M_PER_DEGREE);
}

function middle(points: Point[]): Point {
  const sum = points.reduce(([lon, lat], point) => [lon + point[0], lat + point[1]], [0, 0]);
  return [sum[0] / points.length, sum[1] / points.length];
}

/**
 * The line of a segment that has none in the registry: through its detectors in the order of the traffic, else straight
 * ahead in the direction that they are named after. Empty where neither is known, or where they disagree.
 */
export function guessed(stands: Stand[], lengthM: number): Point[] {
  const there = stands.filter(isPlace);
  const offsets = [...new Set(there.map(({ offsetM }) => offsetM))].sort((a, b) => a - b);
  const known = offsets.filter(Number.isFinite);
  const at = (offset: number) =>
    there.filter(({ offsetM }) => offsetM === offset).map(({ lon, lat }): Point => [lon, lat]);
  const stations = known.map((offset) => ({ offset, points: at(offset) }));
  if (stations.some(({ points }) => points.some((point) => DISAGREE_M < distanceM(point, points[0]!)))) return [];
  const [first, last] = [stations[0], stations.at(-1)];
  if (first === undefined || last === undefined) return [];
  if (first !== last && ALONG_M < last.offset - first.offset) {
    const isFar = distanceM(middle(first.points), middle(last.points)) > 2 * (last.offset - first.offset) + DISAGREE_M;
    return isFar ? [] : stations.map(({ points }) => middle(points));
  }
  const bearing = BEARINGS[there[0]!.direction ?? ""];
  if (bearing === undefined || !(0 < lengthM)) return [];
  const [north, east] = [Math.cos((bearing * Math.PI) / 180), Math.sin((bearing * Math.PI) / 180)];
  const stand = middle(first.points);
  const ahead = (metres: number) => moved(stand, north * metres, east * metres);
  return [ahead(-first.offset), ahead(lengthM - first.offset)];
}

function positions(geometry: Geometry): Position[] {
  if (geometry.type === "GeometryCollection") return geometry.geometries.flatMap(positions);
  const flat = (part: unknown): Position[] =>
    typeof (part as unknown[])[0] === "number" ? [part as Position] : (part as unknown[]).flatMap(flat);
  return flat(geometry.coordinates);
}

/** None where there is no place. */
export function boundsOf(points: Iterable<readonly number[]>): Bounds | undefined {
  const bounds: Bounds = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [lon, lat] of points) {
    if (!Number.isFinite(lon) || !Number.isFinite(lat)) continue;
    bounds[0] = Math.min(bounds[0], lon!);
    bounds[1] = Math.min(bounds[1], lat!);
    bounds[2] = Math.max(bounds[2], lon!);
    bounds[3] = Math.max(bounds[3], lat!);
  }
  return bounds[0] <= bounds[2] ? bounds : undefined;
}

export const boundsOfGeometry = (geometry: Geometry): Bounds | undefined => boundsOf(positions(geometry));

/** Where traffic keeps left, by the time zones of the larger countries of which that is true. */
const LEFT = new RegExp(
  "^(Europe/(London|Dublin|Malta|Jersey|Guernsey|Isle_of_Man)|Asia/(Tokyo|Kolkata|Calcutta|Singapore|Hong_Kong|Macau|Bangkok|" +
    "Jakarta|Kuala_Lumpur|Colombo|Dhaka|Karachi|Kathmandu|Nicosia|Brunei)|Australia/.*|Pacific/(Auckland|Fiji)|" +
    "Africa/(Johannesburg|Nairobi|Lusaka|Harare|Kampala|Dar_es_Salaam|Maputo|Windhoek|Gaborone)|America/Jamaica)$",
);

export const keepsLeft = (zone: string): boolean => LEFT.test(zone);
