-- The tables of the street. `reading` and `event` follow in 0001_street.<level>.sql,
-- because a hypertable and a partitioned table are made differently.

-- One row: what holds for the whole city and must not change under stored rollups.
CREATE TABLE city (
    only_row         bool PRIMARY KEY DEFAULT true CHECK (only_row),
    time_zone        text NOT NULL,              -- IANA name; local days are cut by it
    raw_floor        timestamptz,                -- readings before it were dropped and are refused
    registry_version int8 NOT NULL DEFAULT 0     -- grows with every import, so that services reload
);

CREATE TABLE sensor (
    id         text NOT NULL,
    kind       text,
    owner      text,
    lon        float8,
    lat        float8,
    segment    text,
    direction  text,
    lane       int4,
    offset_m   float8,
    zone       text,
    role       text,
    privacy    text NOT NULL DEFAULT 'personal' CHECK (privacy IN ('public', 'internal', 'personal')),
    reviewed   bool NOT NULL DEFAULT false,
    valid_from timestamptz NOT NULL DEFAULT '-infinity',
    valid_to   timestamptz NOT NULL DEFAULT 'infinity',
    PRIMARY KEY (id, valid_from)
);

CREATE TABLE segment (
    id                  text PRIMARY KEY,
    geometry            jsonb,                   -- GeoJSON LineString, WGS 84
    length_m            float8,
    speed_limit_kmh     float8,
    free_flow_speed_kmh float8,
    lanes               int4,
    capacity_pcu_h      float8
);

CREATE TABLE zone (
    id       text PRIMARY KEY,
    parent   text REFERENCES zone,
    geometry jsonb                               -- GeoJSON Polygon, WGS 84
);

CREATE TABLE series (
    id         int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sensor     text NOT NULL,
    metric     text NOT NULL,
    unit       text NOT NULL,                    -- UCUM
    kind       text NOT NULL CHECK (kind IN ('gauge', 'delta', 'total', 'counter', 'rate', 'sliding', 'event')),
    interval_s int4 CHECK (0 < interval_s AND interval_s <= 86400),
    modulus    float8,
    resolution float8,
    min        float8,
    max        float8,
    max_rate   float8,
    max_gap_s  int4,
    UNIQUE (sensor, metric)
);

CREATE TABLE conflict (
    time        timestamptz NOT NULL,
    series_id   int4 NOT NULL,
    event_id    int8,                            -- null for a reading
    value       float8,                          -- of an event: its speed
    kept_value  float8,
    detail      text,                            -- of an event: everything that was sent
    received_at timestamptz NOT NULL,
    source      text NOT NULL,
    fingerprint int8 NOT NULL,                   -- a reading's value bits, a hash of an event's attributes
    UNIQUE NULLS NOT DISTINCT (time, series_id, event_id, fingerprint)
);

CREATE TABLE rejection (
    received_at timestamptz NOT NULL,
    source      text NOT NULL,
    topic       text NOT NULL,                   -- at most 1,024 characters
    reason      text NOT NULL,
    detail      text NOT NULL,
    payload     bytea NOT NULL,                  -- at most 64 KiB
    sha256      bytea NOT NULL,                  -- of the whole payload
    UNIQUE (source, topic, sha256, reason)
);

-- Appended to by every batch, folded by the roller to one row a source and hour.
CREATE TABLE ledger (
    source            text NOT NULL,
    hour              timestamptz NOT NULL,      -- of receipt
    received          int8 NOT NULL,             -- messages = accepted + repeated + ignored + rejected_messages
    accepted          int8 NOT NULL,
    repeated          int8 NOT NULL,
    ignored           int8 NOT NULL,
    rejected_messages int8 NOT NULL,
    decoded           int8 NOT NULL,             -- readings = stored + duplicate + conflict + rejected
    stored            int8 NOT NULL,
    duplicate         int8 NOT NULL,
    conflict          int8 NOT NULL,
    rejected          int8 NOT NULL,
    late              int8 NOT NULL              -- a subset of stored
);
CREATE INDEX ledger_source_hour ON ledger (source, hour);

-- A batch's id is found here if, and only if, its transaction committed.
CREATE TABLE batch (
    id int8 PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX batch_at ON batch (at);

-- Buckets whose rollup is not, or no longer, what its readings say. Append only; taken by the roller.
CREATE TABLE dirty (
    level  int2 NOT NULL,                        -- 0: five minutes, 1: hour, 2: local day
    bucket timestamptz NOT NULL,                 -- its start
    part   int2 NOT NULL,                        -- hash of the sensor, so that all metrics of a detector share it
    batch  int8 NOT NULL
);
CREATE INDEX dirty_level_bucket ON dirty (level, bucket);

CREATE TABLE rollup_5m (
    bucket      timestamptz NOT NULL,            -- start; the end is excluded
    series_id   int4 NOT NULL,
    count       int8 NOT NULL,                   -- readings inside
    flagged     int8 NOT NULL,                   -- readings beside: bad, implausible, stuck, out of range
    expected    float8,                          -- readings due, where the series has an interval
    sum         float8,                          -- with `residue` the compensated sum, in time order
    residue     float8,
    min         float8,
    max         float8,
    first       float8,
    first_time  timestamptz,
    last        float8,
    last_time   timestamptz,
    PRIMARY KEY (bucket, series_id)
);

CREATE TABLE rollup_1h (LIKE rollup_5m INCLUDING ALL);

CREATE TABLE rollup_1d (
    LIKE rollup_5m INCLUDING ALL,
    ends      timestamptz NOT NULL,              -- 23, 24 or 25 hours after its start
    time_zone text NOT NULL
);
