//! `screenline replay`: publish a recording, until the broker has acknowledged every message.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::json;
use simulators::{
    feed::{self, Feed},
    filter::{Filter, Wanted},
    recording::Recording,
    replay::{self, Bound, CONNECTIONS_MAX, Config, History, Progress, Repeat, Rewrite, Speed, Summary},
};
use tokio::time::{Instant, sleep};

use crate::{broker::BrokerArgs, console::Console, paper::thousands, record::TimesArgs, signals};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Messages are published as they were recorded: with their QoS, retain flag and MQTT 5 properties, each topic in its order.
The replay ends when the broker has acknowledged every one, over lost connections as well.

Times stay as recorded unless --shift or --ending-now moves them, by whole seconds; those in payloads move too, where the
recording says where they are, or --time does. A round of --loop is later than the one before by the recording's period.

A rewrite OLD=NEW without wildcards replaces the levels of OLD at the beginning of a topic: city=test makes test/a of
city/a. With wildcards OLD is a filter for the whole topic, and those of NEW stand for what they matched, in order:
'city/+/register=meters/+'. The first rule that matches holds; --filter and --time are about recorded topics.

Examples:
  screenline replay wntr-net3 --speed max
  screenline replay sumo-grid --speed 1x --ending-now
  screenline replay ./morning.rec --broker-url mqtt://broker.example:1883 --speed 60x --from 10m --to 25m
  screenline replay ./recordings/ --speed max --connections 8 --rewrite city=test
  screenline replay ./morning.rec --shift now --loop --time 'city/+/+/register=rfc3339:/time'")]
pub struct ReplayArgs {
    /// A bundled feed (sumo-grid, wntr-net3), a recording's file, its files in order, or a folder of them; `-` is standard
    /// input
    #[arg(value_name = "FEED|FILE", required = true)]
    recording: Vec<String>,
    #[command(flatten)]
    broker: BrokerArgs,
    /// How fast: `1x` is as recorded, `0.1x`, `60x`, or `max`
    #[arg(long, default_value = "1x")]
    speed: String,
    /// Move the recorded times so that the last message is sent now
    #[arg(long, conflicts_with = "shift")]
    ending_now: bool,
    /// Move the recorded times so that the first message is sent `now`, or at a time (UTC, where no zone is given)
    #[arg(long, value_name = "now|DATE", value_parser = shift)]
    shift: Option<History>,
    #[command(flatten)]
    times: TimesArgs,
    /// Play it again and again, or so many times in all
    #[arg(long = "loop", value_name = "N", num_args = 0..=1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<Option<u32>>,
    /// Begin there: a recorded time (RFC 3339), or an offset from the first message such as `10m`
    #[arg(long, value_name = "TIME|OFFSET")]
    from: Option<Bound>,
    /// End there
    #[arg(long, value_name = "TIME|OFFSET")]
    to: Option<Bound>,
    /// Only these topics; may be given several times
    #[arg(long = "filter", value_name = "TOPICFILTER")]
    filters: Vec<Filter>,
    /// Leave these topics out; may be given several times
    #[arg(long, value_name = "TOPICFILTER")]
    exclude: Vec<Filter>,
    /// Publish on another topic; may be given several times
    #[arg(long, value_name = "OLD=NEW")]
    rewrite: Vec<Rewrite>,
    /// Publish over so many connections, from 1 to 64; each topic stays on one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = connections)]
    connections: usize,
    /// Topics that share so many first levels are of one source, and stay on one connection
    #[arg(long, value_name = "LEVELS", value_parser = clap::value_parser!(u16).range(1..))]
    source_levels: Option<u16>,
    /// Publish at this QoS [default: as recorded]
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: Option<u8>,
    /// Print one JSON object on stdout at the end
    #[arg(long)]
    json: bool,
}

/// Runs a replay.
///
/// # Errors
/// The feed is unknown, the broker cannot be reached, or the replay was stopped before its end.
pub async fn run(args: ReplayArgs, console: &Console) -> anyhow::Result<()> {
    let shutdown = signals::shutdown()?;
    let recording = find(&args.recording)?;
    // A rule that is given comes before those of the recording.
    let mut times = args.times.read()?;
    times.extend_from_slice(&recording.header().times);
    let speed: Speed =
        args.speed.parse().map_err(|error| anyhow::anyhow!("--speed {:?}: give {error}", args.speed))?;
    let repeat = match args.rounds {
        None => Repeat::Once,
        Some(None) => Repeat::Forever,
        Some(Some(rounds)) => Repeat::Times(rounds),
    };
    let history = if args.ending_now { History::EndingNow } else { History::AsRecorded };
    let broker = args.broker.broker()?;
    let config = Config {
        history: args.shift.unwrap_or(history),
        repeat,
        from: args.from,
        to: args.to,
        wanted: Wanted { filters: args.filters, exclude: args.exclude },
        rewrite: args.rewrite,
        qos: args.qos,
        connections: args.connections,
        source_levels: args.source_levels.map(usize::from),
        ..Config::new(broker, recording.with_times(times), speed)
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
    if args.json {
        println!("{}", summary_json(&summary, began.elapsed()));
    } else {
        console.line(&summary_text(&summary, began.elapsed()));
    }
    let total = match repeat {
        Repeat::Forever => summary.published, // it has no end to come before
        _ => progress.total.load(Ordering::Relaxed),
    };
    if summary.acknowledged < total {
        bail!("stopped before the end: {} of {total} messages were acknowledged", summary.acknowledged);
    }
    Ok(())
}

fn summary_text(summary: &Summary, elapsed: Duration) -> String {
    let mut text = format!(
        "{} messages published and {} acknowledged in {elapsed:.1?}",
        thousands(summary.published.cast_signed()),
        thousands(summary.acknowledged.cast_signed()),
    );
    for (number, what) in [
        (summary.sent_again, "sent again after a lost connection"),
        (summary.not_moved, "with times that could not be moved: say where they are with --time"),
        (summary.gaps, "gaps of the recorder"),
        (summary.cut_bytes, "bytes of a torn block at the end left out"),
    ] {
        if 0 < number {
            text += &format!("; {} {what}", thousands(number.cast_signed()));
        }
    }
    text
}

fn summary_json(summary: &Summary, elapsed: Duration) -> serde_json::Value {
    json!({
        "published": summary.published,
        "acknowledged": summary.acknowledged,
        "sent_again": summary.sent_again,
        "not_moved": summary.not_moved,
        "gaps": summary.gaps,
        "cut_bytes": summary.cut_bytes,
        "elapsed_s": elapsed.as_secs_f64(),
        "per_s": summary.acknowledged as f64 / elapsed.as_secs_f64().max(f64::EPSILON),
    })
}

/// `now`, `2026-11-20`, `2026-11-20T14:30`, or `2026-11-20T14:30:00Z`.
fn shift(text: &str) -> Result<History, String> {
    if text == "now" {
        return Ok(History::BeginningNow);
    }
    let local = || text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    let at = text.parse::<Timestamp>().ok().or_else(|| local().map(|zoned| zoned.timestamp()));
    at.map(History::BeginningAt)
        .ok_or_else(|| "give `now`, a date (2026-11-20) or a time (2026-11-20T14:30:00Z)".to_owned())
}

fn connections(text: &str) -> Result<usize, String> {
    let connections = text.parse().ok().filter(|connections| (1..=CONNECTIONS_MAX).contains(connections));
    connections.ok_or_else(|| format!("give 1 to {CONNECTIONS_MAX}"))
}

/// A bundled feed by its name.
///
/// # Errors
/// There is none of that name: the message lists them.
pub fn bundled(name: &str) -> anyhow::Result<Feed> {
    let names = || feed::ALL.iter().map(|feed| feed.name).collect::<Vec<_>>().join(", ");
    Feed::named(name).with_context(|| format!("there is no feed `{name}`: the bundled ones are {}", names()))
}

fn find(given: &[String]) -> anyhow::Result<Recording> {
    if let [one] = given {
        if one == "-" {
            return Ok(Recording::stream(Box::new(io::stdin()), "on standard input")?);
        }
        if let Some(feed) = Feed::named(one) {
            return Ok(feed.recording()?);
        }
        if !Path::new(one).exists() {
            return bundled(one)
                .context("neither a file nor a feed")
                .and_then(|feed| feed.recording().map_err(Into::into));
        }
    }
    let paths: Vec<PathBuf> = given.iter().map(PathBuf::from).collect();
    Ok(Recording::open_all(&paths)?)
}

async fn draw(progress: Arc<Progress>) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = "{wide_bar} {human_pos}/{human_len} messages, {per_sec}, {msg}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    loop {
        bar.set_length(progress.total.load(Ordering::Relaxed));
        bar.set_position(progress.acknowledged.load(Ordering::Relaxed));
        let position = Timestamp::from_second(progress.position.load(Ordering::Relaxed)).unwrap_or_default();
        bar.set_message(format!("at {position}"));
        sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_moved_to_now_or_to_a_date() {
        let at = |text: &str| History::BeginningAt(text.parse().unwrap());
        assert_eq!(shift("now"), Ok(History::BeginningNow));
        assert_eq!(shift("2026-11-20"), Ok(at("2026-11-20T00:00:00Z")));
        assert_eq!(shift("2026-11-20T14:30"), Ok(at("2026-11-20T14:30:00Z")));
        assert_eq!(shift("2026-11-20T14:30:00+01:00"), Ok(at("2026-11-20T13:30:00Z")));
        assert!(shift("tomorrow").is_err());
        assert!(connections("0").is_err() && connections("65").is_err() && connections("64") == Ok(64));
    }
}
