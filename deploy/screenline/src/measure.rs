//! `screenline measure`: what a sensor measured, in buckets of any width, with what was not observed.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use jiff::Timestamp;
use processor::{
    measure::{
        Settled, Steps, Width, history,
        impute::{self, Imputed},
        traffic::{self, Speeds},
        utility::{self, StuckRule},
        zone,
    },
    model::{Kind, SensorId, Series, Time, bucket::HOUR},
    registry,
};
use serde_json::json;

use crate::{
    database::{DatabaseArgs, Tables},
    paper::Paint,
    period::PeriodArgs,
    rows::{Cell, Row, Rows},
    selection::{Chosen, SelectionArgs},
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
  screenline measure traffic.volume loop-17 --impute --neighbours loop-16,loop-18     what was silent, estimated beside
  screenline measure traffic.speed.mean loop-17 --width 1m --last 1h --json")]
pub struct MeasureArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// How wide buckets are: 20s, 5m, 1h, or 1d for local days
    #[arg(long, default_value = "1h")]
    width: Width,
    #[command(flatten)]
    period: PeriodArgs,
    /// Estimate what was silent or stuck, in columns of their own: by neighbours, else by the same time of the other days, from a
    /// week before on
    #[arg(long)]
    impute: bool,
    /// Sensors near by that measure the same
    #[arg(long, value_name = "SENSOR", requires = "impute", value_delimiter = ',')]
    neighbours: Vec<SensorId>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// # Errors
/// There is no such series, or the database cannot be read.
pub async fn run(args: MeasureArgs) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| measure(&args, url).await).await
}

async fn measure(args: &MeasureArgs, url: &str) -> anyhow::Result<ExitCode> {
    let Tables { client, registry, zone } = Tables::open(url, "screenline-measure").await?;
    let period = args.period.of(&zone, Timestamp::now())?;
    let all = args.selection.of(&client, &registry, &period).await?;
    let (first, metric) = (&all[0].series, args.selection.metric.as_str());
    let steps = Steps::of(&(period.start.into()..period.end.into()), args.width, &zone)?;
    steps.check(all.iter().map(|one| &one.series))?;
    ensure!(
        all.len() * steps.len() <= history::CELLS_MAX,
        "{} sensors in {} buckets are more than can be held at once: take wider buckets, or a shorter period",
        all.len(),
        steps.len()
    );
    let series: Vec<Series> = all.iter().map(|one| one.series.clone()).collect();
    let mut settled: Vec<Vec<Settled>> = steps.spans.iter().map(|_| Vec::with_capacity(all.len())).collect();
    let mut events = Rows::default();
    let take = |at: usize, buckets: Vec<Settled>| {
        let Chosen { sensor, series, .. } = &all[at];
        if series.kind == Kind::Counter {
            let found = utility::register_events(&buckets, steps.seconds, StuckRule::default());
            events.0.extend(found.into_iter().map(|(event, span)| {
                let (from, to) = (Cell::Time(span.start), Cell::Time(span.end));
                vec![("sensor", Cell::text(sensor)), ("event", Cell::text(event)), ("from", from), ("to", to)]
            }));
        }
        settled.iter_mut().zip(buckets).for_each(|(several, bucket)| several.push(bucket));
    };
    history::read(&client, &registry, &series, &steps, take).await?;
    let mut rows = Rows(settled.into_iter().filter_map(|several| together(several, first)).collect());
    if args.impute {
        let tables = Tables { client, registry, zone: zone.clone() };
        let beside = estimates(args, &tables, &series, &steps).await?;
        rows.0.iter_mut().zip(beside).for_each(|(row, beside)| row.extend(beside));
    }
    if args.json {
        let (kind, unit, sensors) = (first.kind.as_str(), &*first.unit, all.len());
        let (buckets, events) = (rows.json(), events.json());
        println!(
            "{}",
            json!({
                "metric": metric, "kind": kind, "unit": unit, "sensors": sensors, "buckets": buckets, "events": events,
            })
        );
    } else {
        let paint = Paint::of_stdout();
        print!("{}", rows.text(paint, &zone, &["to"]));
        if !events.0.is_empty() {
            print!("\n{}", events.text(paint, &zone, &[]));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How far back other days are looked at for an estimate (PeMS: a week).
const BACK: i64 = 7 * 24 * HOUR;

/// What sensors that were silent or stuck would have counted in each bucket, together, how that was estimated, and the sum
/// with what was observed.
async fn estimates(
    args: &MeasureArgs,
    Tables { client, registry, zone }: &Tables,
    series: &[Series],
    steps: &Steps,
) -> anyhow::Result<Vec<Row>> {
    let metric = args.selection.metric.as_str();
    let kind = series[0].kind;
    ensure!(
        matches!(kind, Kind::Event | Kind::Total | Kind::Delta | Kind::Counter),
        "{metric} is of kind {kind}: only what is counted is estimated"
    );
    ensure!(
        matches!(args.width, Width::Micros(micros) if micros <= HOUR && HOUR % micros == 0),
        "estimates are made in steps that fill an hour: --width 1h, 15m or 5m"
    );
    let mut all = series.to_vec();
    {
        let registry = registry::read(registry);
        for sensor in &args.neighbours {
            let near = registry.find(sensor.as_str(), metric).cloned();
            let none = || format!("there is no {metric} of {sensor}: see `screenline registry list`");
            all.push(near.with_context(none)?);
        }
    }
    let (Some(first), Some(last)) = (steps.spans.first(), steps.spans.last()) else { return Ok(Vec::new()) };
    let whole = Steps::of(&(Time::from_micros(first.start.micros() - BACK)..last.end), args.width, zone)?;
    let before = whole.len() - steps.len();
    ensure!(
        all.len() * whole.len() <= history::CELLS_MAX,
        "that many sensors over that long cannot be held at once: take wider buckets, or a shorter period"
    );
    let mut known: Vec<Vec<Option<f64>>> = vec![Vec::new(); all.len()];
    let take = |at: usize, buckets: Vec<Settled>| {
        let amounts: Vec<Option<f64>> = buckets.iter().map(|bucket| zone::amount(bucket, kind)).collect();
        known[at] = if kind == Kind::Counter { impute::unstuck(&amounts, whole.seconds) } else { amounts };
    };
    history::read(client, registry, &all, &whole, take).await?;
    let near = known.split_off(series.len());
    let near: Vec<&[Option<f64>]> = near.iter().map(Vec::as_slice).collect();
    let slots = whole.slots();
    let imputed: Vec<Vec<Option<Imputed>>> =
        known.iter().map(|own| impute::impute(own, &near, &slots)).collect();
    let beside = |bucket: usize| {
        let found: Vec<Imputed> = imputed.iter().filter_map(|imputed| imputed[bucket]).collect();
        let mut methods: Vec<String> = found.iter().map(|imputed| imputed.method.to_string()).collect();
        methods.sort_unstable();
        methods.dedup();
        let sum = (!found.is_empty()).then(|| found.iter().map(|imputed| imputed.value).sum());
        let each = known.iter().zip(&imputed);
        let completed =
            each.map(|(own, imputed)| own[bucket].or(imputed[bucket].map(|imputed| imputed.value))).sum();
        let by = (!methods.is_empty()).then(|| methods.join(", "));
        vec![
            ("imputed", Cell::Number(sum)),
            ("imputed_by", Cell::Text(by)),
            ("completed", Cell::Number(completed)),
        ]
    };
    Ok((before..whole.len()).map(beside).collect())
}

/// What the sensors say of one bucket together. A sum is none where one of them was silent; of passages it is of those
/// that were heard, and `heard` says how many.
fn together(several: Vec<Settled>, series: &Series) -> Option<Row> {
    let sensors = several.len();
    let is_heard = |one: &&Settled| 0 < one.state.count || series.kind == Kind::Event && 0 < one.covered;
    let heard = several.iter().filter(is_heard).count();
    // Each by its own time: one that was silent does not make the others faster.
    let flows: Vec<f64> = several.iter().filter_map(|one| traffic::measured_flow(one, series.kind)).collect();
    let flow = (!flows.is_empty()).then(|| flows.iter().sum());
    let mut row = row(&Settled::beside(several)?, series, flow);
    if 1 < sensors {
        if heard < sensors && matches!(series.kind, Kind::Total | Kind::Delta) {
            let sums = row.iter_mut().filter(|(name, _)| ["sum", "rate_h"].contains(name));
            sums.for_each(|(_, cell)| *cell = Cell::Number(None));
        }
        row.insert(2, ("heard", Cell::Count(heard as i64)));
    }
    Some(row)
}

/// What one bucket says.
fn row(settled: &Settled, series: &Series, flow: Option<f64>) -> Row {
    let Settled { span, state, counted, is_partial, breaks, .. } = settled;
    let measured_s = settled.measured_s(series.kind);
    let mut row = vec![
        ("from", Cell::Time(span.start)),
        ("to", Cell::Time(span.end)),
        ("count", Cell::Count(state.count)),
        ("flagged", Cell::Count(state.flagged)),
        ("late", Cell::Count(state.late)),
        ("coverage", Cell::Share(settled.said_coverage(series.kind))),
    ];
    let mut numbers = |numbers: &[(&'static str, Option<f64>)]| {
        row.extend(numbers.iter().map(|(name, number)| (*name, Cell::Number(*number))));
    };
    let speeds = || {
        let Speeds { time_mean, space_mean, v15, v50, v85 } = Speeds::of(state, series.kind);
        let means = [("time_mean_speed", time_mean), ("space_mean_speed", space_mean)];
        [&means[..], &[("v15", v15), ("v50", v50), ("v85", v85)]].concat()
    };
    match series.kind {
        Kind::Event => {
            let volume = traffic::volume(settled, series.kind);
            let occupancy = traffic::occupancy(settled, measured_s);
            let headway = flow.and_then(traffic::headway_s);
            numbers(&[("volume", volume), ("flow", flow), ("headway_s", headway), ("occupancy", occupancy)]);
            numbers(&[("pcu", traffic::passenger_cars(state, traffic::pcu))]);
            numbers(&speeds());
            row.push(("classes", Cell::Classes(traffic::classes(state))));
        }
        Kind::Total | Kind::Delta => {
            let sum = traffic::volume(settled, series.kind);
            numbers(&[("sum", sum), ("rate_h", flow)]);
        }
        Kind::Counter => {
            numbers(&[("counted", counted.map(|counted| counted.to_f64()))]);
            row.push(("partial", Cell::Flag(*is_partial)));
            let breaks = [
                ("resets", breaks.resets),
                ("rollovers", breaks.rollovers),
                ("jitters", breaks.jitters),
                ("jumps", breaks.jumps),
            ];
            row.extend(breaks.map(|(name, count)| (name, Cell::Count(count.into()))));
        }
        Kind::Gauge | Kind::Rate | Kind::Sliding => {
            let (min, max) = (state.values.map(|values| values.min), state.values.map(|values| values.max));
            numbers(&[("mean", settled.mean()), ("min", min), ("max", max)]);
            if series.arithmetic.is_speed {
                numbers(&speeds());
            }
        }
    }
    row
}
