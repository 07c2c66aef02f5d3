use std::collections::HashSet;

use super::*;

const ME: BrokerId = BrokerId(1);
const TWO: BrokerId = BrokerId(2);
const THREE: BrokerId = BrokerId(3);
/// Of a follower that does not say under which registration it fetches.
const UNTOLD: BrokerEpoch = BrokerEpoch(-1);
const LAG_MAX: Duration = Duration::from_secs(30);

fn assignment(epoch: i32, partition_epoch: i32, isr: &[BrokerId]) -> Assignment {
    Assignment {
        leader_epoch: LeaderEpoch(epoch),
        partition_epoch: ZkVersion(partition_epoch),
        replicas: vec![ME, TWO, THREE],
        isr: isr.to_vec(),
    }
}

struct Clock {
    start: Instant,
    is_alive: Box<dyn Fn(BrokerId) -> bool>,
}

impl Clock {
    fn new() -> Clock {
        Clock { start: Instant::now(), is_alive: Box::new(|_| true) }
    }

    fn at(&self, seconds: u64) -> Moment<'_> {
        Moment { now: self.start + Duration::from_secs(seconds), lag_max: LAG_MAX, is_alive: &*self.is_alive }
    }
}

fn fetch(leader: &mut Leader, from: BrokerId, end: i64, at: &Moment<'_>) -> Option<IsrProposal> {
    leader.follower_fetched((from, UNTOLD), Offset(end), Offset(0), at)
}

#[test]
fn the_watermark_waits_for_every_member_in_sync() {
    let clock = Clock::new();
    let mut leader =
        Leader::new(ME, &assignment(0, 0, &[ME, TWO, THREE]), Offset(0), Offset(0), 2, &clock.at(0));
    leader.appended(Offset(10), &clock.at(1));
    assert_eq!(leader.high_watermark(), Offset(0));
    assert_eq!(fetch(&mut leader, TWO, 10, &clock.at(1)), None);
    assert_eq!(leader.high_watermark(), Offset(0), "broker 3 is not known to have anything");
    assert_eq!(fetch(&mut leader, THREE, 7, &clock.at(1)), None);
    assert_eq!(leader.high_watermark(), Offset(7));
}

#[test]
fn a_single_replica_commits_as_it_appends() {
    let clock = Clock::new();
    let alone = Assignment { replicas: vec![ME], ..assignment(3, 5, &[ME]) };
    let mut leader = Leader::new(ME, &alone, Offset(4), Offset(1), 2, &clock.at(0));
    assert_eq!(leader.high_watermark(), Offset(4));
    assert_eq!(leader.effective_min_isr(), 1, "min.insync.replicas is capped by the replica count");
    leader.appended(Offset(6), &clock.at(0));
    assert_eq!(leader.high_watermark(), Offset(6));
}

#[test]
fn the_watermark_rests_under_the_minimum_in_sync() {
    let clock = Clock::new();
    let mut leader = Leader::new(ME, &assignment(0, 0, &[ME]), Offset(0), Offset(0), 2, &clock.at(0));
    leader.appended(Offset(5), &clock.at(1));
    assert!(!leader.has_enough_in_sync());
    assert_eq!(leader.high_watermark(), Offset(0));

    let proposal = fetch(&mut leader, TWO, 5, &clock.at(2)).expect("broker 2 has caught up");
    assert_eq!(proposal.isr, [ME, TWO]);
    assert_eq!(leader.high_watermark(), Offset(0), "only a written ISR counts towards the minimum");
    assert!(leader.may_confirm(), "a confirmation counts the maximal ISR");
    leader.isr_written(LeaderEpoch(0), &[ME, TWO], ZkVersion(1), &clock.at(2)).expect("it was open");
    assert_eq!(leader.high_watermark(), Offset(5));
    assert_eq!(leader.partition_epoch(), ZkVersion(1));
}

#[test]
fn lowering_the_minimum_releases_the_watermark() {
    let clock = Clock::new();
    let mut leader = Leader::new(ME, &assignment(0, 0, &[ME]), Offset(5), Offset(0), 2, &clock.at(0));
    assert_eq!(leader.high_watermark(), Offset(0));
    leader.min_insync_changed(1, &clock.at(0));
    assert_eq!(leader.high_watermark(), Offset(5));
}

#[test]
fn a_laggard_is_dropped_only_when_the_controller_agrees() {
    let clock = Clock::new();
    let mut leader =
        Leader::new(ME, &assignment(0, 0, &[ME, TWO, THREE]), Offset(0), Offset(0), 1, &clock.at(0));
    leader.appended(Offset(10), &clock.at(1));
    fetch(&mut leader, TWO, 10, &clock.at(25));
    assert_eq!(leader.check_lag(&clock.at(30)), None, "30 s is the limit, not beyond it");
    let proposal = leader.check_lag(&clock.at(31)).expect("broker 3 never fetched");
    assert_eq!(proposal.isr, [ME, TWO]);
    assert_eq!(proposal.why, IsrChange::Shrink(vec![THREE]));
    assert_eq!(leader.high_watermark(), Offset(0), "the removal is not written yet");
    assert_eq!(leader.isr().maximal_len(), 3);
    assert_eq!(leader.check_lag(&clock.at(90)), None, "one question at a time");

    leader.isr_refused(&proposal, &clock.at(31)).expect("it was open");
    assert_eq!(leader.isr(), &Isr::Committed(vec![ME, TWO, THREE]));
    let again = leader.check_lag(&clock.at(40)).expect("still behind");
    leader.isr_written(again.leader_epoch, &again.isr, ZkVersion(1), &clock.at(40)).expect("it was open");
    assert_eq!(leader.high_watermark(), Offset(10));
}

#[test]
fn a_follower_that_keeps_up_with_a_moving_end_is_in_sync() {
    let clock = Clock::new();
    let mut leader = Leader::new(ME, &assignment(0, 0, &[ME, TWO]), Offset(0), Offset(0), 1, &clock.at(0));
    // Each fetch reaches what the end was at the fetch before, never the end itself.
    for second in 1..200 {
        leader.appended(Offset(second * 10), &clock.at(second as u64));
        fetch(&mut leader, TWO, (second - 1) * 10, &clock.at(second as u64));
        assert_eq!(leader.check_lag(&clock.at(second as u64)), None);
    }
}

#[test]
fn a_follower_joins_only_from_this_epoch_on() {
    let clock = Clock::new();
    let mut leader = Leader::new(ME, &assignment(4, 8, &[ME]), Offset(20), Offset(5), 1, &clock.at(0));
    assert_eq!(leader.high_watermark(), Offset(20));
    assert_eq!(fetch(&mut leader, TWO, 19, &clock.at(1)), None);
    let proposal = fetch(&mut leader, TWO, 20, &clock.at(1)).expect("it reached the epoch's start");
    assert_eq!(
        proposal,
        IsrProposal {
            leader_epoch: LeaderEpoch(4),
            partition_epoch: ZkVersion(8),
            isr: vec![ME, TWO],
            why: IsrChange::Expand(TWO, UNTOLD),
        }
    );
}

#[test]
fn a_follower_above_the_watermark_but_below_the_epoch_stays_out() {
    let clock = Clock::new();
    let mut leader = Leader::new(ME, &assignment(4, 8, &[ME, THREE]), Offset(20), Offset(5), 1, &clock.at(0));
    assert_eq!(leader.high_watermark(), Offset(5));
    assert_eq!(fetch(&mut leader, TWO, 19, &clock.at(1)), None);
    assert!(fetch(&mut leader, TWO, 20, &clock.at(1)).is_some());
}

#[test]
fn what_a_follower_sent_before_it_registered_anew_is_not_heard() {
    let clock = Clock::new();
    let mut leader = Leader::new(ME, &assignment(0, 0, &[ME]), Offset(9), Offset(5), 1, &clock.at(0));
    let at = clock.at(1);
    let fetch = |leader: &mut Leader, registration, end| {
        leader.follower_fetched((TWO, registration), Offset(end), Offset(0), &at)
    };
    let (before, now) = (BrokerEpoch(60), BrokerEpoch(70));
    assert_eq!(fetch(&mut leader, now, 4), None, "it lacks what is committed");
    assert_eq!(fetch(&mut leader, before, 9), None, "its log went that far before it lost its end");
    assert_eq!(fetch(&mut leader, now, 6), None, "it has not reached the epoch's start");
    let proposal = fetch(&mut leader, now, 9).expect("it has everything again");
    assert_eq!(proposal.why, IsrChange::Expand(TWO, now));

    leader.isr_refused(&proposal, &at).expect("it was open");
    let untold = fetch(&mut leader, UNTOLD, 9).expect("caught up, as an older broker");
    assert_eq!(untold.why, IsrChange::Expand(TWO, UNTOLD));
}

#[test]
fn a_dead_broker_is_not_proposed() {
    let clock = Clock { is_alive: Box::new(|id| id != TWO), ..Clock::new() };
    let mut leader = Leader::new(ME, &assignment(0, 0, &[ME]), Offset(0), Offset(0), 1, &clock.at(0));
    assert_eq!(fetch(&mut leader, TWO, 0, &clock.at(0)), None);
}

#[test]
fn a_caught_up_follower_holds_the_watermark_before_it_joins() {
    let clock = Clock::new();
    let mut leader = Leader::new(ME, &assignment(0, 0, &[ME]), Offset(0), Offset(0), 1, &clock.at(0));
    let first = fetch(&mut leader, TWO, 0, &clock.at(0)).expect("both are empty");
    // The controller's answer is lost to another change; broker 2 is out, but caught up.
    leader.isr_refused(&first, &clock.at(1)).expect("it was open");
    leader.appended(Offset(5), &clock.at(1));
    assert_eq!(leader.high_watermark(), Offset(0));
    leader.appended(Offset(6), &clock.at(40));
    assert_eq!(leader.high_watermark(), Offset(6), "not caught up for 40 s: no longer waited for");
}

#[test]
fn a_refused_proposal_no_longer_holds_the_watermark() {
    let clock = Clock::new();
    let mut leader = Leader::new(ME, &assignment(0, 0, &[ME, TWO]), Offset(0), Offset(0), 2, &clock.at(0));
    let proposal = fetch(&mut leader, THREE, 0, &clock.at(0)).expect("both are empty");
    leader.appended(Offset(5), &clock.at(40));
    fetch(&mut leader, TWO, 5, &clock.at(40));
    assert_eq!(leader.high_watermark(), Offset(0), "broker 3 may be in sync");
    leader.isr_refused(&proposal, &clock.at(41)).expect("it was open");
    assert_eq!(leader.high_watermark(), Offset(5));
}

#[test]
fn who_is_gone_no_longer_holds_the_watermark() {
    let mut clock = Clock::new();
    let mut leader = Leader::new(ME, &assignment(0, 0, &[ME, TWO]), Offset(0), Offset(0), 2, &clock.at(0));
    let proposal = fetch(&mut leader, THREE, 0, &clock.at(0)).expect("both are empty");
    leader.isr_refused(&proposal, &clock.at(0)).expect("it was open");
    leader.appended(Offset(5), &clock.at(1));
    fetch(&mut leader, TWO, 5, &clock.at(1));
    assert_eq!(leader.high_watermark(), Offset(0), "broker 3 had everything a moment ago");
    clock.is_alive = Box::new(|id| id != THREE);
    leader.brokers_gone(&clock.at(1));
    assert_eq!(leader.high_watermark(), Offset(5));
}

#[test]
fn what_a_follower_had_before_another_may_have_led_counts_no_more() {
    let clock = Clock::new();
    let three = [ME, TWO, THREE];
    let mut leader = Leader::new(ME, &assignment(0, 0, &three), Offset(5), Offset(0), 1, &clock.at(0));
    fetch(&mut leader, TWO, 5, &clock.at(1));
    let mut at_once = leader.clone();
    assert!(at_once.reassign(&assignment(1, 1, &[ME, TWO]), &clock.at(2)));
    assert_eq!(at_once.high_watermark(), Offset(5), "nobody led in between");
    // In epoch 1 the third may have led, with a shorter log.
    assert!(leader.reassign(&assignment(2, 2, &[ME, TWO]), &clock.at(2)));
    assert_eq!(leader.high_watermark(), Offset(0));
    fetch(&mut leader, TWO, 4, &clock.at(3));
    assert_eq!(leader.high_watermark(), Offset(4));
    fetch(&mut leader, TWO, 5, &clock.at(3));
    assert_eq!(leader.high_watermark(), Offset(5));
}

#[test]
fn a_new_state_from_the_controller_settles_the_question() {
    let clock = Clock::new();
    let mut leader = Leader::new(ME, &assignment(0, 3, &[ME, TWO]), Offset(0), Offset(0), 1, &clock.at(0));
    let proposal = fetch(&mut leader, THREE, 0, &clock.at(1)).expect("caught up");
    assert!(leader.reassign(&assignment(1, 5, &[ME, TWO]), &clock.at(2)));
    assert_eq!(leader.isr(), &Isr::Committed(vec![ME, TWO]));
    assert_eq!(leader.isr_refused(&proposal, &clock.at(1)), Err(Outdated));
    let late = leader.isr_written(LeaderEpoch(0), &[ME, TWO, THREE], ZkVersion(4), &clock.at(2));
    assert_eq!(late, Err(Outdated));
    assert_eq!(leader.since(), LeaderEpoch(0), "the term goes on");
    assert!(!leader.reassign(&assignment(2, 4, &[ME]), &clock.at(3)), "an older state is ignored");
}

#[test]
fn an_answer_that_the_state_was_there_already_settles_too() {
    let clock = Clock::new();
    let mut leader = Leader::new(ME, &assignment(0, 3, &[ME]), Offset(0), Offset(0), 1, &clock.at(0));
    fetch(&mut leader, TWO, 0, &clock.at(1)).expect("caught up");
    leader.isr_written(LeaderEpoch(0), &[ME, TWO], ZkVersion(3), &clock.at(1)).expect("same version");
    assert_eq!(leader.isr(), &Isr::Committed(vec![ME, TWO]));
}

#[test]
fn the_low_watermark_is_the_least_start_of_the_living() {
    let clock = Clock::new();
    let mut leader = Leader::new(ME, &assignment(0, 0, &[ME, TWO]), Offset(9), Offset(9), 1, &clock.at(0));
    leader.follower_fetched((TWO, UNTOLD), Offset(9), Offset(4), &clock.at(0));
    assert_eq!(leader.low_watermark(Offset(6), &|_| true), Offset(-1), "broker 3 never fetched");
    assert_eq!(leader.low_watermark(Offset(6), &|id| id != THREE), Offset(4));
}

/// A leader, two followers, and a controller that answers late or never.
#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    leader: Leader,
    seconds: u64,
    /// The true ends of the logs of brokers 2 and 3.
    ends: [i64; 2],
    /// What ZooKeeper holds, with its version.
    written: (Vec<BrokerId>, i32),
    /// A proposal on its way to the controller.
    asked: Option<IsrProposal>,
    /// The controller's answer on its way back: written, or refused.
    answered: Option<(IsrProposal, bool)>,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Append,
    /// The follower fetches from its end, and then has one record more if there is one.
    Fetch(usize),
    /// Time passes: all who do not fetch fall behind.
    Wait,
    CheckLag,
    ControllerWrites,
    ControllerRefuses,
    AnswerArrives,
    /// The controller repeats what is written, in a new leader epoch.
    Reassign,
}

const EVENTS: [Event; 9] = [
    Event::Append,
    Event::Fetch(0),
    Event::Fetch(1),
    Event::Wait,
    Event::CheckLag,
    Event::ControllerWrites,
    Event::ControllerRefuses,
    Event::AnswerArrives,
    Event::Reassign,
];

impl World {
    fn new(clock: &Clock, isr: &[BrokerId], min_insync: usize) -> World {
        let leader = Leader::new(ME, &assignment(0, 0, isr), Offset(1), Offset(0), min_insync, &clock.at(0));
        let end = |id| if isr.contains(&id) { 1 } else { 0 };
        World {
            leader,
            seconds: 0,
            ends: [end(TWO), end(THREE)],
            written: (isr.to_vec(), 0),
            asked: None,
            answered: None,
        }
    }

    /// False if the event cannot happen now.
    fn apply(&mut self, event: Event, clock: &Clock) -> bool {
        let at = clock.at(self.seconds);
        match event {
            Event::Append => {
                if self.leader.end.0 == 3 {
                    return false;
                }
                self.leader.appended(self.leader.end + 1, &at);
            }
            Event::Fetch(follower) => {
                let from = [TWO, THREE][follower];
                let end = &mut self.ends[follower];
                if let Some(proposal) = fetch(&mut self.leader, from, *end, &at) {
                    assert_eq!(self.asked.replace(proposal), None, "a second question");
                }
                *end = self.leader.end.0.min(*end + 1);
            }
            Event::Wait => {
                if self.seconds > 60 {
                    return false;
                }
                self.seconds += 31;
            }
            Event::CheckLag => match self.leader.check_lag(&at) {
                None => return false,
                Some(proposal) => {
                    assert_eq!(self.asked.replace(proposal), None, "a second question");
                }
            },
            Event::ControllerWrites | Event::ControllerRefuses => {
                let Some(proposal) = self.asked.take() else { return false };
                let current = proposal.leader_epoch == self.leader.epoch
                    && proposal.partition_epoch.0 == self.written.1;
                let writes = current && matches!(event, Event::ControllerWrites);
                if writes {
                    self.written = (proposal.isr.clone(), self.written.1 + 1);
                }
                self.answered = Some((proposal, writes));
            }
            Event::AnswerArrives => {
                let Some((proposal, written)) = self.answered.take() else { return false };
                if written {
                    let version = ZkVersion(proposal.partition_epoch.0 + 1);
                    let _ = self.leader.isr_written(proposal.leader_epoch, &proposal.isr, version, &at);
                } else {
                    let _ = self.leader.isr_refused(&proposal, &at);
                }
            }
            Event::Reassign => {
                if self.leader.epoch.0 == 1 {
                    return false;
                }
                let epoch = self.leader.epoch.0 + 1;
                self.written.1 += 1;
                let state = assignment(epoch, self.written.1, &self.written.0);
                assert!(self.leader.reassign(&state, &at));
                // The channel drops what was asked in the old epoch.
                self.asked = None;
                self.answered = None;
            }
        }
        true
    }

    fn check(&self, before: &World, event: Event) {
        let hw = self.leader.high_watermark;
        assert!(hw <= self.leader.end);
        assert!(hw >= before.leader.high_watermark, "the watermark fell on {event:?}");
        let end_of = |id: BrokerId| match id {
            ME => self.leader.end,
            TWO => Offset(self.ends[0]),
            _ => Offset(self.ends[1]),
        };
        for id in &self.written.0 {
            assert!(self.leader.isr.may_contain(*id), "{id} can be elected, but is not counted ({event:?})");
            assert!(hw <= end_of(*id), "{id} can be elected, but lacks committed records ({event:?})");
        }
        if hw > before.leader.high_watermark {
            assert!(self.leader.has_enough_in_sync(), "the watermark moved under the minimum");
            for (id, remote) in &self.leader.followers {
                assert!(!self.leader.isr.may_contain(*id) || hw <= remote.end, "{id} was not waited for");
            }
        }
    }
}

/// Every order of events up to a depth, from each in-sync set and minimum: whoever the
/// controller may elect holds every committed record.
#[test]
fn in_every_order_of_events_whoever_can_be_elected_holds_what_is_committed() {
    let clock = Clock::new();
    let mut visited = 0;
    for isr in [&[ME][..], &[ME, TWO], &[ME, TWO, THREE]] {
        for min_insync in [1, 2] {
            let mut seen = HashSet::new();
            let mut level = vec![World::new(&clock, isr, min_insync)];
            for _ in 0..9 {
                let mut next = Vec::new();
                for world in level {
                    for event in EVENTS {
                        let mut after = world.clone();
                        if after.apply(event, &clock) && seen.insert(after.clone()) {
                            after.check(&world, event);
                            next.push(after);
                        }
                    }
                }
                level = next;
            }
            visited += seen.len();
        }
    }
    assert!(visited > 20_000, "the search lost its breadth: {visited} states");
}

#[test]
fn a_batch_may_still_come_by_way_of_the_former_leader() {
    let clock = Clock::new();
    let begun =
        |assignment: &Assignment| Leader::new(ME, assignment, Offset(10), Offset(10), 1, &clock.at(0));
    let mut leader = begun(&assignment(3, 0, &[ME, TWO]));
    assert!(leader.may_precede(Some(Offset(9)), &clock.at(5)));
    assert!(leader.may_precede(None, &clock.at(5)), "only markers are known of the producer");
    assert!(!leader.may_precede(Some(Offset(9)), &clock.at(6)), "it takes too long");
    assert!(!leader.may_precede(Some(Offset(10)), &clock.at(1)), "the producer has come here");
    assert!(leader.reassign(&assignment(4, 1, &[ME, TWO]), &clock.at(4)));
    assert!(!leader.may_precede(Some(Offset(9)), &clock.at(6)), "the term goes on");
    let alone = begun(&Assignment { replicas: vec![ME], ..assignment(3, 0, &[ME]) });
    assert!(!alone.may_precede(Some(Offset(9)), &clock.at(1)), "nobody else ever led");
}
