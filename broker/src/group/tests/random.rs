//! Whatever happens in whatever order: what must always hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use client::wire::{ErrorCode, Str};
use proptest::prelude::*;

use super::support::*;
use crate::group::*;

#[derive(Debug, Clone)]
enum Step {
    Join { who: usize, must_know_id: bool, changed: bool },
    Static { back: bool },
    Sync { who: usize, old: bool },
    Heartbeat { who: usize },
    Leave { who: usize },
    Stored { succeeds: bool },
    Pass { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..6usize;
    prop_oneof![
        4 => (who.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(who, must_know_id, changed)| Step::Join { who, must_know_id, changed }),
        2 => any::<bool>().prop_map(|back| Step::Static { back }),
        5 => (who.clone(), any::<bool>()).prop_map(|(who, old)| Step::Sync { who, old: old && who == 0 }),
        2 => who.clone().prop_map(|who| Step::Heartbeat { who }),
        1 => who.prop_map(|who| Step::Leave { who }),
        3 => prop::bool::weighted(0.8).prop_map(|succeeds| Step::Stored { succeeds }),
        3 => (0..12_000u64).prop_map(|millis| Step::Pass { millis }),
    ]
}

/// Ids that members were told, the newest last; `who` picks one, or none.
fn pick(known: &[Str], who: usize) -> Str {
    known.iter().rev().nth(who).cloned().unwrap_or_default()
}

fn perform(driven: &mut Driven, known: &mut Vec<Str>, step: &Step) {
    match step {
        Step::Join { who, must_know_id, changed } => {
            let id = pick(known, *who);
            let mut join = Join { must_know_id: *must_know_id, ..driven.request(&id) };
            if *changed {
                join.protocols = protocols(&["sticky", "range"], "changed");
            }
            known.push(join.new_member_id.clone());
            driven.join(join);
        }
        Step::Static { back } => {
            let id = if *back { Str::new() } else { pick(known, 0) };
            let join = Join { instance_id: Some("i".into()), ..driven.request(&id) };
            known.push(join.new_member_id.clone());
            driven.join(join);
        }
        Step::Sync { who, old } => {
            let id = pick(known, *who);
            let all: Vec<(Str, String)> = known.iter().map(|id| (id.clone(), format!("for {id}"))).collect();
            let all: Vec<(&str, &str)> = all.iter().map(|(id, part)| (&**id, &**part)).collect();
            let mut sync = driven.sync_request(&id, &all);
            sync.protocol = None;
            sync.generation -= i32::from(*old);
            driven.sync_by(sync);
        }
        Step::Heartbeat { who } => drop(driven.heartbeat(&pick(known, *who))),
        Step::Leave { who } => drop(driven.leave(&pick(known, *who))),
        Step::Stored { succeeds: true } => driven.stored(Ok(())),
        Step::Stored { succeeds: false } => driven.stored(Err(ErrorCode::NotCoordinator)),
        Step::Pass { millis } => driven.pass(Duration::from_millis(*millis)),
    }
}

/// Of the members of a generation all are told the same, and one is told to assign.
fn check_generations(driven: &Driven) -> Result<(), TestCaseError> {
    let mut told: BTreeMap<i32, (Option<Str>, BTreeSet<Str>)> = BTreeMap::new();
    for answer in driven.answers.values() {
        let Answer::Joined(Ok(joined)) = answer else { continue };
        let (protocol, assigning) =
            told.entry(joined.generation).or_insert((joined.protocol.clone(), BTreeSet::new()));
        prop_assert_eq!(&*protocol, &joined.protocol);
        if !joined.members.is_empty() && !joined.skip_assignment {
            prop_assert_eq!(&joined.leader, &joined.member_id);
            assigning.insert(joined.member_id.clone());
        }
        if joined.leader == joined.member_id {
            prop_assert!(joined.members.iter().any(|member| member.member_id == joined.member_id));
        }
    }
    for (generation, (_, assigning)) in told {
        prop_assert!(assigning.len() <= 1, "{assigning:?} all assign generation {generation}");
    }
    Ok(())
}

/// The fate of the group after everything settles.
fn settle(driven: &mut Driven) {
    for _ in 0..20 {
        driven.stored(Ok(()));
        driven.pass(Duration::from_secs(301));
    }
    driven.stored(Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_answered_twice_and_all_is_answered_in_the_end(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let mut driven = Driven::new();
        let mut known = Vec::new();
        let mut generation = 0;
        for step in &steps {
            perform(&mut driven, &mut known, step);
            prop_assert!(driven.group.generation() >= generation, "generations rise");
            generation = driven.group.generation();
            let described = driven.group.describe();
            if matches!(described.state, State::CompletingRebalance | State::Stable) {
                prop_assert!(!described.members.is_empty(), "after {step:?}");
            }
            if described.state != State::Empty {
                let is_awaited = driven.group.next_deadline().is_some() || !driven.stores.is_empty();
                prop_assert!(is_awaited, "nothing would ever happen to it");
            }
            check_generations(&driven)?;
        }
        // Everybody falls silent: all that waits is answered, and the group ends up empty.
        settle(&mut driven);
        let asked = driven.asked();
        let answered: Vec<Ticket> = driven.answers.keys().copied().collect();
        prop_assert_eq!(asked, answered);
        prop_assert_eq!(driven.group.state(), State::Empty);
        prop_assert_eq!(driven.group.next_deadline(), None);
    }

    #[test]
    fn what_is_stored_is_what_goes_on(steps in prop::collection::vec(step(), 1..60)) {
        let mut driven = Driven::new();
        let mut known = Vec::new();
        let mut last = None;
        for step in &steps {
            perform(&mut driven, &mut known, step);
            last = driven.stores.last().map(|store| store.value.clone()).or(last);
            if let Step::Stored { succeeds: false } = step {
                // What failed to be stored is not what goes on.
                last = None;
            }
            // Once an append has succeeded and nothing else happened, a successor finds what members know.
            if let (Step::Stored { succeeds: true }, State::Stable, Some(value)) = (step, driven.group.state(), &last)
                && value.generation == driven.group.generation()
            {
                let loaded = Group::load("g".into(), value.clone(), LIMITS, driven.now());
                let (loaded, now) = (loaded.describe(), driven.group.describe());
                prop_assert_eq!(loaded.members, now.members);
            }
        }
    }
}
