-- What rolling changed, written in the transaction that changed it. A few rows a step: a single repair is named by its
-- series, the first rolling of a whole city is one row. Kept for 400 days.
CREATE TABLE revision (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid       xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at        timestamptz NOT NULL DEFAULT now(),
    level     int2 NOT NULL,                     -- 0: five minutes, 1: hour, 2: local day
    series_id int4,                              -- NULL: of several
    starts    timestamptz NOT NULL,              -- of the first bucket
    ends      timestamptz NOT NULL,              -- of the last bucket, excluded
    added     int4 NOT NULL,                     -- buckets of a series
    changed   int4 NOT NULL,
    gone      int4 NOT NULL
);
CREATE INDEX revision_at ON revision (at);
CREATE INDEX revision_starts ON revision (starts);
