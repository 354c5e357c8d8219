//! What the tables say, in one snapshot: so what must hold at every instant can be asked of any of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::Context;
use jiff::{Timestamp, tz::TimeZone};
use tokio_postgres::{Client, Row};

use super::load::JOINT;
use super::rollup::{self, Interval, Rollup, Sample, Samples};

/// A series, by its name.
pub type Name = (Arc<str>, Arc<str>);

/// A reading or an event as it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stored {
    /// Of an event, its speed.
    pub value: Option<f64>,
    /// What it adds to a rollup: of an event, one.
    pub adds: f64,
    pub quality: i32,
}

/// A fact's key in the tables: series, time in microseconds, the event's number or 0.
pub type Place = (Name, i64, i64);

/// Totals of the ledger's columns, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals(pub BTreeMap<&'static str, i64>);

pub const COLUMNS: [&str; 14] = [
    "received",
    "accepted",
    "repeated",
    "ignored",
    "rejected_messages",
    "decoded",
    "stored",
    "duplicate",
    "conflict",
    "rejected",
    "late",
    "reused",
    "unkept",
    "shed",
];

impl Totals {
    /// Sums of the ledger, of some sources or of all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn read(client: &Client, sources: Option<&[String]>) -> anyhow::Result<Totals> {
        let sums = COLUMNS.map(|column| format!("coalesce(sum({column}), 0)::int8")).join(", ");
        let query = format!("SELECT {sums} FROM ledger WHERE $1::text[] IS NULL OR source = ANY($1)");
        let row = client.query_one(&query, &[&sources]).await?;
        Ok(Totals(COLUMNS.into_iter().enumerate().map(|(i, column)| (column, row.get(i))).collect()))
    }

    pub fn of(&self, column: &str) -> i64 {
        self.0.get(column).copied().unwrap_or(0)
    }

    /// What was added since.
    #[must_use]
    pub fn since(&self, before: &Totals) -> Totals {
        Totals(self.0.iter().map(|(column, now)| (*column, now - before.of(column))).collect())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    pub value: Option<f64>,
    pub kept_value: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rejection {
    pub topic: String,
    pub reason: String,
    pub sha256: Vec<u8>,
}

/// A source's numbers of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// Ranges without their ends, in order.
    pub seen: Vec<(i64, i64)>,
    pub rejected: i64,
    pub reused: i64,
    pub untracked: i64,
}

/// Everything that belongs to the sensors whose names begin alike.
#[derive(Debug, Default)]
pub struct Tables {
    pub intervals: HashMap<Name, Interval>,
    /// What the registry says of each series, where it was asked for.
    pub listed: HashMap<Name, Listed>,
    /// By which values are judged when they are seen; none where values stand as they were written.
    pub ranges: HashMap<Name, (f64, f64)>,
    /// Sums come with what they lost to rounding already added.
    pub sums_are_settled: bool,
    /// With the times a key stands there: once, if all is well.
    pub facts: BTreeMap<Place, Vec<Stored>>,
    pub conflicts: BTreeMap<Place, Vec<Conflict>>,
    pub rejections: BTreeMap<Rejection, i64>,
    pub positions: BTreeMap<(String, i64), Position>,
    /// Five minutes, hours, days.
    pub rollups: [BTreeMap<(Name, i64), Rollup>; 3],
    pub totals: Totals,
    /// Marks of buckets that are over.
    pub marks: i64,
    pub now_us: i64,
    pub zone: Option<TimeZone>,
}

/// A series as the registry has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listed {
    pub unit: String,
    pub kind: String,
    pub interval_s: Option<i64>,
    pub modulus: Option<f64>,
    /// Least and most.
    pub range: (Option<f64>, Option<f64>),
}

/// Which part of the tables is read.
#[derive(Debug, Clone)]
pub struct Scope {
    /// How its sensors and topics begin: empty for all.
    pub source: String,
    /// The sources whose numbers and ledger lines it has; all where there are none.
    pub sources: Option<Vec<String>>,
}

impl Scope {
    /// A source's name stands in each of its topics, as a level or as the beginning of one.
    fn has_topic(&self, topic: &str) -> bool {
        let mine = |level: &str| {
            let rest = level.strip_prefix(self.source.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(JOINT))
        };
        self.source.is_empty() || topic.split('/').any(mine)
    }
}

/// Marks of buckets that are over, with half a minute for the roller's own idea of "over".
const MARKS: &str = "
    SELECT count(*)
    FROM dirty
    WHERE bucket + CASE level
        WHEN 0 THEN interval '5 minutes'
        WHEN 1 THEN interval '1 hour'
        ELSE interval '25 hours'
    END < now() - interval '30 seconds'";

impl Tables {
    /// Reads the scope in one snapshot.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn read(client: &Client, scope: &Scope) -> anyhow::Result<Tables> {
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let tables = Self::in_snapshot(client, scope).await;
        client.batch_execute("ROLLBACK").await?;
        tables
    }

    async fn in_snapshot(client: &Client, scope: &Scope) -> anyhow::Result<Tables> {
        let mut tables =
            Tables { totals: Totals::read(client, scope.sources.as_deref()).await?, ..Tables::default() };
        let prefix = if scope.source.is_empty() { String::new() } else { format!("{}{JOINT}", scope.source) };
        let mut names: HashMap<i32, Name> = HashMap::new();
        let query = "SELECT id, sensor, metric, kind, interval_s FROM series WHERE starts_with(sensor, $1)";
        for row in client.query(query, &[&prefix]).await? {
            let name = (row.get::<_, &str>(1).into(), row.get::<_, &str>(2).into());
            let kind: &str = row.get(3);
            let every_s = row.get::<_, Option<i32>>(4).map(i64::from);
            let ends_at_time = matches!(kind, "total" | "rate" | "sliding");
            tables.intervals.insert(Name::clone(&name), Interval { every_s, ends_at_time });
            names.insert(row.get(0), name);
        }
        let ids: Vec<i32> = names.keys().copied().collect();
        tables.read_facts(client, &ids, &names).await.context("read readings and events")?;
        tables.read_conflicts(client, &ids, &names).await.context("read conflicts")?;
        tables.read_rollups(client, &ids, &names).await.context("read rollups")?;
        tables.read_rejections(client, scope).await.context("read rejections")?;
        tables.read_positions(client, scope).await.context("read positions")?;
        tables.marks = client.query_one(MARKS, &[]).await?.get(0);
        let row = client.query_one("SELECT clock_timestamp(), time_zone FROM city", &[]).await?;
        tables.now_us = micros(&row, 0);
        tables.zone = Some(TimeZone::get(row.get(1))?);
        Ok(tables)
    }

    async fn read_facts(
        &mut self,
        client: &Client,
        ids: &[i32],
        names: &HashMap<i32, Name>,
    ) -> anyhow::Result<()> {
        let query =
            "SELECT time, series_id, 0::int8, value, value, quality FROM reading WHERE series_id = ANY($1)
             UNION ALL
             SELECT time, series_id, event_id, speed, 1, quality FROM event WHERE series_id = ANY($1)";
        for row in client.query(query, &[&ids]).await? {
            let stored = Stored { value: row.get(3), adds: row.get(4), quality: row.get(5) };
            self.facts.entry((name(names, &row, 1), micros(&row, 0), row.get(2))).or_default().push(stored);
        }
        Ok(())
    }

    async fn read_conflicts(
        &mut self,
        client: &Client,
        ids: &[i32],
        names: &HashMap<i32, Name>,
    ) -> anyhow::Result<()> {
        let query = "SELECT time, series_id, coalesce(event_id, 0), value, kept_value FROM conflict
             WHERE series_id = ANY($1)";
        for row in client.query(query, &[&ids]).await? {
            let conflict = Conflict { value: row.get(3), kept_value: row.get(4) };
            self.conflicts
                .entry((name(names, &row, 1), micros(&row, 0), row.get(2)))
                .or_default()
                .push(conflict);
        }
        Ok(())
    }

    async fn read_rollups(
        &mut self,
        client: &Client,
        ids: &[i32],
        names: &HashMap<i32, Name>,
    ) -> anyhow::Result<()> {
        let ends = ["bucket + interval '5 minutes'", "bucket + interval '1 hour'", "ends"];
        for (level, table) in ["rollup_5m", "rollup_1h", "rollup_1d"].into_iter().enumerate() {
            let query = format!(
                "SELECT bucket, series_id, {}, first_time, last_time, count, flagged, expected, sum, residue, min, max,
                     first, last
                 FROM {table} WHERE series_id = ANY($1)",
                ends[level]
            );
            for row in client.query(&query, &[&ids]).await? {
                let floats = [8, 9, 10, 11, 12, 13].map(|i| row.get::<_, Option<f64>>(i).map(f64::to_bits));
                let values: Option<Vec<u64>> = floats.into_iter().collect();
                let time = |i| row.get::<_, Option<Timestamp>>(i).map(Timestamp::as_microsecond);
                let rollup = Rollup {
                    count: row.get(5),
                    flagged: row.get(6),
                    expected: row.get::<_, Option<f64>>(7).map(f64::to_bits),
                    values: values.and_then(|values| values.try_into().ok()),
                    times_us: time(3).zip(time(4)),
                    ends_us: micros(&row, 2),
                };
                self.rollups[level].insert((name(names, &row, 1), micros(&row, 0)), rollup);
            }
        }
        Ok(())
    }

    async fn read_rejections(&mut self, client: &Client, scope: &Scope) -> anyhow::Result<()> {
        let query = "SELECT topic, reason, sha256, count(*) FROM rejection WHERE 0 < strpos(topic || '/', $1)
             GROUP BY topic, reason, sha256";
        for row in client.query(query, &[&scope.source]).await? {
            let rejection = Rejection { topic: row.get(0), reason: row.get(1), sha256: row.get(2) };
            if scope.has_topic(&rejection.topic) {
                self.rejections.insert(rejection, row.get(3));
            }
        }
        Ok(())
    }

    async fn read_positions(&mut self, client: &Client, scope: &Scope) -> anyhow::Result<()> {
        let query = "SELECT source, epoch, rejected, reused, untracked,
                 array(SELECT lower(r) FROM unnest(seen) r ORDER BY 1), array(SELECT upper(r) FROM unnest(seen) r ORDER BY 1)
             FROM source_position WHERE $1::text[] IS NULL OR source = ANY($1)";
        for row in client.query(query, &[&scope.sources]).await? {
            let (from, to): (Vec<i64>, Vec<i64>) = (row.get(5), row.get(6));
            let position = Position {
                seen: from.into_iter().zip(to).collect(),
                rejected: row.get(2),
                reused: row.get(3),
                untracked: row.get(4),
            };
            self.positions.insert((row.get(0), row.get(1)), position);
        }
        Ok(())
    }

    /// Of some sensors it is not known which number an event gets.
    pub fn forget_event_ids(&mut self, of: impl Fn(&str) -> bool) {
        let place = |((name, time_us, event), rows): (Place, Vec<Stored>)| {
            let event = if of(&name.0) { 0 } else { event };
            ((name, time_us, event), rows)
        };
        self.facts = std::mem::take(&mut self.facts).into_iter().map(place).collect();
        let place = |((name, time_us, event), rows): (Place, Vec<Conflict>)| {
            let event = if of(&name.0) { 0 } else { event };
            ((name, time_us, event), rows)
        };
        self.conflicts = std::mem::take(&mut self.conflicts).into_iter().map(place).collect();
    }

    /// The samples of each series in time order, as rollups are made of them.
    pub fn samples(&self) -> Samples {
        let mut series = Samples::new();
        for ((name, time_us, _), stored) in &self.facts {
            let interval = self.intervals.get(name).copied().unwrap_or_default();
            let (_, samples) = series.entry(name.clone()).or_insert_with(|| (interval, Vec::new()));
            let sample = |s: &Stored| Sample { time_us: *time_us, value: s.adds, quality: s.quality };
            samples.extend(stored.iter().map(sample));
        }
        rollup::doubt(&mut series);
        series
    }
}

fn name(names: &HashMap<i32, Name>, row: &Row, column: usize) -> Name {
    names.get(&row.get(column)).cloned().unwrap_or_else(|| ("?".into(), "?".into()))
}

fn micros(row: &Row, column: usize) -> i64 {
    row.get::<_, Timestamp>(column).as_microsecond()
}

/// Late depends on when a reading was received.
const LATE: i32 = 1 << 4;

impl Tables {
    /// The first thing in which two loads of one seed differ, but for the names of their publishers.
    pub fn difference(&self, other: &Tables) -> Option<String> {
        let label = |name: &Name| format!("{} {}", name.0.rsplit(JOINT).next().unwrap_or_default(), name.1);
        let facts = |tables: &Tables| -> BTreeMap<String, String> {
            let text =
                |stored: &Stored| format!("{:?} {}", stored.value.map(f64::to_bits), stored.quality & !LATE);
            let fact = |((name, time, event), stored): (&Place, &Vec<Stored>)| {
                (format!("{} {time} {event}", label(name)), stored.iter().map(text).collect())
            };
            tables.facts.iter().map(fact).collect()
        };
        let rollups = |tables: &Tables| -> BTreeMap<String, String> {
            let levels = ["5 min", "1 h", "1 d"].into_iter().zip(&tables.rollups);
            levels
                .flat_map(|(level, rollups)| {
                    rollups.iter().map(move |((name, start), rollup)| {
                        (format!("{level} {} {start}", label(name)), format!("{rollup:?}"))
                    })
                })
                .collect()
        };
        let reasons = |tables: &Tables| -> BTreeMap<String, String> {
            let mut reasons: BTreeMap<String, i64> = BTreeMap::new();
            for (rejection, times) in &tables.rejections {
                *reasons.entry(rejection.reason.clone()).or_default() += times;
            }
            reasons.into_iter().map(|(reason, times)| (reason, times.to_string())).collect()
        };
        let compared = [
            ("readings", facts(self), facts(other)),
            ("rollups", rollups(self), rollups(other)),
            ("rejections", reasons(self), reasons(other)),
        ];
        compared.iter().find_map(|(what, mine, theirs)| {
            let differs = |key: &&String| mine.get(*key) != theirs.get(*key);
            let key = mine.keys().chain(theirs.keys()).find(differs)?;
            Some(format!("{what}: {key} is {:?} and {:?}", mine.get(key), theirs.get(key)))
        })
    }
}
