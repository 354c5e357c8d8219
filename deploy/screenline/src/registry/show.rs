//! What the registry holds, and what an import did, for people and for scripts.

use clap::Args;
use jiff::tz::TimeZone;
use processor::{
    registry::{
        Adopted, Imported, Plan, Table, Touched,
        plan::{Change, name},
        quarantine::{self, Quarantined},
    },
    store::StoreError,
};
use serde_json::{Map, Value, json};
use tokio_postgres::Client;

use crate::{
    database::DatabaseArgs,
    paper::{Paint, Table as Lines, count, cut, printable, thousands},
};

/// Payload shown of each sensor in quarantine.
const START_BYTES: i32 = 200;

#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// The sensors that wait in quarantine, with their first message
    #[arg(long)]
    quarantined: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

impl ListArgs {
    pub fn database(&self) -> &DatabaseArgs {
        &self.database
    }
}

/// # Errors
/// The database cannot be read.
pub async fn run(args: &ListArgs, url: &str) -> anyhow::Result<()> {
    let (client, city) = super::open(url).await?;
    if args.quarantined {
        let all = quarantine::list(&client, START_BYTES).await?;
        match args.json {
            true => println!("{}", json!({ "quarantined": all.iter().map(about).collect::<Vec<_>>() })),
            false => print!("{}", quarantined_text(&all, Paint::of_stdout(), &city.time_zone)),
        }
        return Ok(());
    }
    let counts = counts(&client).await?;
    if args.json {
        let counts: Map<String, Value> =
            counts.into_iter().map(|(what, rows)| (what.to_owned(), json!(rows))).collect();
        println!("{}", Value::Object(counts));
        return Ok(());
    }
    let mut lines = Lines::new(Paint::of_stdout(), &["registry", ">rows", ""]);
    for (what, rows) in counts {
        let next =
            if what == "quarantined" && 0 < rows { "screenline registry list --quarantined" } else { "" };
        lines.row([what.to_owned(), thousands(rows), next.to_owned()]);
    }
    print!("{}", lines.text());
    Ok(())
}

async fn counts(client: &Client) -> Result<Vec<(&'static str, i64)>, StoreError> {
    let select = "SELECT (SELECT count(*) FROM zone), (SELECT count(*) FROM segment),
        (SELECT count(DISTINCT id) FROM sensor), (SELECT count(*) FROM series),
        (SELECT count(*) FROM calibration), (SELECT count(*) FROM quarantine)";
    let row = client.query_one(select, &[]).await?;
    let names = Table::ALL.map(Table::plural).into_iter().chain(["quarantined"]);
    Ok(names.enumerate().map(|(i, name)| (name, row.get(i))).collect())
}

fn quarantined_text(all: &[Quarantined], paint: Paint, zone: &TimeZone) -> String {
    if all.is_empty() {
        return paint.good("Nobody waits in quarantine.\n");
    }
    let at = |time| zone.to_datetime(time).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let mut lines =
        Lines::new(paint, &["sensor", "first seen", ">readings", "metrics", "first topic", "first payload"]);
    for one in all {
        lines.row([
            printable(&one.sensor),
            at(one.seen_at),
            thousands(one.readings),
            cut(&one.metrics.join(" "), 40),
            cut(&printable(&one.topic), 40),
            cut(&printable(&String::from_utf8_lossy(&one.payload)), 60),
        ]);
    }
    let heading = format!("{} in quarantine\n\n", count(all.len() as i64, "sensor", "sensors"));
    paint.bold(&heading)
        + &lines.text()
        + &paint.dim("\nscreenline registry adopt SENSOR admits one with its history.\n")
}

fn about(one: &Quarantined) -> Value {
    json!({
        "sensor": one.sensor, "seen_at": one.seen_at, "topic": one.topic, "metrics": one.metrics,
        "readings": one.readings, "first": one.first, "last": one.last, "payload_bytes": one.payload_bytes,
        "payload_start": String::from_utf8_lossy(&one.payload),
    })
}

/// Tables that the rows given are of, or that they change.
fn tables(plan: &Plan) -> impl Iterator<Item = (Table, usize, usize, usize)> {
    Table::ALL.into_iter().filter_map(|table| {
        let ((added, changed), same) = (plan.counts(table), plan.unchanged.get(&table).copied().unwrap_or(0));
        (0 < added + changed + same).then_some((table, added, changed, same))
    })
}

pub fn plan_json(plan: &Plan, dry_run: bool) -> Value {
    let tables: Map<String, Value> = tables(plan)
        .map(|(table, added, changed, same)| {
            let counts = json!({ "added": added, "changed": changed, "unchanged": same });
            (table.plural().to_owned(), counts)
        })
        .collect();
    json!({ "dry_run": dry_run, "tables": tables })
}

pub fn imported_json(imported: &Imported) -> Value {
    let mut said = plan_json(&imported.plan, false);
    said["adopted"] = json!(imported.adopted);
    said["touched"] = json!(imported.touched);
    said
}

pub fn plan_text(plan: &Plan) -> String {
    let line = |(table, added, changed, same): (Table, usize, usize, usize)| {
        let [added, changed, same] = [added, changed, same].map(|rows| thousands(rows as i64));
        format!("{:<13} {added} added, {changed} changed, {same} unchanged\n", table.plural())
    };
    tables(plan).map(line).collect()
}

pub fn imported_text(imported: &Imported) -> String {
    let Imported { plan, adopted, touched } = imported;
    plan_text(plan) + &adopted_text(adopted) + &touched_text(touched)
}

pub fn adopted_text(adopted: &Adopted) -> String {
    if adopted.sensors.is_empty() {
        return String::new();
    }
    let sensors = count(adopted.sensors.len() as i64, "sensor", "sensors");
    let said = match (adopted.first, adopted.last) {
        (Some(first), Some(last)) => {
            let readings = count(adopted.readings, "reading", "readings");
            let buckets = count(adopted.buckets, "bucket", "buckets");
            format!("{readings} from {first} to {last}; {buckets} of five minutes marked for the roller")
        }
        _ => "none of their readings is kept".to_owned(),
    };
    format!("{sensors} adopted from quarantine: {said}\n")
}

fn touched_text(touched: &Touched) -> String {
    let mut text = String::new();
    if 0 < touched.buckets {
        let buckets = count(touched.buckets, "rollup", "rollups");
        text += &format!("{buckets} of five minutes marked: the roller computes them again\n");
    }
    if let (Some(from), Some(floor)) = (touched.kept_from, touched.floor) {
        let days = count(touched.kept_days, "day", "days");
        text += &format!(
            "{days} from {from} on stay as they were: readings before {floor} are not kept any more\n"
        );
    }
    text
}

fn change_text(change: &Change, paint: Paint) -> String {
    let what = format!("{} {}", change.table, printable(&name(&change.key)));
    let place = change.place.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
    if change.is_new() {
        return paint.good(&format!("+ {what}")) + &paint.dim(&place) + "\n";
    }
    let shown = |text: Option<&str>| text.map_or("nothing".to_owned(), |text| cut(&printable(text), 60));
    let fields =
        change.fields().map(|(name, old, new)| format!("    {name}: {} -> {}\n", shown(old), shown(new)));
    paint.warn(&format!("~ {what}")) + &paint.dim(&place) + "\n" + &fields.collect::<String>()
}

pub fn diff_text(plan: &Plan, only_here: &[(Table, Vec<String>)], paint: Paint) -> String {
    let mut text: String = plan.changes.iter().map(|change| change_text(change, paint)).collect();
    for (table, names) in only_here.iter().filter(|(_, names)| !names.is_empty()) {
        let some: Vec<String> = names.iter().take(5).map(|name| printable(name)).collect();
        let more = if some.len() < names.len() { ", ..." } else { "" };
        let rows = thousands(names.len() as i64);
        text += &paint.dim(&format!(
            "= {rows} {} only here, and stay: {}{more}\n",
            table.plural(),
            some.join(", ")
        ));
    }
    text + &plan_text(plan)
}

pub fn diff_json(plan: &Plan, only_here: &[(Table, Vec<String>)]) -> Value {
    let changes = plan.changes.iter().map(|change| {
        let fields: Map<String, Value> = change
            .fields()
            .map(|(name, old, new)| (name.to_owned(), json!({ "old": old, "new": new })))
            .collect();
        let place = change.place.as_ref();
        json!({
            "table": change.table.plural(), "row": change.key, "new": change.is_new(), "fields": fields,
            "file": place.map(|place| &*place.file), "line": place.map(|place| place.line),
        })
    });
    let changes: Vec<Value> = changes.collect();
    let mut said = plan_json(plan, true);
    said["changes"] = json!(changes);
    let only_here: Map<String, Value> =
        only_here.iter().map(|(table, names)| (table.plural().to_owned(), json!(names))).collect();
    said["only_here"] = Value::Object(only_here);
    said
}
