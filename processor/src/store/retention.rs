//! Drops what is older than it is kept, in small transactions. A floor moves in the transaction that drops: what is
//! before it is refused from then on, and no bucket before it is computed again, so history stays as it was rolled.
//! Marks before a floor are rolled first: until then nothing is dropped.

mod keep;
mod rows;

use std::time::{Duration, Instant};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use tokio_postgres::Client;

pub use keep::{Keep, KeepRule};

use super::{StoreError, connect, lock, partition, revision, seen};
use crate::{
    faults::{self, Bug},
    model::{Class, Kept, Level, Span, Time, bucket::HOUR},
    registry::Gone,
};

/// Days of readings and events that one transaction drops: each locks a table or two.
const DAYS_AT_ONCE: usize = 30;
/// Numbers come with every batch, and a few more than needed are no harm.
const TRIM_EVERY: Duration = Duration::from_secs(600);
const UTC_DAY: i64 = 24 * HOUR;

/// Keeps the tables of one database as small as the operator asked.
pub struct Retention {
    url: String,
    client: Option<Client>,
    zone: TimeZone,
    trimmed: Option<Instant>,
}

/// What a step did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing is due.
    Idle,
    /// Marks of buckets before this time must be rolled first.
    Waiting(Time),
    Dropped(Dropped),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dropped {
    pub class: String,
    /// Dropped whole.
    pub days: i64,
    /// Deleted one by one.
    pub rows: i64,
}

/// A class of table `retention`.
struct Rule {
    class: Class,
    keep: Span,
    floor: Option<Time>,
    cleared: Option<Time>,
}

/// What of a class is due.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Due {
    pub class: String,
    pub keep: String,
    /// Nothing before it is kept.
    pub floor: Option<Timestamp>,
    /// What is before it goes; none where it is kept for ever, or waits for others to go.
    pub before: Option<Timestamp>,
    /// Days that go whole.
    pub days: usize,
    /// Their size in the database.
    pub bytes: i64,
    /// Rows that go one by one, counted up to [`ROWS_COUNTED_MAX`].
    pub rows: i64,
    /// When the oldest that is kept now is due.
    pub next: Option<Timestamp>,
}

pub const ROWS_COUNTED_MAX: i64 = 1_000_000;

impl Keep {
    /// Makes it the rule of this database. Floors of classes that are no more stay.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn store(&self, client: &Client) -> Result<(), StoreError> {
        let (classes, spans): (Vec<String>, Vec<String>) =
            self.rules().map(|(class, span)| (class.to_string(), span.to_string())).unzip();
        client
            .execute(
                "WITH given AS (SELECT * FROM unnest($1::text[], $2::text[]) AS given (class, keep)),
                      no_more AS (UPDATE retention SET keep = NULL WHERE class <> ALL ($1))
                 INSERT INTO retention (class, keep) SELECT class, keep FROM given
                 ON CONFLICT (class) DO UPDATE SET keep = excluded.keep",
                &[&classes, &spans],
            )
            .await?;
        Ok(())
    }
}

impl Retention {
    pub fn new(url: &str, zone: TimeZone) -> Self {
        Retention { url: url.to_owned(), client: None, zone, trimmed: None }
    }

    /// Drops something that is due, in one short transaction.
    ///
    /// # Errors
    /// The database fails, or somebody holds a table for longer than others should wait; what is due stays due.
    pub async fn step(&mut self) -> Result<Step, StoreError> {
        let client = self.take_client().await?;
        let step = self.step_on(&client).await?;
        self.client = Some(client);
        Ok(step)
    }

    /// Readings and events before it were dropped.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn raw_floor(&mut self) -> Result<Option<Time>, StoreError> {
        let client = self.take_client().await?;
        let row = client.query_one("SELECT raw_floor FROM city", &[]).await?;
        self.client = Some(client);
        Ok(row.get::<_, Option<Timestamp>>(0).map(Time::from))
    }

    /// What would go now, by class.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn due(&mut self) -> Result<Vec<Due>, StoreError> {
        let client = self.take_client().await?;
        let (rules, gone, now) = read_rules(&client).await?;
        let mut all = Vec::new();
        for rule in &rules {
            let before = self.before(&client, rule, &gone, now).await?;
            let mut due = Due {
                class: rule.class.to_string(),
                keep: rule.keep.to_string(),
                floor: rule.floor.map(Time::timestamp),
                before: before.map(Time::timestamp),
                days: 0,
                bytes: 0,
                rows: 0,
                next: None,
            };
            let oldest = match is_raw(&rule.class) {
                true => {
                    let days = partition::sizes(&client, rows::table(rule.class.kept).0).await?;
                    let going =
                        |day: &Time| before.is_some_and(|before| day.micros() + UTC_DAY <= before.micros());
                    due.days = days.iter().filter(|(day, _)| going(day)).count();
                    due.bytes = days.iter().filter(|(day, _)| going(day)).map(|(_, bytes)| bytes).sum();
                    // A day goes when all of it is before a local midnight.
                    days.iter()
                        .map(|(day, _)| *day)
                        .find(|day| !going(day))
                        .map(|day| Level::Day.end(Time::from_micros(day.micros() + UTC_DAY - 1), &self.zone))
                }
                false => {
                    if let Some(before) = before {
                        due.rows = rows::count(&client, &rule.class, rule.cleared, before).await?;
                    }
                    rows::oldest(&client, &rule.class, before).await?
                }
            };
            due.next = oldest.zip(rule.keep.duration()).map(|(oldest, keep)| oldest.plus(keep).timestamp());
            all.push(due);
        }
        self.client = Some(client);
        Ok(all)
    }

    async fn take_client(&mut self) -> Result<Client, StoreError> {
        match self.client.take() {
            Some(client) if !client.is_closed() => Ok(client),
            _ => connect(&self.url, "screenline-retention").await,
        }
    }

    async fn step_on(&mut self, client: &Client) -> Result<Step, StoreError> {
        let (rules, gone, now) = read_rules(client).await?;
        let mut waiting = Step::Idle;
        match self.drop_days(client, &rules, now).await? {
            Step::Idle => {}
            Step::Waiting(before) => waiting = Step::Waiting(before),
            dropped => return Ok(dropped),
        }
        for rule in rules.iter().filter(|rule| !is_raw(&rule.class)) {
            let Some(before) = self.before(client, rule, &gone, now).await? else { continue };
            let step = match rule.class.kept.has_metrics() {
                true => self.clear(client, rule, before).await?,
                false => rows::delete_old(client, rule.class.kept, before).await?,
            };
            match step {
                Step::Idle => {}
                Step::Waiting(before) => waiting = Step::Waiting(before),
                dropped => return Ok(dropped),
            }
        }
        if self.trimmed.is_none_or(|at| TRIM_EVERY <= at.elapsed()) {
            rows::trim_ring(client).await?;
            seen::forget(client).await?;
            revision::forget(client).await?;
            self.trimmed = Some(Instant::now());
        }
        Ok(waiting)
    }

    /// What of a class is before this goes.
    async fn before(
        &self,
        client: &Client,
        rule: &Rule,
        gone: &Gone,
        now: Time,
    ) -> Result<Option<Time>, StoreError> {
        let Some(keep) = rule.keep.duration() else { return Ok(None) };
        let (before, midnight) = (now.minus(keep), Level::Day.start(now.minus(keep), &self.zone));
        Ok(match rule.class.kept {
            Kept::Readings | Kept::Events => Some(midnight),
            Kept::Rollups(level) => {
                // Only after its readings: before, a late one would bring it back, and make wider ones of a part.
                let raw = rows::raw_floor(client, &rule.class, gone).await?;
                let before = raw.map(|raw| raw.min(midnight));
                // An hour may hold the border of two local days: its other part is still needed for it.
                before.map(|before| if level == Level::FiveMinutes { before.floor(HOUR) } else { before })
            }
            _ => Some(before),
        })
    }

    /// Drops days of readings and events as a whole, oldest first.
    async fn drop_days(&self, client: &Client, rules: &[Rule], now: Time) -> Result<Step, StoreError> {
        let mut floors = Vec::new();
        let mut going: Vec<Time> = Vec::new();
        for rule in rules.iter().filter(|rule| is_raw(&rule.class)) {
            let Some(keep) = rule.keep.duration() else { continue };
            let floor = Level::Day.start(now.minus(keep), &self.zone);
            let ends = partition::days(client, rows::table(rule.class.kept).0).await?;
            let ends = ends.into_iter().map(|day| Time::from_micros(day.micros() + UTC_DAY));
            going.extend(ends.filter(|end| *end <= floor));
            floors.push((rule.class.kept, floor.max(rule.floor.unwrap_or(floor))));
        }
        going.sort_unstable();
        if going.is_empty() {
            return Ok(Step::Idle);
        }
        if let Some(end) = going.get(DAYS_AT_ONCE) {
            let midnight = Level::Day.start(*end, &self.zone);
            floors.iter_mut().for_each(|(_, floor)| *floor = midnight.min(*floor));
        }
        let highest = floors.iter().map(|(_, floor)| *floor).max().unwrap_or(now);
        if !begin_alone(client, Some(highest)).await? {
            return Ok(Step::Waiting(highest));
        }
        let mut days = 0;
        for (kept, floor) in &floors {
            let dropped = partition::drop_days(client, rows::table(*kept).0, *floor).await?;
            let note = "UPDATE retention SET days = days + $2 WHERE class = $1";
            client.execute(note, &[&kept.as_str(), &dropped]).await?;
            days += dropped;
        }
        faults::point("retention.dropped").await?;
        if !faults::planted(Bug::DropWithoutFloor) {
            for (kept, floor) in &floors {
                move_floor(client, &Class::all(*kept), *floor).await?;
            }
        }
        client.batch_execute("COMMIT").await?;
        Ok(Step::Dropped(Dropped { class: "readings and events".to_owned(), days, rows: 0 }))
    }

    /// Deletes rows of a class of metrics, or of rollups, a bounded number at a time. The floor moves first: from then on
    /// nobody adds to what is before it, nor makes anything of it.
    async fn clear(&self, client: &Client, rule: &Rule, before: Time) -> Result<Step, StoreError> {
        let raw = matches!(rule.class.kept, Kept::Readings | Kept::Events);
        if rule.floor < Some(before) {
            if !rows::any(client, &rule.class, before).await? {
                return Ok(Step::Idle);
            }
            if !begin_alone(client, raw.then_some(before)).await? {
                return Ok(Step::Waiting(before));
            }
            move_floor(client, &rule.class, before).await?;
            client.batch_execute("COMMIT").await?;
        }
        rows::clear(client, &rule.class, rule.cleared, before).await
    }
}

/// Readings or events of all metrics, of which whole days are dropped.
fn is_raw(class: &Class) -> bool {
    matches!(class.kept, Kept::Readings | Kept::Events) && class.prefix.is_empty()
}

async fn read_rules(client: &Client) -> Result<(Vec<Rule>, Gone, Time), StoreError> {
    let rows = client
        .query("SELECT class, keep, floor, cleared FROM retention WHERE keep IS NOT NULL ORDER BY class", &[])
        .await?;
    let time = |row: &tokio_postgres::Row, column| row.get::<_, Option<Timestamp>>(column).map(Time::from);
    let rule = |row: &tokio_postgres::Row| {
        Ok(Rule {
            class: row.get::<_, &str>(0).parse()?,
            keep: row.get::<_, &str>(1).parse()?,
            floor: time(row, 2),
            cleared: time(row, 3),
        })
    };
    let rules: Result<Vec<Rule>, String> = rows.iter().map(rule).collect();
    let now: Timestamp = client.query_one("SELECT now()", &[]).await?.get(0);
    Ok((rules.map_err(StoreError::Unfit)?, Gone::load(client).await?, now.into()))
}

/// Begins a transaction in which nobody writes readings and nobody rolls. `false`, and no transaction, where buckets
/// before a time are still to be rolled.
async fn begin_alone(client: &Client, rolled_before: Option<Time>) -> Result<bool, StoreError> {
    client.batch_execute(&lock::begin_alone()).await?;
    let Some(before) = rolled_before else { return Ok(true) };
    let marked = "SELECT EXISTS (SELECT FROM dirty WHERE level = ANY('{0,1,2}') AND bucket < $1)";
    let marked: bool = client.query_one(marked, &[&before.timestamp()]).await?.get(0);
    if marked {
        client.batch_execute("ROLLBACK").await?;
    }
    Ok(!marked)
}

/// Floors never go back. The city's is the lower one of those of readings and events.
async fn move_floor(client: &Client, class: &Class, floor: Time) -> Result<(), StoreError> {
    client
        .execute(
            "UPDATE retention SET floor = greatest(floor, $2), moved_at = now() WHERE class = $1",
            &[&class.to_string(), &floor.timestamp()],
        )
        .await?;
    client
        .batch_execute(
            "UPDATE city SET registry_version = registry_version + 1, raw_floor = greatest(raw_floor, (
                 SELECT CASE count(floor) WHEN 2 THEN min(floor) END FROM retention WHERE class IN ('readings', 'events')
             ));
             DELETE FROM withheld WHERE bucket < (SELECT raw_floor FROM city)",
        )
        .await?;
    Ok(())
}
