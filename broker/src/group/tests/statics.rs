//! Static members (KIP-345): known by an instance id, back any time under a new member id.

use bytes::Bytes;
use client::wire::ErrorCode;

use super::support::*;
use crate::group::*;

/// `s` with instance id `i` leads, `b` follows.
fn stable() -> Driven {
    let mut driven = Driven::new();
    let join = Join { instance_id: Some("i".into()), new_member_id: "s".into(), ..driven.request("") };
    driven.join(join);
    driven.join_as("b");
    driven.pass(LIMITS.initial_rebalance_delay * 2);
    for id in ["b", "s"] {
        driven.sync(id, &[("s", "1"), ("b", "2")]);
    }
    driven.stored(Ok(()));
    assert_eq!(driven.group.state(), State::Stable);
    driven
}

/// The static member comes back without its member id.
fn back(driven: &mut Driven, change: impl FnOnce(&mut Join)) -> Ticket {
    let mut join = Join { instance_id: Some("i".into()), new_member_id: "t".into(), ..driven.request("") };
    change(&mut join);
    driven.join(join)
}

#[test]
fn one_that_is_back_goes_on_without_a_rebalance() {
    for can_skip_assignment in [true, false] {
        let mut driven = stable();
        let t = back(&mut driven, |join| join.can_skip_assignment = can_skip_assignment);
        assert!(driven.waits(t), "until it is stored");
        assert_eq!(driven.stores[0].value.leader.as_deref(), Some("t"));
        driven.stored(Ok(()));
        let joined = driven.joined(t);
        let leader = if can_skip_assignment { "t" } else { "s" };
        let members = if can_skip_assignment { 2 } else { 0 };
        let seen = (joined.generation, joined.skip_assignment, &*joined.leader, joined.members.len());
        assert_eq!(seen, (1, can_skip_assignment, leader, members));
        assert_eq!(driven.group.state(), State::Stable);
        let synced = driven.sync("t", &[]);
        assert_eq!(driven.synced(synced), Ok(&b"1"[..]));
        assert_eq!(driven.heartbeat("s"), Err(GroupError::UnknownMember));
        let (generation, now) = (driven.group.generation(), driven.now());
        let fenced = driven.group.heartbeat("s", Some("i"), generation, now);
        assert_eq!(fenced, Err(GroupError::FencedInstance));
        assert_eq!(driven.group.heartbeat("t", Some("i"), generation, now), Ok(()));
        assert_eq!(driven.group.heartbeat("t", Some("j"), generation, now), Err(GroupError::UnknownMember));
    }
}

#[test]
fn it_is_as_it_was_if_that_cannot_be_stored() {
    let mut driven = stable();
    let t = back(&mut driven, |join| join.protocols = protocols(&["range"], "new"));
    let code = ErrorCode::NotCoordinator;
    driven.stored(Err(code));
    assert_eq!(driven.join_error(t), GroupError::NotStored { code });
    assert_eq!(driven.heartbeat("s"), Ok(()));
    assert_eq!(driven.heartbeat("t"), Err(GroupError::UnknownMember));
    let described = driven.group.describe();
    let s = described.members.iter().find(|member| member.member_id == "s").unwrap();
    assert_eq!(s.metadata, Bytes::from_static(b"meta"));
}

#[test]
fn a_later_generation_keeps_its_new_id_even_if_that_was_not_stored() {
    for outcome in [Ok(()), Err(ErrorCode::RequestTimedOut)] {
        let mut driven = stable();
        let t = back(&mut driven, |_| ());
        let replaced = std::mem::take(&mut driven.stores);
        let rejoin = driven.request("b");
        driven.join_as("c");
        driven.join(rejoin);
        assert_eq!(driven.joined(t).generation, 2);
        let synced = driven.sync("t", &[("t", "3"), ("b", "4"), ("c", "5")]);
        let assigned = std::mem::replace(&mut driven.stores, replaced);
        driven.stored(outcome);
        driven.stores = assigned;
        driven.stored(Ok(()));
        assert_eq!(driven.synced(synced), Ok(&b"3"[..]), "{outcome:?}");
        assert_eq!(driven.heartbeat("t"), Ok(()));
        assert_eq!(driven.heartbeat("s"), Err(GroupError::UnknownMember));
    }
}

#[test]
fn another_protocol_makes_a_rebalance() {
    let mut driven = Driven::new();
    let both = |join: &mut Join| join.protocols = protocols(&["range", "sticky"], "m");
    let mut join = Join { instance_id: Some("i".into()), new_member_id: "s".into(), ..driven.request("") };
    both(&mut join);
    driven.join(join);
    driven.pass(LIMITS.initial_rebalance_delay);
    driven.sync("s", &[]);
    driven.stored(Ok(()));
    let t = back(&mut driven, |join| join.protocols = protocols(&["sticky", "range"], "m"));
    assert_eq!(driven.joined(t).generation, 2);
    assert_eq!(driven.joined(t).protocol.as_deref(), Some("sticky"));
}

#[test]
fn during_a_rebalance_the_old_one_is_fenced() {
    let mut driven = stable();
    driven.leave("b").unwrap();
    // Only s is left, so the group completes when it joins.
    let join = Join { instance_id: Some("i".into()), ..driven.request("s") };
    driven.join(join);
    assert_eq!(driven.group.state(), State::CompletingRebalance);
    let t = back(&mut driven, |_| {});
    assert_eq!(driven.joined(t).generation, 3);
    driven.join_as("c");
    let join = Join { instance_id: Some("i".into()), ..driven.request("t") };
    let parked = driven.join(join);
    assert_eq!(driven.joined(parked).generation, 4);

    driven.join_as("d");
    let join = Join { instance_id: Some("i".into()), ..driven.request("t") };
    let parked = driven.join(join);
    assert!(driven.waits(parked));
    back(&mut driven, |join| join.new_member_id = "u".into());
    assert_eq!(driven.join_error(parked), GroupError::FencedInstance);
}

#[test]
fn it_stays_while_it_is_away_until_its_session_ends() {
    let mut driven = stable();
    let patient = |driven: &mut Driven, id: &str| {
        let join = Join { session_timeout: SESSION * 3, ..driven.request(id) };
        driven.join(join)
    };
    let new = patient(&mut driven, "");
    patient(&mut driven, "b");
    driven.pass(SESSION / 2);
    assert!(driven.waits(new));
    driven.pass(SESSION / 2);
    assert_eq!(driven.group.state(), State::CompletingRebalance);
    assert_eq!(driven.group.describe().members.len(), 2, "s is gone with its session");
}

#[test]
fn an_administrator_removes_it_by_instance_id() {
    let mut driven = stable();
    let remove = |driven: &mut Driven, member_id: &str, instance_id: Option<&str>| {
        let leaving = Leaving { member_id: member_id.into(), instance_id: instance_id.map(Into::into) };
        let (outcome, effects) = driven.group.leave(&[leaving], driven.now());
        driven.take(effects);
        outcome.unwrap()[0]
    };
    assert_eq!(remove(&mut driven, "", Some("j")), Err(GroupError::UnknownMember));
    assert_eq!(remove(&mut driven, "b", Some("i")), Err(GroupError::FencedInstance));
    assert_eq!(remove(&mut driven, "", Some("i")), Ok(()));
    assert_eq!(driven.group.describe().members.len(), 1);
    assert_eq!(remove(&mut driven, "", None), Err(GroupError::UnknownMember));
}
