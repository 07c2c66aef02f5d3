use client::ids::{BrokerId, LeaderEpoch};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

use super::model::{Event, KEYS, World};
use super::*;

const ON: Attached = Attached { session: 1, generation: 1 };
const LIMITS: Limits = Limits { keys: 2, bytes: 1000 };
const RIGHTS: Rights = Rights { state: ZkVersion(9), stamp: ZkVersion(3) };

fn key(partition: i32) -> OffsetKey {
    OffsetKey::new("g", "t", partition)
}

fn leads(epoch: i32) -> Option<Leads> {
    Some(Leads { leader: BrokerId(1), epoch: LeaderEpoch(epoch), version: RIGHTS.state })
}

fn leading() -> Pending<i64, &'static str> {
    leading_with(Late::Withdrawn)
}

fn leading_with(late: Late) -> Pending<i64, &'static str> {
    let mut pending = Pending::new(Fence::new(BrokerId(1), LeaderEpoch(5)), late);
    assert_eq!(pending.next(ON, LIMITS), Some(Job::Look));
    assert_eq!(pending.next(ON, LIMITS), None, "one look at a time");
    assert_eq!(pending.looked(ON, RIGHTS.stamp, leads(5)), [""; 0]);
    pending
}

fn found(is_done: &dyn Fn(&OffsetKey) -> bool) -> Option<Found<'_>> {
    Some(Found { stamp: RIGHTS.stamp, is_done })
}

/// The next job, which must be a flush of these writes.
#[track_caller]
fn flush(pending: &mut Pending<i64, &'static str>, expected: &[(i32, i64)]) -> Batch {
    match pending.next(ON, LIMITS) {
        Some(Job::Flush { batch, rights, writes }) => {
            let expected: Vec<_> = expected.iter().map(|(p, value)| (key(*p), *value)).collect();
            assert_eq!((rights, writes), (RIGHTS, expected));
            batch
        }
        other => panic!("{other:?} is no flush"),
    }
}

#[test]
fn the_last_value_wins_and_all_are_answered() {
    let mut pending = leading();
    pending.push(key(0), 5, 10, "five").unwrap();
    pending.push(key(1), 1, 10, "one").unwrap();
    pending.push(key(0), 6, 10, "six").unwrap();
    pending.push(key(2), 2, 10, "two").unwrap();
    let first = flush(&mut pending, &[(0, 6), (1, 1)]);
    let second = flush(&mut pending, &[(2, 2)]);
    assert_eq!(pending.flushed(second, Flushed::Landed), ["two"]);
    assert_eq!(pending.flushed(first, Flushed::Landed), ["five", "six", "one"]);
    assert_eq!(pending.next(ON, LIMITS), None);
}

#[test]
fn a_newer_value_waits_until_the_older_is_resolved() {
    let mut pending = leading();
    pending.push(key(0), 5, 10, "five").unwrap();
    pending.push(key(1), 1, 10, "one").unwrap();
    let batch = flush(&mut pending, &[(0, 5), (1, 1)]);
    pending.push(key(0), 6, 10, "six").unwrap();
    assert_eq!(pending.next(ON, LIMITS), None);
    assert_eq!(pending.flushed(batch, Flushed::Lost), [""; 0]);
    let writes = vec![(key(0), 5), (key(1), 1)];
    assert_eq!(pending.next(ON, LIMITS), Some(Job::Resolve { batch, writes: writes.clone() }));
    assert_eq!(pending.next(ON, LIMITS), None);
    assert_eq!(pending.resolved(batch, None), [""; 0]);
    assert_eq!(pending.next(ON, LIMITS), Some(Job::Resolve { batch, writes }));
    assert_eq!(pending.resolved(batch, found(&|one| *one == key(1))), ["one"]);
    let batch = flush(&mut pending, &[(0, 6)]);
    assert_eq!(pending.flushed(batch, Flushed::Landed), ["five", "six"]);
}

#[test]
fn what_was_not_done_goes_first_again() {
    let mut pending = leading();
    pending.push(key(3), 3, 10, "three").unwrap();
    let batch = flush(&mut pending, &[(3, 3)]);
    pending.push(key(1), 1, 10, "one").unwrap();
    pending.push(key(2), 2, 10, "two").unwrap();
    assert_eq!(pending.flushed(batch, Flushed::NotDone), [""; 0]);
    let batch = flush(&mut pending, &[(1, 1), (3, 3)]);
    assert_eq!(pending.refused(batch, |culprit| *culprit == key(1)), ["one"]);
    flush(&mut pending, &[(2, 2), (3, 3)]);
}

#[test]
fn a_changed_version_is_looked_into_before_anything_is_sent() {
    let mut pending = leading();
    pending.push(key(0), 5, 10, "five").unwrap();
    let batch = flush(&mut pending, &[(0, 5)]);
    assert_eq!(pending.flushed(batch, Flushed::Fenced), [""; 0]);
    assert_eq!(pending.next(ON, LIMITS), Some(Job::Look));
    assert_eq!(pending.next(ON, LIMITS), None);
    pending.look_failed();
    assert_eq!(pending.next(ON, LIMITS), Some(Job::Look));
    assert_eq!(pending.looked(ON, RIGHTS.stamp, leads(5)), [""; 0]);
    flush(&mut pending, &[(0, 5)]);
    assert_eq!(pending.looked(ON, RIGHTS.stamp, leads(6)), ["five"]);
    assert_eq!(pending.push(key(0), 6, 10, "six"), Err("six"));
    assert_eq!((pending.fence().deposed(), pending.next(ON, LIMITS)), (Some(Deposed::ByNewerEpoch), None));
}

/// The look's barrier was sent first, and renews the stamp.
#[test]
fn on_a_new_connection_nothing_is_sent_behind_a_look() {
    let mut pending = leading();
    pending.push(key(0), 5, 10, "five").unwrap();
    let next = Attached { generation: 2, ..ON };
    assert_eq!(pending.next(next, LIMITS), Some(Job::Look));
    assert_eq!(pending.next(next, LIMITS), None);
    assert_eq!(pending.looked(next, RIGHTS.stamp, leads(5)), [""; 0]);
    assert!(matches!(pending.next(next, LIMITS), Some(Job::Flush { .. })));
}

#[test]
fn a_held_key_lets_others_pass() {
    let mut pending = leading();
    pending.hold(&[key(0)]);
    pending.hold(&[key(0)]);
    pending.push(key(0), 5, 10, "five").unwrap();
    pending.push(key(1), 1, 10, "one").unwrap();
    flush(&mut pending, &[(1, 1)]);
    pending.release(&[key(0)]);
    assert_eq!(pending.next(ON, LIMITS), None);
    assert_eq!((pending.is_queued(&key(0)), pending.is_unresolved(&key(0))), (true, false));
    assert_eq!((pending.is_queued(&key(1)), pending.is_unresolved(&key(1))), (false, true));
    pending.release(&[key(0)]);
    flush(&mut pending, &[(0, 5)]);
}

#[test]
fn a_multi_is_no_larger_than_it_may_be() {
    let mut pending = leading();
    for (partition, bytes) in [(0, 600), (1, 600), (2, 5000), (3, 1)] {
        pending.push(key(partition), 1, bytes, "waiter").unwrap();
    }
    flush(&mut pending, &[(0, 1)]);
    flush(&mut pending, &[(1, 1)]);
    flush(&mut pending, &[(2, 1)]);
    flush(&mut pending, &[(3, 1)]);
}

#[test]
fn what_nobody_waits_for_any_more_is_withdrawn_unless_it_was_sent() {
    for late in [Late::Withdrawn, Late::Done] {
        let mut pending = leading_with(late);
        pending.push(key(0), 5, 10, "gone").unwrap();
        pending.push(key(1), 1, 10, "one").unwrap();
        let batch = flush(&mut pending, &[(0, 5), (1, 1)]);
        pending.push(key(0), 6, 10, "gone").unwrap();
        pending.push(key(2), 2, 10, "gone").unwrap();
        pending.push(key(2), 3, 10, "three").unwrap();
        for partition in [0, 1, 2] {
            pending.forget_waiters(&key(partition), |waiter| *waiter == "gone");
        }
        assert_eq!(pending.flushed(batch, Flushed::Landed), ["one"]);
        let rest: &[_] = if late == Late::Done { &[(0, 6), (2, 3)] } else { &[(2, 3)] };
        let batch = flush(&mut pending, rest);
        pending.forget_waiters(&key(2), |_| true);
        // It turns out that it was not done, after all were told that it failed.
        assert_eq!(pending.flushed(batch, Flushed::NotDone), [""; 0]);
        let again = pending.next(ON, LIMITS);
        assert_eq!(again.is_some(), late == Late::Done, "{again:?}");
    }
}

/// Commits come and fail for as long as ZooKeeper is away.
#[test]
fn what_was_withdrawn_leaves_nothing_behind() {
    let mut pending = leading();
    for value in 0..100 {
        pending.push(key(0), value, 10, "gone").unwrap();
        pending.forget_waiters(&key(0), |_| true);
    }
    assert_eq!((pending.queued(), pending.order.len(), pending.next(ON, LIMITS)), (0, 0, None));
}

#[test]
fn who_reads_waits_for_what_came_before_and_for_nothing_later() {
    let mut pending = leading();
    assert!(pending.owed(&[key(0), key(1)]).is_empty());
    pending.push(key(0), 5, 10, "five").unwrap();
    let batch = flush(&mut pending, &[(0, 5)]);
    pending.push(key(0), 6, 10, "six").unwrap();
    pending.push(key(1), 1, 10, "one").unwrap();
    pending.push(OffsetKey::new("h", "t", 0), 1, 10, "of another group").unwrap();
    let mut of_key = pending.owed(&[key(0), key(2)]);
    let mut of_group = pending.owed_of_group(&"g".into());
    assert_eq!((of_key.keys.clone(), of_group.keys.clone()), (vec![key(0)], vec![key(0), key(1)]));
    assert_eq!(pending.flushed(batch, Flushed::Lost), [""; 0]);
    assert!(matches!(pending.next(ON, LIMITS), Some(Job::Resolve { .. })));
    assert!(pending.still_owes(&mut of_key), "nobody knows what became of the first");
    assert_eq!(pending.resolved(batch, found(&|_| true)), ["five"]);
    assert!(pending.still_owes(&mut of_key), "the second was not sent");
    let batch = flush(&mut pending, &[(0, 6), (1, 1)]);
    pending.push(key(0), 7, 10, "seven").unwrap();
    assert!(pending.still_owes(&mut of_key), "the second is on its way");
    assert_eq!(pending.flushed(batch, Flushed::Landed), ["six", "one"]);
    assert_eq!((pending.still_owes(&mut of_key), pending.still_owes(&mut of_group)), (false, false));
    assert!(pending.still_owes(&mut pending.owed(&[key(0)])), "the third came before this one");
    pending.forget_waiters(&key(0), |_| true);
    assert!(!pending.still_owes(&mut pending.owed(&[key(0)])), "it is withdrawn");
}

/// A newer value that takes the place of one that was not done does not make who waits for it wait longer,
/// nor shorter.
#[test]
fn what_is_sent_again_is_owed_to_those_who_came_after_it() {
    let mut pending = leading();
    pending.push(key(0), 5, 10, "five").unwrap();
    let batch = flush(&mut pending, &[(0, 5)]);
    let mut owed = pending.owed(&[key(0)]);
    pending.push(key(0), 6, 10, "six").unwrap();
    assert_eq!(pending.flushed(batch, Flushed::NotDone), [""; 0]);
    assert!(pending.still_owes(&mut owed));
    let batch = flush(&mut pending, &[(0, 6)]);
    assert!(pending.still_owes(&mut owed));
    pending.push(key(0), 7, 10, "seven").unwrap();
    assert_eq!(pending.flushed(batch, Flushed::Landed), ["five", "six"]);
    assert!(!pending.still_owes(&mut owed));
    assert_eq!(pending.close(Deposed::ByAnother), ["seven"]);
    assert!(pending.owed(&[key(0)]).is_empty());
}

fn event() -> impl Strategy<Value = Event> {
    // The coordinator at hand is mostly the newest, sometimes one before it.
    let by = || 0usize..12;
    prop_oneof![
        6 => (by(), 0..KEYS).prop_map(|(by, key)| Event::Commit { by, key }),
        2 => (by(), 0..KEYS).prop_map(|(by, key)| Event::GiveUp { by, key }),
        3 => (by(), 0..=KEYS).prop_map(|(by, key)| Event::Fetch { by, key: (key < KEYS).then_some(key) }),
        3 => by().prop_map(|by| Event::Read { by }),
        8 => by().prop_map(|by| Event::Start { by }),
        8 => by().prop_map(|by| Event::Finish { by }),
        2 => (by(), 0usize..4, 0usize..4, any::<bool>())
            .prop_map(|(by, done, lag, is_replaced)| Event::Cut { by, done, lag, is_replaced }),
        2 => (by(), 0..KEYS).prop_map(|(by, key)| Event::Delete { by, key }),
        1 => by().prop_map(|by| Event::Spare { by }),
        2 => (0usize..8).prop_map(|stray| Event::Late { stray }),
        1 => Just(Event::IsrChange),
        1 => (1i32..4, 0usize..4).prop_map(|(to, lag)| Event::Move { to, lag }),
        1 => by().prop_map(|by| Event::Hear { by }),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec(event(), 1..120)
}

fn play(late: Late, events: &[Event]) {
    let mut world = World::new(late);
    for event in events {
        world.happen(event);
    }
    world.settle();
}

/// A connection breaks and comes back by itself, so no new one asks for a barrier. The deletion is made again, and
/// a commit makes the nodes anew, in the versions that the lost deletion names.
#[test]
fn a_lost_deletion_takes_nothing_newer_along() {
    let (by, key) = (0, 0);
    let go: Vec<_> = (0..3).flat_map(|_| [Event::Start { by }, Event::Finish { by }]).collect();
    let lost = [Event::Delete { by, key }, Event::Start { by }];
    let cut = Event::Cut { by, done: 0, lag: 0, is_replaced: false };
    let commit = [&[Event::Commit { by, key }][..], &go].concat();
    let late = Event::Late { stray: 0 };
    play(Late::Withdrawn, &[&commit[..], &lost, &[cut], &go, &commit, &[late]].concat());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// No acknowledged commit is lost or goes back, none of a deposed coordinator lands, nor one that came
    /// before what was read, nor one that was withdrawn, no read of the leader is stale, everybody is
    /// answered once.
    #[test]
    fn whatever_breaks_nothing_acknowledged_is_lost(
        events in events(),
        is_done in any::<bool>(),
    ) {
        play(if is_done { Late::Done } else { Late::Withdrawn }, &events);
    }
}

/// Each of the checks is needed: without it the model finds something lost.
#[test]
fn without_any_of_the_checks_something_breaks() {
    let by_a_deposed = "a deposed coordinator's write landed";
    let (later, lost) = ("landed after a later read", "went back");
    for (check, reasons) in [
        (Check::Fence, &[by_a_deposed][..]),
        (Check::Term, &[by_a_deposed]),
        (Check::Stamp, &[later, lost]),
        (Check::Barrier, &["a stale read"]),
        (Check::Order, &[later, lost]),
        (Check::Wait, &[later]),
    ] {
        let config = ProptestConfig {
            cases: 5000,
            max_shrink_iters: 0,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let found = check.without(|| {
            runner.run(&events(), |events| {
                play(Late::Withdrawn, &events);
                Ok(())
            })
        });
        let Err(TestError::Fail(found, _)) = found else { panic!("without {check:?}: {found:?}") };
        assert!(
            reasons.iter().any(|reason| found.message().contains(reason)),
            "without {check:?}: {}",
            found.message()
        );
    }
}
