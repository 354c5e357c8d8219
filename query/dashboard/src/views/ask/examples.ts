/** Questions that planners and engineers of utilities ask, on any city's tables. Their words are in `words/ask.ts`. */

export interface Example {
  id: string;
  /** Datasets that the role must see. */
  needs: string[];
  sql: string;
}

export const EXAMPLES: Example[] = [
  {
    id: "busiest",
    needs: ["traffic"],
    sql: `SELECT sensor, segment, direction, sum(volume) AS vehicles, avg(coverage) AS observed
FROM traffic('1h')
WHERE time >= now() - INTERVAL '24 hours' AND time < now()
GROUP BY sensor, segment, direction
HAVING sum(volume) IS NOT NULL
ORDER BY vehicles DESC, sensor, segment, direction
LIMIT 20`,
  },
  {
    id: "day",
    needs: ["traffic", "latest"],
    sql: `SELECT time, sensor, flow, space_mean_speed, coverage
FROM traffic('15m')
WHERE time >= now() - INTERVAL '24 hours' AND time < now()
  AND sensor = (
    SELECT sensor FROM latest
    WHERE metric LIKE 'traffic.volume%' OR metric = 'traffic.vehicle'
    ORDER BY time DESC, sensor LIMIT 1)
ORDER BY time`,
  },
  {
    id: "speeding",
    needs: ["traffic", "segment"],
    sql: `SELECT t.sensor, t.segment, max(t.v85) AS highest_v85, avg(t.v50) AS mean_v50,
  max(s.speed_limit_kmh) AS speed_limit
FROM traffic('1h') AS t
JOIN segment AS s ON s.id = t.segment
WHERE t.time >= now() - INTERVAL '7 days' AND t.time < now()
GROUP BY t.sensor, t.segment
HAVING max(t.v85) IS NOT NULL
ORDER BY highest_v85 - speed_limit DESC, t.sensor, t.segment
LIMIT 30`,
  },
  {
    id: "slow",
    needs: ["road"],
    sql: `SELECT segment, direction, sum(delay_h) AS delay_h, min(speed_ratio) AS lowest_ratio, avg(coverage) AS observed
FROM road('15m')
WHERE time >= now() - INTERVAL '24 hours' AND time < now()
GROUP BY segment, direction
HAVING sum(delay_h) IS NOT NULL
ORDER BY delay_h DESC, segment, direction
LIMIT 20`,
  },
  {
    id: "consumption",
    needs: ["utility"],
    sql: `SELECT time, metric, unit, sum(amount) AS amount,
  count(amount) AS meters, count(*) - count(amount) AS silent_meters
FROM utility('1d')
WHERE role = 'customer' AND time >= now() - INTERVAL '14 days' AND time < now()
GROUP BY time, metric, unit
ORDER BY time, metric`,
  },
  {
    id: "peaks",
    needs: ["utility"],
    sql: `SELECT sensor, zone, metric, unit, max(demand) AS highest_hour, avg(demand) AS mean_hour
FROM utility('1h')
WHERE time >= now() - INTERVAL '7 days' AND time < now()
GROUP BY sensor, zone, metric, unit
HAVING max(demand) IS NOT NULL
ORDER BY metric, highest_hour DESC, sensor, zone
LIMIT 40`,
  },
  {
    id: "balance",
    needs: ["balance"],
    sql: `SELECT time, zone, inflow, metered, loss, nrw_percent, unit, unknown
FROM balance
WHERE time >= now() - INTERVAL '14 days' AND time < now()
ORDER BY time, zone`,
  },
  {
    id: "nights",
    needs: ["night"],
    sql: `SELECT time, zone, flow, baseline, alarm_limit, alarm, unit
FROM night
WHERE time >= now() - INTERVAL '28 days' AND time < now()
ORDER BY time, zone`,
  },
  {
    id: "air",
    needs: ["rollup"],
    sql: `SELECT time, metric, unit, avg(mean) AS mean, max(max) AS highest
FROM rollup('1h')
WHERE metric IN ('air.no2', 'air.pm10', 'air.pm2_5')
  AND time >= now() - INTERVAL '7 days' AND time < now()
GROUP BY time, metric, unit
ORDER BY time, metric`,
  },
  {
    id: "incomplete",
    needs: ["rollup"],
    sql: `SELECT sensor, metric, sum(count) AS came, sum(expected) AS due, sum(count) / sum(expected) AS share
FROM rollup('1d')
WHERE time >= now() - INTERVAL '7 days' AND time < now() - INTERVAL '1 day' AND expected > 0
GROUP BY sensor, metric
HAVING sum(count) < 0.9 * sum(expected)
ORDER BY share, sensor, metric`,
  },
  {
    id: "findings",
    needs: ["health"],
    sql: `SELECT finding, detail, count(*) AS series, min(since) AS longest_since
FROM health
GROUP BY finding, detail
ORDER BY series DESC, finding, detail`,
  },
  {
    id: "silent",
    needs: ["latest", "sensor"],
    sql: `SELECT l.sensor, s.kind, s.owner, s.zone, max(l.time) AS last_heard
FROM latest AS l
JOIN sensor AS s ON s.id = l.sensor AND s.valid_to IS NULL
GROUP BY l.sensor, s.kind, s.owner, s.zone
HAVING max(l.time) < now() - INTERVAL '1 hour'
ORDER BY last_heard, l.sensor`,
  },
  {
    id: "delays",
    needs: ["reading"],
    sql: `SELECT metric, count(*) AS readings,
  approx_percentile_cont(date_part('epoch', received_at) - date_part('epoch', time), 0.5) AS half_within_s,
  max(date_part('epoch', received_at) - date_part('epoch', time)) AS slowest_s
FROM reading
WHERE time >= now() - INTERVAL '1 hour' AND time < now()
GROUP BY metric
ORDER BY slowest_s DESC, metric`,
  },
  {
    id: "inventory",
    needs: ["series", "sensor"],
    sql: `SELECT s.kind, s.owner, m.metric, m.unit, m.interval_s, count(*) AS sensors
FROM series AS m
JOIN sensor AS s ON s.id = m.sensor AND s.valid_to IS NULL
GROUP BY s.kind, s.owner, m.metric, m.unit, m.interval_s
ORDER BY sensors DESC, s.kind, s.owner, m.metric`,
  },
];
