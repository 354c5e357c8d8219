//! `screenline replay`: publish a recording, until the broker has acknowledged every message.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ingest::address::{Access, Address};
use simulators::{
    broker::Broker,
    feed::{self, Feed},
    recording::Recording,
    replay::{self, Config, History, Progress, Protocol},
};
use tokio::time::{Instant, sleep};

use crate::{cli::ReplayArgs, console::Console, paper::thousands, signals};

/// Runs a replay.
///
/// # Errors
/// The feed is unknown, the broker cannot be reached, or the replay was stopped before its end.
pub async fn run(args: ReplayArgs, console: &Console) -> anyhow::Result<()> {
    let shutdown = signals::shutdown()?;
    let recording = find(&args.recording)?;
    let config = Config {
        broker: broker(&args.broker_url, &args.access)?,
        broker_protocol: Protocol::Auto,
        recording,
        speed: args
            .speed
            .parse()
            .map_err(|error| anyhow::anyhow!("--speed {:?}: give {error}", args.speed))?,
        history: if args.ending_now { History::EndingNow } else { History::AsRecorded },
        then_loop: false,
    };
    let progress = Arc::new(Progress::default());
    let bar = console.is_terminal().then(|| tokio::spawn(draw(progress.clone())));
    let began = Instant::now();
    let outcome = replay::run(config, progress.clone(), shutdown.clone()).await;
    if let Some(bar) = bar {
        bar.abort();
        console.line("");
    }
    let summary = outcome?;
    console.line(&format!(
        "{} messages published and {} acknowledged in {:.1?}",
        thousands(summary.published.cast_signed()),
        thousands(summary.acknowledged.cast_signed()),
        began.elapsed()
    ));
    let total = progress.total.load(Ordering::Relaxed);
    if summary.acknowledged < total {
        bail!("stopped before the end: {} of {total} messages were acknowledged", summary.acknowledged);
    }
    Ok(())
}

/// A broker for the simulators, which know nothing of ingest's settings.
///
/// # Errors
/// As [`Address::parse`].
pub fn broker(url: &str, access: &Access) -> anyhow::Result<Broker> {
    let address = Address::parse(url, access)?;
    let mut broker = Broker::new(&address.host, address.port);
    if let Some(login) = &address.login {
        broker = broker.with_login(&login.user, login.password.reveal());
    }
    Ok(match address.tls {
        Some(tls) => broker.with_tls(tls),
        None => broker,
    })
}

/// A bundled feed by its name.
///
/// # Errors
/// There is none of that name: the message lists them.
pub fn bundled(name: &str) -> anyhow::Result<Feed> {
    let names = || feed::ALL.iter().map(|feed| feed.name).collect::<Vec<_>>().join(", ");
    Feed::named(name).with_context(|| format!("there is no feed `{name}`: the bundled ones are {}", names()))
}

fn find(feed_or_file: &str) -> anyhow::Result<Recording> {
    let path = Path::new(feed_or_file);
    if let Some(feed) = Feed::named(feed_or_file) {
        return Ok(feed.recording()?);
    }
    if !path.exists() {
        return bundled(feed_or_file)
            .context("neither a file nor a feed")
            .and_then(|feed| feed.recording().map_err(Into::into));
    }
    Ok(Recording::open(path)?)
}

async fn draw(progress: Arc<Progress>) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = "{wide_bar} {human_pos}/{human_len} messages, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    loop {
        bar.set_length(progress.total.load(Ordering::Relaxed));
        bar.set_position(progress.acknowledged.load(Ordering::Relaxed));
        sleep(Duration::from_millis(200)).await;
    }
}
