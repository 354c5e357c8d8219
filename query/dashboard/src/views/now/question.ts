/** What the view asks. One text each that a person can read, run and change. */

import type { Question } from "../../flight/question";
import { quoted } from "../../flight/question";

export const SERIES: Question = { sql: "SELECT sensor, metric, unit, kind, interval_s\nFROM series" };

export const LATEST: Question = {
  sql: "SELECT sensor, metric, value, unit, quality, time\nFROM latest\nORDER BY sensor, metric",
};

/** Of yesterday: a day has to be over before somebody can judge it. */
export const HEALTH: Question = { sql: "SELECT sensor, metric, finding, since, detail\nFROM health\nORDER BY since" };

/** The last bucket of each detector that is closed and has something. */
export const TRAFFIC: Question = {
  sql: `SELECT DISTINCT ON (sensor)
  sensor, segment, direction, lane, time, ends, space_mean_speed, occupancy, flow, coverage
FROM traffic('5m')
WHERE time >= now() - INTERVAL '30 minutes' AND time < now() - INTERVAL '5 minutes' AND coverage > 0
ORDER BY sensor, time DESC`,
};

/** When each detector of passages last saw one: `latest` has no passages. */
export const PASSED: Question = {
  sql: `SELECT sensor, max(last_time) AS time
FROM rollup_5m
WHERE metric = 'traffic.vehicle' AND time >= now() - INTERVAL '12 hours'
GROUP BY sensor`,
};

export const ROADS: Question = {
  sql: `SELECT DISTINCT ON (segment, direction)
  segment, direction, time, ends, speed_ratio, speed, free_flow_speed, flow, occupancy, density,
  los, los_of, estimated, coverage
FROM road('5m')
WHERE time >= now() - INTERVAL '30 minutes' AND time < now() - INTERVAL '5 minutes' AND coverage > 0
ORDER BY segment, direction, time DESC`,
};

/** Registers are read every quarter of an hour at many places: before, nobody knows what they count. */
export const DEMAND: Question = {
  sql: `SELECT DISTINCT ON (sensor, metric)
  sensor, metric, unit, zone, role, time, ends, demand, partial, coverage
FROM utility('15m')
WHERE time >= now() - INTERVAL '2 hours' AND time < now() AND demand IS NOT NULL
ORDER BY sensor, metric, time DESC`,
};

const LAST_HOURS = "time >= now() - INTERVAL '3 hours' AND time < now()";

export const ofDetector = (sensor: string): Question => ({
  sql: `SELECT time, space_mean_speed, occupancy, flow, coverage
FROM traffic('5m')
WHERE sensor = ${quoted(sensor)} AND ${LAST_HOURS}
ORDER BY time`,
});

export const ofRoad = (segment: string, direction: string | undefined): Question => ({
  sql: `SELECT time, speed_ratio, speed, occupancy, flow, density, los, estimated, coverage
FROM road('5m')
WHERE segment = ${quoted(segment)} AND ${direction === undefined ? "direction IS NULL" : `direction = ${quoted(direction)}`}
  AND ${LAST_HOURS}
ORDER BY time`,
});

export const ofMeter = (sensor: string, metric: string): Question => ({
  sql: `SELECT time, demand, partial, coverage
FROM utility('15m')
WHERE sensor = ${quoted(sensor)} AND metric = ${quoted(metric)} AND ${LAST_HOURS}
ORDER BY time`,
});

export const ofSeries = (sensor: string, metric: string): Question => ({
  sql: `SELECT time, mean, min, max, coverage
FROM rollup('5m')
WHERE sensor = ${quoted(sensor)} AND metric = ${quoted(metric)} AND ${LAST_HOURS}
ORDER BY time`,
});
