//! `screenline record`: what a broker delivers into a file, until told to end.

use std::{
    fs, io, path::PathBuf, sync::Arc, sync::atomic::AtomicU64, sync::atomic::Ordering, time::Duration,
};

use anyhow::{Context, ensure};
use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use simulators::{
    filter::Filter,
    record::{self, Config, Output, Progress, Rotate},
    recording::{PayloadTime, TIMES_MAX},
    replay::Protocol,
};
use tokio::time::{Instant, sleep};

use crate::{
    broker::BrokerArgs,
    cli::duration,
    console::Console,
    paper::{count, thousands},
    signals,
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A recording is blocks that are on disk a second after their first message at the latest: a crash costs no more. With
--client-id the broker keeps a session, and a message is acknowledged when it is on disk: a killed recorder that is
started again with the same id and file has lost none, and may have some twice. Such a session is kept by the broker for
up to seven days after the last run. Without --filter, all topics are recorded but $SYS.

Examples:
  screenline record --out morning.rec --for 10m
  screenline record --out city.rec --filter 'city/#' --client-id recorder --rotate 1GiB --keep 24
  screenline record --out - --messages 1000 | screenline replay - --broker-url mqtt://other.example:1883
  screenline record --out city.rec --time 'city/+/+/register=rfc3339:/time' --time 'city/senml/+=senml'")]
pub struct RecordArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// The file to write, by convention NAME.rec; `-` is standard output
    #[arg(long, value_name = "FILE|-")]
    out: PathBuf,
    /// Go on behind what is in the file, or in the set of --rotate; implied by --client-id
    #[arg(long)]
    append: bool,
    /// What to subscribe to; may be given several times [default: #]
    #[arg(long = "filter", value_name = "TOPICFILTER")]
    filters: Vec<Filter>,
    /// Leave these topics out; may be given several times
    #[arg(long, value_name = "TOPICFILTER")]
    exclude: Vec<Filter>,
    /// Stop by itself after this time: `60s`, `5m`
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    for_time: Option<Duration>,
    /// Stop by itself after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// A new file at this size or after this time: NAME.0001.rec, NAME.0002.rec, each whole in itself
    #[arg(long, value_name = "SIZE|TIME")]
    rotate: Option<Rotate>,
    /// With --rotate, keep only so many files, the newest
    #[arg(long, value_name = "N", requires = "rotate", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// QoS of the subscription
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// Have the broker keep a session of this name while we are away
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    #[command(flatten)]
    times: TimesArgs,
    /// Print one JSON object on stdout at the end
    #[arg(long)]
    json: bool,
}

/// Where payloads keep their times.
#[derive(Debug, Clone, Args)]
pub struct TimesArgs {
    /// Where the payloads of some topics keep their time, so that a replay can move it: FILTER=rfc3339:/json/pointer, or
    /// FILTER=senml; may be given several times, and the first that matches a topic holds
    #[arg(long, value_name = "FILTER=FORM")]
    time: Vec<PayloadTime>,
    /// The same from a file: a JSON array as `times` has it in a recording's header
    #[arg(long, value_name = "FILE")]
    times: Option<PathBuf>,
}

impl TimesArgs {
    /// Those of the command line first.
    ///
    /// # Errors
    /// The file cannot be read, or there are too many.
    pub fn read(&self) -> anyhow::Result<Vec<PayloadTime>> {
        let mut times = self.time.clone();
        if let Some(path) = &self.times {
            let read =
                || -> anyhow::Result<Vec<PayloadTime>> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
            let shape = r#"expected [{"topic":"city/+/register","as":"rfc3339","path":"/time"}, ...]"#;
            times.extend(read().with_context(|| format!("read --times {}: {shape}", path.display()))?);
        }
        ensure!(times.len() <= TIMES_MAX, "{} rules for times: at most {TIMES_MAX} are tried", times.len());
        Ok(times)
    }
}

/// Runs a recorder.
///
/// # Errors
/// The file is there already or cannot be written, or the broker cannot be reached at first or refuses us.
pub async fn run(args: RecordArgs, console: &Console) -> anyhow::Result<()> {
    let shutdown = signals::shutdown()?;
    let is_stream = args.out.as_os_str() == "-";
    ensure!(!is_stream || args.rotate.is_none(), "--rotate needs a file: give --out NAME.rec");
    ensure!(
        !is_stream || !args.json,
        "--json and the recording would both be on stdout: give --out NAME.rec"
    );
    ensure!(
        !is_stream || args.client_id.is_none(),
        "--client-id acknowledges what is on disk, and nobody knows that of a pipe: give --out NAME.rec"
    );
    ensure!(
        args.client_id.is_none() || args.qos == 1,
        "a session is kept for messages at QoS 1: leave --qos 0 or --client-id out"
    );
    let output = match (is_stream, args.rotate) {
        (true, _) => Output::Stream(Box::new(io::stdout())),
        (false, None) => Output::File(args.out),
        (false, Some(rotate)) => {
            Output::Set { path: args.out, rotate, keep: args.keep.map(|files| files as usize) }
        }
    };
    let config = Config {
        broker: args.broker.broker()?,
        protocol: Protocol::Auto,
        append: args.append || args.client_id.is_some(),
        client_id: args.client_id,
        filters: args.filters,
        exclude: args.exclude,
        at_least_once: args.qos == 1,
        output,
        times: args.times.read()?,
        messages_max: args.messages,
        time_max: args.for_time,
    };
    let progress = Arc::new(Progress::default());
    let display = console.is_terminal().then(|| tokio::spawn(draw(progress.clone())));
    let began = Instant::now();
    let outcome = record::run(config, progress.clone(), shutdown).await;
    if let Some(display) = display {
        display.abort();
        console.line("");
    }
    outcome?;
    let numbers = Numbers::of(&progress);
    if args.json {
        println!("{}", numbers.json(began.elapsed()));
    } else {
        console.line(&format!("{} in {:.1?}", numbers.text(), began.elapsed()));
    }
    Ok(())
}

/// What [`Progress`] says at a moment.
struct Numbers {
    messages: u64,
    payload_bytes: u64,
    content_bytes: u64,
    file_bytes: u64,
    written_bytes: u64,
    files: u64,
    topics: u64,
    left_out: u64,
    gaps: u64,
    reconnects: u64,
}

impl Numbers {
    fn of(progress: &Progress) -> Numbers {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Numbers {
            messages: load(&progress.messages),
            payload_bytes: load(&progress.payload_bytes),
            content_bytes: load(&progress.content_bytes),
            file_bytes: load(&progress.file_bytes),
            written_bytes: load(&progress.written_bytes),
            files: load(&progress.files),
            topics: load(&progress.topics),
            left_out: load(&progress.left_out),
            gaps: load(&progress.gaps),
            reconnects: load(&progress.reconnects),
        }
    }

    /// How many bytes one of the file stands for.
    fn compression(&self) -> f64 {
        self.content_bytes as f64 / self.written_bytes.max(1) as f64
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} on {}, {} of payloads in {} of {} (1:{:.1})",
            count(self.messages.cast_signed(), "message", "messages"),
            count(self.topics.cast_signed(), "topic", "topics"),
            HumanBytes(self.payload_bytes),
            HumanBytes(self.file_bytes),
            count(self.files.cast_signed(), "file", "files"),
            self.compression()
        );
        for (number, what) in [
            (self.left_out, "too large and left out"),
            (self.gaps, "times without a connection"),
            (self.reconnects, "connections made again"),
        ] {
            if 0 < number {
                text += &format!(", {} {what}", thousands(number.cast_signed()));
            }
        }
        text
    }

    fn json(&self, elapsed: Duration) -> serde_json::Value {
        json!({
            "messages": self.messages,
            "topics": self.topics,
            "payload_bytes": self.payload_bytes,
            "content_bytes": self.content_bytes,
            "written_bytes": self.written_bytes,
            "file_bytes": self.file_bytes,
            "files": self.files,
            "compression": self.compression(),
            "left_out": self.left_out,
            "gaps": self.gaps,
            "reconnects": self.reconnects,
            "elapsed_s": elapsed.as_secs_f64(),
        })
    }
}

async fn draw(progress: Arc<Progress>) {
    let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        line.set_style(style);
    }
    let (mut before, mut rate) = ((Instant::now(), 0), 0.0);
    loop {
        let numbers = Numbers::of(&progress);
        let elapsed = before.0.elapsed();
        if Duration::from_secs(1) <= elapsed {
            rate = (numbers.messages - before.1) as f64 / elapsed.as_secs_f64();
            before = (Instant::now(), numbers.messages);
        }
        let connected = progress.connected.load(Ordering::Relaxed);
        let state = if connected { "" } else { ", not connected" };
        line.set_message(format!("{}, {rate:.0} a second{state}", numbers.text()));
        line.tick();
        sleep(Duration::from_millis(200)).await;
    }
}
