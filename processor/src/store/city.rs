use jiff::tz::TimeZone;
use tokio_postgres::{Client, error::SqlState};

use super::{Level, StoreError, migrate::VERSION};

/// What holds for the whole city, as its database says.
#[derive(Clone, PartialEq, Debug)]
pub struct City {
    pub level: Level,
    /// Cuts the city's days.
    pub time_zone: TimeZone,
}

impl City {
    /// # Errors
    /// The database has no tables of ours, or those of another version: the message says what to do.
    pub async fn read(client: &Client) -> Result<City, StoreError> {
        let newest = "SELECT number, level FROM migration ORDER BY number DESC LIMIT 1";
        let newest = match client.query_opt(newest, &[]).await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => None,
            outcome => outcome?,
        };
        let Some(newest) = newest else {
            let message = "the database has no tables of Screenline: is it another one? `screenline up` and `ingest` make them";
            return Err(StoreError::Unfit(message.to_owned()));
        };
        let number: i32 = newest.get(0);
        if number != VERSION {
            return Err(StoreError::Unfit(format!(
                "the database has migration {number}, this program knows {VERSION}: {}",
                if number < VERSION { "start `screenline up` or `ingest` once" } else { "run a newer one" }
            )));
        }
        let level = newest.get::<_, &str>(1).parse().map_err(StoreError::Unfit)?;
        let row = client.query_one("SELECT time_zone FROM city", &[]).await?;
        let name: &str = row.get(0);
        let time_zone = TimeZone::get(name)
            .map_err(|error| StoreError::Unfit(format!("the city's time zone {name:?}: {error}")))?;
        Ok(City { level, time_zone })
    }
}
