//! Failpoints and planted bugs, for the proof of the delivery contract. Without the feature `faults`, which nothing but
//! the proof turns on, both are nothing: a point does nothing and no bug is planted.

/// A bug that the proof plants to see that a test catches it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bug {
    /// A message is acknowledged before its transaction commits.
    AckBeforeCommit,
    /// An acknowledgement meant for an old connection leaves on the new one.
    NoFence,
    /// Dirty marks commit in a transaction of their own, after the readings.
    MarksApart,
    /// The roller reads readings before it takes the marks.
    ReadBeforeTake,
    /// Acknowledgements leave in another order than the messages came.
    UnorderedAcks,
    /// A batch that meets a stored key is taken for written.
    SwallowDuplicateKey,
    /// A session that the broker forgot is not subscribed again.
    ForgetSubscribe,
    /// A rollup is added to in place of replaced.
    Increment,
    /// A bucket is summed in order of arrival, not of time.
    ArrivalOrder,
    /// Nothing bounds what is taken in.
    Unbounded,
    /// A batch whose commit has an unknown outcome is written again without asking for its id.
    BlindRetry,
    /// A rejected message is never acknowledged.
    RejectedUnacknowledged,
    /// A reading of an interval marks the bucket of its end only.
    MarkByEnd,
    /// The ledger is counted before duplicates and conflicts are known.
    CountBeforeConflicts,
    /// Retention drops readings and leaves the floor where it was.
    DropWithoutFloor,
    /// A download is answered as if an operator had asked.
    OpenExport,
    /// A prepared statement answers whoever has its handle.
    SharedHandle,
}

impl Bug {
    pub const ALL: [Bug; 17] = [
        Bug::AckBeforeCommit,
        Bug::NoFence,
        Bug::MarksApart,
        Bug::ReadBeforeTake,
        Bug::UnorderedAcks,
        Bug::SwallowDuplicateKey,
        Bug::ForgetSubscribe,
        Bug::Increment,
        Bug::ArrivalOrder,
        Bug::Unbounded,
        Bug::BlindRetry,
        Bug::RejectedUnacknowledged,
        Bug::MarkByEnd,
        Bug::CountBeforeConflicts,
        Bug::DropWithoutFloor,
        Bug::OpenExport,
        Bug::SharedHandle,
    ];

    /// The name by which `SCREENLINE_PLANT` plants it.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}

/// Whether a bug is planted in this process.
#[cfg(not(feature = "faults"))]
pub const fn planted(_: Bug) -> bool {
    false
}

/// A place where the proof may kill, stop or fail this process.
///
/// # Errors
/// Where the proof asks for an error.
#[cfg(not(feature = "faults"))]
pub async fn point(_: &str) -> Result<(), Fault> {
    Ok(())
}

/// The error that a point was asked for.
#[derive(Debug, thiserror::Error)]
#[error("failpoint {0}")]
pub struct Fault(pub String);

#[cfg(feature = "faults")]
pub use armed::{plant, planted, point};

#[cfg(feature = "faults")]
mod armed {
    use std::{
        collections::HashMap,
        path::PathBuf,
        sync::{LazyLock, Mutex, PoisonError, RwLock},
        time::Duration,
    };

    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };

    use super::{Bug, Fault};

    static PLANTED: LazyLock<RwLock<Option<Bug>>> = LazyLock::new(|| {
        let name = std::env::var("SCREENLINE_PLANT").unwrap_or_default();
        RwLock::new(Bug::ALL.into_iter().find(|bug| bug.name() == name))
    });

    /// Whether a bug is planted in this process: by `SCREENLINE_PLANT`, or by [`plant`].
    pub fn planted(bug: Bug) -> bool {
        *PLANTED.read().unwrap_or_else(PoisonError::into_inner) == Some(bug)
    }

    /// Plants a bug in this process, or none.
    pub fn plant(bug: Option<Bug>) {
        *PLANTED.write().unwrap_or_else(PoisonError::into_inner) = bug;
    }

    static FOLDER: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("SCREENLINE_FAULTS").map(PathBuf::from));
    static HITS: LazyLock<Mutex<HashMap<String, u32>>> = LazyLock::new(Mutex::default);

    /// A place where the proof may kill, stop or fail this process. It is armed by a file of its name in the folder
    /// `SCREENLINE_FAULTS`, which says at which passage and what: `3 kill`, `1 stop`, `1 error`, `2 sleep 5000`. The
    /// file is removed when it strikes, so that the process that is started next passes.
    ///
    /// # Errors
    /// Where the file says `error`.
    pub async fn point(name: &str) -> Result<(), Fault> {
        let Some(folder) = &*FOLDER else { return Ok(()) };
        let file = folder.join(name);
        let Ok(order) = std::fs::read_to_string(&file) else { return Ok(()) };
        let mut words = order.split_whitespace();
        let at: u32 = words.next().and_then(|word| word.parse().ok()).unwrap_or(1);
        let hit = {
            let mut hits = HITS.lock().unwrap_or_else(PoisonError::into_inner);
            let hit = hits.entry(name.to_owned()).or_default();
            *hit += 1;
            *hit
        };
        if hit < at || std::fs::remove_file(&file).is_err() {
            return Ok(());
        }
        HITS.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        match words.next() {
            Some("kill") => {
                let _ = kill(Pid::this(), Signal::SIGKILL);
            }
            Some("stop") => {
                let _ = kill(Pid::this(), Signal::SIGSTOP);
            }
            Some("sleep") => {
                let ms = words.next().and_then(|word| word.parse().ok()).unwrap_or(1_000);
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            _ => return Err(Fault(name.to_owned())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bugs_have_names_of_their_own() {
        let names: std::collections::BTreeSet<String> = Bug::ALL.into_iter().map(Bug::name).collect();
        assert_eq!(names.len(), Bug::ALL.len());
        assert!(names.contains("ack_before_commit"));
    }
}
