use client::ids::{ControllerEpoch, LeaderEpoch, Offset};

use super::*;

const ASSIGNED: [BrokerId; 3] = [BrokerId(1), BrokerId(2), BrokerId(3)];

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().map(|&id| BrokerId(id)).collect()
}

fn state(leader: i32, isr: &[i32]) -> Leadership {
    Leadership {
        leader: BrokerId(leader),
        leader_epoch: LeaderEpoch(7),
        isr: ids(isr),
        recovery: Recovery::Recovered,
        partition_epoch: ZkVersion(9),
        controller_epoch: ControllerEpoch(2),
    }
}

fn kept(eligible: &[i32], uncertain: &[i32]) -> Outside {
    Outside { eligible: ids(eligible), uncertain: ids(uncertain), is_short: true, is_kept: true }
}

fn end(epoch: i32, offset: i64) -> Option<LogEnd> {
    Some(LogEnd { epoch: LeaderEpoch(epoch), offset: Offset(offset) })
}

/// Members that lost records, who is eligible, and what was told.
fn record(losers: &[i32], eligible: &[i32], told: &[(i32, Option<LogEnd>)]) -> Record {
    let mut record = Record::default();
    record.load(kept(eligible, &[]), ZkVersion(9));
    for &loser in losers {
        record.lost_tail(BrokerId(loser), &ids(losers));
    }
    for &(broker, end) in told {
        record.asked(&[BrokerId(broker)]);
        assert!(record.told(BrokerId(broker), end));
    }
    record
}

fn choose(record: &Record, isr: &[i32], online: &[i32], haste: Haste) -> Choice {
    record.choose(&ASSIGNED, &state(-1, isr), &ids(online).into_iter().collect(), haste)
}

fn elected(leader: i32, recovery: Recovery) -> Choice {
    let next = Leadership { leader_epoch: LeaderEpoch(8), recovery, ..state(leader, &[leader]) };
    Choice::Elect(next)
}

fn wait(replicas: &[i32], any: bool) -> Choice {
    Choice::Wait { replicas: ids(replicas), any }
}

#[test]
fn the_furthest_log_leads_once_everybody_that_counts_is_there_and_has_answered() {
    use Recovery::{Recovered, Recovering};
    let (short, long, later) = (end(4, 80), end(4, 100), end(5, 10));
    // Members that lost records, eligible ones, answers; ISR, online; what comes of it.
    type Case<'a> = (&'a [i32], &'a [i32], &'a [(i32, Option<LogEnd>)], &'a [i32], &'a [i32], Choice);
    let table: &[Case] = &[
        (&[], &[], &[], &[1], &[1, 2], Choice::Usual),
        (&[1], &[], &[], &[1, 2], &[1], Choice::Usual),
        (&[1], &[2], &[], &[1], &[1, 2], Choice::Ask(ids(&[1, 2]))),
        (&[1], &[2], &[(1, short)], &[1], &[1, 2], Choice::Ask(ids(&[2]))),
        // The eligible one is away, and may hold what the member lost.
        (&[1], &[2], &[(1, long)], &[1], &[1], wait(&[2], true)),
        (&[1], &[2, 3], &[(1, long), (3, short)], &[1], &[1, 3], elected(1, Recovered)),
        (&[1], &[2], &[(1, short), (2, long)], &[1], &[1, 2], elected(2, Recovered)),
        // It lost nothing after all, or no more than the other lacks.
        (&[1], &[2], &[(1, long), (2, long)], &[1], &[1, 2], elected(1, Recovered)),
        // A longer log of an earlier epoch holds what nobody acknowledged.
        (&[1], &[2], &[(1, later), (2, long)], &[1], &[1, 2], elected(1, Recovered)),
        // Nobody is eligible: whoever is there, as soon as all members are.
        (&[1, 2], &[], &[(1, short)], &[1, 2], &[1], wait(&[2], false)),
        (&[1, 2], &[], &[(1, short), (2, long)], &[1, 2], &[1, 2], elected(2, Recovered)),
        (&[1], &[], &[(1, short)], &[1], &[1], elected(1, Recovered)),
        (&[1], &[], &[(1, short), (3, long)], &[1], &[1, 3], elected(3, Recovering)),
        // Nobody knows whether a member lacks that, but it parted from what the member has.
        (&[1], &[], &[(1, short), (3, later)], &[1], &[1, 3], elected(1, Recovered)),
        (&[1], &[], &[(1, short), (3, end(5, 80))], &[1], &[1, 3], elected(1, Recovered)),
        (&[1], &[], &[(1, short), (3, end(5, 81))], &[1], &[1, 3], elected(3, Recovering)),
        (&[1], &[2], &[(1, later), (2, short), (3, end(6, 10))], &[1], &[1, 2, 3], elected(1, Recovered)),
        (&[1], &[], &[(1, None), (3, short)], &[1], &[1, 3], elected(3, Recovering)),
        (&[1], &[], &[(1, None), (3, None)], &[1], &[1, 3], elected(1, Recovered)),
        (&[1], &[2], &[(1, long), (2, None)], &[1], &[1, 2], elected(2, Recovered)),
    ];
    for (losers, eligible, told, isr, online, expected) in table {
        let record = record(losers, eligible, told);
        let case =
            format!("lost {losers:?}, eligible {eligible:?}, told {told:?}, isr {isr:?}, online {online:?}");
        assert_eq!(&choose(&record, isr, online, Haste::None), expected, "{case}");
    }
}

#[test]
fn haste_gives_up_what_is_away_and_force_what_is_not_known() {
    let mut waiting = record(&[1], &[2], &[(1, end(4, 80))]);
    assert_eq!(choose(&waiting, &[1], &[1], Haste::None), wait(&[2], true));
    assert_eq!(choose(&waiting, &[1], &[1], Haste::Unclean), elected(1, Recovery::Recovered));
    waiting.asked(&ids(&[3]));
    let silent = Choice::Listen(ids(&[3]));
    assert_eq!(choose(&waiting, &[1], &[1, 3], Haste::Unclean), silent);
    assert_eq!(choose(&waiting, &[1], &[1, 3], Haste::Forced), elected(1, Recovery::Recovered));
    let unasked = record(&[1], &[2], &[]);
    assert_eq!(choose(&unasked, &[1], &[1, 3], Haste::Forced), elected(1, Recovery::Recovered));
    assert_eq!(choose(&unasked, &[1], &[], Haste::Forced), Choice::Usual);
}

#[test]
fn a_word_that_belongs_to_another_version_counts_for_nothing() {
    let mut foreign = Record::default();
    foreign.load(kept(&[2], &[3]), ZkVersion(8));
    foreign.lost_tail(BrokerId(1), &ids(&[1]));
    foreign.asked(&ids(&[1]));
    foreign.told(BrokerId(1), end(4, 80));
    assert_eq!(choose(&foreign, &[1], &[1], Haste::None), elected(1, Recovery::Recovered));
}

#[test]
fn who_leaves_while_too_few_are_in_sync_stays_eligible_until_enough_are() {
    let empty = Record::default();
    let with = |eligible: &[i32]| record(&[], eligible, &[]);
    let changed = |record: &Record, before: &[i32], after: &[i32], cause| {
        record.outside_after(&state(1, before), &state(1, after), 2, cause)
    };
    let after = |record: &Record, before: &[i32], after: &[i32]| {
        let outside = changed(record, before, after, Cause::Controller);
        if after.len() < 2 {
            assert_eq!(changed(record, before, after, Cause::Leader), outside, "whoever asks for it");
        }
        outside
    };
    let for_now = |uncertain: &[i32]| Outside { uncertain: ids(uncertain), ..Outside::default() };
    let for_long = |uncertain: &[i32]| Outside { is_kept: true, ..for_now(uncertain) };
    assert_eq!(after(&empty, &[1, 2, 3], &[1, 2]), for_now(&[3]));
    assert_eq!(after(&empty, &[1, 2], &[1]), kept(&[2], &[]));
    assert_eq!(after(&empty, &[1, 2, 3], &[1]), kept(&[2, 3], &[]));
    assert_eq!(after(&with(&[2]), &[1], &[1]), kept(&[2], &[]));
    assert_eq!(after(&with(&[2]), &[1], &[1, 3]), for_now(&[2]));
    assert_eq!(after(&with(&[2]), &[1], &[2]), kept(&[1], &[]));
    let one_will_do = empty.outside_after(&state(1, &[1, 2]), &state(1, &[1]), 1, Cause::Controller);
    assert_eq!(one_will_do, for_now(&[2]));
    // A leader that asks to go on without somebody does; what is told of a stop lasts until one has heard.
    assert_eq!(changed(&empty, &[1, 2, 3], &[1, 2], Cause::Leader), for_now(&[]));
    assert_eq!(changed(&with(&[2]), &[1], &[1, 3], Cause::Leader), for_now(&[]));
    let mut lasting = Record::default();
    lasting.written(&state(-1, &[1, 2]), changed(&empty, &[1, 2, 3], &[1, 2], Cause::Stop));
    assert_eq!(lasting.outside, for_long(&[3]));
    assert_eq!(after(&lasting, &[1, 2], &[1, 2]), for_long(&[3]));
    assert_eq!(changed(&lasting, &[1, 2], &[1], Cause::Leader), kept(&[2], &[]));
    assert!(lasting.leader_heard() && !lasting.leader_heard());
    // One that lost records may have more than others that did, and an unclean election begins anew.
    assert_eq!(after(&record(&[1], &[], &[]), &[1, 2], &[2]), kept(&[], &[1]));
    let unclean = Leadership { recovery: Recovery::Recovering, ..state(3, &[3]) };
    let anew = with(&[2]).outside_after(&state(-1, &[1]), &unclean, 2, Cause::Controller);
    assert_eq!(anew, Outside::default());
}

#[test]
fn who_may_hold_more_is_waited_for() {
    let mut record = Record::default();
    // 3 left while the leader may have been gone; then 2 left, and lost the end of its log.
    let before = state(1, &[1, 2]);
    record.written(&before, record.outside_after(&state(1, &[1, 2, 3]), &before, 2, Cause::Controller));
    record.written(&state(1, &[1]), record.outside_after(&before, &state(1, &[1]), 2, Cause::Controller));
    assert_eq!(record.outside, kept(&[2], &[3]));
    assert!(record.lost_tail(BrokerId(2), &ids(&[1])) && !record.lost_tail(BrokerId(2), &ids(&[1])));
    assert_eq!(record.outside, kept(&[], &[3, 2]));
    assert!(!record.leader_heard(), "alone it acknowledges nothing");
    // Then 1 did so too.
    record.lost_tail(BrokerId(1), &ids(&[1]));
    record.asked(&ids(&[1]));
    record.told(BrokerId(1), end(4, 90));
    assert_eq!(choose(&record, &[1], &[1], Haste::None), wait(&[3, 2], false));
    assert_eq!(choose(&record, &[1], &[1], Haste::Unclean), elected(1, Recovery::Recovered));
    record.asked(&ids(&[2, 3]));
    record.told(BrokerId(2), end(4, 80));
    record.told(BrokerId(3), end(4, 100));
    assert_eq!(choose(&record, &[1], &[1, 3], Haste::None), wait(&[2], false));
    assert_eq!(choose(&record, &[1], &[1, 2, 3], Haste::None), elected(3, Recovery::Recovered));
}

#[test]
fn a_record_lasts_as_long_as_something_depends_on_it() {
    let mut standing = Standing::default();
    let partition = TopicPartition::new("t", 0);
    let noted = standing.change(&partition, |record| record.lost_tail(BrokerId(1), &ids(&[1])));
    let waits = |standing: &Standing| standing.depending_on(BrokerId(1)).next().is_some();
    assert!(!noted && waits(&standing));
    standing.change(&partition, |record| record.written(&state(-1, &[1]), Outside::default()));
    assert!(waits(&standing), "it still has no leader");
    standing.change(&partition, |record| record.written(&state(2, &[2]), Outside::default()));
    assert!(!waits(&standing));
    assert_eq!(standing.get(&partition), None);

    let list = Outside { is_short: false, ..kept(&[2], &[3]) };
    standing.change(&partition, |record| record.load(list, ZkVersion(9)));
    assert!(standing.change(&partition, |record| record.lost_tail(BrokerId(2), &ids(&[1]))));
    assert!(standing.change(&partition, Record::leader_heard));
    assert!(standing.get(&partition).is_some_and(Record::is_noted), "the node has to go");
    standing.change(&partition, |record| record.note(false));
    assert_eq!(standing.get(&partition), None);
}

#[test]
fn what_belongs_to_a_state_that_is_gone_is_forgotten_but_for_its_node() {
    let mut record = record(&[], &[2], &[]);
    record.read(&state(1, &[1]));
    assert_eq!(record.outside, kept(&[2], &[]), "it is the same state");
    record.read(&Leadership { partition_epoch: ZkVersion(10), ..state(1, &[1]) });
    assert!(!record.lost_tail(BrokerId(2), &ids(&[1])) && !record.leader_heard());
    assert!(record.is_noted(), "the node is still there");
}

#[test]
fn a_list_of_nobody_is_not_kept() {
    let mut outside = kept(&[1], &[2]);
    outside.retain(&ids(&[2, 3]));
    assert_eq!(outside, kept(&[], &[2]));
    outside.retain(&ids(&[3]));
    assert_eq!(outside, Outside { is_kept: false, ..kept(&[], &[]) });
}

#[test]
fn a_list_that_somebody_left_is_written_over() {
    let mut record = Record::default();
    record.written(&state(1, &[1, 2]), Outside { is_kept: false, ..kept(&[], &[3]) });
    assert!(record.keep() && !record.is_noted());
    record.found();
    assert!(record.is_noted() && record.keep());
    record.note(true);
    assert!(!record.keep());
    record.note(false);
    assert!(!record.is_noted() && record.keep());
}
