-- What a bucket keeps beside its plain numbers, as `processor/src/model/state/codec.rs` writes it: covered time, spread and
-- quantiles, integrals, register counts, passages by class, sums weighted by volume. NULL where nothing was observed, or
-- where the readings were dropped before this column was there.
ALTER TABLE rollup_5m ADD COLUMN state bytea;
ALTER TABLE rollup_1h ADD COLUMN state bytea;
ALTER TABLE rollup_1d ADD COLUMN state bytea;

-- Buckets that are rolled already are rolled again, from the oldest; wider ones follow them.
INSERT INTO dirty (level, bucket, part, batch)
SELECT 0, bucket, part, 0
FROM (SELECT DISTINCT bucket FROM rollup_5m) AS rolled, generate_series(0, 63) AS part;
