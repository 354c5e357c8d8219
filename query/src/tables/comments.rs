//! What each column is, and its unit: clients show them as comments.

use std::collections::HashMap;

/// Units are UCUM. Of a value whose unit is its series' own, the column `unit` says it.
const COLUMNS: &[(&str, &str, &str)] = &[
    // (column, or dataset.column where another one has that name; unit; what it is)
    ("time", "", "when it was measured, or the start of its bucket"),
    ("sensor", "", "who measured"),
    ("metric", "", "what was measured, such as traffic.volume"),
    ("value", "", "as the registry calibrates it, in the unit of its series"),
    ("unit", "", "of the values, in UCUM"),
    (
        "quality",
        "",
        "a set of bits; 0 is good: 1 bad, 2 doubted, 4 stale, 8 historical, 16 late, 32 time of receipt, 128 out of range, 256 implausible, 32768 less than its interval, 65536 unknown unit",
    ),
    ("received_at", "", "when it came in"),
    ("event_id", "", "tells events of one moment apart"),
    ("speed", "km/h", "of the vehicle"),
    ("length", "m", "of the vehicle"),
    ("on_time", "s", "how long the detector was occupied"),
    ("class", "", "of the vehicle"),
    ("tags", "", "whatever else was sent, a JSON object"),
    ("count", "1", "readings that count"),
    ("flagged", "1", "readings beside: bad, implausible or out of range; in no sum"),
    ("expected", "1", "readings that were due"),
    ("late", "1", "readings that came late"),
    ("sum", "", "of all values"),
    ("min", "", "the least value"),
    ("max", "", "the greatest value"),
    ("first", "", "the earliest value"),
    ("first_time", "", "when that was measured"),
    ("last", "", "the latest value"),
    ("last_time", "", "when that was measured"),
    ("state", "", "all that the bucket keeps, for functions such as v85(state) and merge_state(state)"),
    ("ends", "", "the end of the bucket, which is not in it"),
    ("time_zone", "", "by whose clocks the day is cut"),
    ("source", "", "a numbered gateway, or a mapping"),
    ("hour", "", "the hour of receipt"),
    ("received", "1", "messages that came"),
    ("accepted", "1", "messages with readings that were taken"),
    ("repeated", "1", "messages that had come before"),
    ("ignored", "1", "messages that have no readings"),
    ("rejected_messages", "1", "messages that were refused"),
    ("decoded", "1", "readings in them"),
    ("stored", "1", "readings that are in the tables"),
    ("duplicate", "1", "readings that were there already"),
    ("conflict", "1", "readings whose key had another value"),
    ("ledger.rejected", "1", "readings that were refused"),
    ("reused", "1", "numbers that came again with something else"),
    ("unkept", "1", "readings from before what is kept"),
    ("shed", "1", "messages of QoS 0 that were dropped when we were behind"),
    ("quarantined", "1", "readings of sensors that nobody announced"),
    ("epoch", "", "of the count: a greater one begins anew"),
    ("committed", "", "all numbers up to it are in the tables"),
    ("seen_to", "", "the greatest number that came"),
    ("missing", "1", "numbers below it that did not come"),
    ("source_position.rejected", "1", "messages that were refused"),
    ("untracked", "1", "messages whose numbers could not be remembered"),
    ("updated_at", "", "when it was changed"),
    ("first_seq", "", "the first number that never came"),
    ("last_seq", "", "the last one"),
    ("observed", "1", "readings that came"),
    ("id", "", "its name"),
    ("revision.id", "", "grows from change to change"),
    ("rejection.id", "", "its number"),
    ("at", "", "when it was written"),
    ("level", "", "5m, 1h or 1d"),
    ("starts", "", "of the first bucket that changed"),
    ("added", "1", "buckets that are new"),
    ("changed", "1", "buckets that are others"),
    ("gone", "1", "buckets that are no more"),
    ("topic", "", "where it was published"),
    ("reason", "", "why it was refused, a word"),
    ("detail", "", "why, in a sentence"),
    ("conflict.detail", "", "of an event: everything that was sent"),
    ("readings", "1", "in the message, as far as it could be read"),
    ("payload_bytes", "By", "of the message"),
    ("retained", "", "whether the broker had kept it"),
    ("rejection.state", "", "open, redriven or dropped"),
    ("settled_at", "", "when that was decided"),
    ("attempts", "1", "how often it was tried again"),
    ("sha256", "", "of the whole payload"),
    ("conflict.value", "", "that came second"),
    ("kept_value", "", "that came first, and stayed"),
    ("name", "", "for people"),
    ("kind", "", "of sensor"),
    ("series.kind", "", "what its values are: gauge, delta, total, counter, rate, sliding or event"),
    ("owner", "", "whose it is"),
    ("serial", "", "the number on the device"),
    ("lon", "deg", "longitude, WGS 84"),
    ("lat", "deg", "latitude, WGS 84"),
    ("segment", "", "the stretch of road it is on"),
    ("direction", "", "of the traffic"),
    ("lane", "", "counted from the kerb"),
    ("offset_m", "m", "from the start of the segment, with the traffic"),
    ("zone", "", "the district it is in"),
    ("role", "", "of a meter: inlet, export, storage or customer"),
    ("privacy", "", "public, internal or personal"),
    ("reviewed", "", "whether somebody looked at it"),
    ("sensor.state", "", "admitted or quarantined"),
    ("valid_from", "", "since when that is so"),
    ("valid_to", "", "until when that was so; null: still"),
    ("road_class", "", "such as motorway"),
    ("from_node", "", "where it begins"),
    ("to_node", "", "where it ends"),
    ("length_m", "m", "of the segment"),
    ("speed_limit_kmh", "km/h", "by law"),
    ("free_flow_speed_kmh", "km/h", "on an empty road"),
    ("lanes", "1", "in this direction"),
    ("capacity_pcu_h", "/h", "passenger car units"),
    ("geometry", "", "GeoJSON, WGS 84"),
    ("parent", "", "the zone that it is part of"),
    ("interval_s", "s", "that each value is of"),
    ("modulus", "", "at which a counter begins anew"),
    ("resolution", "", "less than it is noise"),
    ("max_rate", "/h", "more than it is impossible"),
    ("max_gap_s", "s", "longer than it nothing is known between two readings"),
    ("factor", "1", "the true value is factor * stored + shift"),
    ("shift", "", "the true value is factor * stored + shift"),
];

/// The metadata of a column's field: `unit`, where it has one, and `comment`.
pub fn metadata(dataset: &str, column: &str) -> HashMap<String, String> {
    let Some((unit, comment)) = of(dataset, column) else { return HashMap::new() };
    let unit = Some(unit).filter(|unit| !unit.is_empty()).map(|unit| ("unit".to_owned(), unit.to_owned()));
    unit.into_iter().chain([("comment".to_owned(), comment.to_owned())]).collect()
}

fn of(dataset: &str, column: &str) -> Option<(&'static str, &'static str)> {
    let named = |name: &str| COLUMNS.iter().find(|known| known.0 == name).map(|known| (known.1, known.2));
    named(&format!("{dataset}.{column}")).or_else(|| named(column))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::ALL;

    #[test]
    fn every_column_says_what_it_is() {
        for dataset in ALL {
            for column in dataset.columns {
                assert!(of(dataset.name, column.name).is_some(), "{}.{}", dataset.name, column.name);
            }
        }
    }
}
