use super::{super::sample, *};
use datafusion::arrow::array::{ArrayRef, Int32Array};
use expect_test::expect;
use proptest::prelude::*;
use quick_xml::{Reader, XmlVersion, events::Event};
use std::sync::Arc;

fn written(batch: &RecordBatch, context: &Context) -> String {
    let mut datex2 = Datex2::new(&batch.schema(), context).unwrap();
    datex2.batch(batch).unwrap();
    datex2.finish().unwrap();
    String::from_utf8(datex2.bytes).unwrap()
}

fn context() -> Context {
    Context { complete_until: Some("2026-11-22T12:00:00Z".parse().unwrap()), ..Context::default() }
}

/// Rows of one minute: sensor, metric, value.
fn rows(rows: &[(&str, &str, f64)], more: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let sensors: Vec<_> = rows.iter().map(|row| row.0).collect();
    let metrics: Vec<_> = rows.iter().map(|row| row.1).collect();
    let values: Float64Array = rows.iter().map(|row| Some(row.2)).collect();
    let mut columns = vec![
        ("time", sample::times(&vec![Some("2026-11-22T11:59:00Z"); rows.len()])),
        ("sensor", sample::texts(&sensors)),
        ("metric", sample::texts(&metrics)),
        ("value", Arc::new(values) as ArrayRef),
    ];
    columns.extend(more);
    sample::of(columns)
}

/// Sensor, index and value of each measuredValue, as a reader of the feed sees them.
fn read(xml: &str) -> Vec<(String, String, String)> {
    let mut reader = Reader::from_str(xml);
    let (mut site, mut index, mut text, mut found) = Default::default();
    loop {
        let event = reader.read_event().unwrap();
        match &event {
            Event::Start(tag) | Event::Empty(tag) => {
                text = String::new();
                for attribute in tag.attributes().map(Result::unwrap) {
                    let value = attribute.normalized_value(XmlVersion::Implicit1_0).unwrap().into_owned();
                    match (tag.local_name().as_ref(), attribute.key.local_name().as_ref()) {
                        ("measurementSiteReference", "id") => site = value,
                        ("measuredValue", "index") => index = value,
                        _ => {}
                    }
                }
            }
            Event::Text(part) => text.push_str(part),
            Event::End(tag)
                if ["vehicleFlowRate", "speed", "percentage"].contains(&tag.local_name().as_ref()) =>
            {
                Vec::push(&mut found, (String::clone(&site), String::clone(&index), text.clone()));
            }
            Event::Eof => return found,
            _ => {}
        }
    }
}

fn found(values: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    values.iter().map(|(site, index, value)| ((*site).into(), (*index).into(), (*value).into())).collect()
}

#[test]
fn three_rows() {
    let publisher = Publisher { country: "nl".into(), name: "Stad & Land".into() };
    expect![[r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <d2LogicalModel xmlns="http://datex2.eu/schema/2/2_0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" modelBaseVersion="2">
        <exchange><supplierIdentification><country>nl</country><nationalIdentifier>Stad &amp; Land</nationalIdentifier></supplierIdentification></exchange>
        <payloadPublication xsi:type="MeasuredDataPublication" lang="en">
        <publicationTime>2026-11-22T12:00:00Z</publicationTime>
        <publicationCreator><country>nl</country><nationalIdentifier>Stad &amp; Land</nationalIdentifier></publicationCreator>
        <measurementSiteTableReference id="Stad &amp; Land" version="1" targetClass="MeasurementSiteTable"/>
        <headerInformation><confidentiality>noRestriction</confidentiality><informationStatus>real</informationStatus></headerInformation>
        <siteMeasurements>
        <measurementSiteReference id="loop-17" version="1" targetClass="MeasurementSiteRecord"/>
        <measurementTimeDefault>2026-11-22T11:59:00Z</measurementTimeDefault>
        <measuredValue index="1"><measuredValue><basicData xsi:type="TrafficFlow"><vehicleFlow><vehicleFlowRate>1260</vehicleFlowRate></vehicleFlow></basicData></measuredValue></measuredValue>
        <measuredValue index="5"><measuredValue><basicData xsi:type="TrafficSpeed"><averageVehicleSpeed><speed>88.5</speed></averageVehicleSpeed></basicData></measuredValue></measuredValue>
        </siteMeasurements>
        <!-- rows left out: 1 of metrics or units that DATEX II has no element for, 0 of volumes without an interval, 0 without a value, 0 with the index of another -->
        </payloadPublication>
        </d2LogicalModel>
    "#]]
    .assert_eq(&written(&sample::readings(), &Context { publisher, ..context() }));
}

#[test]
fn flows_are_of_an_hour_and_speeds_and_occupancies_as_they_are() {
    let batch = rows(
        &[
            ("a", "traffic.volume", 21.0),
            ("a", "traffic.speed", 88.5),
            ("a", "traffic.occupancy.lane2", 7.25),
            ("b", "traffic.volume", 2.0),
        ],
        vec![("interval_s", Arc::new(Int32Array::from(vec![Some(60), Some(60), None, None])))],
    );
    let xml = written(&batch, &Context { interval: Some(Duration::from_secs(300)), ..context() });
    let expected = [("a", "4", "1260"), ("a", "2", "88.5"), ("a", "23", "7.25"), ("b", "4", "24")];
    assert_eq!(read(&xml), found(&expected));
    assert_eq!(xml.matches("<siteMeasurements>").count(), 2);
    assert!(xml.contains("<measurementOrCalculationPeriod>300<"));
    assert!(!xml.contains("<!--"));
}

#[test]
fn what_has_no_place_is_counted() {
    let batch = rows(
        &[
            ("a", "traffic.volume", 21.0),
            ("a", "water.level", 1.0),
            ("a", "traffic.speed", -1.0),
            ("a", "traffic.flow", f64::NAN),
            ("a", "traffic.speed", 50.0),
            ("a", "traffic.speed", 51.0),
            ("a", "traffic.occupancy", 0.5),
        ],
        vec![("unit", sample::texts(&["{veh}", "m", "km/h", "{veh}/h", "km/h", "km/h", "1"]))],
    );
    let xml = written(&batch, &context());
    assert_eq!(read(&xml), found(&[("a", "2", "50")]));
    let counted = "rows left out: 2 of metrics or units that DATEX II has no element for, 1 of volumes without an \
                   interval, 2 without a value, 1 with the index of another";
    assert!(xml.contains(counted), "{xml}");
}

#[test]
fn a_wrong_value_says_so() {
    let quality = |flags| vec![("quality", Arc::new(Int32Array::from(vec![flags])) as ArrayRef)];
    let xml = |flags| written(&rows(&[("a", "traffic.flow", 60.0)], quality(flags)), &context());
    assert!(xml(1 << 9).contains("<vehicleFlow><dataError>true</dataError><vehicleFlowRate>60<"));
    assert!(!xml(1 << 4).contains("dataError"), "late is not wrong");
}

#[test]
fn only_rows_that_follow_each_other_are_one_site() {
    let batch = rows(
        &[("a", "traffic.flow", 1.0), ("b", "traffic.flow", 2.0), ("a", "traffic.speed", 3.0)],
        Vec::new(),
    );
    let xml = written(&batch, &context());
    assert_eq!(xml.matches("<siteMeasurements>").count(), 3);
    assert_eq!(xml.matches("</siteMeasurements>").count(), 3);
}

#[test]
fn a_site_goes_on_in_the_next_batch() {
    let batch = rows(&[("a", "traffic.flow", 1.0), ("a", "traffic.speed", 2.0)], Vec::new());
    let mut datex2 = Datex2::new(&batch.schema(), &context()).unwrap();
    datex2.batch(&batch.slice(0, 1)).unwrap();
    datex2.batch(&batch.slice(1, 1)).unwrap();
    datex2.finish().unwrap();
    assert_eq!(String::from_utf8(datex2.bytes).unwrap(), written(&batch, &context()));
}

#[test]
fn other_datasets_are_refused_before_anything_is_sent() {
    let error = Datex2::new(&sample::all_types().schema(), &context()).err().unwrap().to_string();
    assert!(error.contains("no such sensor"), "{error}");
}

proptest! {
    #[test]
    fn any_name_survives(name in any::<String>()) {
        let xml = written(&rows(&[(&name, "traffic.flow", 1.0)], Vec::new()), &context());
        let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        let expected: String = name.chars().map(|c| if allowed(c) { c } else { '\u{fffd}' }).collect();
        prop_assert_eq!(&read(&xml)[0].0, &expected);
    }
}
