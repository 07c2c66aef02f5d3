//! The simulated cluster on fixed and fresh seeds: every promise kept, and enough gone wrong to mean it.
//! Many more seeds, and builds without their checks: `scripts/sim`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use integration::sim::{Counts, FAULTS, Run, Settings, run};

/// Seeds 1 to this.
const FIXED: u64 = 100;
/// They were found to break promises once.
const FOUND: [u64; 6] = [3269, 622066, 631932, 632043, 807448, 809467];
const FRESH: u64 = 50;

/// What has to have happened in these runs, beside every kind of fault.
const RARE: &[&str] = &[
    "acknowledged records lost by all that count",
    "append refused: too few in sync",
    "batch recognised as sent before",
    "consumer of a newer leader epoch",
    "consumer of an older leader epoch",
    "control request fenced",
    "controller said its last words",
    "control request repeated",
    "fetch of a newer leader epoch",
    "fetch of an older leader epoch",
    "fetch timed out",
    "fetching stopped until told anew",
    "furthest log chosen outside the in-sync set",
    "furthest log chosen, not the first in sync",
    "ineligible replica passed over",
    "isr asked again",
    "isr change of an older leader epoch",
    "isr change of an older state",
    "late watch",
    "log cut by its leader's history",
    "no leader to be had",
    "only one in sync",
    "request arrives twice",
    "request of a former life",
    "role told twice or late",
    "session lost by a live process",
    "stopped cleanly",
    "stopped since its disk failed",
    "synced before acknowledging",
    "topic deleted",
    "unclean stop told",
    "waited for all members",
    "waited for an eligible replica",
    "waited for the former session's end",
];

#[test]
fn fixed_and_fresh_seeds_keep_every_promise() {
    let fresh: u64 = rand::random::<u64>() >> 16;
    println!("fresh seeds: scripts/sim --seeds {fresh}..{}", fresh + FRESH);
    let seeds: Vec<u64> = (1..=FIXED).chain(FOUND).chain(fresh..fresh + FRESH).collect();
    let (next, done) = (AtomicU64::new(0), Mutex::new((Counts::default(), Vec::new())));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).min(4) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let run = run(*seed, Settings::default());
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.0.merge(&run.counts);
                    if !is_worth_it(&run) {
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                        done.1.push(run);
                    }
                }
            });
        }
    });
    let (counts, failed) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(failed) = failed.first() {
        show(failed);
    }
    for what in FAULTS.iter().chain(RARE) {
        assert!(counts.of(what) > 0, "never happened: {what}\n{counts}");
    }
}

/// Whether the run kept its promises, with enough done and enough gone wrong.
fn is_worth_it(run: &Run) -> bool {
    run.broken.is_empty()
        && run.recovery_ms.is_some()
        && run.seconds >= 60
        && run.acknowledged >= 1_000
        && run.faults >= 5
}

/// The run once more, with its last moments as text.
fn show(failed: &Run) -> ! {
    let again = run(failed.seed, Settings { transcript: true, ..Settings::default() });
    let last = again.transcript.len().saturating_sub(300);
    for line in &again.transcript[last..] {
        println!("{line}");
    }
    panic!("{failed}\nThe whole: scripts/sim --transcript --seeds {}", failed.seed);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 4] {
        let (first, second) = (run(seed, Settings::default()), run(seed, Settings::default()));
        assert_eq!((first.hash, &first.counts), (second.hash, &second.counts), "seed {seed}");
        assert_eq!(first.acknowledged, second.acknowledged);
    }
    let (one, other) = (run(5, Settings::default()), run(6, Settings::default()));
    assert_ne!(one.hash, other.hash);
}
