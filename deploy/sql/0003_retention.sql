-- What is kept for how long, and what was erased.

-- One row a class, written by the service at its start. A floor outlives its class: what was before it is gone.
CREATE TABLE retention (
    class    text PRIMARY KEY,                   -- as --keep names it: readings, rollup_5m, readings:camera.*
    keep     text,                               -- how long; null: no longer a class of its own
    floor    timestamptz,                        -- what is before it is refused, and its buckets are never computed again
    cleared  timestamptz,                        -- rows that go one by one are gone up to here
    moved_at timestamptz,
    days     int8 NOT NULL DEFAULT 0,            -- dropped whole so far
    rows     int8 NOT NULL DEFAULT 0             -- deleted one by one so far
);

-- What was erased, by whose order and why; the sensor as a hash, so that its redelivery can be refused.
CREATE TABLE erasure (
    id          int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sensor      bytea NOT NULL,                  -- SHA-256 of the city's salt and the sensor's name
    metric      text,                            -- null: all
    starts      timestamptz,                     -- null: from the beginning
    ends        timestamptz NOT NULL,
    reason      text NOT NULL,
    asked_at    timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,                     -- null: interrupted; asking again finishes it
    readings    int8 NOT NULL DEFAULT 0,         -- rows deleted
    events      int8 NOT NULL DEFAULT 0,
    conflicts   int8 NOT NULL DEFAULT 0,
    rejections  int8 NOT NULL DEFAULT 0,
    rollups     int8 NOT NULL DEFAULT 0
);

-- Keeps the hashes from being looked up in a list of meter numbers; whoever holds the database can still try a name.
ALTER TABLE city ADD COLUMN erasure_salt bytea NOT NULL
    DEFAULT sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'));
