//! Each rule convicts what it is there for, and nothing else does.

use super::judge;
use crate::checker::{Entry, Event, History};

/// A run without blame: two producers, one group of two consumers, one change of owners.
fn fair() -> Vec<Event> {
    let group = || String::from("g");
    let mut events = Vec::new();
    let assigned = |consumer, generation, partitions: &[i32]| Event::Assigned {
        group: group(),
        consumer,
        generation,
        partitions: partitions.to_vec(),
    };
    events.push(assigned(1, 1, &[0, 1]));
    // Record 10 p + o is at offset 2 o of partition p: offsets have gaps.
    for record in [0, 10, 1, 11] {
        let (partition, offset) = ((record / 10) as i32, (record % 10) as i64 * 2);
        let producer = partition as u32;
        events.push(Event::Sending { producer, record, partition });
        events.push(Event::Acknowledged { producer, record, partition, offset });
        events.push(Event::Polled { group: group(), consumer: 1, partition, offset, record });
        events.push(Event::Committed { group: group(), consumer: 1, partition, offset: offset + 1 });
    }
    events.push(assigned(1, 2, &[0]));
    events.push(assigned(2, 2, &[1]));
    for record in [2, 12] {
        let (partition, consumer) = ((record / 10) as i32, 1 + (record / 10) as u32);
        events.push(Event::Sending { producer: partition as u32, record, partition });
        events.push(Event::Polled { group: group(), consumer, partition, offset: 4, record });
    }
    events.push(Event::CommitRead { group: group(), asked_us: 1_000_000, partition: 1, offset: 3 });
    for record in [0, 1, 2, 10, 11, 12] {
        let (partition, offset) = ((record / 10) as i32, (record % 10) as i64 * 2);
        events.push(Event::Stored { partition, offset, record });
    }
    events
}

fn broken(events: Vec<Event>) -> Vec<&'static str> {
    let entries = (0..).zip(events).map(|(at_us, event)| Entry { at_us: at_us * 100_000, event }).collect();
    judge(&History { entries }).broken()
}

/// The same run after `tamper`: which rules are broken?
fn tampered(tamper: impl FnOnce(&mut Vec<Event>)) -> Vec<&'static str> {
    let mut events = fair();
    tamper(&mut events);
    broken(events)
}

#[test]
fn a_fair_run_is_clean() {
    assert_eq!(broken(fair()), [""; 0]);
}

#[test]
fn a_lost_record_is_convicted() {
    let stored = Event::Stored { partition: 0, offset: 2, record: 1 };
    assert_eq!(
        tampered(|events| events.retain(|event| *event != stored)),
        ["no acknowledged record is lost"]
    );
}

#[test]
fn a_record_stored_twice_is_convicted() {
    let again = [
        Event::Polled { group: String::from("g"), consumer: 1, partition: 0, offset: 5, record: 2 },
        Event::Stored { partition: 0, offset: 5, record: 2 },
    ];
    assert_eq!(tampered(|events| events.extend(again)), ["no record is stored twice"]);
}

#[test]
fn a_record_from_nowhere_is_convicted() {
    let nobodys = [
        Event::Polled { group: String::from("g"), consumer: 1, partition: 0, offset: 6, record: 99 },
        Event::Stored { partition: 0, offset: 6, record: 99 },
    ];
    assert_eq!(tampered(|events| events.extend(nobodys)), ["no record is stored that nobody sent"]);
}

#[test]
fn an_offset_of_two_records_is_convicted() {
    let another = Event::Acknowledged { producer: 0, record: 2, partition: 0, offset: 2 };
    assert_eq!(
        tampered(|events| events.push(another)),
        ["an offset is one record's, whoever looks and whenever"]
    );
}

#[test]
fn records_out_of_order_are_convicted() {
    let late = [
        Event::Sending { producer: 0, record: 3, partition: 0 },
        Event::Sending { producer: 0, record: 4, partition: 0 },
        Event::Polled { group: String::from("g"), consumer: 1, partition: 0, offset: 6, record: 4 },
        Event::Polled { group: String::from("g"), consumer: 1, partition: 0, offset: 7, record: 3 },
        Event::Stored { partition: 0, offset: 6, record: 4 },
        Event::Stored { partition: 0, offset: 7, record: 3 },
    ];
    assert_eq!(
        tampered(|events| events.extend(late)),
        ["records of a producer keep their order in a partition"]
    );
}

#[test]
fn a_consumer_that_goes_back_is_convicted() {
    let again = Event::Polled { group: String::from("g"), consumer: 1, partition: 0, offset: 4, record: 2 };
    assert_eq!(tampered(|events| events.push(again)), ["a consumer reads a partition forward"]);
}

#[test]
fn going_back_is_allowed_to_a_new_owner() {
    let owners = [
        Event::Assigned { group: String::from("g"), consumer: 2, generation: 3, partitions: vec![0, 1] },
        Event::Left { group: String::from("g"), consumer: 1 },
        Event::Polled { group: String::from("g"), consumer: 2, partition: 0, offset: 2, record: 1 },
        Event::Polled { group: String::from("g"), consumer: 2, partition: 0, offset: 4, record: 2 },
    ];
    assert_eq!(tampered(|events| events.extend(owners)), [""; 0]);
}

#[test]
fn a_skipped_record_is_convicted() {
    // Consumer 1 keeps partition 0 over the change, and is given nothing between offsets 0 and 4.
    let polled = Event::Polled { group: String::from("g"), consumer: 1, partition: 0, offset: 2, record: 1 };
    let told = tampered(|events| events.retain(|event| *event != polled));
    assert_eq!(
        told,
        ["a consumer that keeps a partition skips no record", "every group gets every stored record"]
    );
}

#[test]
fn a_group_that_never_reads_is_convicted() {
    let group = || String::from("stuck");
    let read = Event::CommitRead { group: group(), asked_us: 1, partition: 0, offset: -1 };
    for word in [
        Event::Group { group: group() },
        Event::Assigned { group: group(), consumer: 9, generation: 1, partitions: vec![] },
        Event::Left { group: group(), consumer: 9 },
        read,
    ] {
        let told = tampered(|events| events.push(word.clone()));
        assert_eq!(told, ["every group gets every stored record"], "{word}");
    }
}

#[test]
fn a_group_that_reads_too_late_is_convicted() {
    let late = Event::Behind { group: String::from("g"), partition: 1, next: 4, end: 5 };
    assert_eq!(tampered(|events| events.push(late)), ["every group gets every stored record"]);
}

#[test]
fn a_partition_with_two_owners_is_convicted() {
    let second =
        Event::Assigned { group: String::from("g"), consumer: 3, generation: 2, partitions: vec![1] };
    assert_eq!(
        tampered(|events| events.push(second)),
        ["a partition has one owner in a generation of its group"]
    );
}

#[test]
fn a_commit_that_goes_back_is_convicted() {
    let back =
        |asked_us, offset| Event::CommitRead { group: String::from("g"), asked_us, partition: 1, offset };
    assert_eq!(tampered(|events| events.push(back(2_500_000, 1))), ["committed offsets never go back"]);
    assert_eq!(tampered(|events| events.push(back(2_500_000, -1))), ["committed offsets never go back"]);
    // Asked before the commit was acknowledged: either answer is right.
    assert_eq!(tampered(|events| events.push(back(0, 1))), [""; 0]);
}

#[test]
fn a_run_in_which_nothing_happened_proves_nothing() {
    assert_eq!(broken(Vec::new()).len(), judge(&History::default()).findings.len());
}
