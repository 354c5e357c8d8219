//! One way to measure and to print: the median of several rounds, wall rate and CPU-seconds per million readings,
//! beside the limit that `LIMITS.md` measured for the stage alone.

use std::time::Instant;

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

pub const ROUNDS: usize = 5;

/// One round of one stage.
#[derive(Clone, Copy)]
pub struct Round {
    pub readings: u64,
    pub wall_s: f64,
    /// Of this process, all threads.
    pub cpu_s: f64,
    /// Of the database's backend, where it runs on this machine.
    pub backend_s: Option<f64>,
}

/// Times of this process.
pub struct Stopwatch {
    wall: Instant,
    cpu_s: f64,
}

impl Stopwatch {
    pub fn start() -> Self {
        Stopwatch { wall: Instant::now(), cpu_s: cpu_s() }
    }

    pub fn stop(&self, readings: u64) -> Round {
        let (wall_s, cpu_s) = (self.wall.elapsed().as_secs_f64(), cpu_s() - self.cpu_s);
        Round { readings, wall_s, cpu_s, backend_s: None }
    }
}

fn cpu_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("this process can be asked about itself");
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

/// CPU-seconds of another process on this machine.
pub struct Times {
    pub own_s: f64,
    /// Its own, and of those of its children that ended.
    pub with_ended_children_s: f64,
}

impl Times {
    /// `None` where it does not run here.
    pub fn of(pid: u32) -> Option<Times> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // utime, stime, cutime, cstime in ticks; USER_HZ is 100 on Linux.
        let seconds = |field: usize| Some(fields.get(field)?.parse::<f64>().ok()? / 100.0);
        let own_s = seconds(11)? + seconds(12)?;
        Some(Times { own_s, with_ended_children_s: own_s + seconds(13)? + seconds(14)? })
    }
}

pub fn print_head() {
    println!("| stage | readings/s | min .. max | CPU-s/M here | CPU-s/M database | limit, CPU-s/M |");
    println!("|---|---:|---:|---:|---:|---|");
}

/// Prints a line of the table: medians of the rounds.
pub fn print(stage: &str, rounds: &[Round], limit: &str) {
    let rates = sorted(rounds, |r| r.readings as f64 / r.wall_s);
    let per_million = |seconds: f64, r: &Round| seconds * 1e6 / r.readings as f64;
    let here = sorted(rounds, |r| per_million(r.cpu_s, r));
    let backend = match rounds.iter().all(|r| r.backend_s.is_some()) {
        true => format!("{:.2}", middle(&sorted(rounds, |r| per_million(r.backend_s.unwrap_or(0.0), r)))),
        false => "-".to_owned(),
    };
    println!(
        "| {stage} | {:.0} | {:.0} .. {:.0} | {:.2} | {backend} | {limit} |",
        middle(&rates),
        rates[0],
        rates[rates.len() - 1],
        middle(&here)
    );
}

fn sorted(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> Vec<f64> {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures
}

fn middle(figures: &[f64]) -> f64 {
    figures[figures.len() / 2]
}
