//! Files of other simulators, and tables: announced, then said as messages, then stored as those.

use std::{
    collections::BTreeMap, fs, path::PathBuf, process::ExitCode, sync::atomic::Ordering, time::Duration,
};

use anyhow::{Context, ensure};
use clap::Args;
use ingest::ready;
use jiff::Timestamp;
use processor::{
    mapping::Mapping,
    model::{Message, unit},
    registry::{self, Admission, Registry},
};
use serde_json::{Map, Value, json};
use simulators::{
    importer::{self, Columns, Count, Fact, Format, Found, Importer, Quantity},
    observation::Utterance,
    recording::{self, Header, Writer},
};
use tokio::sync::mpsc;

use super::{Import, ImportArgs, SHOWN, street};
use crate::{
    console::Console,
    paper::{count, thousands},
};

/// Messages of one transaction: mostly of few readings.
const MESSAGES_A_BATCH: usize = 4_000;
/// Batches that wait while one is written.
const BATCHES_AHEAD: usize = 2;
/// Rows of one import into the registry: half of what it takes.
const ROWS_A_FILE: usize = 100_000;
/// A description of columns is written by a person.
const COLUMNS_BYTES_MAX: u64 = 4 << 20;
const STATUS_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Other simulators and tables")]
pub struct FormatArgs {
    /// The files are in this format: sumo-e1, sumo-instant, sumo-events, sumo-fcd, epanet, wide, long or parquet
    #[arg(id = "format", long = "as", value_name = "FORMAT")]
    format: Option<Format>,
    /// When second 0 of the simulation was: 2024-05-14T05:00:00Z
    #[arg(long, requires = "format", value_name = "TIME")]
    start: Option<Timestamp>,
    /// Stands before the name of each sensor
    #[arg(long, requires = "format", value_name = "TEXT", default_value = "")]
    sensor_prefix: String,
    /// Which vehicles of an E1 interval are its volume: entered, or contributed (those that also left)
    #[arg(long = "count", requires = "format", value_name = "WHICH", default_value = "entered")]
    counted: Count,
    /// What EPANET's values are: demand, head, pressure, flowrate, velocity [default of a binary file: all]
    #[arg(long = "quantity", requires = "format", value_delimiter = ',', value_name = "NAME")]
    quantities: Vec<Quantity>,
    /// Which column of a table is what, in TOML
    #[arg(long, requires = "format", value_name = "FILE")]
    columns: Option<PathBuf>,
    /// Where floating cars are counted: CSV with id,lane,pos_m
    #[arg(long, requires = "format", value_name = "FILE")]
    detectors: Option<PathBuf>,
    /// Lengths of floating cars in metres: 5, or truck=12 of one type [default: 5]
    #[arg(
        long = "vehicle-length",
        requires = "format",
        value_delimiter = ',',
        value_name = "METRES|TYPE=METRES"
    )]
    lengths: Vec<String>,
    /// Write sensors.csv and series.csv of what was found, for `screenline registry import`
    #[arg(long, requires = "format", value_name = "DIR")]
    registry_out: Option<PathBuf>,
    /// Write a recording for `screenline replay`, and nothing into the tables
    #[arg(long, requires = "format", value_name = "FILE", conflicts_with = "dry_run")]
    to: Option<PathBuf>,
}

impl FormatArgs {
    /// How files are read; nothing, where no format was named.
    ///
    /// # Errors
    /// The columns cannot be read.
    pub fn importer(&self) -> anyhow::Result<Option<Importer>> {
        let Some(format) = self.format else { return Ok(None) };
        let columns = self.columns.as_ref().map(|path| {
            let name = path.display();
            let bytes = fs::metadata(path).with_context(|| format!("read {name}"))?.len();
            ensure!(bytes <= COLUMNS_BYTES_MAX, "{name} has {bytes} bytes, the limit is {COLUMNS_BYTES_MAX}");
            let text = fs::read_to_string(path).with_context(|| format!("read {name}"))?;
            Columns::parse(&text).with_context(|| name.to_string())
        });
        Ok(Some(Importer {
            start: self.start,
            prefix: self.sensor_prefix.clone(),
            count: self.counted,
            quantities: self.quantities.clone(),
            columns: columns.transpose()?,
            detectors: self.detectors.clone(),
            lengths: self.lengths.clone(),
            ..Importer::new(format)
        }))
    }
}

/// # Errors
/// A file says what cannot be understood: then nothing was written. The database fails.
pub async fn run(args: &ImportArgs, importer: Importer, console: &Console) -> anyhow::Result<ExitCode> {
    let (found, shown) = look(args, &importer, console).await?;
    if let Some(folder) = &args.of_format.registry_out {
        let about = || format!("write {}", folder.display());
        fs::create_dir_all(folder).with_context(about)?;
        let sensors = found.sensors_csv(usize::MAX, |_| true).concat();
        let series = found.series_csv(usize::MAX, |_, _, series| Some(series.unit.clone())).concat();
        fs::write(folder.join("sensors.csv"), sensors).with_context(about)?;
        fs::write(folder.join("series.csv"), series).with_context(about)?;
    }
    if !args.json {
        say(&found);
    }
    if args.dry_run {
        let mut outcome = super::Outcome::default();
        outcome.counts.decoded = (found.readings + found.passages) as i64;
        return outcome.print(args, &shown, members(&importer, &found));
    }
    if let Some(path) = &args.of_format.to {
        return record(args, importer, &found, path.clone()).await;
    }
    let database = args.database.clone();
    database.with(async |url| store(args, importer, &found, url, console).await).await
}

/// Writes what the files say as a recording.
async fn record(
    args: &ImportArgs,
    importer: Importer,
    found: &Found,
    path: PathBuf,
) -> anyhow::Result<ExitCode> {
    let interval_s = found.series().map(|(_, _, series)| series.interval_s).max().filter(|s| 0 < *s);
    let lasts_s = found.span.map(|(first, last)| last.duration_since(first).as_secs());
    let period_s =
        lasts_s.zip(interval_s).and_then(|(lasts, every)| u32::try_from(lasts + i64::from(every)).ok());
    let (files, to) = (args.files.clone(), path.clone());
    let written = tokio::task::spawn_blocking(move || {
        let name = to.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        // A round of a loop begins where the last interval has ended.
        let header = Header { period_s, ..Header::of_feed(&name) };
        let mut writer = Writer::create_new(&to, &header)?;
        importer::messages(&importer, &files, &mut |time, said| {
            Ok(writer.write(&recording::Message::new(time, said.topic, said.payload))?)
        })?;
        anyhow::Ok(writer.finish()?)
    });
    let messages = written.await.context("write the recording")??.messages;
    match args.json {
        true => println!("{}", json!({"recording": path, "messages": messages})),
        false => println!("{} messages in {}", thousands(messages as i64), path.display()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads everything once, so that nothing is written of a file that breaks in its middle.
async fn look(
    args: &ImportArgs,
    importer: &Importer,
    console: &Console,
) -> anyhow::Result<(Found, Vec<String>)> {
    let (files, reader) = (args.files.clone(), importer.clone());
    let mut reading = tokio::task::spawn_blocking(move || {
        let (mut found, mut shown) = (Found::default(), Vec::new());
        for file in &files {
            let of_file = reader.read(file, &mut |fact| {
                if shown.len() < SHOWN {
                    shown.push(line(&fact));
                }
                Ok(())
            })?;
            found.join(of_file).with_context(|| file.display().to_string())?;
        }
        anyhow::Ok((found, shown))
    });
    loop {
        tokio::select! {
            read = &mut reading => return read.context("read the files")?,
            () = tokio::time::sleep(STATUS_EVERY), if console.is_terminal() => {
                console.status(&format!("looked through {} %", percent(args, importer)));
            }
        }
    }
}

/// How much of the files was read since the progress was last set to 0.
fn percent(args: &ImportArgs, importer: &Importer) -> u64 {
    let bytes: u64 =
        args.files.iter().filter_map(|file| fs::metadata(file).ok()).map(|about| about.len()).sum();
    (100 * importer.progress.load(Ordering::Relaxed) / bytes.max(1)).min(100)
}

fn line(fact: &Fact<'_>) -> String {
    let time = |time_us| Timestamp::from_microsecond(time_us).unwrap_or(Timestamp::UNIX_EPOCH);
    match fact {
        Fact::Reading { sensor, kind, reading } => {
            let interval =
                if reading.interval_s == 0 { String::new() } else { format!("/{}s", reading.interval_s) };
            let unit = if reading.unit.is_empty() { "1" } else { reading.unit };
            format!(
                "{} {sensor} {} {} {unit} {kind}{interval}",
                time(reading.time_us),
                reading.metric,
                reading.value
            )
        }
        Fact::Passage { detector, passage } => format!(
            "{} {detector} traffic.vehicle id={} speed={}m/s length={}m on={}s class={} event",
            time(passage.time_us),
            passage.vehicle,
            passage.speed,
            passage.length,
            passage.on_time,
            passage.class
        ),
    }
}

fn say(found: &Found) {
    let all = (found.readings + found.passages) as i64;
    let sensors = count(found.sensors() as i64, "sensor", "sensors");
    let series = count(found.series().count() as i64, "series", "series");
    println!("{} of {sensors}, {series}", count(all, "reading", "readings"));
    if let Some((first, last)) = found.span {
        println!("from {first} to {last}");
    }
    for (reason, left_out) in &found.left_out {
        println!("left out: {} {reason}", thousands(*left_out as i64));
    }
}

fn members(importer: &Importer, found: &Found) -> Map<String, Value> {
    let object = json!({
        "as": importer.format.to_string(),
        "readings": found.readings,
        "passages": found.passages,
        "sensors": found.sensors(),
        "series": found.series().count(),
        "from": found.span.map(|(first, _)| first.to_string()),
        "to": found.span.map(|(_, last)| last.to_string()),
        "left_out": found.left_out.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect::<BTreeMap<_, _>>(),
    });
    match object {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

async fn store(
    args: &ImportArgs,
    importer: Importer,
    found: &Found,
    url: &str,
    console: &Console,
) -> anyhow::Result<ExitCode> {
    let mapping = Mapping::parse(&ready::texts(&["senml".into(), "traffic-passages".into()])?)?;
    let mut import = Import::open(street(mapping, Admission::Open), url).await?;
    announce(&import, found).await?;
    Registry::refresh(&import.street.registry, &import.client).await.context("load the registry")?;

    importer.progress.store(0, Ordering::Relaxed);
    let (batches, mut full) = mpsc::channel(BATCHES_AHEAD);
    let (files, reader) = (args.files.clone(), importer.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let mut messages = Vec::new();
        let give = |messages: &mut Vec<Message>| {
            batches.blocking_send(std::mem::take(messages)).context("the import has ended")
        };
        for file in &files {
            reader.say(file, &mut |_, Utterance { topic, payload }| {
                let received_at = Timestamp::now().into();
                messages.push(Message {
                    topic,
                    payload: payload.into(),
                    received_at,
                    retained: false,
                    number: None,
                });
                if MESSAGES_A_BATCH <= messages.len() { give(&mut messages) } else { Ok(()) }
            })?;
        }
        give(&mut messages)
    });
    while let Some(messages) = full.recv().await {
        import.take(messages, false).await?;
        if console.is_terminal() {
            let readings = thousands(import.outcome.counts.decoded);
            console.status(&format!("{readings} readings, {} %", percent(args, &importer)));
        }
    }
    reading.await.context("read the files")??;
    console.end_status();
    import.outcome.print(args, &[], members(&importer, found))
}

/// Series that the city does not know yet, with the intervals that the messages themselves do not say. Those that it
/// knows must be what the file has.
async fn announce(import: &Import, found: &Found) -> anyhow::Result<()> {
    let (sensors, series) = {
        let known = registry::read(&import.street.registry);
        for (sensor, metric, of_file) in found.series() {
            let Some(stored) = known.find(sensor, metric) else { continue };
            let interval_s = stored.interval_s.unwrap_or(0);
            let same = stored.kind.as_str() == of_file.kind.as_str()
                && (interval_s == of_file.interval_s || !stored.kind.covers_interval());
            ensure!(
                same,
                "{metric} of {sensor} is kept as {} of {interval_s} s, the file has {} of {} s: import it under another \
                 name (--sensor-prefix)",
                stored.kind,
                of_file.kind,
                of_file.interval_s
            );
        }
        let sensors = found.sensors_csv(ROWS_A_FILE, |sensor| !known.knows_sensor(sensor));
        let series = found.series_csv(ROWS_A_FILE, |sensor, metric, series| {
            let fits = |kept: &&str| unit::conversion(&series.unit, kept).is_some();
            let unit = known.unit_of(metric).filter(fits).unwrap_or(&series.unit);
            known.find(sensor, metric).is_none().then(|| unit.to_owned())
        });
        (sensors, series)
    };
    for text in sensors.into_iter().chain(series) {
        registry::import(&import.client, &[registry::File::new("what the files hold", &text)])
            .await
            .context("announce the series")?;
    }
    Ok(())
}
