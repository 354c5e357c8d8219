//! Files become rows of the registry, all or none, in one transaction.

use std::collections::HashSet;

use tokio_postgres::Client;

use super::{
    Adopted, File, Given, Place, Plan, Table, Touched, Wrong, given,
    known::{self, Wanted},
    plan::{Change, Known},
    quarantine, touch,
};
use crate::{
    model::Time,
    store::{StoreError, lock},
};

/// What an import did, or would do.
#[derive(Clone, PartialEq, Debug)]
pub struct Imported {
    pub plan: Plan,
    /// Sensors among them that were in quarantine.
    pub adopted: Adopted,
    pub touched: Touched,
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// Its rollups, and what its values mean, would change under what is stored.
    #[error(
        "{place}: {metric} of {sensor} has readings of another kind, unit or interval: import it as it is stored, or under another name"
    )]
    Recast { place: Place, sensor: String, metric: String },
    #[error("{sensor} is admitted already")]
    Admitted { sensor: String },
    #[error(
        "there is no sensor {sensor}: `screenline registry list --quarantined` has those that wait, `import` announces others"
    )]
    UnknownSensor { sensor: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes in what files hold. Rows that are not in them stay; sensors among them that were in quarantine are adopted.
///
/// # Errors
/// The first line that is wrong, or the database fails: then nothing was taken in.
pub async fn import(client: &Client, files: &[File]) -> Result<Imported, ImportError> {
    let given = given::read(files)?;
    take_in(client, &given).await
}

/// What an import of files would change, and how many rows the city has that are not in them.
///
/// # Errors
/// As [`import`].
pub async fn diff(client: &Client, files: &[File]) -> Result<(Plan, Vec<(Table, Vec<String>)>), ImportError> {
    let given = given::read(files)?;
    begin(client, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let compared = async {
        let known = Known::load(client, Wanted::All).await?;
        let plan = Plan::make(&known, &given)?;
        refuse_recasts(client, &plan).await?;
        let tables: HashSet<Table> = given.iter().map(|row| row.table).collect();
        let only_here = Table::ALL.into_iter().filter(|table| tables.contains(table)).map(|table| {
            let absent =
                known.rows(table).filter(|(key, _)| !plan.given.contains_key(&(table, (*key).clone())));
            (table, absent.map(|(key, _)| super::plan::name(key)).collect())
        });
        let only_here: Vec<(Table, Vec<String>)> = only_here.collect();
        Ok((plan, only_here))
    };
    let compared = compared.await;
    begin(client, "ROLLBACK").await?;
    compared
}

/// Takes in rows.
///
/// # Errors
/// As [`import`].
pub async fn take_in(client: &Client, given: &[Given]) -> Result<Imported, ImportError> {
    patiently(client, &lock::begin_unrolled(), async || take_in_unrolled(client, given).await).await
}

/// Another device takes over from a time on, as what the sensor is now but for some fields: one row is closed, another
/// opened.
///
/// # Errors
/// The sensor is not known, a field cannot hold its text, or the database fails.
pub async fn exchange(
    client: &Client,
    sensor: &str,
    at: Time,
    fields: &[(&str, String)],
) -> Result<Imported, ImportError> {
    let known = "SELECT EXISTS (SELECT FROM sensor WHERE id = $1)";
    let known: bool = client.query_one(known, &[&sensor]).await.map_err(StoreError::from)?.get(0);
    if !known {
        return Err(ImportError::UnknownSensor { sensor: sensor.to_owned() });
    }
    let key = [("id", sensor.to_owned()), ("valid_from", at.to_string())];
    let given = Given::of(Table::Sensor, "exchange", &[&key, fields].concat())?;
    take_in(client, &[given]).await
}

/// From a time on, or always, the true value of a series is another than the stored one.
///
/// # Errors
/// The series is not known, a field cannot hold its text, or the database fails.
pub async fn calibrate(
    client: &Client,
    sensor: &str,
    metric: &str,
    from: Option<Time>,
    scale: f64,
    offset: f64,
) -> Result<Imported, ImportError> {
    let from = from.map(|from| from.to_string()).unwrap_or_default();
    let fields = [
        ("sensor", sensor.to_owned()),
        ("metric", metric.to_owned()),
        ("valid_from", from),
        ("scale", scale.to_string()),
        ("offset", offset.to_string()),
    ];
    take_in(client, &[Given::of(Table::Calibration, "calibrate", &fields)?]).await
}

/// Works in a transaction that waits for others in small portions, so that nobody waits long behind it.
pub(super) async fn patiently<T>(
    client: &Client,
    begin: &str,
    work: impl AsyncFn() -> Result<T, ImportError>,
) -> Result<T, ImportError> {
    let attempt = async || {
        client.batch_execute(begin).await.map_err(StoreError::from)?;
        work().await
    };
    let mut tried = 0;
    loop {
        tried += 1;
        let outcome = attempt().await;
        let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
        client.batch_execute(end).await.map_err(StoreError::from)?;
        match outcome {
            Err(ImportError::Store(error)) if error.is_locked_out() && tried < ATTEMPTS_MAX => {}
            outcome => return outcome,
        }
    }
}

/// Each waits for at most five seconds: the roller's steps are shorter, but it takes one after the other.
const ATTEMPTS_MAX: u32 = 12;

async fn begin(client: &Client, statement: &str) -> Result<(), StoreError> {
    Ok(client.batch_execute(statement).await?)
}

async fn take_in_unrolled(client: &Client, given: &[Given]) -> Result<Imported, ImportError> {
    let sensors: Vec<&String> = given
        .iter()
        .filter(|row| row.table == Table::Sensor)
        .filter_map(|row| row.cells[0].as_ref()?.as_ref())
        .collect();
    client.execute(super::SERIES_LOCK, &[]).await.map_err(StoreError::from)?;
    let waiting = "SELECT sensor FROM quarantine WHERE sensor = ANY($1) ORDER BY sensor";
    let waiting = client.query(waiting, &[&sensors]).await.map_err(StoreError::from)?;
    let waiting: Vec<String> = waiting.iter().map(|row| row.get(0)).collect();
    if !waiting.is_empty() {
        begin(client, &lock::alone()).await?; // none of their readings may come between
    }
    let known = Known::load(client, Wanted::For(given)).await?;
    let plan = Plan::make(&known, given)?;
    refuse_recasts(client, &plan).await?;
    for table in Table::ALL {
        let changes: Vec<&Change> = plan.changes.iter().filter(|change| change.table == table).collect();
        known::write(client, table, &changes).await?;
    }
    let touched = touch::mark(client, &plan.touches).await?;
    let adopted = match waiting.is_empty() {
        true => Adopted::default(),
        false => quarantine::admit(client, waiting).await?,
    };
    if !plan.is_empty() || !adopted.sensors.is_empty() {
        begin(client, "UPDATE city SET registry_version = registry_version + 1").await?;
    }
    Ok(Imported { plan, adopted, touched })
}

/// Refuses to change what the stored readings of a series mean.
async fn refuse_recasts(client: &Client, plan: &Plan) -> Result<(), ImportError> {
    let recasts = plan
        .changes
        .iter()
        .filter(|change| change.table == Table::Series && change.alters(&["kind", "unit", "interval_s"]));
    let recasts: Vec<&Change> = recasts.collect();
    if recasts.is_empty() {
        return Ok(());
    }
    let of = |name| recasts.iter().map(|change| change.cell(name).unwrap_or_default()).collect::<Vec<_>>();
    let (sensors, metrics) = (of("sensor"), of("metric"));
    let heard = client
        .query(
            // No index leads from a series to its readings: one pass for all of them, not one for each.
            "WITH recast AS MATERIALIZED (
                 SELECT s.id, s.sensor, s.metric FROM series s
                 JOIN unnest($1::text[], $2::text[]) AS recast (sensor, metric)
                     ON recast.sensor = s.sensor AND recast.metric = s.metric),
             heard AS MATERIALIZED (
                 SELECT series_id FROM reading JOIN recast ON recast.id = series_id
                 UNION SELECT series_id FROM event JOIN recast ON recast.id = series_id)
             SELECT sensor, metric FROM recast JOIN heard ON heard.series_id = recast.id",
            &[&sensors, &metrics],
        )
        .await
        .map_err(StoreError::from)?;
    let heard: HashSet<(&str, &str)> = heard.iter().map(|row| (row.get(0), row.get(1))).collect();
    for change in recasts {
        let (sensor, metric) =
            (change.cell("sensor").unwrap_or_default(), change.cell("metric").unwrap_or_default());
        if let (true, Some(place)) = (heard.contains(&(sensor, metric)), &change.place) {
            return Err(ImportError::Recast {
                place: place.clone(),
                sensor: sensor.to_owned(),
                metric: metric.to_owned(),
            });
        }
    }
    Ok(())
}
