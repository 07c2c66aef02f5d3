//! What is asked of whom, and what answers lead to.

use std::time::Duration;

use bytes::Bytes;

use super::super::answer::Moment;
use super::*;
use crate::consumer::Isolation;
use crate::consumer::chunk::Reading;
use crate::record::{BatchBuilder, BatchOptions, NewRecord};
use crate::wire::Records;
use crate::wire::messages::fetch_response::PartitionData;
use crate::wire::messages::offset_for_leader_epoch_response::EpochEndOffset;

const READ: Reading = Reading { isolation: Isolation::ReadUncommitted, check_crcs: true };

/// One partition, led by broker 1 in epoch 3.
struct One {
    partitions: Partitions,
    options: FetchOptions,
    now: Instant,
}

fn t() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn leader(broker: i32, epoch: i32) -> Leadership {
    Leadership { broker: BrokerId(broker), epoch: LeaderEpoch(epoch) }
}

fn at(offset: i64, epoch: i32) -> Position {
    Position::new(Offset(offset), LeaderEpoch(epoch))
}

fn batch(base: i64, count: i64) -> Bytes {
    let options =
        BatchOptions { base_offset: Offset(base), leader_epoch: LeaderEpoch(3), ..Default::default() };
    let mut builder = BatchBuilder::new(options).unwrap();
    for _ in 0..count {
        builder.push(&NewRecord::default()).unwrap();
    }
    builder.finish().unwrap().into()
}

fn data(records: Bytes) -> PartitionData {
    PartitionData {
        high_watermark: 100,
        preferred_read_replica: -1,
        records: Some(Records::Memory(records)),
        ..Default::default()
    }
}

fn refusal(error: ErrorCode) -> PartitionData {
    PartitionData { error_code: error.code(), preferred_read_replica: -1, ..Default::default() }
}

impl One {
    fn new(position: Position) -> One {
        let mut partitions = Partitions::default();
        assert!(partitions.assign(&t(), position));
        partitions.lead(&t(), Some(leader(1, 3)));
        One { partitions, options: FetchOptions::default(), now: Instant::now() }
    }

    fn plan(&self, broker: i32) -> Plan {
        self.partitions.plan(BrokerId(broker), self.now, &self.options)
    }

    fn sent(&self, broker: i32) -> Sent {
        match self.plan(broker) {
            Plan::Fetch(round) => round.sent[&t()],
            other => panic!("{other:?}"),
        }
    }

    fn checks(&self, broker: i32) -> Check {
        match self.plan(broker) {
            Plan::Check(checks) => checks[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, chance: 0.5 }
    }

    /// Fetches from a broker; true: the leader is doubtful.
    fn fetch(&mut self, broker: i32, answer: PartitionData) -> bool {
        let sent = self.sent(broker);
        let at = self.moment();
        self.partitions.fetched(&t(), &sent, BrokerId(broker), answer, &self.options, at)
    }

    /// True: the leader is doubtful.
    fn check(&mut self, end: (i32, i64)) -> bool {
        let check = self.checks(1);
        let answer = EpochEndOffset { leader_epoch: end.0, end_offset: end.1, ..Default::default() };
        let at = self.moment();
        self.partitions.checked(&check, &answer, &self.options, at)
    }

    /// Takes and opens what is ready: how many records, and up to where.
    fn take(&mut self) -> Option<(usize, i64)> {
        let Taken::Chunk { id, generation, mut fresh } = self.partitions.take()? else {
            panic!("it rests");
        };
        let mut out = Vec::new();
        let error = fresh.chunk.take(&id, READ, 1, &mut out).err();
        assert!(self.partitions.opened(&id, generation, fresh, error));
        Some((out.len(), self.partitions.slots[&id].position.offset.0))
    }

    fn trouble(&mut self) -> Trouble {
        match self.partitions.take() {
            Some(Taken::Trouble { trouble, .. }) => trouble,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_answers_are_held_at_most() {
    let mut one = One::new(at(0, -1));
    assert!(!one.fetch(1, data([batch(0, 2), batch(2, 2)].concat().into())));
    assert_eq!(one.sent(1).position, at(4, 3), "fetching goes on behind what was fetched");
    assert!(!one.fetch(1, data(batch(4, 1))));
    assert!(matches!(one.plan(1), Plan::Rest { until: None }));
    assert_eq!(one.take(), Some((2, 2)));
    assert!(matches!(one.plan(1), Plan::Rest { until: None }), "half an answer is one");
    assert_eq!(one.take(), Some((2, 4)));
    assert_eq!(one.sent(1).position, at(5, 3));
    assert_eq!(one.take(), Some((1, 5)));
    assert_eq!(one.take(), None);
    assert_eq!(one.partitions.buffered, 0);
}

#[test]
fn when_as_much_is_held_as_may_be_only_what_has_nothing_is_fetched() {
    let mut one = One::new(at(0, -1));
    one.options.max_bytes = 10;
    one.fetch(1, data(batch(0, 1)));
    assert!(matches!(one.plan(1), Plan::Rest { .. }));
    let other = TopicPartition::new("t", 1);
    one.partitions.assign(&other, at(0, -1));
    one.partitions.lead(&other, Some(leader(1, 3)));
    let Plan::Fetch(round) = one.plan(1) else { panic!("nothing to fetch") };
    assert_eq!(round.asks.keys().collect::<Vec<_>>(), [&other]);
    assert!(round.held_back);
    one.partitions.remove(&other);
    one.take();
    assert_eq!(one.sent(1).position, at(1, 3));
}

#[test]
fn what_was_asked_for_before_a_seek_is_void() {
    let mut one = One::new(at(0, -1));
    let sent = one.sent(1);
    one.fetch(1, data(batch(0, 1)));
    let Some(Taken::Chunk { id, generation, fresh }) = one.partitions.take() else { panic!("nothing") };
    assert!(one.partitions.seek(&t(), at(50, -1)));
    assert!(!one.partitions.opened(&id, generation, fresh, None));
    let moment = one.moment();
    one.partitions.fetched(&t(), &sent, BrokerId(1), data(batch(0, 1)), &one.options, moment);
    assert_eq!(one.take(), None);
    assert_eq!((one.sent(1).position, one.partitions.buffered), (at(50, -1), 0));
    one.partitions.remove(&t());
    assert!(matches!(one.plan(1), Plan::Leave));
}

#[test]
fn a_paused_partition_keeps_what_it_has() {
    let mut one = One::new(at(0, -1));
    one.fetch(1, data(batch(0, 1)));
    one.partitions.pause(&t(), true);
    assert!(one.partitions.take().is_none());
    assert!(matches!(one.plan(1), Plan::Rest { until: None }));
    one.partitions.pause(&t(), false);
    assert_eq!(one.take(), Some((1, 1)));
}

#[test]
fn a_broker_that_does_not_lead_is_asked_again_later_and_a_new_leader_at_once() {
    for error in [
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::FencedLeaderEpoch,
        ErrorCode::UnknownLeaderEpoch,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::KafkaStorageError,
        ErrorCode::UnknownServerError,
    ] {
        let mut one = One::new(at(7, -1));
        assert!(one.fetch(1, refusal(error)), "{error}");
        let Plan::Rest { until: Some(until) } = one.plan(1) else { panic!("{error}") };
        assert_eq!(until - one.now, Duration::from_millis(100));
        one.partitions.lead(&t(), Some(leader(2, 4)));
        assert!(matches!(one.plan(1), Plan::Leave));
        assert_eq!(one.sent(2).leader, leader(2, 4));
    }
}

#[test]
fn what_cannot_be_waited_out_is_told_once_and_behind_the_records() {
    let mut one = One::new(at(0, -1));
    one.fetch(1, data(batch(0, 1)));
    assert!(!one.fetch(1, refusal(ErrorCode::OffsetOutOfRange)));
    assert_eq!(one.take(), Some((1, 1)));
    assert!(matches!(one.trouble(), Trouble::OutOfRange));
    assert!(one.partitions.take().is_none());
    assert!(matches!(one.plan(1), Plan::Rest { until: None }));
    one.partitions.retry(&t());
    assert!(!one.check((3, 1)));
    assert_eq!(one.sent(1).position, at(1, 3));

    let mut one = One::new(at(0, -1));
    one.fetch(1, refusal(ErrorCode::TopicAuthorizationFailed));
    assert!(matches!(one.trouble(), Trouble::Refused(ErrorCode::TopicAuthorizationFailed)));
}

#[test]
fn damaged_records_are_told_behind_the_whole_ones_and_can_be_passed() {
    let mut one = One::new(at(0, -1));
    let mut bytes = [batch(0, 1), batch(1, 1)].concat();
    *bytes.last_mut().unwrap() ^= 1;
    one.fetch(1, data(bytes.into()));
    assert_eq!(one.take(), Some((1, 1)));
    assert_eq!(one.take(), Some((0, 1)));
    assert!(matches!(one.trouble(), Trouble::Corrupt(CorruptRecords::Batch { offset: Offset(1), .. })));
    assert_eq!(one.partitions.buffered, 0);
    one.partitions.seek(&t(), at(2, -1));
    assert_eq!(one.sent(1).position, at(2, -1));
}

#[test]
fn a_leader_of_before_the_position_says_nothing_of_it() {
    let mut one = One::new(at(5, 4));
    assert!(one.check((-1, -1)), "it led in epoch 3");
    assert!(matches!(one.plan(1), Plan::Rest { until: Some(_) }));
    one.partitions.lead(&t(), Some(leader(1, 4)));
    assert!(!one.check((4, 5)));
    assert_eq!(one.sent(1).position, at(5, 4));
}

#[test]
fn epochs_are_compared_after_each_change_of_the_leader() {
    let mut one = One::new(at(5, 2));
    assert_eq!(one.checks(1).position, at(5, 2));
    assert!(!one.check((2, 5)));
    one.fetch(1, data(batch(5, 1)));
    one.partitions.lead(&t(), Some(leader(1, 4)));
    assert_eq!(one.checks(1).position, at(6, 3));

    // The log's epoch 3 ends before what was read of it.
    assert!(!one.check((3, 4)));
    assert_eq!(one.take(), Some((1, 6)));
    assert!(matches!(one.trouble(), Trouble::Truncated(Some(diverged)) if diverged == at(4, 3)));
    // Tried again, it is compared again; the leader knows nothing of the epoch now.
    one.partitions.retry(&t());
    assert!(!one.check((-1, -1)));
    assert!(matches!(one.trouble(), Trouble::Truncated(None)));
}

#[test]
fn a_closer_replica_is_read_until_it_fails_or_time_is_up() {
    let mut one = One::new(at(0, -1));
    let closer = PartitionData { preferred_read_replica: 2, ..Default::default() };
    assert!(!one.fetch(1, closer.clone()));
    assert!(matches!(one.plan(1), Plan::Leave));
    one.fetch(2, data(batch(0, 1)));
    assert_eq!(one.take(), Some((1, 1)));
    assert!(!one.fetch(2, refusal(ErrorCode::OffsetOutOfRange)), "it may lag: the leader is asked");
    assert!(one.partitions.take().is_none());

    assert!(!one.fetch(1, closer.clone()));
    assert!(one.fetch(2, refusal(ErrorCode::NotLeaderOrFollower)));
    one.now += Duration::from_secs(1);
    assert!(!one.fetch(1, closer));
    one.now += one.options.preferred_replica_age;
    assert!(matches!(one.plan(2), Plan::Leave));
    assert_eq!(one.sent(1).position, at(1, 3));
}
