//! Rebalances over time; the figures are those seen of Kafka 3.9.1.

use std::time::Duration;

use client::wire::{ErrorCode, Str};

use super::support::*;
use crate::group::*;

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn an_empty_group_waits_for_more_members() {
    // (rebalance timeout, whether there was a generation before, all have joined after)
    for (timeout, before, expected) in
        [(20_000, false, 6000), (5000, false, 5000), (2500, false, 3000), (20_000, true, 3000)]
    {
        let mut driven = Driven::new();
        if before {
            driven = Driven::stable(&["x"]);
            driven.leave("x").unwrap();
        }
        let began = driven.passed;
        let timeout = Duration::from_millis(timeout);
        let first = Join { rebalance_timeout: timeout, ..driven.request("") };
        let first = driven.join(first);
        driven.pass(secs(2));
        let second = Join { rebalance_timeout: timeout, ..driven.request("") };
        let second = driven.join(second);
        driven.pass(Duration::from_millis(expected - 1) - secs(2));
        assert!(driven.waits(first) && driven.waits(second), "{timeout:?} {before}");
        driven.pass(Duration::from_millis(1));
        assert_eq!(driven.passed - began, Duration::from_millis(expected));
        let leader = driven.joined(first);
        assert_eq!((leader.members.len(), &leader.leader), (2, &leader.member_id));
        assert_eq!(driven.joined(second).members, []);
        assert_eq!(driven.joined(second).leader, driven.joined(first).leader);
    }
}

#[test]
fn a_rebalance_ends_when_all_are_there_or_the_time_is_over() {
    let mut driven = Driven::stable(&["a", "b", "c"]);
    let new = driven.join_as("d");
    let [a, b] = ["a", "b"].map(|id| {
        let join = driven.request(id);
        driven.join(join)
    });
    assert!(driven.waits(a) && driven.waits(new));
    let mut late = driven;
    // c keeps sending heartbeats, and never joins.
    for _ in 0..11 {
        late.pass(secs(5));
        assert_eq!(late.heartbeat("c"), Err(GroupError::Rebalancing));
    }
    assert!(late.waits(a));
    late.pass(secs(5));
    assert_eq!((late.joined(a).generation, late.joined(a).members.len()), (2, 3));
    assert_eq!(late.joined(b).generation, 2);
    assert_eq!(late.heartbeat("c"), Err(GroupError::UnknownMember));
    assert_eq!(late.joined(new).leader, "a");
}

#[test]
fn a_silent_member_is_removed_and_the_rest_share_its_work() {
    let mut driven = Driven::stable(&["a", "b"]);
    driven.pass(secs(9));
    driven.heartbeat("a").unwrap();
    driven.pass(secs(1));
    assert_eq!(driven.group.state(), State::PreparingRebalance);
    assert_eq!(driven.heartbeat("b"), Err(GroupError::UnknownMember));
    let join = driven.request("a");
    let a = driven.join(join);
    assert_eq!((driven.joined(a).generation, driven.joined(a).members.len()), (2, 1));
}

#[test]
fn another_leads_if_the_leader_does_not_come() {
    let mut driven = Driven::stable(&["a", "b", "c"]);
    driven.leave("c").unwrap();
    let join = driven.request("b");
    let b = driven.join(join);
    driven.pass(REBALANCE);
    assert_eq!((&*driven.joined(b).leader, driven.joined(b).members.len()), ("b", 1));
}

#[test]
fn who_never_syncs_is_removed() {
    let mut driven = Driven::new();
    for id in ["a", "b"] {
        let join = Join {
            new_member_id: id.into(),
            rebalance_timeout: Duration::from_millis(2500),
            ..driven.request("")
        };
        driven.join(join);
    }
    driven.pass(secs(3));
    driven.sync("a", &[("a", "1"), ("b", "2")]);
    driven.stored(Ok(()));
    assert_eq!(driven.group.state(), State::Stable);
    driven.pass(Duration::from_millis(2499));
    driven.heartbeat("b").unwrap();
    driven.pass(Duration::from_millis(1));
    assert_eq!(driven.group.state(), State::PreparingRebalance);
    assert_eq!(driven.heartbeat("b"), Err(GroupError::UnknownMember));
    assert_eq!(driven.heartbeat("a"), Err(GroupError::Rebalancing));
}

#[test]
fn assignments_are_told_once_they_are_stored() {
    let mut driven = Driven::completing(&["a", "b"]);
    let b = driven.sync("b", &[]);
    let a = driven.sync("a", &[("b", "2")]);
    assert!(driven.waits(a) && driven.waits(b));
    let [store] = &driven.stores[..] else { panic!("{:?}", driven.stores) };
    let stored: Vec<(&str, &[u8])> =
        store.value.members.iter().map(|member| (&*member.member_id, &member.assignment[..])).collect();
    assert_eq!(stored, [("a", &b""[..]), ("b", b"2")]);
    assert_eq!((store.value.generation, store.value.protocol.as_deref()), (1, Some("range")));
    driven.stored(Ok(()));
    assert_eq!((driven.synced(a), driven.synced(b)), (Ok(&b""[..]), Ok(&b"2"[..])));
    assert_eq!(driven.group.state(), State::Stable);
}

#[test]
fn an_assignment_to_others_than_the_members_is_given_up_once() {
    let mut driven = Driven::completing(&["a", "b"]);
    let b = driven.sync("b", &[]);
    let a = driven.sync("a", &[("a", "1"), ("stranger", "2")]);
    let refused = Err(GroupError::Rebalancing);
    assert_eq!((driven.synced(a), driven.synced(b)), (refused, refused));
    assert!(driven.stores.is_empty());
    for (generation, is_taken) in [(2, true), (3, false)] {
        assert_eq!(driven.group.state(), State::PreparingRebalance);
        for id in ["a", "b"] {
            let join = driven.request(id);
            driven.join(join);
        }
        assert_eq!(driven.group.generation(), generation);
        let a = driven.sync("a", &[("a", "1"), ("stranger", "2")]);
        driven.stored(Ok(()));
        assert_eq!(driven.synced(a), if is_taken { Ok(&b"1"[..]) } else { refused });
        let again = Join { protocols: protocols(&["range"], "other"), ..driven.request("b") };
        driven.join(again);
    }
}

#[test]
fn an_assignment_that_is_not_stored_is_nobodys() {
    let mut driven = Driven::completing(&["a", "b"]);
    let (a, b) = (driven.sync("a", &[("b", "2")]), driven.sync("b", &[]));
    let code = ErrorCode::NotCoordinator;
    driven.stored(Err(code));
    let refused = Err(GroupError::NotStored { code });
    assert_eq!((driven.synced(a), driven.synced(b)), (refused, refused));
    assert_eq!(driven.group.state(), State::PreparingRebalance);
}

#[test]
fn an_assignment_stored_too_late_is_not_told() {
    let mut driven = Driven::completing(&["a", "b"]);
    let a = driven.sync("a", &[("b", "2")]);
    driven.leave("b").unwrap();
    assert_eq!(driven.synced(a), Err(GroupError::Rebalancing));
    driven.stored(Ok(()));
    assert_eq!(driven.group.state(), State::PreparingRebalance);
    let join = driven.request("a");
    let a = driven.join(join);
    assert_eq!(driven.joined(a).generation, 2);
    let described = driven.group.describe();
    assert!(described.members.iter().all(|member| member.assignment.is_empty()));
}

#[test]
fn an_id_that_was_given_out_holds_a_rebalance_up_until_it_is_used_or_forgotten() {
    let mut driven = Driven::stable(&["a", "b"]);
    let join = Join { must_know_id: true, new_member_id: "p".into(), ..driven.request("") };
    let given = driven.join(join);
    assert_eq!(driven.join_error(given), GroupError::MemberIdRequired);
    assert_eq!(driven.group.state(), State::Stable);
    assert_eq!(driven.heartbeat("p"), Err(GroupError::UnknownMember));
    driven.leave("b").unwrap();
    let join = driven.request("a");
    let a = driven.join(join);
    assert!(driven.waits(a));
    let mut used = driven.request("p");
    used.must_know_id = true;
    let p = driven.join(used);
    assert_eq!((driven.joined(a).members.len(), driven.joined(p).generation), (2, 2));

    let mut driven = Driven::stable(&["a", "b"]);
    let join = Join { must_know_id: true, ..driven.request("") };
    driven.join(join);
    driven.leave("b").unwrap();
    let join = driven.request("a");
    let a = driven.join(join);
    driven.pass(SESSION - Duration::from_millis(1));
    assert!(driven.waits(a));
    driven.pass(Duration::from_millis(1));
    assert_eq!(driven.joined(a).members.len(), 1);
}

#[test]
fn a_full_group_takes_no_more() {
    let mut driven = Driven::with_limits(Limits { size_max: 2, ..LIMITS });
    let first = driven.join_as("a");
    driven.join_as("b");
    let third = driven.join_as("c");
    assert_eq!(driven.join_error(third), GroupError::Full);
    driven.pass(secs(6));
    assert_eq!(driven.joined(first).members.len(), 2);
    let fourth = driven.request("d");
    let fourth = driven.join(fourth);
    let refused = JoinRefused { error: GroupError::Full, member_id: Str::new() };
    assert_eq!(driven.answers[&fourth], Answer::Joined(Err(refused)));
    assert_eq!(driven.group.state(), State::CompletingRebalance);
}

#[test]
fn most_members_choose_the_protocol_that_all_know() {
    let all = |names: &[&[&'static str]]| {
        let mut driven = Driven::new();
        let mut last = None;
        for names in names {
            let join = Join { protocols: protocols(names, "m"), ..driven.request("") };
            last = Some(driven.join(join));
        }
        driven.pass(secs(6));
        driven.joined(last.unwrap()).protocol.clone()
    };
    assert_eq!(
        all(&[&["range", "sticky"], &["sticky", "range"], &["sticky", "range"]]),
        Some(Str::from("sticky"))
    );
    assert_eq!(
        all(&[&["only", "range"], &["only", "sticky", "range"], &["range"]]),
        Some(Str::from("range"))
    );
}

#[test]
fn a_group_that_all_have_left_is_stored_as_empty() {
    let mut driven = Driven::stable(&["a"]);
    driven.pass(secs(1));
    let since = driven.now().unix_ms;
    driven.leave("a").unwrap();
    let [store] = &driven.stores[..] else { panic!("{:?}", driven.stores) };
    let value = &store.value;
    assert_eq!((value.generation, &value.protocol, &value.leader), (2, &None, &None));
    assert_eq!((&*value.protocol_type, value.members.len()), ("consumer", 0));
    assert_eq!((value.current_state_timestamp, driven.group.empty_since_ms()), (since, Some(since)));
}

#[test]
fn a_group_goes_on_where_its_record_says() {
    let mut driven = Driven::completing(&["a", "b"]);
    driven.sync("a", &[("a", "1"), ("b", "2")]);
    let value = driven.stores[0].value.clone();
    driven.stored(Ok(()));

    let loaded = Group::load("g".into(), value.clone(), LIMITS, driven.now());
    assert_eq!(loaded.describe(), driven.group.describe());
    let mut next = Driven::of(loaded, driven.now().monotonic);
    let effects = next.group.resume(next.now());
    assert_eq!(effects, []);
    let b = next.sync("b", &[]);
    assert_eq!(next.synced(b), Ok(&b"2"[..]));
    // Sessions begin anew.
    next.pass(SESSION - Duration::from_millis(1));
    assert_eq!((next.heartbeat("a"), next.heartbeat("b")), (Ok(()), Ok(())));

    let mut small = Group::load("g".into(), value, Limits { size_max: 1, ..LIMITS }, next.now());
    small.resume(next.now());
    assert_eq!(small.state(), State::PreparingRebalance);
}

#[test]
fn session_timeouts_are_bounded() {
    for (timeout, expected) in [
        (Duration::from_millis(5999), Err(GroupError::InvalidSessionTimeout)),
        (secs(6), Ok(())),
        (secs(1800), Ok(())),
        (Duration::from_millis(1_800_001), Err(GroupError::InvalidSessionTimeout)),
    ] {
        assert_eq!(LIMITS.check_session(timeout), expected, "{timeout:?}");
    }
}
