/** The questions of the view, each as a text that somebody can read. Pure. */

import { type Range, rfc3339 } from "../../city/clock";
import { among, quoted } from "../../flight/question";

export const MEASURES = ["speed", "ratio", "occupancy", "flow"] as const;
export type Measure = (typeof MEASURES)[number];

/** In which column of the answer each stands. */
export const COLUMN: Record<Measure, string> = { speed: "speed", ratio: "speed_ratio", occupancy: "occupancy", flow: "lane_flow" };

const during = ({ from, to }: Range, time = "time"): string =>
  `${time} >= ${quoted(rfc3339(from))} AND ${time} < ${quoted(rfc3339(to))}`;

/** All stations of a road; flows are of one lane, so that roads of two and of three compare. */
export const corridor = (width: string, segments: string[], range: Range): string =>
  `SELECT station.time, station.segment, station.direction, station.offset_m, station.speed,
  station.speed / coalesce(road.free_flow_speed_kmh, road.speed_limit_kmh) AS speed_ratio,
  station.occupancy, station.flow / station.lanes AS lane_flow, station.estimated, station.coverage
FROM station(${quoted(width)}) AS station JOIN segment AS road ON road.id = station.segment
WHERE ${among("station.segment", segments)}
  AND ${during(range, "station.time")}
ORDER BY station.time, station.segment, station.offset_m, station.lanes DESC`;

/** Those of the road first. */
const ownFirst = (segments: string[]): string => `ORDER BY ${among("segment", segments)} DESC, time, segment`;

export const incidents = (segments: string[], range: Range): string =>
  `SELECT time, ends, segment, direction, offset_m, distance_m, upstream, downstream
FROM incident WHERE ${during(range)}
${ownFirst(segments)}`;

export const queues = (segments: string[], range: Range): string =>
  `SELECT time, ends, segment, direction, offset_m, queue_m, queue_stations, slow_at, free_at
FROM queue WHERE ${during(range)}
${ownFirst(segments)}`;
