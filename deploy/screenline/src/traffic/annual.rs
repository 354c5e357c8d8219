use std::{collections::BTreeMap, ops::Range, process::ExitCode};

use anyhow::ensure;
use clap::Args;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use processor::{
    measure::{
        Settled,
        history::{self, Width},
        traffic::{self, AadtMethod},
    },
    model::{Kind, Series, Time, bucket::HOUR},
};
use serde_json::json;

use super::CELLS_MAX;
use crate::{
    database::{DatabaseArgs, Tables},
    paper::{Paint, percent},
    period::PeriodArgs,
    rows::{Cell, Rows},
    selection::{Chosen, SelectionArgs},
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A quarter of an hour counts where every sensor was observed for --complete of it; a day's volume needs all its quarters.

Examples:
  screenline traffic days traffic.volume bridge-1 bridge-2 --last 30d
  screenline traffic days traffic.vehicle --segment ring-4 --from 2026-11-01 --to 2026-12-01 --json")]
pub struct DaysArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    period: PeriodArgs,
    #[command(flatten)]
    complete: CompleteArgs,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
An hour counts where every sensor was observed for --complete of it, and a day where all its hours count. A method that needs
days that are not there is refused, with the reason. D needs sensors of two directions.

Examples:
  screenline traffic annual traffic.volume bridge-1 --year 2025
  screenline traffic annual traffic.volume --segment ring-4 --year 2025 --json")]
pub struct AnnualArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// The year, by the city's clocks
    #[arg(long, value_parser = clap::value_parser!(i16).range(2000..=9998))]
    year: i16,
    /// Which highest hour K is of
    #[arg(long, value_name = "NTH", default_value_t = 30)]
    highest: usize,
    #[command(flatten)]
    complete: CompleteArgs,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Clone, Args)]
struct CompleteArgs {
    /// Percent of a step that must be observed, for it to count
    #[arg(long, value_name = "PERCENT", default_value_t = 95, value_parser = clap::value_parser!(u8).range(1..=100))]
    complete: u8,
}

const QUARTER: i64 = HOUR / 4;

/// What was counted in each step by all sensors together, and by those of each direction.
struct Counted {
    spans: Vec<Range<Time>>,
    volumes: Vec<Option<f64>>,
    directions: BTreeMap<String, Vec<Option<f64>>>,
}

impl Counted {
    async fn read(
        tables: &Tables,
        chosen: &[Chosen],
        period: &Range<Timestamp>,
        step: i64,
        least: f64,
    ) -> anyhow::Result<Counted> {
        let Tables { client, registry, zone } = tables;
        let kind = chosen[0].series.kind;
        ensure!(
            matches!(kind, Kind::Event | Kind::Total | Kind::Delta),
            "what is of kind {kind} is not counted in vehicles: ask for passages, or for volumes of intervals"
        );
        let spans = Width::Micros(step).spans(&(period.start.into()..period.end.into()), zone);
        let mut counted =
            Counted { volumes: vec![Some(0.0); spans.len()], spans, directions: BTreeMap::new() };
        for some in chosen.chunks((CELLS_MAX / counted.spans.len().max(1)).max(1)) {
            let series: Vec<Series> = some.iter().map(|one| one.series.clone()).collect();
            let all =
                history::read(client, registry, &series, &counted.spans, Width::Micros(step), zone).await?;
            for (one, buckets) in some.iter().zip(all) {
                let known = |bucket: &Settled| {
                    let whole = (kind == Kind::Event && bucket.covered == 0) || least <= bucket.coverage();
                    traffic::volume(bucket, kind).filter(|_| whole)
                };
                let volumes: Vec<Option<f64>> = buckets.iter().map(known).collect();
                let add = |sums: &mut Vec<Option<f64>>| {
                    let both = sums.iter_mut().zip(&volumes);
                    both.for_each(|(sum, volume)| *sum = sum.zip(*volume).map(|(sum, volume)| sum + volume));
                };
                add(&mut counted.volumes);
                if let Some(direction) = &one.direction {
                    let none = || vec![Some(0.0); buckets.len()];
                    add(counted.directions.entry(direction.clone()).or_insert_with(none));
                }
            }
        }
        Ok(counted)
    }

    /// The steps of each local day.
    fn days(&self, zone: &TimeZone) -> Vec<(Date, Range<usize>)> {
        let mut days: Vec<(Date, Range<usize>)> = Vec::new();
        for (at, span) in self.spans.iter().enumerate() {
            let day = zone.to_datetime(span.start.timestamp()).date();
            match days.last_mut().filter(|(last, _)| *last == day) {
                Some((_, steps)) => steps.end = at + 1,
                None => days.push((day, at..at + 1)),
            }
        }
        days
    }
}

pub async fn days(args: DaysArgs) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| of_days(&args, url).await).await
}

async fn of_days(args: &DaysArgs, url: &str) -> anyhow::Result<ExitCode> {
    let tables = Tables::open(url, "screenline-traffic").await?;
    let period = args.period.of(&tables.zone, Timestamp::now())?;
    let chosen = args.selection.of(&tables.client, &tables.registry, &period).await?;
    let least = f64::from(args.complete.complete) / 100.0;
    let interval = chosen.iter().map(|one| one.series.arithmetic.interval).max().unwrap_or(0);
    // Intervals of an hour have no quarters.
    let step = if QUARTER < interval { HOUR } else { QUARTER };
    let counted = Counted::read(&tables, &chosen, &period, step, least).await?;
    let row = |(day, steps): (Date, Range<usize>)| {
        let volumes = &counted.volumes[steps.clone()];
        let sum = |volumes: &[Option<f64>]| volumes.iter().copied().sum::<Option<f64>>();
        let peak = match step == QUARTER {
            true => traffic::peak_hour(volumes).map(|peak| (peak.at, peak.volume, Some(peak.factor))),
            false => {
                let hours = volumes.iter().enumerate().filter_map(|(at, volume)| Some((at, (*volume)?)));
                let highest = hours.reduce(|a, b| if a.1 < b.1 { b } else { a });
                highest.map(|(at, volume)| (at, volume, None))
            }
        };
        let daily = sum(volumes);
        let directions: Vec<f64> =
            counted.directions.values().filter_map(|volumes| sum(&volumes[steps.clone()])).collect();
        let share = match directions[..] {
            [one, other] => traffic::directional_share(one, other),
            _ => None,
        };
        let known = volumes.iter().flatten().count() as f64 / volumes.len() as f64;
        let begins = peak.map(|(at, ..)| {
            let start = counted.spans[steps.start + at].start.timestamp();
            tables.zone.to_datetime(start).strftime("%H:%M").to_string()
        });
        vec![
            ("day", Cell::Day(day)),
            ("known", Cell::Share(Some(known))),
            ("volume", Cell::Number(daily)),
            ("peak_hour", Cell::Text(begins)),
            ("peak_volume", Cell::Number(peak.map(|(_, volume, _)| volume))),
            ("phf", Cell::Number(peak.and_then(|(.., factor)| factor))),
            ("d", Cell::Number(share)),
        ]
    };
    let rows = Rows(counted.days(&tables.zone).into_iter().map(row).collect());
    match args.json {
        true => println!("{}", json!({"sensors": chosen.len(), "days": rows.json()})),
        false => print!("{}", rows.text(Paint::of_stdout(), &tables.zone, &[])),
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn annual(args: AnnualArgs) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| of_year(&args, url).await).await
}

async fn of_year(args: &AnnualArgs, url: &str) -> anyhow::Result<ExitCode> {
    let tables = Tables::open(url, "screenline-traffic").await?;
    let begin =
        |year: i16| Date::new(year, 1, 1)?.to_zoned(tables.zone.clone()).map(|begin| begin.timestamp());
    let period = begin(args.year)?..begin(args.year + 1)?;
    let chosen = args.selection.of(&tables.client, &tables.registry, &period).await?;
    let least = f64::from(args.complete.complete) / 100.0;
    let counted = Counted::read(&tables, &chosen, &period, HOUR, least).await?;
    let complete = |volumes: &[Option<f64>]| -> Vec<(Date, f64)> {
        let days = counted.days(&tables.zone).into_iter();
        days.filter_map(|(day, hours)| Some((day, volumes[hours].iter().copied().sum::<Option<f64>>()?)))
            .collect()
    };
    let days = complete(&counted.volumes);
    let known: Vec<f64> = counted.volumes.iter().flatten().copied().collect();
    let methods = [
        ("mean of complete days", "simple", AadtMethod::SimpleMean),
        ("by months (ASTM E1442)", "monthly", AadtMethod::Monthly),
        ("by weekdays (AASHTO)", "weekday", AadtMethod::Weekday),
    ];
    let found = methods.map(|(name, key, method)| (name, key, traffic::aadt(&days, method)));
    let best = found.iter().rev().find_map(|(.., aadt)| aadt.as_ref().ok()).copied();
    let nth = traffic::nth_highest(&known, args.highest);
    let k = best.and_then(|aadt| traffic::k_factor(&known, args.highest, aadt));
    let busiest = |a: (usize, f64), b: (usize, f64)| if a.1 < b.1 { b } else { a };
    let hours = counted.volumes.iter().enumerate().filter_map(|(at, volume)| Some((at, (*volume)?)));
    let peak = hours.reduce(busiest).map(|(at, volume)| (counted.spans[at].start, volume));
    let directions: Vec<f64> = counted
        .directions
        .values()
        .filter_map(|volumes| traffic::aadt(&complete(volumes), AadtMethod::SimpleMean).ok())
        .collect();
    let d = match directions[..] {
        [one, other] => traffic::directional_share(one, other),
        _ => None,
    };
    let missing = counted.volumes.len() - known.len();
    if args.json {
        let each = found.iter().map(|(_, key, aadt)| match aadt {
            Ok(aadt) => ((*key).to_owned(), json!({"aadt": aadt, "refused": null})),
            Err(reason) => ((*key).to_owned(), json!({"aadt": null, "refused": reason.to_string()})),
        });
        let aadt: serde_json::Map<_, _> = each.collect();
        let highest = json!({"nth": args.highest, "volume": nth, "k": k});
        let peak = peak.map(|(from, volume)| json!({"from": from.to_string(), "volume": volume}));
        println!(
            "{}",
            json!({
                "year": args.year, "sensors": chosen.len(), "complete_days": days.len(), "missing_hours": missing,
                "aadt": aadt, "highest": highest, "peak_hour": peak, "d": d,
            })
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("  {} complete days, {missing} of {} hours missing", days.len(), counted.volumes.len());
    for (name, _, aadt) in found {
        match aadt {
            Ok(aadt) => println!("  {name:<24} {aadt:>10.1} veh/d"),
            Err(reason) => println!("  {name:<24} refused: {reason}"),
        }
    }
    if let Some((from, volume)) = peak {
        let from = from.timestamp().to_zoned(tables.zone.clone()).strftime("%F %H:%M");
        println!("  {:<24} {volume:>10.0} veh/h, from {from}", "busiest hour");
    }
    if let (Some(nth), Some(k)) = (nth, k) {
        println!(
            "  {:<24} {nth:>10.0} veh/h, K = {}",
            format!("highest hour no. {}", args.highest),
            percent(k)
        );
    }
    if let Some(d) = d {
        println!("  {:<24} {:>10}", "busier direction, D", percent(d));
    }
    Ok(ExitCode::SUCCESS)
}
