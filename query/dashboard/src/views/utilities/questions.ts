/** What the view asks, each as one statement that somebody can read and change. Pure. */

import { rfc3339, type Range } from "../../city/clock";
import { among, quoted } from "../../flight/question";
import { NO_ZONE } from "./counting";

type Sql = { sql: string };

const COUNTS = `r.kind IN ('counter', 'total', 'delta') AND NOT starts_with(r.metric, 'traffic.')`;
const TODAY = `(s.valid_to IS NULL OR now() < s.valid_to) AND s.state <> 'quarantined'`;

const during = (range: Range): string =>
  `time >= ${quoted(rfc3339(range.from))} AND time < ${quoted(rfc3339(range.to))}`;
const ofZone = (zone: string, column = "zone"): string =>
  zone === NO_ZONE ? `${column} IS NULL` : `${column} = ${quoted(zone)}`;
const ofSeries = (meter: string, metric: string): string => `sensor = ${quoted(meter)} AND metric = ${quoted(metric)}`;

/** What is counted where, today. */
export const COUNTING: Sql = {
  sql: `SELECT s.zone, s.role, r.metric, r.unit, count(DISTINCT s.id) AS meters, max(r.interval_s) AS interval_s
FROM series AS r JOIN sensor AS s ON s.id = r.sensor
WHERE ${COUNTS}
  AND ${TODAY}
GROUP BY s.zone, s.role, r.metric, r.unit
ORDER BY s.zone, s.role, r.metric`,
};

export const metersOf = (zone: string): Sql => ({
  sql: `SELECT DISTINCT s.id, s.name
FROM series AS r JOIN sensor AS s ON s.id = r.sensor
WHERE ${ofZone(zone, "s.zone")}
  AND ${COUNTS}
  AND ${TODAY}
ORDER BY s.id`,
});

/** A meter's rows of the registry, one of each time between exchanges, with what it counts. */
export const meterRows = (meter: string, serial: boolean): Sql => ({
  sql: `SELECT s.id, s.name, s.kind, ${serial ? "s.serial, " : ""}s.zone, s.role, s.valid_from, s.valid_to, r.metric, r.unit,
  r.kind AS counts, r.interval_s, r.modulus, r.max_gap_s
FROM sensor AS s JOIN series AS r ON r.sensor = s.id
WHERE s.id = ${quoted(meter)}
  AND ${COUNTS}
ORDER BY r.metric, s.valid_from`,
});

export const balance = (zone: string, range: Range): Sql => ({
  sql: `SELECT time, ends, inflow, exported, stored, metered, loss, nrw_percent, imputed, nrw_percent_imputed, unknown, unit
FROM balance
WHERE zone = ${quoted(zone)}
  AND ${during(range)}
ORDER BY time`,
});

/** Which meters of what comes in, leaves and stays were not heard: why a day has no balance. */
export const unheard = (zone: string, metrics: string[], range: Range): Sql => ({
  sql: `SELECT time, sensor, role, coverage
FROM utility('1d')
WHERE ${ofZone(zone)} AND role IN ('inlet', 'export', 'storage')
  AND ${among("metric", metrics)}
  AND ${during(range)}
  AND (amount IS NULL OR coverage < 0.95)
ORDER BY time, sensor`,
});

export const nights = (zone: string, range: Range): Sql => ({
  sql: `SELECT time, flow, baseline, alarm_limit, alarm, unit
FROM night
WHERE zone = ${quoted(zone)}
  AND ${during(range)}
ORDER BY time`,
});

export const used = (zone: string, metrics: string[], range: Range): Sql => ({
  sql: `SELECT sensor, role, unit, sum(amount) AS amount,
  100 * sum(amount) / sum(sum(amount)) OVER (PARTITION BY role, unit) AS share_percent,
  100 * avg(coverage) AS coverage_percent,
  count(amount) AS days_known, count(*) AS days,
  sum(CASE WHEN partial THEN 1 ELSE 0 END) AS days_spread, sum(resets) AS resets, sum(rollovers) AS rollovers
FROM utility('1d')
WHERE ${ofZone(zone)}
  AND ${among("metric", metrics)}
  AND ${during(range)}
GROUP BY sensor, role, unit
ORDER BY amount DESC NULLS LAST, sensor`,
});

/** Whose demand a zone's profile is of. */
export type Side = "inflow" | "customers";

const SUMS: Record<Side, string> = {
  inflow:
    "CASE WHEN count(demand) = count(*) THEN sum(CASE role WHEN 'inlet' THEN demand ELSE -demand END) END AS demand",
  customers: "CASE WHEN 0.95 * count(*) <= count(demand) THEN sum(demand) END AS demand",
};
const ROLES: Record<Side, string> = {
  inflow: "role IN ('inlet', 'export', 'storage')",
  customers: "(role = 'customer' OR role IS NULL)",
};

/** What a zone drew in each step of two days; null where too many of its meters were not heard. */
export function zoneProfile(zone: string, side: Side, metrics: string[], width: string, days: [Range, Range]): Sql {
  const day = (range: Range) => `SELECT time, ${SUMS[side]}, count(demand) AS heard, count(*) AS meters
FROM utility(${quoted(width)})
WHERE ${ofZone(zone)} AND ${ROLES[side]}
  AND ${among("metric", metrics)}
  AND ${during(range)}
GROUP BY time`;
  return { sql: `${days.map(day).join("\nUNION ALL\n")}\nORDER BY time` };
}

export function meterProfile(meter: string, metric: string, width: string, days: [Range, Range]): Sql {
  const day = (range: Range) => `SELECT time, demand
FROM utility(${quoted(width)})
WHERE ${ofSeries(meter, metric)}
  AND ${during(range)}`;
  return { sql: `${days.map(day).join("\nUNION ALL\n")}\nORDER BY time` };
}

/** The meters with the highest peaks of a day. */
export const peaksOfDay = (zone: string, metric: string, day: Range): Sql => ({
  sql: `SELECT sensor, peak, peak_at, sliding_peak, sliding_peak_at, load_factor, power_factor, amount, unit, demand_unit, block_s
FROM demand
WHERE ${ofZone(zone)} AND metric = ${quoted(metric)}
  AND ${during(day)}
ORDER BY peak DESC NULLS LAST, sensor
LIMIT 20`,
});

/** The peaks of a meter by day. */
export const peaksOfMeter = (meter: string, metric: string, range: Range): Sql => ({
  sql: `SELECT time, peak, peak_at, sliding_peak, sliding_peak_at, load_factor, power_factor, amount, unit, demand_unit, block_s
FROM demand
WHERE ${ofSeries(meter, metric)}
  AND ${during(range)}
ORDER BY time`,
});

/** What a page draws at most of a register. */
export const READINGS_MAX = 200_000;

export const register = (meter: string, metric: string, range: Range): Sql => ({
  sql: `SELECT time, value, quality, received_at
FROM reading
WHERE ${ofSeries(meter, metric)}
  AND ${during(range)}
ORDER BY time
LIMIT ${READINGS_MAX}`,
});

export const newest = (meter: string, metric: string): Sql => ({
  sql: `SELECT time, value, unit\nFROM latest\nWHERE ${ofSeries(meter, metric)}`,
});

export const consumption = (meter: string, metric: string, width: string, range: Range): Sql => ({
  sql: `SELECT time, ends, amount, demand, coverage, partial, resets, rollovers
FROM utility(${quoted(width)})
WHERE ${ofSeries(meter, metric)}
  AND ${during(range)}
ORDER BY time`,
});

/** What a role may see of what happens to a meter. */
export interface Seen {
  conflicts: boolean;
  calibrations: boolean;
  readings: boolean;
  serials: boolean;
}

/** What happened to a meter: an event a row, of hours where the rows of many are one. */
export function events(meter: string, metric: string, width: string, range: Range, seen: Seen): Sql {
  const series = ofSeries(meter, metric);
  const since = (column: string) => during(range).replaceAll("time", column);
  const parts = [
    `SELECT time, CASE WHEN 0 < rollovers THEN 'rollover' WHEN 0 < resets THEN 'reset' ELSE 'spread' END AS event,
  CAST(rollovers + resets AS DOUBLE) AS count, amount AS value, CAST(NULL AS VARCHAR) AS detail
FROM utility(${quoted(width)})
WHERE ${series}
  AND ${during(range)}
  AND (0 < rollovers OR 0 < resets OR partial)`,
    `SELECT valid_from, 'exchange', 1, NULL, ${seen.serials ? "serial" : "NULL"}
FROM sensor
WHERE id = ${quoted(meter)}
  AND ${since("valid_from")}`,
  ];
  if (seen.calibrations) {
    parts.push(`SELECT valid_from, 'calibration', 1, factor, concat(factor, ' * x + ', shift)
FROM calibration
WHERE ${series}
  AND ${since("valid_from")}`);
  }
  if (seen.conflicts) {
    parts.push(`SELECT time, 'conflict', 1, value, concat(kept_value, '')
FROM conflict
WHERE ${series}
  AND ${during(range)}`);
  }
  if (seen.readings) {
    const bits = [
      ["late", 16],
      ["flagged", 1 + 128 + 256],
    ] as const;
    for (const [event, bit] of bits) {
      parts.push(`SELECT date_bin(INTERVAL '1 hour', time), '${event}', count(*), NULL, NULL
FROM reading
WHERE ${series}
  AND ${during(range)}
  AND 0 < (quality & ${bit})
GROUP BY 1`);
    }
  }
  return { sql: `${parts.join("\nUNION ALL\n")}\nORDER BY time` };
}

/** What is wrong with some meters on a day; with very many, of all sensors. */
export const health = (meters: string[], day: Range): Sql => ({
  sql: `SELECT sensor, metric, finding, since, detail
FROM health
WHERE ${meters.length < 300 ? among("sensor", meters) : "true"}
  AND ${during(day)}
ORDER BY sensor`,
});
