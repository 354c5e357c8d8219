//! `screenline rejected`: what was refused is looked at, tried again, or given up.

mod redrive;
mod show;

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use jiff::{Timestamp, tz::TimeZone};
use processor::store::{self, City, Filter, Rejected, RejectionState, rejected::Group};
use serde_json::json;
use tokio_postgres::Client;

use crate::{
    console::Console,
    database::DatabaseArgs,
    paper::{Paint, Table, count, cut, printable, thousands},
    period::Moment,
};

/// Payload shown of each in a list.
const START_BYTES: i32 = 200;

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A refused message or reading is kept with its reason and payload until it is settled: redriven after its mapping or
registry was put right, or dropped.

Examples:
  screenline rejected list --since 24h
  screenline rejected show 4711
  screenline rejected redrive --reason unit_mismatch --dry-run
  screenline rejected drop --source sandbox --until 2026-11-01 --yes")]
pub struct RejectedArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Count them by reason and source, and show some
    List(ListArgs),
    /// Show one with its payload, and what today's mapping and registry say about it
    Show(show::ShowArgs),
    /// Process them by today's mapping and registry, and store what fits now
    Redrive(redrive::RedriveArgs),
    /// Give open ones up: they still count, their payloads are gone
    Drop(DropArgs),
}

/// Which rejections are meant. Dates and times are the city's.
#[derive(Debug, Clone, Args)]
struct FilterArgs {
    /// Refused for this reason, such as unit_mismatch
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Of this source: a numbered gateway, a mapping, or unmapped
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// On these topics, with + and # as in MQTT
    #[arg(long, value_name = "FILTER")]
    topic: Option<String>,
    /// Received at or after this date or time; or 24h: since that long ago
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Received before this date or time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

#[derive(Debug, Clone, Args)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// In this state only
    #[arg(long, value_name = "open|redriven|dropped")]
    state: Option<RejectionState>,
    /// How many to show
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    limit: u16,
    /// Show those that follow this id
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Clone, Args)]
struct DropArgs {
    /// These
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Do it: what was refused cannot be redriven any more
    #[arg(long)]
    yes: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Runs one of the commands.
///
/// # Errors
/// The database cannot be used, or there is nothing of what was asked for.
pub async fn run(args: RejectedArgs, console: &Console) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => args.database.with(async |url| list(&args, url).await).await?,
        Command::Show(args) => args.database().with(async |url| show::run(&args, url).await).await?,
        Command::Redrive(args) => {
            args.database().with(async |url| Box::pin(redrive::run(&args, url, console)).await).await?;
        }
        Command::Drop(args) => args.database.with(async |url| drop_open(&args, url).await).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl FilterArgs {
    fn is_empty(&self) -> bool {
        let FilterArgs { reason, source, topic, since, until } = self;
        reason.is_none() && source.is_none() && topic.is_none() && since.is_none() && until.is_none()
    }

    fn filter(&self, ids: &[i64], state: Option<RejectionState>, zone: &TimeZone) -> anyhow::Result<Filter> {
        let now = Timestamp::now();
        let at = |moment: Option<Moment>| moment.map(|moment| moment.at(zone, now)).transpose();
        Ok(Filter {
            ids: ids.to_owned(),
            state,
            reason: self.reason.clone(),
            source: self.source.clone(),
            topic: self.topic.clone(),
            since: at(self.since)?,
            until: at(self.until)?,
        })
    }
}

/// A connection, and the city that it leads to.
pub async fn open(url: &str) -> anyhow::Result<(Client, City)> {
    let client = store::connect(url, "screenline rejected").await.context("connect to the database")?;
    let city = City::read(&client).await?;
    Ok((client, city))
}

async fn list(args: &ListArgs, url: &str) -> anyhow::Result<()> {
    let (client, city) = open(url).await?;
    let filter = args.filter.filter(&[], args.state, &city.time_zone)?;
    let groups = filter.groups(&client).await?;
    let some = filter.page(&client, args.after, i64::from(args.limit), START_BYTES).await?;
    if args.json {
        let some: Vec<_> = some.iter().map(about).collect();
        println!("{}", json!({ "groups": groups, "rejections": some }));
    } else {
        print!("{}", list_text(&groups, &some, Paint::of_stdout(), &city.time_zone));
    }
    Ok(())
}

fn list_text(groups: &[Group], some: &[Rejected], paint: Paint, zone: &TimeZone) -> String {
    if groups.is_empty() {
        return paint.good("Nothing was rejected.\n");
    }
    let of =
        |state| groups.iter().filter(|group| group.state == state).map(|group| group.rejections).sum::<i64>();
    let [open, redriven, dropped] = RejectionState::ALL.map(of);
    let mut text = paint.bold(&format!(
        "{}: {} open, {} redriven, {} dropped\n\n",
        count(open + redriven + dropped, "rejection", "rejections"),
        thousands(open),
        thousands(redriven),
        thousands(dropped)
    ));
    let mut table =
        Table::new(paint, &["reason", "source", "state", ">rejections", ">readings", "first", "last"]);
    for group in groups {
        let state = match group.state {
            RejectionState::Open => paint.warn("open"),
            settled => settled.to_string(),
        };
        let readings = if group.readings == 0 { "-".to_owned() } else { thousands(group.readings) };
        table.row([
            group.reason.clone(),
            printable(&group.source),
            state,
            thousands(group.rejections),
            readings,
            moment(group.first, zone),
            moment(group.last, zone),
        ]);
    }
    text += &table.text();
    if some.is_empty() {
        return text;
    }
    let mut table = Table::new(paint, &[">id", "received", "reason", "topic", "what was wrong"]);
    for rejected in some {
        table.row([
            rejected.id.to_string(),
            moment(rejected.received_at, zone),
            rejected.reason.clone(),
            cut(&printable(&rejected.topic), 40),
            cut(&printable(&rejected.detail), 70),
        ]);
    }
    text + "\n" + &table.text() + &paint.dim("\nscreenline rejected show ID has the payload.\n")
}

async fn drop_open(args: &DropArgs, url: &str) -> anyhow::Result<()> {
    ensure!(
        !args.ids.is_empty() || !args.filter.is_empty(),
        "say which: by id, or by --reason, --source, --topic, --since or --until"
    );
    let (client, city) = open(url).await?;
    let filter = args.filter.filter(&args.ids, Some(RejectionState::Open), &city.time_zone)?;
    if !args.yes {
        let rejections: i64 = filter.groups(&client).await?.iter().map(|group| group.rejections).sum();
        anyhow::bail!(
            "{} would be dropped, whose payloads are then gone: add --yes",
            count(rejections, "open rejection", "open rejections")
        );
    }
    let dropped = filter.drop_open(&client).await?;
    match args.json {
        true => println!("{}", json!({ "dropped": dropped })),
        false => println!("{} dropped", count(dropped.cast_signed(), "rejection", "rejections")),
    }
    Ok(())
}

/// By the city's clocks, to the second.
fn moment(time: Timestamp, zone: &TimeZone) -> String {
    zone.to_datetime(time).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A rejection for scripts. A payload that is no text is in hexadecimal digits.
fn about(rejected: &Rejected) -> serde_json::Value {
    let Rejected { id, received_at, source, topic, reason, detail, readings, state, settled_at, .. } =
        rejected;
    let mut about = json!({
        "id": id, "received_at": received_at, "source": source, "topic": topic, "reason": reason, "detail": detail,
        "readings": readings, "state": state, "settled_at": settled_at, "attempts": rejected.attempts,
        "retained": rejected.retained, "payload_bytes": rejected.payload_bytes,
        "complete": rejected.whole,
    });
    let (name, payload) = match str::from_utf8(&rejected.payload) {
        Ok(text) => ("payload", text.to_owned()),
        Err(_) => ("payload_hex", rejected.payload.iter().map(|byte| format!("{byte:02x}")).collect()),
    };
    about[name] = payload.into();
    about
}
