//! Mappings are taken while running: a change on disk is compiled, and used from the next batch on or refused whole.

use std::{sync::Arc, time::Duration};

use metrics::{counter, gauge};
use processor::mapping::Mapping;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{config::Intake, decoder::Decoder, subscriber::Subscriptions};

/// Between two looks. A change counts when two looks see the same: an editor may be half-way through.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at the mapping files until `shutdown`.
pub async fn run(
    intake: Intake,
    decoder: Decoder,
    subscriptions: Arc<Subscriptions>,
    shutdown: CancellationToken,
) {
    if intake.mappings.is_empty() {
        return; // the built-in ones do not change
    }
    let read = || intake.mapping_texts().map_err(|error| error.to_string());
    let mut last = read();
    let mut refused = None;
    gauge!("screenline_mapping_refused").set(0.0);
    while !shutdown.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.cancelled() => return,
        }
        let seen = read();
        let settled = seen == last;
        last = seen.clone();
        if !settled || refused.as_ref() == Some(&seen) {
            continue;
        }
        let outcome = match &seen {
            // What is in use is asked, not what was seen last: a file may have changed before the first look.
            Ok(texts) if Mapping::fingerprint_of(texts) == decoder.mapping().fingerprint() => {
                if refused.take().is_some() {
                    gauge!("screenline_mapping_refused").set(0.0);
                    info!("the mapping is again the one in use");
                }
                continue;
            }
            Ok(texts) => compile(&intake, texts).and_then(|mapping| take(mapping, &decoder, &subscriptions)),
            Err(error) => Err(error.clone()),
        };
        match outcome {
            Ok(sources) => {
                refused = None;
                counter!("screenline_mapping_changes_total").increment(1);
                gauge!("screenline_mapping_refused").set(0.0);
                info!(sources, "the mapping has changed, and is used from now on");
            }
            Err(error) => {
                refused = Some(seen);
                gauge!("screenline_mapping_refused").set(1.0);
                warn!(%error, "the changed mapping is refused as a whole; the one before stays in use");
            }
        }
    }
}

fn compile(intake: &Intake, texts: &[(String, String)]) -> Result<Mapping, String> {
    let mapping = Mapping::parse(texts).map_err(|error| error.to_string())?;
    intake.check(&mapping).map_err(|error| error.to_string())?;
    Ok(mapping)
}

/// First the rules, then the topics: a message of a new topic finds its rules there.
fn take(mapping: Mapping, decoder: &Decoder, subscriptions: &Subscriptions) -> Result<usize, String> {
    let filters = subscriptions.of(&mapping).map_err(|error| error.to_string())?;
    let sources = mapping.sources().len();
    decoder.replace_mapping(mapping);
    subscriptions.replace(filters);
    Ok(sources)
}
