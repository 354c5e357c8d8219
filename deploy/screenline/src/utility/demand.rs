use std::{ops::Range, process::ExitCode};

use anyhow::ensure;
use clap::Args;
use jiff::{Timestamp, civil::Date};
use processor::{
    measure::{
        history::{self, BUCKETS_MAX, Width},
        utility, zone,
    },
    model::{MetricName, Series, Time},
    registry,
};
use serde_json::json;

use super::CELLS_MAX;
use crate::{
    database::{DatabaseArgs, Tables},
    paper::Paint,
    period::{self, PeriodArgs},
    rows::{Cell, Row, Rows},
    selection::SelectionArgs,
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Demand is the energy of a window over its time: kW of kWh. Blocks lie on the clock, as most tariffs say; the sliding window
moves by steps of --step. A window with a missing step does not count. The power factor is made of the energies of the day,
never of power factors; registers or totals of reactive energy are given with --reactive and --leading.

Examples:
  screenline utility demand energy.active works-1 --last 30d
  screenline utility demand energy.active works-1 --reactive energy.reactive --leading energy.reactive.leading --json
  screenline utility demand energy.active --zone harbour --block 30m --from 2026-11-01 --to 2026-12-01")]
pub struct DemandArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    period: PeriodArgs,
    /// The window
    #[arg(long, default_value = "15m", value_parser = period::width)]
    block: Width,
    /// How far the sliding window moves at a time
    #[arg(long, default_value = "5m", value_parser = period::width)]
    step: Width,
    /// Lagging reactive energy of the same sensors
    #[arg(long, value_name = "METRIC")]
    reactive: Option<MetricName>,
    /// Leading reactive energy of the same sensors
    #[arg(long, value_name = "METRIC", requires = "reactive")]
    leading: Option<MetricName>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub async fn run(args: DemandArgs) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| demand(&args, url).await).await
}

async fn demand(args: &DemandArgs, url: &str) -> anyhow::Result<ExitCode> {
    let (Width::Micros(block), Width::Micros(step)) = (args.block, args.step) else {
        anyhow::bail!("a window is shorter than a day: --block 15m");
    };
    let tables = Tables::open(url, "screenline-utility").await?;
    let period = args.period.of(&tables.zone, Timestamp::now())?;
    let chosen = args.selection.of(&tables.client, &tables.registry, &period).await?;
    let interval = chosen.iter().map(|one| one.series.arithmetic.interval).max().unwrap_or(0);
    // Totals of a quarter of an hour cannot slide by less.
    let step = step.max(interval).min(block);
    ensure!(
        block % step == 0 && 86_400_000_000 % block == 0,
        "the block must be whole steps of {} s, and a day whole blocks",
        step / 1_000_000
    );
    let others = |metric: &Option<MetricName>| -> Vec<Series> {
        let registry = registry::read(&tables.registry);
        let find = |sensor: &str| registry.find(sensor, metric.as_ref()?.as_str()).cloned();
        chosen.iter().filter_map(|one| find(&one.sensor)).collect()
    };
    let (lagging, leading) = (others(&args.reactive), others(&args.leading));
    if let Some(metric) = &args.reactive {
        ensure!(
            lagging.len() == chosen.len(),
            "not every sensor measures {metric}: see `screenline registry list`"
        );
    }
    let active: Vec<Series> = chosen.iter().map(|one| one.series.clone()).collect();
    let (spans, active) = sums(&tables, &active, &period, step).await?;
    let (_, lagging) = sums(&tables, &lagging, &period, step).await?;
    let (_, leading) = sums(&tables, &leading, &period, step).await?;
    let day = |at: usize| tables.zone.to_datetime(spans[at].start.timestamp()).date();
    let indices: Vec<usize> = (0..spans.len()).collect();
    let mut rows: Vec<Row> = Vec::new();
    for steps in indices.chunk_by(|a, b| day(*a) == day(*b)) {
        let of = steps[0]..steps[steps.len() - 1] + 1;
        let energies = Energies {
            active: &active[of.clone()],
            lagging: lagging.get(of.clone()),
            leading: leading.get(of.clone()),
            step_s: step as f64 / 1e6,
            window: (block / step) as usize,
        };
        let begins = |at: usize| {
            let start = spans[of.start + at].start.timestamp();
            tables.zone.to_datetime(start).strftime("%H:%M").to_string()
        };
        rows.push(energies.row(day(of.start), begins));
    }
    let rows = Rows(rows);
    match args.json {
        true => println!(
            "{}",
            json!({"metric": args.selection.metric.as_str(), "unit": &*chosen[0].series.unit, "days": rows.json()})
        ),
        false => print!("{}", rows.text(Paint::of_stdout(), &tables.zone, &[])),
    }
    Ok(ExitCode::SUCCESS)
}

/// What some series counted together in each step; nothing where one of them was silent, or where there are none.
async fn sums(
    tables: &Tables,
    series: &[Series],
    period: &Range<Timestamp>,
    step: i64,
) -> anyhow::Result<(Vec<Range<Time>>, Vec<Option<f64>>)> {
    let Tables { client, registry, zone } = tables;
    let spans = Width::Micros(step).spans(&(period.start.into()..period.end.into()), zone);
    ensure!(spans.len() <= BUCKETS_MAX, "more than {BUCKETS_MAX} steps: take a shorter period");
    if series.is_empty() {
        return Ok((spans, Vec::new()));
    }
    let mut sums = vec![Some(0.0); spans.len()];
    for some in series.chunks((CELLS_MAX / spans.len().max(1)).max(1)) {
        let all = history::read(client, registry, some, &spans, Width::Micros(step), zone).await?;
        for (one, buckets) in some.iter().zip(all) {
            for (sum, bucket) in sums.iter_mut().zip(&buckets) {
                *sum = sum.zip(zone::amount(bucket, one.kind)).map(|(sum, amount)| sum + amount);
            }
        }
    }
    Ok((spans, sums))
}

/// The energies of a local day.
struct Energies<'e> {
    active: &'e [Option<f64>],
    lagging: Option<&'e [Option<f64>]>,
    leading: Option<&'e [Option<f64>]>,
    step_s: f64,
    /// Steps of a block.
    window: usize,
}

impl Energies<'_> {
    fn row(&self, day: Date, begins: impl Fn(usize) -> String) -> Row {
        let Energies { active, lagging, leading, step_s, window } = *self;
        let total = |steps: &[Option<f64>]| steps.iter().copied().sum::<Option<f64>>();
        let block = utility::peak_demand(active, step_s, window, window);
        let sliding = utility::peak_demand(active, step_s, window, 1);
        let hour = 3_600.0 / (step_s * window as f64);
        let demands: Vec<Option<f64>> =
            active.chunks(window).map(|block| total(block).map(|energy| energy * hour)).collect();
        let energy = total(active);
        let lagged = lagging.filter(|steps| !steps.is_empty()).map(total);
        let led = leading.filter(|steps| !steps.is_empty()).map_or(Some(0.0), total);
        let factor = lagged.and_then(|lagged| utility::power_factor(energy?, lagged?, led?));
        vec![
            ("day", Cell::Day(day)),
            ("energy", Cell::Number(energy)),
            ("peak", Cell::Number(block.map(|peak| peak.demand))),
            ("peak_from", Cell::Text(block.map(|peak| begins(peak.at)))),
            ("sliding_peak", Cell::Number(sliding.map(|peak| peak.demand))),
            ("sliding_from", Cell::Text(sliding.map(|peak| begins(peak.at)))),
            ("load_factor", Cell::Number(utility::load_factor(&demands))),
            ("power_factor", Cell::Number(factor)),
        ]
    }
}
