/** What measures traffic, and where: detectors, those side by side as stations, and the last day that they know. */

import { createMemo, createResource, createRoot, type Resource } from "solid-js";
import { numbers, texts } from "../flight/columns";
import { ask } from "../flight/flight";
import type { Day } from "./clock";
import { registry, SENSORS_MAX } from "./registry";
import { clock, session } from "./session";
import { type Station, stations } from "./station";

const SERIES = `SELECT sensor, metric FROM series
WHERE metric LIKE 'traffic.%' ORDER BY sensor LIMIT ${4 * SENSORS_MAX}`;

const LAST = `SELECT time FROM rollup_1h
WHERE metric IN ('traffic.volume', 'traffic.vehicle', 'traffic.speed.mean', 'traffic.occupancy')
ORDER BY time DESC LIMIT 1`;

const isReady = () => session().state === "ready" || undefined;
const never = new AbortController().signal;

async function readMetrics(): Promise<Map<string, Set<string>>> {
  const answer = await ask({ sql: SERIES }, never);
  const [sensors, metrics] = [texts(answer, "sensor"), texts(answer, "metric")];
  const known = new Map<string, Set<string>>();
  sensors.forEach((sensor, row) => known.set(sensor!, (known.get(sensor!) ?? new Set()).add(metrics[row]!)));
  return known;
}

async function readLast(): Promise<Day> {
  const answer = await ask({ sql: LAST }, never);
  return clock().day(answer.rows === 0 ? Date.now() : numbers(answer, "time")[0]!);
}

const metrics: Resource<Map<string, Set<string>>> = createRoot(
  () => createResource(isReady, () => readMetrics().catch(() => new Map<string, Set<string>>()))[0],
);

// A role may not see it: then it is today.
const last: Resource<Day> = createRoot(() => createResource(isReady, () => readLast().catch(() => clock().day(Date.now())))[0]);

export const areDetectorsRead = (): boolean => metrics.state === "ready";

/** Whether its passages are known one by one. */
export const countsPassages = (sensor: string): boolean =>
  [...(metrics()?.get(sensor) ?? [])].some((metric) => metric.startsWith("traffic.vehicle"));

/** Sensors of traffic; where nobody may see their series, those that stand on a road. */
export const detectors = createRoot(() =>
  createMemo(() => {
    const known = metrics();
    const all = [...registry().sensors.values()].filter((sensor) => !sensor.isQuarantined);
    if (known === undefined) return [];
    return all.filter((sensor) => (known.size === 0 ? sensor.segment !== undefined : known.has(sensor.id)));
  }),
);

/** Of each segment, in the order of travel. */
export const stationsBySegment = createRoot(() =>
  createMemo(() => {
    const by = new Map<string, Station[]>();
    for (const station of stations(detectors())) by.set(station.segment, [...(by.get(station.segment) ?? []), station]);
    return by;
  }),
);

/** The last local day with traffic; none until it is known. */
export const lastDay = (): Day | undefined => (last.state === "ready" ? last() : undefined);
