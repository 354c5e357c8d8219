use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use processor::{
    measure::{
        Settled, Steps,
        demand::{self, Demand, Peak, Reactive},
        history, zone,
    },
    model::{MetricName, Series},
    registry,
};
use serde_json::json;

use crate::{
    database::{DatabaseArgs, Tables},
    paper::Paint,
    period::{self, PeriodArgs},
    rows::{Cell, Row, Rows},
    selection::{Chosen, SelectionArgs},
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Demand is the energy of a window over its time: kW of kWh. Blocks lie on the local clock, as most tariffs say; the sliding
window moves by steps of --step, and belongs to the day it begins in. A window with a step that was not observed does not
count, and meters must be read at least once a step: a step is widened to that. The power factor is made of the energies of
the day, never of power factors; registers or totals of reactive energy are given with --reactive and --leading.

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
    #[arg(long, default_value = "15m", value_parser = period::seconds)]
    block: u32,
    /// How far the sliding window moves at a time
    #[arg(long, default_value = "5m", value_parser = period::seconds)]
    step: u32,
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
    let tables = Tables::open(url, "screenline-utility").await?;
    let period = args.period.of(&tables.zone, Timestamp::now())?;
    let chosen = args.selection.of(&tables.client, &tables.registry, &period).await?;
    let others = |metric: &Option<MetricName>| -> anyhow::Result<Vec<Series>> {
        let Some(metric) = metric else { return Ok(Vec::new()) };
        let registry = registry::read(&tables.registry);
        let find = |one: &Chosen| {
            let series = registry.find(&one.sensor, metric.as_str()).cloned();
            series.with_context(|| {
                format!("there is no {metric} of {}: see `screenline registry list`", one.sensor)
            })
        };
        chosen.iter().map(find).collect()
    };
    let active: Vec<Series> = chosen.iter().map(|one| one.series.clone()).collect();
    let (lagging, leading) = (others(&args.reactive)?, others(&args.leading)?);
    let read_s = |series: &[Series]| series.iter().map(|one| one.interval_s.unwrap_or(0)).max().unwrap_or(0);
    let step = args.step.min(args.block).max(read_s(&active));
    ensure!(
        step <= args.block && args.block.is_multiple_of(step) && 86_400u32.is_multiple_of(args.block),
        "meters are read every {} s: the block must be whole steps of {step} s, and a day whole blocks, such as --block {}",
        read_s(&active),
        if step <= 3_600 { "1h" } else { "12h" }
    );
    // A window of the last evening reaches into the next day.
    let until =
        period.end.checked_add(SignedDuration::from_secs(args.block.into())).context("a time that far")?;
    let steps_of = Steps::of_days(&(period.start.into()..until.into()), step, &tables.zone)?;
    let active = sums(&tables, &active, &steps_of).await?;
    // Of reactive energy only whole days are asked for.
    let hourly = 3_600.max(read_s(&lagging)).max(read_s(&leading));
    let days = Steps::of_days(&(period.start.into()..period.end.into()), hourly, &tables.zone)?;
    let lagging = daily(&tables, &lagging, &days).await?;
    let leading = daily(&tables, &leading, &days).await?;
    let reactive = lagging.as_deref().map(|lagging| Reactive { lagging, leading: leading.as_deref() });
    // Without the day that only windows of the last evening reach into.
    let demands = demand::days(&steps_of, &active, args.block).into_iter().take(days.days().len());
    let row = |(at, demand): (usize, Demand)| {
        let factor = reactive.and_then(|reactive| reactive.factor(at, demand.amount));
        row(&demand, factor, &tables.zone)
    };
    let (rows, paint) = (Rows(demands.enumerate().map(row).collect()), Paint::of_stdout());
    let energy = &*chosen[0].series.unit;
    let power = demand::unit(energy);
    match args.json {
        true => {
            let units = json!({"energy": energy, "peak": power, "sliding_peak": power});
            let metric = args.selection.metric.as_str();
            println!("{}", json!({"metric": metric, "step_s": step, "units": units, "days": rows.json()}));
        }
        false => {
            print!("{}", rows.text(paint, &tables.zone, &[]));
            println!("{}", paint.dim(&format!("  energy {energy}, peaks {power}, in steps of {step} s")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What some series counted together on each day; `None` where there are none.
async fn daily(tables: &Tables, series: &[Series], days: &Steps) -> anyhow::Result<Option<Vec<Option<f64>>>> {
    Ok(match series {
        [] => None,
        series => Some(demand::daily(days, &sums(tables, series, days).await?)),
    })
}

/// What some series counted together in each step; nothing where one of them was silent.
async fn sums(tables: &Tables, series: &[Series], steps: &Steps) -> anyhow::Result<Vec<Option<f64>>> {
    steps.check(series)?;
    let mut sums = vec![Some(0.0); steps.len()];
    let take = |at: usize, buckets: Vec<Settled>| {
        for (sum, bucket) in sums.iter_mut().zip(&buckets) {
            *sum = sum.zip(zone::observed(bucket, series[at].kind)).map(|(sum, amount)| sum + amount);
        }
    };
    history::read(&tables.client, &tables.registry, series, steps, take).await?;
    Ok(sums)
}

fn row(demand: &Demand, factor: Option<f64>, zone: &TimeZone) -> Row {
    let power = |peak: Option<Peak>| Cell::Number(peak.map(|peak| peak.demand));
    let clock = |peak: Peak| zone.to_datetime(peak.from.timestamp()).strftime("%H:%M").to_string();
    let begins = |peak: Option<Peak>| Cell::Text(peak.map(clock));
    vec![
        ("day", Cell::Day(demand.day)),
        ("energy", Cell::Number(demand.amount)),
        ("peak", power(demand.block)),
        ("peak_from", begins(demand.block)),
        ("sliding_peak", power(demand.sliding)),
        ("sliding_from", begins(demand.sliding)),
        ("load_factor", Cell::Number(demand.load_factor)),
        ("power_factor", Cell::Number(factor)),
    ]
}
