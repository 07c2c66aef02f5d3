use super::*;
use crate::wire::messages::{JoinGroupResponse, SyncGroupResponse, join_group_response};

const SECOND: Duration = Duration::from_secs(1);

fn membership(assignors: &[Assignor], instance: Option<&str>) -> (Membership, Instant) {
    let settings = Settings {
        group_id: Str::from_static("g"),
        instance_id: instance.map(Str::from),
        assignors: assignors.to_vec(),
        rack: None,
        session_timeout: 10 * SECOND,
        rebalance_timeout: 60 * SECOND,
        heartbeat_interval: 3 * SECOND,
    };
    let now = Instant::now();
    let mut membership = Membership::new(settings, now);
    membership.polled(now);
    membership.subscribe(topics(&["t"]), now);
    (membership, now)
}

fn topics(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn parts(ids: &[i32]) -> BTreeSet<TopicPartition> {
    ids.iter().map(|id| TopicPartition::new("t", *id)).collect()
}

#[track_caller]
fn join(membership: &mut Membership) -> (u64, JoinGroupRequest) {
    match membership.next_step() {
        Step::Join { attempt, request } => (attempt, request),
        other => panic!("not joining: {other:?}"),
    }
}

fn told(request: &JoinGroupRequest) -> Subscription {
    Subscription::decode(request.protocols[0].metadata.clone()).unwrap()
}

fn join_answer(error: ErrorCode, generation: i32, protocol: Assignor, leader: &str) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.code(),
        generation_id: generation,
        protocol_name: Some(Str::from_static(protocol.name())),
        leader: Str::from(leader),
        member_id: Str::from_static("m1"),
        ..Default::default()
    }
}

/// As a follower through join and sync, up to the assignment.
#[track_caller]
fn reach(membership: &mut Membership, now: Instant, generation: i32, assigned: &[i32]) -> Duty {
    let (attempt, request) = join(membership);
    let protocol: Assignor = request.protocols[0].name.parse().unwrap();
    assert_eq!(
        membership.joined(attempt, join_answer(ErrorCode::None, generation, protocol, "m0"), now),
        After::Go
    );
    let Step::Sync { attempt, request } = membership.next_step() else { panic!("not syncing") };
    assert_eq!((request.generation_id, request.assignments.len()), (generation, 0));
    assert_eq!(membership.synced(attempt, sync_answer(ErrorCode::None, assigned)), After::Go);
    membership.duty().unwrap()
}

fn sync_answer(error: ErrorCode, assigned: &[i32]) -> SyncGroupResponse {
    let assignment = assignor::Assignment { partitions: parts(assigned), user_data: None };
    SyncGroupResponse {
        error_code: error.code(),
        assignment: assignment.encode().unwrap(),
        ..Default::default()
    }
}

fn is_stable(membership: &Membership) -> bool {
    membership.phase == Phase::Stable
}

#[track_caller]
fn beat(membership: &mut Membership, now: Instant, answer: ErrorCode) -> After {
    let now = now + 3 * SECOND;
    let Beat::Send { identity, .. } = membership.next_beat(now) else { panic!("no beat") };
    membership.beat_answered(&identity, answer, now)
}

fn give_up(ids: &[i32], lost: bool) -> Option<Duty> {
    Some(Duty::GiveUp { partitions: parts(ids), lost })
}

fn take(added: &[i32], revoked: &[i32]) -> Duty {
    Duty::Take { added: parts(added), revoked: parts(revoked) }
}

#[test]
fn a_member_gets_its_id_joins_syncs_and_is_stable() {
    let (mut member, now) = membership(&[Assignor::Range], None);
    let (attempt, request) = join(&mut member);
    assert_eq!(
        (&*request.member_id, request.session_timeout_ms, request.rebalance_timeout_ms),
        ("", 10_000, 60_000)
    );
    let refused = join_answer(ErrorCode::MemberIdRequired, -1, Assignor::Range, "");
    assert_eq!(member.joined(attempt, refused, now), After::Go);
    assert_eq!(&*join(&mut member).1.member_id, "m1");
    assert_eq!(member.committer(), None);
    assert_eq!(reach(&mut member, now, 4, &[0, 1]), take(&[0, 1], &[]));
    member.taken();
    assert!(is_stable(&member) && member.duty().is_none());
    assert_eq!(member.committer(), Some(Identity { member_id: Str::from_static("m1"), generation: 4 }));
}

#[test]
fn a_leader_divides_what_the_members_want() {
    let (mut member, now) = membership(&[Assignor::RoundRobin, Assignor::Range], None);
    let (attempt, request) = join(&mut member);
    let mut answer = join_answer(ErrorCode::None, 1, Assignor::Range, "m1");
    let metadata = [request.protocols[1].metadata.clone(), bytes::Bytes::from_static(b"?")];
    for (id, metadata) in ["m1", "m2"].into_iter().zip(metadata) {
        let member_id = Str::from_static(id);
        let member =
            join_group_response::JoinGroupResponseMember { member_id, metadata, ..Default::default() };
        answer.members.push(member);
    }
    member.joined(attempt, answer, now);
    let Step::Divide { attempt, assignor, members, skip } = member.next_step() else { panic!() };
    assert_eq!((assignor, skip), (Assignor::Range, false));
    assert_eq!(members[0].subscription.topics, topics(&["t"]));
    assert_eq!(members[1].subscription, Subscription::default(), "who cannot be understood gets nothing");
    member.divided(attempt, &[(Str::from_static("m1"), parts(&[0]))].into());
    let Step::Sync { attempt, request } = member.next_step() else { panic!() };
    assert_eq!(request.protocol_name.as_deref(), Some("range"));
    assert_eq!(&*request.assignments[0].member_id, "m1");
    // The coordinator goes away: the same is said to the next one.
    assert_eq!(member.synced(attempt, sync_answer(ErrorCode::NotCoordinator, &[])), After::FindCoordinator);
    assert!(matches!(member.next_step(), Step::Sync { request: again, .. } if again == request));
    member.synced(attempt, sync_answer(ErrorCode::None, &[0]));
    member.taken();
    member.topics_changed();
    assert_eq!(member.duty(), give_up(&[0], false));
}

#[test]
fn an_eager_member_gives_everything_up_before_it_joins_again() {
    let (mut member, now) = membership(&[Assignor::Range, Assignor::CooperativeSticky], None);
    reach(&mut member, now, 1, &[0, 1]);
    member.taken();
    assert_eq!(beat(&mut member, now, ErrorCode::RebalanceInProgress), After::Go);
    assert_eq!(member.next_step(), Step::Wait);
    assert_eq!(member.duty(), give_up(&[0, 1], false));
    assert!(member.committer().is_some(), "what is given up can still be committed");
    // The session goes on meanwhile.
    assert!(matches!(member.next_beat(now + 7 * SECOND), Beat::Send { .. }));
    member.given_up(&parts(&[0, 1]));
    assert_eq!(told(&join(&mut member).1).owned, parts(&[]));
    assert_eq!(reach(&mut member, now, 2, &[1]), take(&[1], &[]));
}

#[test]
fn a_cooperative_member_keeps_what_it_has_and_joins_twice_for_what_moves() {
    let (mut member, now) = membership(&[Assignor::CooperativeSticky], None);
    assert_eq!(reach(&mut member, now, 1, &[0, 1]), take(&[0, 1], &[]));
    member.taken();
    beat(&mut member, now, ErrorCode::RebalanceInProgress);
    assert_eq!(member.duty(), None, "it gives up nothing, and nobody has to poll");
    let subscription = told(&join(&mut member).1);
    assert_eq!((subscription.owned, subscription.generation), (parts(&[0, 1]), Some(1)));
    assert_eq!(reach(&mut member, now, 2, &[1]), take(&[], &[0]));
    member.taken();
    let subscription = told(&join(&mut member).1);
    assert_eq!((subscription.owned, subscription.generation), (parts(&[1]), Some(2)));
    assert_eq!(reach(&mut member, now, 3, &[1]), take(&[], &[]));
    member.taken();
    assert!(is_stable(&member));
}

#[test]
fn a_cooperative_member_gives_up_topics_that_it_wants_no_more() {
    let (mut member, now) = membership(&[Assignor::CooperativeSticky], None);
    reach(&mut member, now, 1, &[0, 1]);
    member.taken();
    member.subscribe(topics(&["u"]), now);
    assert_eq!(member.duty(), give_up(&[0, 1], false));
    member.given_up(&parts(&[0, 1]));
    assert_eq!(told(&join(&mut member).1).topics, topics(&["u"]));
}

#[test]
fn a_sticky_member_tells_what_it_had() {
    let (mut member, now) = membership(&[Assignor::Sticky], None);
    reach(&mut member, now, 6, &[0, 1]);
    member.taken();
    beat(&mut member, now, ErrorCode::RebalanceInProgress);
    member.given_up(&parts(&[0, 1]));
    let subscription = told(&join(&mut member).1);
    assert_eq!(subscription.user_data, Assignor::Sticky.user_data(&parts(&[0, 1]), 6));
    assert_eq!(subscription.owned, parts(&[]));
}

#[test]
fn an_unknown_member_loses_what_it_had_and_joins_anew() {
    for error in [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration] {
        let (mut member, now) = membership(&[Assignor::CooperativeSticky], None);
        reach(&mut member, now, 1, &[0]);
        member.taken();
        beat(&mut member, now, error);
        assert_eq!(member.duty(), give_up(&[0], true));
        assert_eq!(member.committer(), None, "others may have committed since");
        member.given_up(&parts(&[0]));
        assert_eq!(&*join(&mut member).1.member_id, "");
    }
}

#[test]
fn answers_to_former_requests_change_nothing() {
    let (mut member, now) = membership(&[Assignor::Range], None);
    let (old, _) = join(&mut member);
    reach(&mut member, now, 1, &[0]);
    member.taken();
    let before = member.committer();
    member.joined(old, join_answer(ErrorCode::UnknownMemberId, -1, Assignor::Range, ""), now);
    let former = Identity { member_id: Str::from_static("m1"), generation: 0 };
    member.beat_answered(&former, ErrorCode::IllegalGeneration, now);
    member.commit_refused(&former, ErrorCode::IllegalGeneration);
    assert!(is_stable(&member) && member.committer() == before);
}

#[test]
fn who_is_asked_again_and_who_is_told() {
    use ErrorCode::{
        CoordinatorLoadInProgress, CoordinatorNotAvailable, GroupAuthorizationFailed, GroupMaxSizeReached,
        InconsistentGroupProtocol, InvalidSessionTimeout, NotCoordinator, RebalanceInProgress,
        UnknownMemberId,
    };
    let refusal = |code| Some(Duty::Fail(Refusal::Refused { group: "g".to_owned(), code }));
    let table = [
        (CoordinatorLoadInProgress, After::Pause, None),
        (CoordinatorNotAvailable, After::FindCoordinator, None),
        (NotCoordinator, After::FindCoordinator, None),
        (UnknownMemberId, After::Pause, None),
        (RebalanceInProgress, After::Pause, None),
        (InconsistentGroupProtocol, After::Go, refusal(InconsistentGroupProtocol)),
        (InvalidSessionTimeout, After::Go, refusal(InvalidSessionTimeout)),
        (GroupAuthorizationFailed, After::Go, refusal(GroupAuthorizationFailed)),
        (GroupMaxSizeReached, After::Go, refusal(GroupMaxSizeReached)),
    ];
    for (error, after, duty) in table {
        let (mut member, now) = membership(&[Assignor::Range], None);
        let (attempt, _) = join(&mut member);
        assert_eq!(
            member.joined(attempt, join_answer(error, -1, Assignor::Range, ""), now),
            after,
            "{error:?}"
        );
        assert_eq!(member.duty(), duty, "{error:?}");
        if duty.is_some() {
            member.failure_told();
            assert_eq!((member.duty(), member.next_step()), (None, Step::Wait));
            member.polled(now);
        }
        join(&mut member);
    }
}

#[test]
fn sync_that_meets_another_rebalance_joins_again() {
    let (mut member, now) = membership(&[Assignor::Range], None);
    let (attempt, _) = join(&mut member);
    member.joined(attempt, join_answer(ErrorCode::None, 1, Assignor::Range, "m0"), now);
    let Step::Sync { attempt, .. } = member.next_step() else { panic!() };
    member.synced(attempt, sync_answer(ErrorCode::RebalanceInProgress, &[]));
    assert_eq!(&*join(&mut member).1.member_id, "m1", "it keeps its id");
}

#[test]
fn a_fenced_static_member_stays_out() {
    let (mut member, now) = membership(&[Assignor::Range], Some("i1"));
    assert_eq!(join(&mut member).1.group_instance_id.as_deref(), Some("i1"));
    reach(&mut member, now, 1, &[0]);
    member.taken();
    beat(&mut member, now, ErrorCode::FencedInstanceId);
    assert_eq!(member.duty(), give_up(&[0], true));
    member.given_up(&parts(&[0]));
    let fenced = Some(Duty::Fail(Refusal::Fenced { group: "g".to_owned(), instance: "i1".to_owned() }));
    assert_eq!(member.duty(), fenced);
    member.failure_told();
    member.polled(now);
    assert_eq!((member.duty(), member.next_step()), (fenced, Step::Wait));
}

#[test]
fn only_dynamic_members_leave() {
    let (mut dynamic, now) = membership(&[Assignor::Range], None);
    reach(&mut dynamic, now, 1, &[0]);
    dynamic.taken();
    dynamic.leave();
    assert_eq!(dynamic.take_leaving().map(|identity| identity.member_id), Some(Str::from_static("m1")));
    assert_eq!((dynamic.take_leaving(), dynamic.duty(), dynamic.next_step()), (None, None, Step::Wait));
    let (mut fixed, now) = membership(&[Assignor::Range], Some("i1"));
    reach(&mut fixed, now, 1, &[0]);
    fixed.taken();
    fixed.leave();
    assert_eq!(fixed.take_leaving(), None);
}

#[test]
fn beats_come_in_time_and_never_while_joining() {
    let (mut member, now) = membership(&[Assignor::Range], None);
    assert_eq!(member.next_beat(now + 9 * SECOND), Beat::Wait { until: None });
    reach(&mut member, now, 1, &[0]);
    assert_eq!(member.next_beat(now), Beat::Wait { until: Some(now + 3 * SECOND) });
    assert!(matches!(member.next_beat(now + 3 * SECOND), Beat::Send { .. }));
}

#[test]
fn who_does_not_poll_leaves_and_comes_back_with_its_next_poll() {
    let (mut member, now) = membership(&[Assignor::Range], None);
    reach(&mut member, now, 1, &[0]);
    member.taken();
    assert!(matches!(member.next_beat(now + 100 * SECOND), Beat::Send { .. }), "a poll may last");
    member.poll_ended(now);
    assert!(matches!(member.next_beat(now + 59 * SECOND), Beat::Send { .. }));
    assert_eq!(member.next_beat(now + 60 * SECOND), Beat::Wait { until: None });
    assert!(member.take_leaving().is_some());
    assert_eq!((member.duty(), member.next_step()), (give_up(&[0], true), Step::Wait));
    member.polled(now + 99 * SECOND);
    member.given_up(&parts(&[0]));
    join(&mut member);
}
