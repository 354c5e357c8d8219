-- Hypertables with one chunk a UTC day: the Apache-licensed part of TimescaleDB is enough.
CREATE EXTENSION IF NOT EXISTS timescaledb;

CREATE TABLE reading (
    time        timestamptz NOT NULL,
    value       float8 NOT NULL,
    series_id   int4 NOT NULL,
    quality     int4 NOT NULL,
    received_at timestamptz NOT NULL
);
SELECT create_hypertable('reading', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX reading_time_series_id_key ON reading (time, series_id);

CREATE TABLE event (
    time        timestamptz NOT NULL,
    event_id    int8 NOT NULL,
    speed       float8,                          -- km/h
    length      float8,                          -- m
    on_time_s   float8,
    series_id   int4 NOT NULL,
    quality     int4 NOT NULL,
    received_at timestamptz NOT NULL,
    class       text
);
SELECT create_hypertable('event', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX event_time_series_id_event_id_key ON event (time, series_id, event_id);
