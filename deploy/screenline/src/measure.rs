//! `screenline measure`: what a sensor measured, in buckets of any width, with what was not observed.

use std::{
    ops::Range,
    process::ExitCode,
    sync::{Arc, RwLock},
};

use anyhow::{Context, ensure};
use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use processor::{
    measure::{
        Settled,
        history::{self, BUCKETS_MAX, Width},
        traffic,
        utility::{self, RegisterEvent, StuckRule},
    },
    model::{Kind, MetricName, SensorId, Series, Time},
    registry::{Admission, Registry},
    store::{self, City},
};
use serde_json::{Map, Value, json};

use crate::{
    database::DatabaseArgs,
    paper::{Paint, Table, percent},
    period::{self, PeriodArgs},
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
What the columns mean, with formulas and sources: processor/MEASURES.md. An empty cell was not observed: it is never zero.
A register is spread evenly between its readings; `partial` marks a bucket that lies in a gap longer than max_gap_s of
the series.

Examples:
  screenline measure traffic.vehicle loop-17 --width 15m --last 24h
  screenline measure water.volume.total WM-101 --from 2026-11-01 --to 2026-12-01 --width 1d
  screenline measure traffic.vehicle --segment ring-4 --direction NB --width 15m      all lanes of a road
  screenline measure traffic.vehicle bridge-1 bridge-2 ferry --width 1d               a screenline
  screenline measure traffic.speed.mean loop-17 --width 1m --last 1h --json")]
pub struct MeasureArgs {
    /// What is measured
    metric: MetricName,
    /// Sensors, of which all together are one: the lanes of a road, the crossings of a river
    #[arg(value_name = "SENSOR", required_unless_present_any = ["segment", "zone"])]
    sensors: Vec<SensorId>,
    /// All sensors of a segment that measure it
    #[arg(long, value_name = "ID", conflicts_with = "sensors")]
    segment: Option<String>,
    /// Of these, the ones of a direction
    #[arg(long, value_name = "TEXT", requires = "segment")]
    direction: Option<String>,
    /// All sensors of a zone, and of the zones in it, that measure it
    #[arg(long, value_name = "ID", conflicts_with_all = ["sensors", "segment"])]
    zone: Option<String>,
    /// How wide buckets are: 20s, 5m, 1h, or 1d for local days
    #[arg(long, default_value = "1h", value_parser = width)]
    width: Width,
    #[command(flatten)]
    period: PeriodArgs,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

fn width(text: &str) -> Result<Width, String> {
    if text == "1d" {
        return Ok(Width::Days);
    }
    let span = period::span(text)?;
    match i64::try_from(span.as_micros()) {
        Ok(micros) if 1_000_000 <= micros && micros <= 86_400_000_000 => Ok(Width::Micros(micros)),
        _ => Err(format!("{text:?} is not between 1s and 1d")),
    }
}

/// # Errors
/// There is no such series, or the database cannot be read.
pub async fn run(args: MeasureArgs) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| measure(&args, url).await).await
}

async fn measure(args: &MeasureArgs, url: &str) -> anyhow::Result<ExitCode> {
    let client = store::connect(url, "screenline-measure").await.context("connect to the database")?;
    let zone = City::read(&client).await?.time_zone;
    let registry = Arc::new(RwLock::new(Registry::new(Admission::Closed)));
    Registry::refresh(&registry, &client).await?;
    let period = args.period.of(&zone, Timestamp::now())?;
    let all = series(args, &client, &registry, &period).await?;
    let (_, first) = &all[0];
    let kind = first.kind;
    ensure!(
        all.iter().all(|(_, one)| one.kind == kind && one.unit == first.unit),
        "{} is not of one kind and unit at all these sensors: measure them apart",
        args.metric
    );
    let interval = all.iter().map(|(_, one)| one.arithmetic.interval).max().unwrap_or(0);
    ensure!(
        !matches!(args.width, Width::Micros(micros) if micros < interval),
        "a reading of {} speaks of {} s: take buckets of at least that, --width",
        args.metric,
        interval / 1_000_000
    );
    let spans = args.width.spans(&(period.start.into()..period.end.into()), &zone);
    ensure!(
        spans.len() <= BUCKETS_MAX,
        "more than {BUCKETS_MAX} buckets: take wider ones, or a shorter period"
    );
    let step_s = match args.width {
        Width::Days => 86_400,
        Width::Micros(micros) => u32::try_from(micros / 1_000_000).unwrap_or(u32::MAX),
    };
    let mut settled: Vec<Vec<Settled>> = spans.iter().map(|_| Vec::with_capacity(all.len())).collect();
    let mut events: Vec<(String, RegisterEvent, Range<Time>)> = Vec::new();
    for (sensor, one) in &all {
        let buckets = history::read(&client, &registry, one, &spans, args.width, &zone).await?;
        if one.kind == Kind::Counter {
            let found = utility::register_events(&buckets, step_s, StuckRule::default());
            events.extend(found.into_iter().map(|(event, span)| (sensor.clone(), event, span)));
        }
        settled.iter_mut().zip(buckets).for_each(|(several, bucket)| several.push(bucket));
    }
    let rows: Vec<Map<String, Value>> =
        settled.into_iter().filter_map(|several| together(several, first)).collect();
    if args.json {
        let buckets = Value::from(rows.into_iter().map(Value::Object).collect::<Vec<_>>());
        let (kind, unit, metric) = (kind.as_str(), &*first.unit, args.metric.as_str());
        let each = |(sensor, event, span): &(String, RegisterEvent, Range<Time>)| {
            let (from, to) = (span.start.to_string(), span.end.to_string());
            json!({"sensor": sensor, "event": event.to_string(), "from": from, "to": to})
        };
        let events: Vec<Value> = events.iter().map(each).collect();
        let sensors = all.len();
        println!(
            "{}",
            json!({
                "metric": metric, "kind": kind, "unit": unit, "sensors": sensors, "buckets": buckets, "events": events,
            })
        );
    } else {
        print!("{}", text(&rows, args, &zone));
        let moment = |time: Time| time.timestamp().to_zoned(zone.clone()).strftime("%F %H:%M").to_string();
        for (sensor, event, span) in &events {
            println!("{sensor}: {event}, {} to {}", moment(span.start), moment(span.end));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The sensors that are asked for, and their series; at least one. A sensor was where its registry says so for some of
/// the period.
async fn series(
    args: &MeasureArgs,
    client: &tokio_postgres::Client,
    registry: &RwLock<Registry>,
    period: &Range<Timestamp>,
) -> anyhow::Result<Vec<(String, Series)>> {
    let metric = args.metric.as_str();
    let sensors: Vec<String> = match (&args.segment, &args.zone) {
        (None, None) => args.sensors.iter().map(ToString::to_string).collect(),
        (segment, zone) => {
            let select = "WITH RECURSIVE inside AS (
                              SELECT id FROM zone WHERE id = $3
                              UNION SELECT zone.id FROM zone JOIN inside ON zone.parent = inside.id
                          )
                          SELECT DISTINCT s.sensor FROM series s JOIN sensor ON sensor.id = s.sensor
                          WHERE s.metric = $1 AND (sensor.segment = $2 OR sensor.zone IN (SELECT id FROM inside))
                              AND ($4::text IS NULL OR sensor.direction = $4)
                              AND sensor.valid_from < $6 AND $5 < sensor.valid_to ORDER BY s.sensor";
            let Range { start, end } = period;
            let rows = client.query(select, &[&metric, segment, zone, &args.direction, &start, &end]).await?;
            rows.iter().map(|row| row.get(0)).collect()
        }
    };
    ensure!(!sensors.is_empty(), "no sensor there measures {metric}: see `screenline registry list`");
    let registry = processor::registry::read(registry);
    let find = |sensor: String| {
        let series = registry.find(&sensor, metric).cloned();
        let none = || format!("there is no {metric} of {sensor}: see `screenline registry list`");
        series.with_context(none).map(|series| (sensor, series))
    };
    sensors.into_iter().map(find).collect()
}

/// What the sensors say of one bucket together. A sum is none where one of them was silent; of passages it is of those
/// that were heard, and `heard` says how many.
fn together(several: Vec<Settled>, series: &Series) -> Option<Map<String, Value>> {
    let sensors = several.len();
    let heard = several.iter().filter(|one| 0 < one.state.count).count();
    let mut row = row(&Settled::beside(several)?, series);
    if 1 < sensors {
        row.insert("heard".to_owned(), heard.into());
        if heard < sensors && matches!(series.kind, Kind::Total | Kind::Delta) {
            row.insert("sum".to_owned(), Value::Null);
            row.insert("rate_h".to_owned(), Value::Null);
        }
    }
    Some(row)
}

/// What one bucket says, by the names of its columns; null is not observed.
fn row(settled: &Settled, series: &Series) -> Map<String, Value> {
    let Settled { span, state, counted, is_partial, integral, breaks, .. } = settled;
    let mut row = Map::new();
    let mut say = |name: &str, value: Value| drop(row.insert(name.to_owned(), value));
    say("from", span.start.to_string().into());
    say("to", span.end.to_string().into());
    say("count", state.count.into());
    say("flagged", state.flagged.into());
    say("late", state.late.into());
    let values = state.values.as_ref();
    let observed = (series.kind != Kind::Event).then(|| settled.coverage());
    say("coverage", observed.into());
    let speeds = |say: &mut dyn FnMut(&str, Value)| {
        say("time_mean_speed", traffic::time_mean_speed(state, series.kind).into());
        say("space_mean_speed", traffic::space_mean_speed(state, series.kind).into());
        for (name, share) in [("v15", 0.15), ("v50", 0.5), ("v85", 0.85)] {
            say(name, traffic::speed_quantile(state, share).into());
        }
    };
    match series.kind {
        Kind::Event => {
            let volume = traffic::volume(state, series.kind);
            say("volume", volume.into());
            say("flow", volume.and_then(|volume| traffic::flow(volume, settled.seconds())).into());
            say("occupancy", traffic::occupancy(settled, settled.seconds()).into());
            speeds(&mut say);
        }
        Kind::Total | Kind::Delta => {
            let volume = traffic::volume(state, series.kind);
            say("sum", volume.into());
            say("rate_h", volume.and_then(|volume| traffic::flow(volume, settled.observed_s())).into());
        }
        Kind::Counter => {
            say("counted", counted.map(|counted| counted.to_f64()).into());
            say("partial", (*is_partial).into());
            say("resets", breaks.resets.into());
            say("rollovers", breaks.rollovers.into());
            say("jitters", breaks.jitters.into());
            say("jumps", breaks.jumps.into());
        }
        Kind::Gauge | Kind::Rate | Kind::Sliding => {
            let held = integral.filter(|_| 0 < settled.covered).map(|sum| sum / settled.observed_s());
            let plain = values.map(|values| values.total() / state.count as f64);
            say("mean", held.or(plain).into());
            say("min", values.map(|values| values.min).into());
            say("max", values.map(|values| values.max).into());
            if series.arithmetic.is_speed {
                speeds(&mut say);
            }
        }
    }
    row
}

fn text(rows: &[Map<String, Value>], args: &MeasureArgs, zone: &TimeZone) -> String {
    const HEADINGS: [&str; 25] = [
        "from",
        "heard",
        "count",
        "flagged",
        "late",
        "coverage",
        "volume",
        "flow",
        "occupancy",
        "time_mean_speed",
        "space_mean_speed",
        "v15",
        "v50",
        "v85",
        "sum",
        "rate_h",
        "counted",
        "partial",
        "resets",
        "rollovers",
        "jitters",
        "jumps",
        "mean",
        "min",
        "max",
    ];
    let there = |name: &&&str| rows.first().is_some_and(|row| row.contains_key(**name));
    let headings: Vec<&'static str> = HEADINGS.iter().filter(there).copied().collect();
    let mut table = Table::new(Paint::of_stdout(), &headings);
    let narrow = matches!(args.width, Width::Micros(micros) if micros % 60_000_000 != 0);
    let format = if narrow { "%F %H:%M:%S" } else { "%F %H:%M" };
    for row in rows {
        table.row(headings.iter().map(|name| match (&row[*name], *name) {
            (Value::String(at), "from") => {
                let at =
                    at.parse::<Timestamp>().map(|at| at.to_zoned(zone.clone()).strftime(format).to_string());
                at.unwrap_or_default()
            }
            (Value::Number(share), "coverage") => percent(share.as_f64().unwrap_or_default()),
            (Value::Number(number), _) if number.is_f64() => {
                let number = format!("{:.3}", number.as_f64().unwrap_or_default());
                number.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            (Value::Number(number), _) => number.to_string(),
            (Value::Bool(true), _) => "yes".to_owned(),
            _ => String::new(),
        }));
    }
    table.text()
}
