//! The storage levels a scenario runs at.

use std::future::Future;
use std::sync::OnceLock;

use anyhow::Context;
use tokio::sync::Semaphore;

use crate::process::{Process, Workplace};
use crate::say;

/// What `screenline up` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    Plain,
    Timescale,
}

impl Storage {
    /// The value of `--storage`.
    pub fn name(self) -> &'static str {
        match self {
            Storage::Plain => "plain",
            Storage::Timescale => "timescale",
        }
    }
}

/// A city has a PostgreSQL, a broker and two services; the smallest machine that runs these tests has two cores.
static CITIES: Semaphore = Semaphore::const_new(2);

/// Runs a scenario at a storage level, or says why it does not.
///
/// # Panics
/// When the scenario fails, with everything that is known about it.
pub async fn run<F: Future<Output = anyhow::Result<()>>>(scenario: fn(Storage) -> F, storage: Storage) {
    let Ok(_permit) = CITIES.acquire().await else { return };
    match choice(storage) {
        Ok(Choice::Run) => {}
        Ok(Choice::NotSelected) => return,
        Ok(Choice::Missing(reason)) => {
            let test = std::thread::current().name().unwrap_or("test").to_owned();
            return say(&format!("SKIPPED {test}: {reason}"));
        }
        Err(error) => panic!("{error:#}"),
    }
    if let Err(error) = Box::pin(scenario(storage)).await {
        panic!("{error:#}");
    }
}

/// Makes the tests `plain` and `timescale` of scenarios.
#[macro_export]
macro_rules! at_each_level {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn plain() {
                $crate::storage::run(super::scenarios::$scenario, $crate::Storage::Plain).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn timescale() {
                $crate::storage::run(super::scenarios::$scenario, $crate::Storage::Timescale).await;
            }
        }
    )+};
}

/// The levels that were asked for and are here; says which is not.
///
/// # Errors
/// When the city that is started to find out fails.
pub fn levels() -> anyhow::Result<Vec<Storage>> {
    let mut levels = Vec::new();
    for storage in [Storage::Plain, Storage::Timescale] {
        match choice(storage)? {
            Choice::Run => levels.push(storage),
            Choice::NotSelected => {}
            Choice::Missing(reason) => say(&format!("SKIPPED {}: {reason}", storage.name())),
        }
    }
    Ok(levels)
}

enum Choice {
    Run,
    /// Another level was asked for, so there is nothing to say.
    NotSelected,
    Missing(String),
}

fn choice(storage: Storage) -> anyhow::Result<Choice> {
    let wanted = std::env::var("SCREENLINE_TEST_STORAGE").unwrap_or_default();
    match (wanted.as_str(), storage) {
        ("" | "all" | "plain", Storage::Plain) | ("timescale", Storage::Timescale) => Ok(Choice::Run),
        ("" | "all", Storage::Timescale) => Ok(timescale_missing()?.map_or(Choice::Run, Choice::Missing)),
        ("plain" | "timescale", _) => Ok(Choice::NotSelected),
        _ => anyhow::bail!("SCREENLINE_TEST_STORAGE={wanted}: expected plain, timescale or all"),
    }
}

/// Why TimescaleDB cannot be used here, found out once by asking `screenline up` for it.
fn timescale_missing() -> anyhow::Result<Option<String>> {
    static MISSING: OnceLock<Result<Option<String>, String>> = OnceLock::new();
    let probe = || -> anyhow::Result<Option<String>> {
        let workplace = Workplace::new()?;
        let mut up = Process::up(&workplace, Storage::Timescale, &[])?;
        match up.ready() {
            Ok(_) => up.stop().map(|_| None).context("stop the city that was started to find TimescaleDB"),
            Err(error) if up.log().contains("has no TimescaleDB") => {
                drop(error);
                let why =
                    up.log().lines().find(|line| line.contains("has no TimescaleDB")).map(str::to_owned);
                up.forget();
                Ok(why)
            }
            Err(error) => Err(error),
        }
    };
    MISSING.get_or_init(|| probe().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}
