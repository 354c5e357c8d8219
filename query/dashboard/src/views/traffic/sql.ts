/** The questions of the view, each as a text that somebody can read. Pure. */

import type { Range } from "../../city/clock";
import { rfc3339 } from "../../city/clock";
import { among, quoted } from "../../flight/question";
import type { Split } from "./place";

export const MEASURES = ["volume", "flow", "speed", "occupancy"] as const;
export type Measure = (typeof MEASURES)[number];

/** Of which the quantiles of usual days are known; a flow is a volume of another width. */
export const isTypical = (measure: Measure): boolean => measure !== "flow";

const during = ({ from, to }: Range, time = "time"): string =>
  `${time} >= ${quoted(rfc3339(from))} AND ${time} < ${quoted(rfc3339(to))}`;

// A sum is null where one of them is silent. Speeds are space-mean: vehicles over the sum of vehicles / speed.
const TOGETHER = `CASE WHEN count(*) = count(volume) THEN sum(volume) END AS volume,
  CASE WHEN count(*) = count(flow) THEN sum(flow) END AS flow,
  coalesce(sum(volume) FILTER (WHERE space_mean_speed > 0) / nullif(sum(volume / nullif(space_mean_speed, 0)), 0),
    count(space_mean_speed) / nullif(sum(1 / nullif(space_mean_speed, 0)), 0)) AS speed,
  avg(occupancy) AS occupancy, avg(coverage) AS coverage, sum(late) AS late`;

const from = (width: string, sensors: string[], range: Range): string =>
  `FROM traffic(${quoted(width)}) WHERE ${among("sensor", sensors)}\n  AND ${during(range)}`;

/** All detectors together, step by step. */
export const total = (width: string, sensors: string[], range: Range): string =>
  `SELECT time, ${TOGETHER}\n${from(width, sensors, range)}\nGROUP BY time ORDER BY time`;

/** Each by itself, and all together, which is where the name is null. */
export const each = (split: Split, width: string, sensors: string[], range: Range): string =>
  `SELECT time, ${split}, ${TOGETHER}\n${from(width, sensors, range)}\nGROUP BY GROUPING SETS ((time), (time, ${split}))` +
  ` ORDER BY time, ${split}`;

const QUANTILES = ["volume", "speed", "occupancy"].flatMap((of) => ["p15", "p50", "p85"].map((share) => `${of}_${share}`));

/** Beside what is usual at that time of that weekday. */
export const withTypical = (width: string, sensors: string[], range: Range): string =>
  `SELECT day.*, usual.weeks, ${QUANTILES.map((name) => `usual.${name}`).join(", ")}
FROM (SELECT time, ${TOGETHER}\n${from(width, sensors, range)}\nGROUP BY time) AS day
LEFT JOIN (SELECT * FROM typical(${quoted(width)}) WHERE ${among("sensor", sensors)}
  AND ${during(range)}) AS usual ON usual.time = day.time
ORDER BY day.time`;

/** Two days, the later one first. */
export function withDay(width: string, sensors: string[], days: { day: string; range: Range }[]): string {
  const one = ({ day, range }: { day: string; range: Range }) =>
    `SELECT ${quoted(day)} AS day, time, ${TOGETHER}\n${from(width, sensors, range)}\nGROUP BY time`;
  return `${days.map(one).join("\nUNION ALL\n")}\nORDER BY day DESC, time`;
}

/** Speeds of single vehicles, from the states of their passages. */
export const passages = (sensors: string[], range: Range): string =>
  `SELECT sum(count) AS vehicles, quantile(state, 0.15) AS v15, quantile(state, 0.5) AS v50, v85(state) AS v85
FROM rollup_5m WHERE metric = 'traffic.vehicle' AND ${among("sensor", sensors)}
  AND ${during(range)}`;

/** How the roads were. */
export const level = (width: string, segments: string[], range: Range): string =>
  `SELECT time, segment, los, los_of, speed_ratio, delay_h, estimated, coverage
FROM road(${quoted(width)}) WHERE ${among("segment", segments)}
  AND ${during(range)}
ORDER BY time, segment`;

export const SORTS = ["delay", "volume", "ratio", "name"] as const;
export type Sort = (typeof SORTS)[number];

const ROAD_ORDER: Record<Sort, string> = {
  delay: "delay_h DESC NULLS LAST, segment",
  volume: "volume DESC NULLS LAST, segment",
  ratio: "speed_ratio NULLS LAST, segment",
  name: "segment, direction",
};

/** Every road on one day. */
export const network = (sort: Sort, range: Range): string =>
  `SELECT segment, direction, volume, speed, free_flow_speed, speed_ratio, los, los_of, delay_h, coverage, estimated
FROM road('1d') WHERE ${during(range)}
ORDER BY ${ROAD_ORDER[sort]}`;

const DETECTOR_ORDER: Record<Sort, string> = {
  delay: "space_mean_speed NULLS LAST, sensor",
  volume: "volume DESC NULLS LAST, sensor",
  ratio: "space_mean_speed NULLS LAST, sensor",
  name: "segment, sensor",
};

/** Every detector on one day: where roads are not told. */
export const detectorsOf = (sort: Sort, range: Range): string =>
  `SELECT sensor, segment, direction, lane, volume, space_mean_speed AS speed, v85, occupancy, coverage
FROM traffic('1d') WHERE ${during(range)}
ORDER BY ${DETECTOR_ORDER[sort]}`;
