-- A mean speed of an interval in which its detector counted nobody is left out now: buckets of speeds are rolled again.
INSERT INTO dirty (level, bucket, part, batch)
SELECT 0, bucket, part, 0
FROM (
    SELECT DISTINCT bucket FROM rollup_5m
    WHERE series_id IN (SELECT id FROM series WHERE metric = 'traffic.speed' OR metric LIKE 'traffic.speed.%')
) AS rolled, generate_series(0, 63) AS part;
