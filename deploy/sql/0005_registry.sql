-- The registry: who is admitted, what stored values mean by date, and how the city hangs together.

ALTER TABLE sensor
    ADD COLUMN name   text,
    ADD COLUMN serial text;                      -- of the device that is there; an exchange closes one row and opens another

ALTER TABLE segment
    ADD COLUMN name       text,
    ADD COLUMN road_class text,
    ADD COLUMN direction  text,
    ADD COLUMN from_node  text,
    ADD COLUMN to_node    text;

ALTER TABLE zone ADD COLUMN name text;

-- What turns a stored value into the true one, from a date to the next row's: scale * value + offset.
CREATE TABLE calibration (
    series_id  int4 NOT NULL REFERENCES series ON DELETE CASCADE,
    valid_from timestamptz NOT NULL DEFAULT '-infinity',
    scale      float8 NOT NULL DEFAULT 1 CHECK (scale <> 0),
    "offset"   float8 NOT NULL DEFAULT 0,
    PRIMARY KEY (series_id, valid_from)
);

-- A sensor that nobody announced, until somebody adopts it, with the message that it came in.
CREATE TABLE quarantine (
    sensor        text PRIMARY KEY,
    topic         text NOT NULL,                 -- at most 1,024 bytes
    payload       bytea NOT NULL,                -- at most 64 KiB
    payload_bytes int8 NOT NULL,                 -- of the whole payload
    seen_at       timestamptz NOT NULL           -- receipt of the message
);

CREATE VIEW quarantined_series AS
    SELECT s.id FROM quarantine q JOIN series s ON s.sensor = q.sensor;

-- Five-minute buckets of readings in quarantine: kept in place of marks, they become marks when the sensor is adopted.
CREATE TABLE withheld (
    series_id  int4 NOT NULL REFERENCES series ON DELETE CASCADE,
    bucket     timestamptz NOT NULL,
    readings   int8 NOT NULL,                    -- and events
    first_time timestamptz NOT NULL,
    last_time  timestamptz NOT NULL,
    PRIMARY KEY (series_id, bucket)
);

ALTER TABLE ledger ADD COLUMN quarantined int8 NOT NULL DEFAULT 0;   -- a subset of stored
