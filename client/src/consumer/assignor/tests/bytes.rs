//! Bytes that Apache Kafka 3.9.1's `ConsumerProtocol` and sticky assignors wrote.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::super::{Assignment, Assignor, ProtocolError, Subscription};
use crate::ids::TopicPartition;
use crate::wire::Str;

fn owned() -> BTreeSet<TopicPartition> {
    [("a", 0), ("a", 2), ("bé", 1)].map(|(topic, partition)| TopicPartition::new(topic, partition)).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

const TOPICS_AND_DATA: &str = "00000002000161000362c3a900000003010203";
const OWNED: &str = "00000002000161000000020000000000000002000362c3a90000000100000001";

#[test]
fn subscriptions_have_kafkas_bytes_in_every_version() {
    let whole = Subscription {
        topics: ["a".into(), "bé".into()].into(),
        user_data: Some(Bytes::from_static(&[1, 2, 3])),
        owned: owned(),
        generation: Some(7),
        rack: Some(Str::from_static("r1")),
    };
    let v0 = Subscription { owned: BTreeSet::new(), generation: None, rack: None, ..whole.clone() };
    let v1 = Subscription { owned: owned(), ..v0.clone() };
    let v2 = Subscription { generation: Some(7), ..v1.clone() };
    let expected = [
        (v0, format!("0000{TOPICS_AND_DATA}")),
        (v1, format!("0001{TOPICS_AND_DATA}{OWNED}")),
        (v2, format!("0002{TOPICS_AND_DATA}{OWNED}00000007")),
        (whole.clone(), format!("0003{TOPICS_AND_DATA}{OWNED}0000000700027231")),
    ];
    for (version, (readable, written)) in (0..).zip(expected) {
        assert_eq!(hex(&whole.encode_version(version).unwrap()), written, "version {version}");
        assert_eq!(Subscription::decode(bytes(&written)), Ok(readable), "version {version}");
    }
    let least = Subscription { topics: ["t".into()].into(), ..Default::default() };
    assert_eq!(hex(&least.encode().unwrap()), "000300000001000174ffffffff00000000ffffffffffff");
}

#[test]
fn assignments_have_kafkas_bytes_in_every_version() {
    let assignment = Assignment { partitions: owned(), user_data: None };
    for version in 0..=3 {
        let written = format!("000{version}{OWNED}ffffffff");
        assert_eq!(hex(&assignment.encode_version(version).unwrap()), written);
        assert_eq!(Assignment::decode(bytes(&written)), Ok(assignment.clone()));
    }
    assert_eq!(Assignment::decode(Bytes::new()), Ok(Assignment::default()));
}

#[test]
fn what_a_later_version_adds_is_passed_over_and_garbage_refused() {
    let later = bytes(&format!("0009{TOPICS_AND_DATA}{OWNED}0000000700027231deadbeef"));
    assert_eq!(Subscription::decode(later).unwrap().generation, Some(7));
    let negative = ProtocolError::Version { what: "subscription", version: -1 };
    assert_eq!(Subscription::decode(bytes("ffff0000")), Err(negative));
    assert!(matches!(
        Assignment::decode(bytes("0000000fffff")),
        Err(ProtocolError::Unreadable { what: "assignment", .. })
    ));
}

#[test]
fn the_sticky_assignors_tell_what_kafkas_do() {
    let told = |assignor: Assignor, generation| assignor.user_data(&owned(), generation).map(|b| hex(&b));
    assert_eq!(told(Assignor::Sticky, 7), Some(format!("{OWNED}00000007")));
    assert_eq!(told(Assignor::Sticky, -1), None);
    assert_eq!(told(Assignor::CooperativeSticky, 7), Some("00000007".to_owned()));
    assert_eq!(told(Assignor::CooperativeSticky, -1), Some("ffffffff".to_owned()));
    assert_eq!(told(Assignor::Range, 7), None);
}

#[test]
fn assignors_are_found_by_kafkas_names_and_classes() {
    for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky] {
        assert_eq!(assignor.name().parse(), Ok(assignor));
    }
    let class = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
    assert_eq!(class.parse(), Ok(Assignor::CooperativeSticky));
    let error = "fair".parse::<Assignor>().unwrap_err().to_string();
    assert!(error.starts_with("`fair` is no assignor"), "{error}");
}
