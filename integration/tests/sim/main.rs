//! The simulated cluster on fixed and fresh seeds: every promise kept, and enough gone wrong to mean it.
//! Many more seeds, and builds without their checks: `scripts/sim`.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use integration::sim::{Counts, FAULTS, Run, Settings, run};

/// Seeds 1 to this.
const FIXED: u64 = 200;
/// They were found to break promises once, before there were groups (RELIABILITY.md).
const FOUND: [u64; 13] =
    [549, 3269, 200108, 201726, 410177, 622066, 631932, 632043, 727856, 807448, 809467, 831132, 1072264];
/// And these with groups, by anomalies 25, 26, 28 to 31, 33 and 36 or by faults of the judge.
const FOUND_WITH_GROUPS: [u64; 15] = [
    5164, 3000848, 3001070, 3002137, 3006072, 4004084, 7105250, 7164035, 7165953, 7167009, 7167953, 7317988,
    7438550, 7703041, 7808963,
];
const FRESH: u64 = 100;

/// What has to have happened in these runs, beside every kind of fault.
const RARE: &[&str] = &[
    "acknowledged records lost by all that count",
    "append refused: too few in sync",
    "batch recognised as sent before",
    "commit of another generation",
    "commit of one that is no member",
    "consumer of a newer leader epoch",
    "consumer of an older leader epoch",
    "control request fenced",
    "controller said its last words",
    "coordinator moved",
    "coordinator moved while a commit was stored",
    "coordinator moved while a group was stored",
    "control request repeated",
    "fetch of a newer leader epoch",
    "fetch of an older leader epoch",
    "fetch timed out",
    "fetching stopped until told anew",
    "furthest log chosen outside the in-sync set",
    "furthest log chosen, not the first in sync",
    "group request while loading",
    "group request while what was loaded is replicated",
    "group's append timed out",
    "group's record refused",
    "groups loaded",
    "groups loaded from what is not replicated yet",
    "ineligible replica passed over",
    "isr asked again",
    "isr change of an older leader epoch",
    "isr change of an older state",
    "join while loading",
    "late watch",
    "log cut by its leader's history",
    "member crashed",
    "member fell silent",
    "member left",
    "member was put out",
    "no leader to be had",
    "only one in sync",
    "request arrives twice",
    "request of a former life",
    "role told twice or late",
    "static member replaced by its own late request",
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
    let all = (1..=FIXED).chain(FOUND).chain(FOUND_WITH_GROUPS).chain(fresh..fresh + FRESH);
    let without = FOUND.map(|seed| (seed, Settings { groups: false, ..Settings::default() }));
    let seeds: Vec<(u64, Settings)> = all.map(|seed| (seed, Settings::default())).chain(without).collect();
    let (next, done) = (AtomicU64::new(0), Mutex::new((Counts::default(), Vec::new())));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).min(4) {
            scope.spawn(|| {
                while let Some((seed, settings)) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let run = run(*seed, *settings);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.0.merge(&run.counts);
                    if run.failure().is_some() {
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                        done.1.push((run, *settings));
                    }
                }
            });
        }
    });
    let (counts, failed) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some((failed, settings)) = failed.first() {
        show(failed, *settings);
    }
    for what in FAULTS.iter().chain(RARE) {
        assert!(counts.of(what) > 0, "never happened: {what}\n{counts}");
    }
}

/// The run once more, with its last moments as text.
fn show(failed: &Run, settings: Settings) -> ! {
    let again = run(failed.seed, Settings { transcript: true, ..settings });
    let last = again.transcript.len().saturating_sub(300);
    for line in &again.transcript[last..] {
        println!("{line}");
    }
    panic!("{failed}\nThe whole: scripts/sim --transcript --seeds {}", failed.seed);
}

/// Hash maps have another order in every process.
#[test]
fn the_same_seed_gives_the_same_run_in_every_process() {
    const SEEDS: std::ops::Range<u64> = 3..9;
    let range = format!("{}..{}", SEEDS.start, SEEDS.end);
    let others = [(); 2].map(|()| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
        command.args(["--each", "--jobs", "1", "--seeds", &range]).stdout(Stdio::piped());
        command.spawn().unwrap()
    });
    let here: BTreeSet<String> = SEEDS.map(|seed| run(seed, Settings::default()).to_string()).collect();
    for other in others {
        let said = other.wait_with_output().unwrap();
        assert!(said.status.success(), "{said:?}");
        let said = String::from_utf8(said.stdout).unwrap();
        let there: BTreeSet<String> =
            said.lines().filter(|line| line.starts_with("seed ")).map(str::to_owned).collect();
        assert_eq!(there, here);
    }
    let hashes: BTreeSet<u64> = SEEDS.map(|seed| run(seed, Settings::default()).hash).collect();
    assert_eq!(hashes.len(), here.len(), "every seed is a run of its own");
}
