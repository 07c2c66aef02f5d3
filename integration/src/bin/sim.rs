//! Simulates clusters, seed after seed (`scripts/sim`). Exit code 1: a promise was broken, or a run proves too little.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use integration::sim::{Counts, Run, Settings, run};

/// So many runs apart, a line says how far it is.
const LINE_EVERY: u64 = 5_000;

/// Simulates clusters, seed after seed, and says which promise was broken.
#[derive(Debug, Parser)]
struct Options {
    /// One seed (17) or a range without its end (1..1000).
    #[arg(long, default_value = "1..1001", value_parser = seeds)]
    seeds: Range<u64>,
    /// Runs at a time; as many as there are cores.
    #[arg(long)]
    jobs: Option<usize>,
    /// Begins no run after so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// Runs only the first seed, and prints the end of what happened.
    #[arg(long)]
    transcript: bool,
    /// In every run records are synced before they are acknowledged (`flush.before.ack`), not in one of four.
    #[arg(long)]
    flush_before_ack: bool,
    /// Leaves consumer groups out: runs are what they were before there were any.
    #[arg(long)]
    without_groups: bool,
    /// Goes on after the first failure.
    #[arg(long)]
    keep_going: bool,
    /// Prints a line for every run.
    #[arg(long)]
    each: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, std::num::ParseIntError> {
    match text.split_once("..") {
        Some((first, end)) => Ok(first.parse()?..end.parse()?),
        None => text.parse().map(|one: u64| one..one.saturating_add(1)),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let settings = Settings {
        flush_before_ack: options.flush_before_ack,
        groups: !options.without_groups,
        ..Settings::default()
    };
    if options.transcript {
        let run = run(options.seeds.start, Settings { transcript: true, ..settings });
        for line in &run.transcript {
            println!("{line}");
        }
        println!("{run}");
        return if run.failure().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let started = Instant::now();
    let until = options.minutes.map(|minutes| started + Duration::from_secs(60 * minutes));
    let jobs = options.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
    let (next, stop) = (AtomicU64::new(options.seeds.start), AtomicBool::new(false));
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= options.seeds.end {
                        return;
                    }
                    let run = run(seed, settings);
                    let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                    totals.take(&run);
                    if run.failure().is_some() {
                        println!("{run}\n  Again: scripts/sim --transcript --seeds {seed}");
                        stop.store(!options.keep_going, Ordering::Relaxed);
                    } else if options.each {
                        println!("{run}");
                    }
                    if totals.runs.is_multiple_of(LINE_EVERY) {
                        println!("{totals} {:.0} s", started.elapsed().as_secs_f64());
                    }
                }
            });
        }
    });
    let totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    let seconds = started.elapsed().as_secs_f64();
    println!("{}", totals.counts);
    println!(
        "from seed {}: {totals} {seconds:.0} s, {:.1} seeds/s on {jobs} threads",
        options.seeds.start,
        totals.runs as f64 / seconds
    );
    if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Of all runs.
#[derive(Debug, Default)]
struct Totals {
    runs: u64,
    failed: u64,
    counts: Counts,
    /// Of the runs that did not fail; those end when they do.
    least: Option<Least>,
    recovery_ms_most: u64,
}

#[derive(Clone, Copy, Debug)]
struct Least {
    seconds: u64,
    acknowledged: u64,
    faults: u64,
}

impl Totals {
    fn take(&mut self, run: &Run) {
        self.runs += 1;
        self.counts.merge(&run.counts);
        self.recovery_ms_most = self.recovery_ms_most.max(run.recovery_ms.unwrap_or(0));
        if run.failure().is_some() {
            self.failed += 1;
            return;
        }
        let Run { seconds, acknowledged, faults, .. } = *run;
        let least = self.least.unwrap_or(Least { seconds, acknowledged, faults });
        self.least = Some(Least {
            seconds: least.seconds.min(seconds),
            acknowledged: least.acknowledged.min(acknowledged),
            faults: least.faults.min(faults),
        });
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} seeds, {} failed;", self.runs, self.failed)?;
        if let Some(Least { seconds, acknowledged, faults }) = self.least {
            write!(
                f,
                " at least {seconds} simulated seconds, {acknowledged} acknowledgements and {faults} faults in each that did not fail,"
            )?;
        }
        write!(f, " whole again after {} ms at most;", self.recovery_ms_most)
    }
}
