//! Makes the bundled feeds from the simulators' output: `cargo run -p simulators --example bundle -- FOLDER`,
//! where FOLDER holds `sumo-grid/` and `wntr-net3/`. Numbers keep the text they have in the source.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use simulators::recording::lines::{Head, VERSION, Writer};
use simulators::recording::{Message, PayloadTime, TimeForm};

/// Second 0 of the traffic simulation.
const SUMO_START: &str = "2024-05-14T05:00:00Z";

/// Metres of a degree of longitude and of latitude where the grid lies.
const DEGREE_M: (f64, f64) = (55_390.0, 110_574.0);

const SEGMENT_COLUMNS: &str =
    "id,direction,from_node,to_node,length_m,speed_limit_kmh,lanes,from_lon,from_lat,to_lon,to_lat\n";
const SENSOR_COLUMNS: &str = "id,kind,owner,lon,lat,segment,direction,lane,offset_m,zone,role,privacy\n";
const SERIES_COLUMNS: &str =
    "sensor,metric,unit,kind,interval_s,modulus,resolution,min,max,max_rate,max_gap_s\n";

/// A stretch of the grid.
struct Segment {
    direction: String,
    length_m: String,
    limit_kmh: f64,
    /// One in each lane: its metres along the segment, longitude and latitude.
    detectors: Vec<[f64; 3]>,
}

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).context("usage: bundle FOLDER")?;
    sumo_grid(&folder.join("sumo-grid"))?;
    wntr_net3(&folder.join("wntr-net3"))
}

fn sumo_grid(source: &Path) -> anyhow::Result<()> {
    let (mut sensors, mut series) = (SENSOR_COLUMNS.to_owned(), SERIES_COLUMNS.to_owned());
    let mut segments: BTreeMap<String, Segment> = BTreeMap::new();
    let detectors = fs::read_to_string(source.join("detectors.csv")).context("read detectors.csv")?;
    for row in csv::Reader::from_reader(detectors.as_bytes()).records() {
        let row = row?;
        let (id, segment, lane, direction, offset) = (&row[0], &row[1], &row[2], &row[3], &row[5]);
        let (lon, lat) = (&row[9], &row[10]);
        let limit_kmh = (row[6].parse::<f64>()? * 3.6).round();
        segments
            .entry(segment.to_owned())
            .or_insert_with(|| Segment {
                direction: direction.to_owned(),
                length_m: row[4].to_owned(),
                limit_kmh,
                detectors: Vec::new(),
            })
            .detectors
            .push([offset.parse()?, lon.parse()?, lat.parse()?]);
        writeln!(
            sensors,
            "{id},loop,traffic,{lon},{lat},{segment},{direction},{lane},{offset},,detector,public"
        )?;
        writeln!(series, "{id},traffic.vehicle,{{veh}},event,,,,,,,")?;
        writeln!(series, "{id},traffic.volume,{{veh}},total,60,,1,0,60,,300")?;
        writeln!(series, "{id},traffic.occupancy,%,rate,60,,0.01,0,100,,300")?;
        writeln!(series, "{id},traffic.speed.mean,km/h,rate,60,,0.036,0,200,,300")?;
    }

    let mut messages = Vec::new();
    let passages = gunzip(&source.join("vehicle_events.csv.gz"))?;
    for row in csv::Reader::from_reader(passages.as_bytes()).records() {
        let row = row?;
        let (detector, class, speed, length) = (&row[0], &row[2], &row[5], &row[6]);
        let (enter, leave) = (hundredths(&row[3])?, hundredths(&row[4])?);
        // A stalled vehicle is named `incident_1`; event ids are numbers.
        let vehicle: u64 = match row[1].strip_prefix("incident_") {
            Some(number) => 1_000_000 + number.parse::<u64>()?,
            None => row[1].parse()?,
        };
        let on_time = leave - enter;
        let payload = format!(
            r#"{{"vehicle":{vehicle},"class":"{class}","entered":"{:.3}","on_time_s":{}.{:02},"speed_mps":{speed},"length_m":{length}}}"#,
            sumo_time(enter)?,
            on_time / 100,
            on_time % 100,
        );
        messages.push(message(sumo_time(leave)?, format!("city/traffic/{detector}/passage"), payload));
    }
    let intervals = fs::read_to_string(source.join("e1.xml")).context("read e1.xml")?;
    for line in intervals.lines().filter(|line| line.trim_start().starts_with("<interval ")) {
        let value = |name: &str| {
            let start = line.find(&format!(" {name}=\"")).map(|at| at + name.len() + 3);
            start
                .and_then(|start| line[start..].split('"').next())
                .with_context(|| format!("{name} in {line}"))
        };
        let (detector, end) = (value("id")?, sumo_time(hundredths(value("end")?)?)?);
        // Volume and mean speed are of the same vehicles: those that crossed the loop completely.
        let mut payload = format!(
            r#"[{{"bn":"{detector}:","bt":{},"n":"volume","v":{}}},{{"n":"occupancy","u":"/100","v":{}}}"#,
            end.as_second(),
            value("nVehContrib")?,
            value("occupancy")?,
        );
        if value("speed")? != "-1.00" {
            write!(payload, r#",{{"n":"speed","u":"m/s","v":{}}}"#, value("speed")?)?;
        }
        payload.push(']');
        messages.push(message(end, format!("city/senml/{detector}"), payload));
    }
    messages.sort_by_key(|message| message.t);

    let times = vec![rfc3339("city/traffic/+/passage", "/entered"), senml("city/senml/+")];
    let mut places = SEGMENT_COLUMNS.to_owned();
    for (id, segment) in segments {
        let Segment { direction, length_m, limit_kmh, detectors } = &segment;
        // A0A1 leads from the node A0 to A1.
        let (from, to) = id.split_at(2);
        let [begin, end] = segment.ends()?;
        writeln!(
            places,
            "{id},{direction},{from},{to},{length_m},{limit_kmh},{},{:.6},{:.6},{:.6},{:.6}",
            detectors.len(),
            begin.0,
            begin.1,
            end.0,
            end.1
        )?;
    }
    bundle(
        "sumo-grid",
        5_400,
        times,
        &messages,
        [("segments", &places), ("sensors", &sensors), ("series", &series)],
    )
}

impl Segment {
    /// Where it begins and ends, in degrees. There is no net, but each detector stands so many metres along the
    /// segment, which is straight; it is drawn between its lanes.
    fn ends(&self) -> anyhow::Result<[(f64, f64); 2]> {
        let (east, north) = match &*self.direction {
            "NB" => (0.0, 1.0),
            "EB" => (1.0, 0.0),
            "SB" => (0.0, -1.0),
            "WB" => (-1.0, 0.0),
            other => bail!("direction {other:?}"),
        };
        let mean = |at: usize| {
            self.detectors.iter().map(|detector| detector[at]).sum::<f64>() / self.detectors.len() as f64
        };
        let (offset_m, lon, lat) = (mean(0), mean(1), mean(2));
        let place = |along_m: f64| {
            let m = along_m - offset_m;
            (lon + east * m / DEGREE_M.0, lat + north * m / DEGREE_M.1)
        };
        Ok([place(0.0), place(self.length_m.parse()?)])
    }
}

fn wntr_net3(source: &Path) -> anyhow::Result<()> {
    let (mut sensors, mut series) = (SENSOR_COLUMNS.to_owned(), SERIES_COLUMNS.to_owned());
    let meters = fs::read_to_string(source.join("meters.csv")).context("read meters.csv")?;
    for row in csv::Reader::from_reader(meters.as_bytes()).records() {
        let row = row?;
        let (id, zone, modulus, resolution, interval) = (&row[0], &row[2], &row[3], &row[4], &row[5]);
        let (lon, lat) = (&row[6], &row[7]);
        let role = if &row[1] == "dma_inlet" { "inlet" } else { &row[1] };
        writeln!(sensors, "{id},w-meter,water,{lon},{lat},,,,,{zone},{role},internal")?;
        writeln!(
            series,
            "{id},water.volume.total,m3,counter,{interval},{modulus},{resolution},0,{modulus},,7200"
        )?;
    }

    let mut messages = Vec::new();
    let readings = gunzip(&source.join("readings.csv.gz"))?;
    for row in csv::Reader::from_reader(readings.as_bytes()).records() {
        let row = row?;
        let (received, observed, meter, register) = (&row[0], &row[1], &row[2], &row[3]);
        let payload = format!(r#"{{"time":"{observed}","register_m3":{register}}}"#);
        messages.push(message(received.parse()?, format!("city/water/{meter}/register"), payload));
    }

    // The readings reach from the start to the end of 7 days, both included, a quarter of an hour apart.
    let period_s = 7 * 86_400 + 900;
    let times = vec![rfc3339("city/water/+/register", "/time")];
    let places = "id,name,parent\nDMA-1,district metered area 1,\n";
    bundle(
        "wntr-net3",
        period_s,
        times,
        &messages,
        [("zones", places), ("sensors", &sensors), ("series", &series)],
    )
}

fn bundle(
    name: &str,
    period_s: u32,
    times: Vec<PayloadTime>,
    messages: &[Message],
    registry: [(&str, &str); 3],
) -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("feeds").join(name);
    fs::create_dir_all(&folder)?;
    let header = Head {
        screenline_recording: VERSION,
        name: name.to_owned(),
        messages: messages.len() as u64,
        period_s,
        times,
    };
    let mut writer = Writer::new(File::create(folder.join("recording.jsonl.zst"))?, &header, 19)?;
    for message in messages {
        writer.write(message)?;
    }
    writer.finish()?;
    for (table, text) in registry {
        fs::write(folder.join(format!("{table}.csv")), text)?;
    }
    println!("{}: {} messages", folder.display(), messages.len());
    Ok(())
}

fn message(t: Timestamp, topic: String, payload: String) -> Message {
    Message::new(t, topic, payload.into_bytes())
}

fn rfc3339(topic: &str, path: &str) -> PayloadTime {
    PayloadTime { topic: topic.to_owned(), form: TimeForm::Rfc3339 { path: path.to_owned() } }
}

fn senml(topic: &str) -> PayloadTime {
    PayloadTime { topic: topic.to_owned(), form: TimeForm::Senml }
}

/// `16.72` in hundredths of a second: exact, where a float is not.
fn hundredths(seconds: &str) -> anyhow::Result<i64> {
    let (whole, fraction) = seconds.split_once('.').context("seconds without a fraction")?;
    ensure!(fraction.len() == 2, "{seconds}: two decimals expected");
    Ok(whole.parse::<i64>()? * 100 + fraction.parse::<i64>()?)
}

fn sumo_time(hundredths: i64) -> anyhow::Result<Timestamp> {
    Ok(SUMO_START.parse::<Timestamp>()? + SignedDuration::from_millis(hundredths * 10))
}

/// Every machine that has the sources has gzip; a crate for one example is not worth its build.
fn gunzip(path: &Path) -> anyhow::Result<String> {
    let output = Command::new("gzip").arg("-dc").arg(path).output().context("run gzip")?;
    ensure!(output.status.success(), "gzip -dc {}: {}", path.display(), output.status);
    Ok(String::from_utf8(output.stdout)?)
}
