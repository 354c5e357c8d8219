use std::{collections::BTreeMap, ops::Range, process::ExitCode};

use anyhow::ensure;
use clap::Args;
use jiff::{Timestamp, civil::Date};
use processor::{
    measure::{
        Settled, Steps, history,
        traffic::{self, AadtMethod},
        zone,
    },
    model::{Kind, Series, bucket::HOUR},
};
use serde_json::json;

use crate::{
    database::{DatabaseArgs, Tables},
    paper::Paint,
    period::PeriodArgs,
    rows::{Cell, Rows, Units},
    selection::{Chosen, SelectionArgs},
};

const QUARTER: i64 = HOUR / 4;

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Local days, each whole. A quarter of an hour counts where every sensor was observed for 95 % of it, and a day's volume needs
all its quarters, so that of today is empty. D is the share of the busier of two directions in the peak hour.

Examples:
  screenline traffic days traffic.volume bridge-1 bridge-2 --last 30d
  screenline traffic days traffic.vehicle --segment ring-4 --from 2026-11-01 --to 2026-12-01 --json")]
pub struct DaysArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    period: PeriodArgs,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
An hour counts where every sensor was observed for 95 % of it, and a local day where all its hours count. A method that needs
days that are not there is refused, with the reason. K is the nth highest hour over the best method's average, D the share of
the busier of two directions in that hour.

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
    #[arg(long, value_name = "NTH", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=8784))]
    highest: u16,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// What was counted in each step by all sensors together, and by those of each direction.
struct Counted {
    steps: Steps,
    volumes: Vec<Option<f64>>,
    directions: BTreeMap<String, Vec<Option<f64>>>,
}

impl Counted {
    /// Of whole local days.
    async fn read(
        tables: &Tables,
        chosen: &[Chosen],
        period: &Range<Timestamp>,
        step_s: u32,
    ) -> anyhow::Result<Counted> {
        let Tables { client, registry, zone } = tables;
        let kind = chosen[0].series.kind;
        ensure!(
            matches!(kind, Kind::Event | Kind::Total | Kind::Delta),
            "what is of kind {kind} is not counted in vehicles: ask for passages, or for volumes of intervals"
        );
        let series: Vec<Series> = chosen.iter().map(|one| one.series.clone()).collect();
        let steps = Steps::of_days(&(period.start.into()..period.end.into()), step_s, zone)?;
        steps.check(&series)?;
        let none = || vec![Some(0.0); steps.len()];
        let (mut volumes, mut directions) = (none(), BTreeMap::new());
        let take = |at: usize, buckets: Vec<Settled>| {
            let of: Vec<Option<f64>> = buckets.iter().map(|bucket| zone::amount(bucket, kind)).collect();
            let add = |sums: &mut Vec<Option<f64>>| {
                let both = sums.iter_mut().zip(&of);
                both.for_each(|(sum, volume)| *sum = sum.zip(*volume).map(|(sum, volume)| sum + volume));
            };
            add(&mut volumes);
            if let Some(direction) = &chosen[at].direction {
                add(directions.entry(direction.clone()).or_insert_with(none));
            }
        };
        history::read(client, registry, &series, &steps, take).await?;
        Ok(Counted { steps, volumes, directions })
    }

    /// The share of the busier of two directions in some steps.
    fn share(&self, steps: Range<usize>) -> Option<f64> {
        let mut directions = self.directions.values().map(|volumes| sum(&volumes[steps.clone()]));
        match (directions.next(), directions.next(), directions.next()) {
            (Some(one), Some(other), None) => traffic::directional_share(one?, other?),
            _ => None,
        }
    }
}

fn sum(volumes: &[Option<f64>]) -> Option<f64> {
    volumes.iter().copied().sum()
}

pub async fn days(args: DaysArgs) -> anyhow::Result<ExitCode> {
    args.database.with(async |url| of_days(&args, url).await).await
}

async fn of_days(args: &DaysArgs, url: &str) -> anyhow::Result<ExitCode> {
    let tables = Tables::open(url, "screenline-traffic").await?;
    let period = args.period.of(&tables.zone, Timestamp::now())?;
    let chosen = args.selection.of(&tables.client, &tables.registry, &period).await?;
    // Intervals that fill no quarter of an hour are put into hours: then there is no peak hour factor.
    let fits =
        |one: &Chosen| one.series.arithmetic.interval == 0 || QUARTER % one.series.arithmetic.interval == 0;
    let step_s = if chosen.iter().all(fits) { 900 } else { 3_600 };
    let counted = Counted::read(&tables, &chosen, &period, step_s).await?;
    let row = |(day, steps): &(Date, Range<usize>)| {
        let volumes = &counted.volumes[steps.clone()];
        let peak = match step_s {
            900 => traffic::peak_hour(volumes).map(|peak| (peak.at, 4, peak.volume, Some(peak.factor))),
            _ => busiest(volumes).map(|(at, volume)| (at, 1, volume, None)),
        };
        let hour = peak.map(|(at, width, ..)| steps.start + at..steps.start + at + width);
        let known = volumes.iter().flatten().count() as f64 / volumes.len() as f64;
        let begins = hour.as_ref().map(|hour| counted.steps.clock(hour.start).strftime("%H:%M").to_string());
        vec![
            ("day", Cell::Day(*day)),
            ("known", Cell::Share(Some(known))),
            ("volume", Cell::Number(sum(volumes))),
            ("peak_hour", Cell::Text(begins)),
            ("peak_volume", Cell::Number(peak.map(|(_, _, volume, _)| volume))),
            ("phf", Cell::Number(peak.and_then(|(.., factor)| factor))),
            ("d", Cell::Share(hour.and_then(|hour| counted.share(hour)))),
        ]
    };
    let (rows, paint) = (Rows(counted.steps.days().iter().map(row).collect()), Paint::of_stdout());
    let units: &Units = &[("volume", "veh"), ("peak_volume", "veh/h")];
    if args.json {
        let sensors = chosen.len();
        println!("{}", json!({"sensors": sensors, "units": Rows::units(units), "days": rows.json()}));
    } else {
        print!("{}{}", rows.text(paint, &tables.zone, &[]), rows.legend(paint, units));
    }
    Ok(ExitCode::SUCCESS)
}

/// The step with the highest volume; the first of several.
fn busiest(volumes: &[Option<f64>]) -> Option<(usize, f64)> {
    let known = volumes.iter().enumerate().filter_map(|(at, volume)| Some((at, (*volume)?)));
    known.reduce(|a, b| if a.1 < b.1 { b } else { a })
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
    let counted = Counted::read(&tables, &chosen, &period, 3_600).await?;
    let days: Vec<(Date, f64)> = counted
        .steps
        .days()
        .iter()
        .filter_map(|(day, hours)| Some((*day, sum(&counted.volumes[hours.clone()])?)))
        .collect();
    let known: Vec<f64> = counted.volumes.iter().flatten().copied().collect();
    let methods = [
        ("mean of complete days", "simple", AadtMethod::SimpleMean),
        ("mean of weekdays", "weekday", AadtMethod::Weekday),
        ("mean of months' weekdays", "monthly", AadtMethod::Monthly),
    ];
    let found = methods.map(|(name, key, method)| (name, key, traffic::aadt(&days, method)));
    let best = found.iter().rev().find_map(|(_, key, aadt)| Some((*key, *aadt.as_ref().ok()?)));
    let nth = traffic::nth_highest(&known, args.highest.into());
    let k = best.and_then(|(_, aadt)| traffic::k_factor(&known, args.highest.into(), aadt));
    let d = nth.and_then(|nth| {
        let hour = counted.volumes.iter().position(|volume| *volume == Some(nth))?;
        counted.share(hour..hour + 1)
    });
    let peak = busiest(&counted.volumes).map(|(at, volume)| (counted.steps.spans[at].start, volume));
    let missing = counted.volumes.len() - known.len();
    if args.json {
        let each = found.iter().map(|(_, key, aadt)| match aadt {
            Ok(aadt) => ((*key).to_owned(), json!({"aadt": aadt, "refused": null})),
            Err(reason) => ((*key).to_owned(), json!({"aadt": null, "refused": reason.to_string()})),
        });
        let aadt: serde_json::Map<_, _> = each.collect();
        let of = best.map(|(key, _)| key);
        let highest = json!({"nth": args.highest, "volume": nth, "k": k, "k_of": of, "d": d});
        let peak = peak.map(|(from, volume)| json!({"from": from.to_string(), "volume": volume}));
        println!(
            "{}",
            json!({
                "year": args.year, "sensors": chosen.len(), "complete_days": days.len(), "missing_hours": missing,
                "aadt": aadt, "highest": highest, "peak_hour": peak,
                "units": {"aadt": "veh/d", "volume": "veh/h"},
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
    if let (Some(nth), Some(k), Some((of, _))) = (nth, k, best) {
        let name = format!("highest hour no. {}", args.highest);
        println!("  {name:<24} {nth:>10.0} veh/h, K = {:.1} % of {of}", 100.0 * k);
    }
    if let Some(d) = d {
        println!("  {:<24} {:>10.1} %, D", "busier direction then", 100.0 * d);
    }
    Ok(ExitCode::SUCCESS)
}
