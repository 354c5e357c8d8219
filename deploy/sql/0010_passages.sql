-- Where the events of a batch lie, so that passages are told as they are committed, as readings are.
ALTER TABLE batch ADD COLUMN event_times tstzmultirange;   -- at least those of its events; null: it has none
