use super::*;

const RECORD: usize = 100;

fn limits() -> Limits {
    Limits {
        batch_size: 1_000,
        linger: Duration::from_millis(10),
        buffer_memory: 10_000,
        max_request_size: 3_000,
        delivery_timeout: Duration::from_secs(120),
        retries: u32::MAX,
        retry_backoff: Backoff { first: Duration::from_millis(100), longest: Duration::from_millis(1_000) },
        max_in_flight: 5,
        is_idempotent: true,
        is_compressing: false,
    }
}

/// An accumulator with a clock, where broker 1 leads all partitions and can always be sent to.
struct Bench {
    core: Accumulator<u32>,
    start: Instant,
    now: Duration,
    next_ticket: u32,
}

impl Bench {
    fn new(limits: Limits) -> Bench {
        let mut core = Accumulator::new(limits);
        core.has_producer_id(9, 0);
        Bench { core, start: Instant::now(), now: Duration::ZERO, next_ticket: 0 }
    }

    fn now(&self) -> Instant {
        self.start + self.now
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn at(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn led(&mut self, partition: i32, broker: i32, epoch: i32) {
        let leader = Leadership { broker: BrokerId(broker), epoch: crate::ids::LeaderEpoch(epoch) };
        let now = self.now();
        self.core.led_by(&Bench::at(partition), Some(leader), now);
    }

    /// Appends records that take [`RECORD`] bytes each; their tickets count up.
    fn append(&mut self, partition: i32, count: u32) {
        for _ in 0..count {
            self.next_ticket += 1;
            let (record, now) = (record(), self.now());
            let offered = self.core.append(&Bench::at(partition), record, self.next_ticket, now);
            assert!(matches!(offered, Offered::Taken { .. }), "{offered:?}");
        }
        self.led(partition, 1, 0);
    }

    fn drain(&mut self) -> Vec<Batch<u32>> {
        let now = self.now();
        let mut drained = self.core.drain(now, |_| Link::Open(5));
        drained.requests.remove(&BrokerId(1)).unwrap_or_default()
    }

    /// The tickets of what goes out now.
    fn goes(&mut self) -> Vec<Batch<u32>> {
        self.drain()
    }

    fn refuse(&mut self, batch: Batch<u32>, code: ErrorCode) -> Option<Batch<u32>> {
        let error = Arc::new(AttemptError::Refused { code, message: "".into() });
        let now = self.now();
        self.core.failed(BrokerId(1), batch, error, now, 0.5)
    }

    fn only(&mut self) -> Batch<u32> {
        let mut batches = self.drain();
        assert_eq!(batches.len(), 1, "{batches:?}");
        batches.remove(0)
    }
}

fn record() -> ProducerRecord {
    let empty = ProducerRecord::to("t").value("").size_max();
    let record = ProducerRecord::to("t").value(vec![b'v'; RECORD - empty]);
    assert_eq!(record.size_max(), RECORD);
    record
}

fn tickets(batch: &Batch<u32>) -> Vec<u32> {
    batch.records.iter().map(|(_, ticket)| *ticket).collect()
}

/// Epoch and first sequence number.
fn numbers(batch: &Batch<u32>) -> (i16, i32) {
    (batch.producer.epoch, batch.producer.base_sequence)
}

#[test]
fn a_batch_goes_when_it_is_full_or_has_lingered() {
    let mut bench = Bench::new(limits());
    bench.append(0, 2);
    assert!(bench.goes().is_empty());
    bench.pass(9);
    assert!(bench.goes().is_empty());
    bench.pass(1);
    assert_eq!(tickets(&bench.only()), [1, 2]);

    // Nine records fill a batch with its header; the tenth begins another, so the first is full.
    bench.append(0, 10);
    assert_eq!(tickets(&bench.only()), (3..=11).collect::<Vec<_>>());
    assert!(bench.goes().is_empty());
}

#[test]
fn memory_is_bounded_and_given_back() {
    let mut bench = Bench::new(limits());
    bench.append(0, 100);
    assert_eq!(bench.core.used(), 10_000);
    let now = bench.now();
    assert_eq!(bench.core.append(&Bench::at(0), record(), 7, now), Offered::Full(record(), 7));
    let batch = bench.only();
    let freed = batch.records.len() * RECORD;
    bench.core.succeeded(&batch);
    assert_eq!(bench.core.used(), 10_000 - freed);
    bench.append(0, 1);
}

#[test]
fn nothing_lingers_while_somebody_waits_for_memory() {
    let mut bench = Bench::new(Limits { buffer_memory: 250, ..limits() });
    bench.append(0, 2);
    assert!(bench.goes().is_empty());
    let now = bench.now();
    assert_eq!(bench.core.append(&Bench::at(0), record(), 3, now), Offered::Full(record(), 3));
    assert_eq!(tickets(&bench.only()), [1, 2]);
}

#[test]
fn sequences_go_on_and_five_batches_fly() {
    let mut bench = Bench::new(limits());
    bench.append(0, 60);
    let flying: Vec<_> = (0..5).map(|_| bench.only()).collect();
    assert_eq!(flying.iter().map(numbers).collect::<Vec<_>>(), [(0, 0), (0, 9), (0, 18), (0, 27), (0, 36)]);
    assert!(bench.goes().is_empty());
    bench.core.succeeded(&flying[0]);
    assert_eq!(numbers(&bench.only()), (0, 45));
}

#[test]
fn without_idempotence_one_batch_flies_unless_nothing_is_tried_again() {
    let mut bench = Bench::new(Limits { is_idempotent: false, ..limits() });
    bench.append(0, 20);
    let first = bench.only();
    assert!(!first.has_sequence());
    assert!(bench.goes().is_empty());

    let mut bench = Bench::new(Limits { is_idempotent: false, retries: 0, ..limits() });
    bench.append(0, 20);
    bench.only();
    bench.only();
}

#[test]
fn what_comes_back_is_sent_again_in_order_one_at_a_time() {
    let mut bench = Bench::new(limits());
    bench.append(0, 30);
    let (first, second) = (bench.only(), bench.only());
    let (a, b) = (tickets(&first), tickets(&second));
    assert!(bench.refuse(first, ErrorCode::NotEnoughReplicas).is_none());
    assert!(bench.goes().is_empty(), "the second is still in flight");
    assert!(bench.refuse(second, ErrorCode::OutOfOrderSequenceNumber).is_none());
    assert!(bench.goes().is_empty(), "the pause is not over");
    bench.pass(100);
    let again = bench.only();
    assert_eq!((tickets(&again), numbers(&again)), (a, (0, 0)));
    assert!(bench.goes().is_empty(), "nothing overtakes it");
    bench.core.succeeded(&again);
    let again = bench.only();
    assert_eq!((tickets(&again), numbers(&again)), (b, (0, 9)), "the numbers were right all along");
}

#[test]
fn another_leader_ends_the_pause() {
    let mut bench = Bench::new(limits());
    bench.append(0, 10);
    let first = bench.only();
    let lost = Arc::new(AttemptError::Unanswered);
    let now = bench.now();
    assert!(bench.core.failed(BrokerId(1), first, lost, now, 0.5).is_none());
    assert!(bench.goes().is_empty());
    bench.led(0, 2, 1);
    let now = bench.now();
    let drained = bench.core.drain(now, |_| Link::Open(5));
    assert_eq!(drained.requests.keys().copied().collect::<Vec<_>>(), [BrokerId(2)]);
}

#[test]
fn what_the_last_leader_refuses_goes_to_the_next_at_once() {
    let mut bench = Bench::new(limits());
    bench.append(0, 30);
    let (first, second) = (bench.only(), bench.only());
    bench.led(0, 2, 1);
    let late = bench.refuse(second, ErrorCode::NotLeaderOrFollower);
    assert!(late.is_none() && bench.refuse(first, ErrorCode::NotLeaderOrFollower).is_none());
    let now = bench.now();
    let mut drained = bench.core.drain(now, |_| Link::Open(5));
    let first = drained.requests.remove(&BrokerId(2)).unwrap_or_default().remove(0);
    // Those refusals say nothing of the new leader, which is asked again as soon as ever.
    let error = Arc::new(AttemptError::Refused { code: ErrorCode::NotLeaderOrFollower, message: "".into() });
    assert!(bench.core.failed(BrokerId(2), first, error, now, 0.5).is_none());
    let drained = bench.core.drain(now, |_| Link::Open(5));
    assert!(drained.requests.is_empty());
    assert_eq!(drained.next, Some(now + Duration::from_millis(5)));
}

#[test]
fn a_new_leader_that_has_not_heard_is_asked_again_soon() {
    let mut bench = Bench::new(limits());
    bench.append(0, 10);
    for pause in [5, 10, 20, 40] {
        let batch = bench.only();
        assert!(bench.refuse(batch, ErrorCode::NotLeaderOrFollower).is_none());
        bench.pass(pause - 1);
        assert!(bench.goes().is_empty());
        bench.pass(1);
    }
    let batch = bench.only();
    bench.pass(2_000);
    assert!(bench.refuse(batch, ErrorCode::NotLeaderOrFollower).is_none());
    bench.pass(900);
    assert!(bench.goes().is_empty(), "it has had time to hear");
}

#[test]
fn numbers_that_the_broker_does_not_expect_are_given_anew_in_the_next_epoch() {
    for code in
        [ErrorCode::OutOfOrderSequenceNumber, ErrorCode::UnknownProducerId, ErrorCode::InvalidProducerEpoch]
    {
        let mut bench = Bench::new(limits());
        bench.append(0, 30);
        let (first, second, third) = (bench.only(), bench.only(), bench.only());
        bench.core.succeeded(&first);
        let waits = tickets(&second);
        assert!(bench.refuse(second, code).is_none());
        bench.pass(1_000);
        assert!(bench.goes().is_empty(), "one with old numbers is in flight");
        assert!(bench.refuse(third, code).is_none());
        bench.pass(1_000);
        let again = bench.only();
        assert_eq!((tickets(&again), numbers(&again)), (waits, (1, 0)), "{code}");
        bench.core.succeeded(&again);
        assert_eq!(numbers(&bench.only()), (1, 9));
    }
}

#[test]
fn after_a_batch_is_given_up_the_next_epoch_begins() {
    let mut bench = Bench::new(limits());
    bench.append(0, 19);
    let first = bench.only();
    let given_up = bench.refuse(first, ErrorCode::InvalidRecord).unwrap();
    assert_eq!(tickets(&given_up), (1..=9).collect::<Vec<_>>());
    assert_eq!(numbers(&bench.only()), (1, 0));
}

#[test]
fn epochs_end_and_then_another_id_is_needed() {
    let mut bench = Bench::new(limits());
    bench.core.has_producer_id(9, i16::MAX);
    bench.append(0, 10);
    let first = bench.only();
    bench.refuse(first, ErrorCode::InvalidRecord);
    bench.append(0, 1);
    bench.pass(10);
    let now = bench.now();
    let drained = bench.core.drain(now, |_| Link::Open(5));
    assert!(drained.needs_producer_id && drained.requests.is_empty());
    bench.core.has_producer_id(10, 0);
    let next = bench.only();
    assert_eq!((next.producer.id, numbers(&next)), (10, (0, 0)));
}

#[test]
fn a_batch_that_is_too_large_goes_in_pieces() {
    let mut bench = Bench::new(limits());
    bench.append(0, 19);
    let (whole, next) = (bench.only(), bench.only());
    assert!(bench.refuse(whole, ErrorCode::MessageTooLarge).is_none());
    assert!(bench.refuse(next, ErrorCode::OutOfOrderSequenceNumber).is_none());
    let mut sent = Vec::new();
    while sent.len() < 18 {
        bench.pass(1_000);
        let piece = bench.only();
        assert_eq!(numbers(&piece), (0, i32::try_from(sent.len()).unwrap()));
        sent.extend(tickets(&piece));
        bench.core.succeeded(&piece);
    }
    assert_eq!(sent, (1..=18).collect::<Vec<_>>());
    let single = bench.only();
    assert_eq!(single.records.len(), 1);
    assert!(bench.refuse(single, ErrorCode::MessageTooLarge).is_some(), "one record cannot be cut");
    assert_eq!(bench.core.used(), 0);
}

#[test]
fn retries_are_counted_and_time_runs_out() {
    let mut bench = Bench::new(Limits { retries: 1, is_idempotent: false, ..limits() });
    bench.append(0, 10);
    let first = bench.only();
    assert!(bench.refuse(first, ErrorCode::NotEnoughReplicas).is_none());
    bench.pass(200);
    let again = bench.only();
    assert!(bench.refuse(again, ErrorCode::NotEnoughReplicas).is_some());

    let mut bench = Bench::new(limits());
    bench.append(0, 1);
    bench.pass(119_999);
    let now = bench.now();
    assert_eq!(bench.core.expire(now).1, Some(now + Duration::from_millis(1)));
    bench.pass(1);
    let now = bench.now();
    let (expired, next) = bench.core.expire(now);
    assert_eq!((expired.len(), next, bench.core.used()), (1, None, 0));
}

#[test]
fn a_request_holds_as_much_as_is_allowed_and_all_partitions_get_their_turn() {
    let mut bench = Bench::new(limits());
    for partition in 0..5 {
        bench.append(partition, 9);
    }
    bench.core.flush();
    let partitions =
        |batches: &[Batch<u32>]| batches.iter().map(|batch| batch.at.partition).collect::<Vec<_>>();
    let first = bench.goes();
    assert_eq!(partitions(&first), [0, 1, 2]);
    let second = bench.goes();
    assert_eq!(partitions(&second), [3, 4]);
}

#[test]
fn flushing_and_closing_wait_for_everything() {
    let mut bench = Bench::new(limits());
    bench.append(0, 2);
    let flushed = bench.core.flush();
    let batch = bench.only();
    bench.append(0, 1);
    assert!(bench.goes().is_empty(), "what comes later lingers");
    assert!(!bench.core.is_settled(flushed));
    bench.core.succeeded(&batch);
    assert!(bench.core.is_settled(flushed));
    bench.core.close();
    let now = bench.now();
    assert_eq!(bench.core.append(&Bench::at(0), record(), 9, now), Offered::Closed);
    let last = bench.only();
    assert!(!bench.core.is_done());
    bench.core.succeeded(&last);
    assert!(bench.core.is_done());
}

#[test]
fn leaders_and_connections_are_waited_for() {
    let mut bench = Bench::new(limits());
    bench.append(0, 10);
    assert_eq!(bench.core.take_unfollowed(), [Bench::at(0)]);
    let now = bench.now();
    bench.core.led_by(&Bench::at(0), None, now);
    assert!(bench.goes().is_empty());
    bench.led(0, 3, 7);
    let missing = bench.core.drain(now, |_| Link::Missing);
    assert!(missing.requests.is_empty());
    assert_eq!(missing.missing.into_iter().collect::<Vec<_>>(), [BrokerId(3)]);
    assert!(bench.core.drain(now, |_| Link::Open(0)).requests.is_empty());
    assert!(bench.core.drain(now, |_| Link::Awaited).missing.is_empty());
}

#[test]
fn what_compresses_well_fills_batches_further() {
    let mut bench = Bench::new(Limits { is_compressing: true, ..limits() });
    let topic: Arc<str> = "t".into();
    for _ in 0..200 {
        bench.core.compressed(&topic, 1_000, 500);
    }
    bench.append(0, 18);
    assert!(bench.goes().is_empty(), "18 records take half of their size");
    bench.core.compressed(&topic, 1_000, 1_000);
    assert_eq!(bench.only().records.len(), 18);
}
