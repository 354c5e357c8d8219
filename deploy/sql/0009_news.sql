-- Where the readings of a batch lie, and which transaction stored them: so what came since a moment is found without
-- reading the rest.
ALTER TABLE batch
    ADD COLUMN xid   xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ADD COLUMN times tstzmultirange;                       -- at least those of its readings; null: it has none
CREATE INDEX batch_xid ON batch (xid);

-- The newest of each series, however long ago it was.
CREATE INDEX rollup_1d_series_id_bucket ON rollup_1d (series_id, bucket);
