/** Detectors side by side on a road, as `processor/src/measure/network.rs` puts them together. Pure. */

import type { Sensor } from "./registry";

/** Detectors no further apart are one station. */
const PLACE_M = 10;

export interface Station {
  segment: string;
  direction: string | undefined;
  /** From the begin of the segment; NaN where the registry does not say it. */
  offsetM: number;
  detectors: Sensor[];
}

/** What is not known comes last. */
const order = (a: number, b: number): number => Number(Number.isNaN(a)) - Number(Number.isNaN(b)) || a - b || 0;

function isBeside(station: Station, sensor: Sensor): boolean {
  if (station.segment !== sensor.segment || station.direction !== sensor.direction) return false;
  const isApart = Number.isNaN(sensor.lane) || station.detectors.every((other) => other.lane !== sensor.lane);
  const distance = Math.abs(station.offsetM - sensor.offsetM);
  if (!Number.isNaN(distance)) return distance <= PLACE_M && isApart;
  // Without an offset, only lanes that differ say that they do not stand one behind the other.
  const areLanes = [sensor, ...station.detectors].every((one) => !Number.isNaN(one.lane));
  return Number.isNaN(station.offsetM) && Number.isNaN(sensor.offsetM) && areLanes && isApart;
}

/** By segment, direction and offset; lanes in order. Sensors on no road are in none. */
export function stations(sensors: Sensor[]): Station[] {
  const placed = sensors.filter((sensor) => sensor.segment !== undefined);
  placed.sort((a, b) => order(a.offsetM, b.offsetM) || order(a.lane, b.lane) || a.id.localeCompare(b.id));
  const bySegment = new Map<string, Station[]>();
  for (const sensor of placed) {
    const known = bySegment.get(sensor.segment!) ?? [];
    const station = known.find((station) => isBeside(station, sensor));
    if (station !== undefined) station.detectors.push(sensor);
    else known.push({ segment: sensor.segment!, direction: sensor.direction, offsetM: sensor.offsetM, detectors: [sensor] });
    bySegment.set(sensor.segment!, known);
  }
  const all = [...bySegment.keys()].sort().flatMap((segment) => bySegment.get(segment)!);
  for (const station of all) station.detectors.sort((a, b) => order(a.lane, b.lane) || a.id.localeCompare(b.id));
  return all;
}
