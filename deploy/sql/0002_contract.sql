-- The delivery contract: numbered messages, rejections that can be settled, and what is counted beside them.

-- Which numbered messages of a source are committed.
CREATE TABLE source_position (
    source     text NOT NULL,                    -- the publisher that numbers its messages
    epoch      int8 NOT NULL,                    -- grows when the publisher starts to count anew; an epoch's first number is 1
    seen       int8multirange NOT NULL,
    rejected   int8 NOT NULL,                    -- messages among them of which something was refused
    reused     int8 NOT NULL,                    -- numbers that came again with another payload
    untracked  int8 NOT NULL,                    -- numbers committed and not kept in `seen`, which has too many gaps
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (source, epoch)
);

-- Which numbers came in which hour of receipt: says when a gap arose.
CREATE TABLE source_hour (
    source    text NOT NULL,
    epoch     int8 NOT NULL,
    hour      timestamptz NOT NULL,
    first_seq int8 NOT NULL,
    last_seq  int8 NOT NULL,
    PRIMARY KEY (source, epoch, hour)
);

-- Fingerprints of the numbered messages committed last, appended by every batch, pruned by the roller: a number that
-- comes again is a repeat only if its payload is the same.
CREATE TABLE source_payload (
    id     int8 GENERATED ALWAYS AS IDENTITY,
    source text NOT NULL,
    epoch  int8 NOT NULL,
    seqs   int8[] NOT NULL,
    hashes int8[] NOT NULL,                      -- XXH3 of the payload, beside each number
    at     timestamptz NOT NULL,
    PRIMARY KEY (source, epoch, id)
);
CREATE INDEX source_payload_at ON source_payload (at);

-- A rejection stays until an operator settles it.
ALTER TABLE rejection
    ADD COLUMN id            int8 GENERATED ALWAYS AS IDENTITY UNIQUE,
    ADD COLUMN readings      int4 NOT NULL DEFAULT 0,      -- refused; 0 where the whole message was
    ADD COLUMN payload_bytes int8 NOT NULL DEFAULT 0,      -- of the whole payload; 0 in rows older than this column
    ADD COLUMN retained      bool NOT NULL DEFAULT false,
    ADD COLUMN state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'redriven', 'dropped')),
    ADD COLUMN settled_at    timestamptz,
    ADD COLUMN attempts      int4 NOT NULL DEFAULT 0;      -- redrives that were refused again
CREATE INDEX rejection_received_at ON rejection (received_at);
CREATE INDEX rejection_open ON rejection (id) WHERE state = 'open';
CREATE INDEX rejection_source ON rejection (source, received_at);

ALTER TABLE ledger
    ADD COLUMN reused int8 NOT NULL DEFAULT 0,   -- messages whose number came before with another payload; also in another column
    ADD COLUMN unkept int8 NOT NULL DEFAULT 0,   -- rejections counted, but beyond the number kept of a source
    ADD COLUMN shed   int8 NOT NULL DEFAULT 0;   -- messages of QoS 0 dropped unread because we were behind; not received

-- Readings of the bucket that were late at their receipt; depends on when they came, so it is outside the promise of
-- equal bits.
ALTER TABLE rollup_5m ADD COLUMN late int8 NOT NULL DEFAULT 0;
ALTER TABLE rollup_1h ADD COLUMN late int8 NOT NULL DEFAULT 0;
ALTER TABLE rollup_1d ADD COLUMN late int8 NOT NULL DEFAULT 0;

-- Numbers that never came. A gap shows, and is counted, in the hour in which the next number was received.
CREATE VIEW source_gap AS
    SELECT p.source, p.epoch, lower(g) AS first_seq, upper(g) - 1 AS last_seq, coalesce((
        SELECT min(h.hour) FROM source_hour h
        WHERE h.source = p.source AND h.epoch = p.epoch AND upper(g) <= h.last_seq
    ), date_trunc('hour', p.updated_at)) AS hour
    FROM source_position p, unnest(int8multirange(int8range(1, upper(p.seen))) - p.seen) AS g
    WHERE NOT isempty(p.seen);
