//! Every format from a small file, and the shared data where it is.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use ::parquet::{
    data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use flate2::{Compression, write::GzEncoder};

use super::*;
use crate::say;

mod shared;

fn importer(format: Format) -> Importer {
    Importer { start: Some("2024-05-14T05:00:00Z".parse().unwrap()), ..Importer::new(format) }
}

/// What a file says, a line for each fact, and what was found.
fn said(importer: &Importer, text: &[u8]) -> anyhow::Result<(Vec<String>, Found)> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text).unwrap();
    let mut lines = Vec::new();
    let found = importer.read(file.path(), &mut |fact| {
        lines.push(line(&fact));
        Ok(())
    })?;
    Ok((lines, found))
}

fn line(fact: &Fact<'_>) -> String {
    let time = |time_us| Timestamp::from_microsecond(time_us).unwrap();
    match fact {
        Fact::Reading { sensor, kind, reading: r } => {
            format!(
                "{} {sensor} {} {} {} {kind}/{}",
                time(r.time_us),
                r.metric,
                r.value,
                r.unit,
                r.interval_s
            )
        }
        Fact::Passage { detector, passage: p } => {
            format!(
                "{} {detector} {} {} {} s {} m/s {} m",
                time(p.time_us),
                p.vehicle,
                p.class,
                p.on_time,
                p.speed,
                p.length
            )
        }
    }
}

fn wrong(importer: &Importer, text: &str) -> String {
    format!("{:#}", said(importer, text.as_bytes()).unwrap_err())
}

const E1: &str = r#"<?xml version="1.0"?>
<detector>
  <interval begin="0.00" end="60.00" id="a#1" nVehContrib="1" flow="60.00" occupancy="0.70" speed="10.88" harmonicMeanSpeed="10.80" length="4.60" nVehEntered="2"/>
  <interval begin="60.00" end="120.00" id="a#1" nVehContrib="0" flow="0.00" occupancy="0.00" speed="-1.00" harmonicMeanSpeed="-1.00" length="-1.00" nVehEntered="0"/>
</detector>"#;

#[test]
fn an_e1_loop_says_what_it_counted_at_the_end_of_each_interval() {
    let (lines, found) = said(&importer(Format::SumoE1), E1.as_bytes()).unwrap();
    assert_eq!(
        lines,
        [
            "2024-05-14T05:01:00Z a%231 traffic.volume 2 {veh} total/60",
            "2024-05-14T05:01:00Z a%231 traffic.occupancy 0.70 % rate/60",
            "2024-05-14T05:01:00Z a%231 traffic.speed.mean 10.88 m/s rate/60",
            "2024-05-14T05:01:00Z a%231 traffic.speed.harmonic 10.80 m/s rate/60",
            "2024-05-14T05:01:00Z a%231 traffic.length.mean 4.60 m rate/60",
            "2024-05-14T05:02:00Z a%231 traffic.volume 0 {veh} total/60",
            "2024-05-14T05:02:00Z a%231 traffic.occupancy 0.00 % rate/60",
        ]
    );
    assert_eq!(found.left_out.values().sum::<u64>(), 3);
    let contributed = Importer { count: Count::Contributed, ..importer(Format::SumoE1) };
    assert!(said(&contributed, E1.as_bytes()).unwrap().0[0].contains("traffic.volume 1 "));
    assert_eq!(
        found.series_csv(100, |_, metric, of| (metric == "traffic.speed.mean").then(|| of.unit.clone())),
        ["sensor,metric,unit,kind,interval_s\na%231,traffic.speed.mean,km/h,rate,60\n"]
    );
}

#[test]
fn a_compressed_file_is_read_as_it_was() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(E1.as_bytes()).unwrap();
    assert_eq!(said(&importer(Format::SumoE1), &gzip.finish().unwrap()).unwrap().1.readings, 7);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let e1 = importer(Format::SumoE1);
    assert!(
        wrong(&Importer { start: None, ..e1.clone() }, E1)
            .contains("line 3: its times are seconds from its start")
    );
    assert!(wrong(&e1, &E1.replace("10.88", "fast")).contains("line 3: speed: \"fast\" is no number"));
    assert!(wrong(&e1, &E1.replace("120.00", "90.5")).contains("line 4"));
    assert!(wrong(&e1, &E1.replace("</detector>", "")).contains("ends within an element"));
    assert!(wrong(&e1, "<a/>").contains("no <interval>"));
    assert!(wrong(&importer(Format::Wide), "t,a\n").contains("--columns"));
    assert!(wrong(&Importer { prefix: "a/".into(), ..e1.clone() }, E1).contains("--sensor-prefix"));
    let early = Importer { start: Some("1970-01-01T00:00:00Z".parse().unwrap()), ..e1 };
    assert!(wrong(&early, E1).contains("not between 2000 and 2100"));
}

#[test]
fn an_instantaneous_loop_says_who_passed() {
    let text = r#"<instantE1>
<instantOut id="d1" time="3.50" state="enter" vehID="7" speed="12.00" length="5.00" type="car" gap="-1"/>
<instantOut id="d1" time="3.70" state="stay" vehID="7" speed="12.10" length="5.00" type="car"/>
<instantOut id="d1" time="3.91" state="leave" vehID="7" speed="12.20" length="5.00" type="car" occupancy="0.41"/>
<instantOut id="d1" time="9.00" state="leave" vehID="8" speed="9.00" length="5.00" type="car"/>
<instantOut id="d1" time="9.50" state="enter" vehID="9" speed="9.00" length="5.00" type="car"/>
</instantE1>"#;
    let (lines, found) = said(&importer(Format::SumoInstant), text.as_bytes()).unwrap();
    assert_eq!(lines, ["2024-05-14T05:00:03.5Z d1 7 car 0.41 s 12.20 m/s 5.00 m"]);
    assert_eq!(found.left_out.len(), 2);
}

#[test]
fn passages_may_come_as_lines() {
    let text = "detector_id,veh_id,veh_type,t_enter_s,t_leave_s,speed_mps,length_m\nd,3,car,16.72,17.06,13.17,4.60\n";
    let (lines, _) = said(&importer(Format::SumoEvents), text.as_bytes()).unwrap();
    assert_eq!(lines, ["2024-05-14T05:00:16.72Z d 3 car 0.340 s 13.17 m/s 4.60 m"]);
    assert!(
        wrong(&importer(Format::SumoEvents), &text.replace("17.06", "16"))
            .contains("line 2: it left at 16 s")
    );
}

#[test]
fn floating_cars_pass_detectors() {
    let mut detectors = tempfile::NamedTempFile::new().unwrap();
    detectors.write_all(b"id,lane,pos_m\nd1,a_0,50\nd2,a_1,70\nd3,b_0,5\nd4,a_1,95\n").unwrap();
    let importer = Importer {
        detectors: Some(detectors.path().to_owned()),
        lengths: vec!["4".into(), "bus=12".into()],
        ..importer(Format::SumoFcd)
    };
    let step = |time: u32, lane: &str, pos: u32| {
        format!(
            r#"<timestep time="{time}"><vehicle id="v1" x="0" y="0" angle="0" type="bus" speed="20" pos="{pos}" lane="{lane}" slope="0"/></timestep>"#
        )
    };
    // Halfway over d1, changed lane over d2, left the edge over d4 after 15 of 20 m, and came 10 m beyond d3's 5 m.
    let steps = [step(0, "a_0", 40), step(1, "a_0", 60), step(2, "a_1", 80), step(3, "b_0", 10)].concat();
    let (lines, _) = said(&importer, format!("<fcd-export>{steps}</fcd-export>").as_bytes()).unwrap();
    assert_eq!(
        lines,
        [
            "2024-05-14T05:00:00.5Z d1 ".to_owned() + &number_of("v1") + " bus 0.600 s 20.00 m/s 12 m",
            "2024-05-14T05:00:01.5Z d2 ".to_owned() + &number_of("v1") + " bus 0.600 s 20.00 m/s 12 m",
            "2024-05-14T05:00:02.75Z d4 ".to_owned() + &number_of("v1") + " bus 0.600 s 20.00 m/s 12 m",
            "2024-05-14T05:00:02.75Z d3 ".to_owned() + &number_of("v1") + " bus 0.600 s 20.00 m/s 12 m",
        ]
    );
}

fn number_of(name: &str) -> String {
    sink::vehicle(name).to_string()
}

#[test]
fn a_table_of_wntr_is_in_the_units_of_a_city() {
    let table = ",10,15\n0,10.0,\n900,20.5,-1e-3\n";
    let importer = Importer { quantities: vec![Quantity::Pressure], ..importer(Format::Epanet) };
    let (lines, found) = said(&importer, table.as_bytes()).unwrap();
    assert_eq!(lines[0], "2024-05-14T05:00:00Z node.10 water.pressure 98.0665 kPa gauge/0");
    assert_eq!(lines[1], "2024-05-14T05:15:00Z node.10 water.pressure 201.036325 kPa gauge/0");
    assert_eq!((lines.len(), found.left_out["empty cells"]), (3, 1));
}

/// Two nodes (one of them a tank), one link which is a pump, two periods; in litres a second.
fn output_file() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut ints = |all: &[i32]| bytes.extend(all.iter().flat_map(|n| n.to_le_bytes()));
    ints(&[516_114_521, 20_012, 2, 1, 1, 1, 0, 0, 0, 5, 1, 0, 0, 3_600, 3_600]);
    bytes.extend([0; 3 * 80 + 2 * 260 + 2 * 32]);
    for name in ["J1", "T1", "J1"] {
        let mut padded = [0u8; 32];
        padded[..2].copy_from_slice(name.as_bytes());
        bytes.extend(padded);
    }
    let words = |ints: &[i32], floats: &[f32]| -> Vec<u8> {
        let ints = ints.iter().flat_map(|n| n.to_le_bytes());
        ints.chain(floats.iter().flat_map(|n| n.to_le_bytes())).collect()
    };
    bytes.extend(words(&[1, 2, 2, 2], &[10.0, 10.0, 20.0, 100.0, 200.0])); // link ends, type, tank; area, elevations, length, diameter
    bytes.extend(words(&[1], &[0.0; 6])); // the pump
    bytes.extend(words(&[], &[0.0])); // peak cost
    for period in [0.0f32, 1.0] {
        // Demands, heads, pressures, qualities; flow, velocity, and six more.
        bytes.extend(words(&[], &[1.5 + period, -1.5, 40.0, 30.0, 30.0, 10.0, 0.0, 0.0]));
        bytes.extend(words(&[], &[2.5, 0.8, 0.0, 0.0, 3.0, 1.0, 0.0, 0.02]));
    }
    bytes.extend(words(&[], &[0.0; 4]));
    bytes.extend(words(&[2, 0, 516_114_521], &[]));
    bytes
}

#[test]
fn the_output_file_of_epanet_is_read_as_its_manual_says() {
    let (lines, found) = said(&importer(Format::Epanet), &output_file()).unwrap();
    assert_eq!(found.readings, 2 * (3 * 2 + 2));
    assert_eq!(
        lines[..8],
        [
            "2024-05-14T05:00:00Z node.J1 water.demand 5.4 m3/h gauge/0",
            "2024-05-14T05:00:00Z node.T1 water.demand -5.4 m3/h gauge/0",
            "2024-05-14T05:00:00Z node.J1 water.head 40 m gauge/0",
            "2024-05-14T05:00:00Z node.T1 water.head 30 m gauge/0",
            "2024-05-14T05:00:00Z node.J1 water.pressure 294.1995 kPa gauge/0",
            "2024-05-14T05:00:00Z node.T1 water.pressure 98.0665 kPa gauge/0",
            "2024-05-14T05:00:00Z link.J1 water.flow 9 m3/h gauge/0",
            "2024-05-14T05:00:00Z link.J1 water.velocity 0.8 m/s gauge/0",
        ]
    );
    assert_eq!(lines[8], "2024-05-14T06:00:00Z node.J1 water.demand 9 m3/h gauge/0");
    let only = Importer { quantities: vec![Quantity::Flow], ..importer(Format::Epanet) };
    assert_eq!(said(&only, &output_file()).unwrap().1.readings, 2);
    let mut cut = output_file();
    cut.truncate(1_000);
    assert!(format!("{:#}", said(&importer(Format::Epanet), &cut).unwrap_err()).contains("complete"));
}

const WIDE: &str = "[time]\ncolumn = \"t\"\nformat = \"%Y-%m-%d %H:%M\"\nzone = \"America/Los_Angeles\"\nlabel = \"start\"\ninterval_s = 300\n\
    [values]\nmetric = \"traffic.speed.mean\"\nunit = \"[mi_i]/h\"\nkind = \"rate\"\nmissing = [\"0\", \"NA\"]\n\
    [[column]]\nname = \"temp\"\nsensor = \"roof\"\nmetric = \"air.temperature\"\nunit = \"Cel\"\nkind = \"gauge\"\nscale = 0.1\n";

#[test]
fn a_wide_table_has_a_column_for_each_sensor() {
    let importer = Importer { columns: Some(Columns::parse(WIDE).unwrap()), ..importer(Format::Wide) };
    let (lines, found) =
        said(&importer, b"t,773869,767541,temp\n2012-03-01 00:00,64.38,0.0,123\n2012-03-01 00:05,,NA,3\n")
            .unwrap();
    assert_eq!(
        lines,
        [
            "2012-03-01T08:05:00Z roof air.temperature 12.3 Cel gauge/0",
            "2012-03-01T08:05:00Z 773869 traffic.speed.mean 64.38 [mi_i]/h rate/300",
            "2012-03-01T08:10:00Z roof air.temperature 0.3 Cel gauge/0",
        ]
    );
    assert_eq!((found.left_out["empty cells"], found.left_out["values that stand for none"]), (1, 2));
    assert!(
        wrong(&importer, "t,1,temp\n2012-03-11 02:30,1,2\n")
            .contains("line 2: 2012-03-11T02:30:00 is no time there")
    );
    assert!(wrong(&importer, "t,1\n").contains("line 1: there is no column \"temp\""));
    assert!(wrong(&importer, "t,1,temp\n2012-03-01 00:00,1\n").contains("line: 2"));
}

const LONG: &str = "[time]\ncolumn = \"observed_at\"\nformat = \"rfc3339\"\n\
    [long]\nsensor = \"meter_id\"\nmetric = { value = \"water.volume.total\" }\nvalue = \"register_m3\"\nunit = { value = \"m3\" }\nkind = \"counter\"\n";

#[test]
fn a_long_table_has_a_line_for_each_value() {
    let importer = Importer { columns: Some(Columns::parse(LONG).unwrap()), ..importer(Format::Long) };
    let (lines, _) =
        said(&importer, b"observed_at,meter_id,register_m3\n2024-01-01T00:00:00Z,WM-101,8690.735\n").unwrap();
    assert_eq!(lines, ["2024-01-01T00:00:00Z WM-101 water.volume.total 8690.735 m3 counter/0"]);
    assert!(wrong(&Importer { format: Format::Wide, ..importer }, "a,b\n").contains("--as long"));
}

#[test]
fn columns_that_cannot_be_are_refused() {
    let error = |text: &str| format!("{:#}", Columns::parse(text).unwrap_err());
    assert!(error(&LONG.replace("counter", "meter")).contains("[long]: kind \"meter\""));
    assert!(error(&LONG.replace("counter", "total")).contains("needs time.interval_s"));
    assert!(error(&LONG.replace("rfc3339", "iso")).contains("time.format \"iso\""));
    assert!(error(&LONG.replace("value =", "values =")).contains("line"));
    let quoted = LONG.replace("water.volume.total", "speed");
    let quoted = Importer { columns: Some(Columns::parse(&quoted).unwrap()), ..importer(Format::Long) };
    let text = "observed_at,meter_id,register_m3\n2024-01-01T00:00:00Z,a,1\n";
    assert!(wrong(&quoted, text).contains("traffic.speed"));
    assert!(error("[time]\ncolumn = \"t\"\nformat = \"unix\"\n").contains("either [long]"));
}

#[test]
fn parquet_has_the_same_shapes() {
    let schema = "message m { required int64 t (TIMESTAMP(NANOS,true)); optional double a; required binary b (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, schema, Arc::new(WriterProperties::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let times = [1_700_000_000_123_456_789, 1_700_000_060_000_000_000];
    column.typed::<Int64Type>().write_batch(&times, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<DoubleType>().write_batch(&[12.5], Some(&[1, 0]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<ByteArrayType>()
        .write_batch(&[ByteArray::from("7"), ByteArray::from("8.0")], None, None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let columns = "[time]\ncolumn = \"t\"\nformat = \"unix-ns\"\n[values]\nmetric = \"level\"\nunit = \"m\"\nkind = \"gauge\"\n";
    let importer = Importer { columns: Some(Columns::parse(columns).unwrap()), ..importer(Format::Parquet) };
    let (lines, found) = said(&importer, &bytes).unwrap();
    assert_eq!(
        lines,
        [
            "2023-11-14T22:13:20.123456Z a level 12.5 m gauge/0",
            "2023-11-14T22:13:20.123456Z b level 7 m gauge/0",
            "2023-11-14T22:14:20Z b level 8.0 m gauge/0",
        ]
    );
    assert_eq!(found.left_out["empty cells"], 1);
    assert!(wrong(&importer, "no parquet").contains("no Parquet file"));
}

#[test]
fn messages_come_in_the_order_of_their_times() {
    let text = "detector_id,veh_id,veh_type,t_enter_s,t_leave_s,speed_mps,length_m\n\
                d,1,car,10,30,1.00,4.60\nd,2,car,20,21,13.00,4.60\n";
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let mut said = Vec::new();
    let found = messages(&importer(Format::SumoEvents), &[file.path().to_owned()], &mut |time, utterance| {
        said.push((time.to_string(), utterance));
        Ok(())
    })
    .unwrap();
    assert_eq!((found.passages, found.sensors()), (2, 1));
    assert_eq!([&said[0].0, &said[1].0], ["2024-05-14T05:00:21Z", "2024-05-14T05:00:30Z"]);
    assert_eq!(said[0].1.topic, "city/traffic/d/passage");
    assert!(
        String::from_utf8_lossy(&said[0].1.payload)
            .contains(r#""vehicle":2,"class":"car","entered":"2024-05-14T05:00:20Z""#)
    );
}
