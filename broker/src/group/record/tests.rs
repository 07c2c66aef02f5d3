use client::record::{Compression, batches, payload, records};
use client::wire::encode_to_bytes;

use super::*;

/// What Kafka 3.9.1 kept of group `g2`: a member joins, commits twice and leaves; then the group is deleted.
const LOG: &[u8] = include_bytes!("../../../tests/fixtures/apache-3.9.1/consumer_offsets.log");

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The records of each batch of a log.
fn read(log: &[u8]) -> Vec<Vec<Encoded>> {
    let own = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let mut walk = batches(log);
    let read = walk
        .by_ref()
        .map(|batch| {
            let opened = payload(&batch, 1 << 20).unwrap();
            records(batch.header().unwrap(), &opened)
                .map(|record| record.unwrap())
                .map(|record| (own(record.key.unwrap()), record.value.map(own)))
                .collect()
        })
        .collect();
    assert_eq!(walk.tail(), client::record::Tail::Clean);
    read
}

fn offset_key(partition: i32) -> Key {
    Key::Offset { group: Str::from("g2"), topic: Str::from("t"), partition }
}

#[test]
fn what_kafka_wrote_is_read() {
    let group = Key::Group { group: Str::from("g2") };
    let log = read(LOG);
    let keys: Vec<Vec<Key>> = log
        .iter()
        .map(|batch| batch.iter().map(|(key, _)| Key::decode(key.clone()).unwrap()).collect())
        .collect();
    let commit = vec![offset_key(2), offset_key(1), offset_key(0)];
    let deletion = [commit.clone(), vec![group.clone()]].concat();
    assert_eq!(keys, [vec![group.clone()], commit.clone(), commit, vec![group], deletion]);

    let value = |batch: usize, record: usize| log[batch][record].1.clone();
    let stable = decode_group(value(0, 0).unwrap()).unwrap();
    let member = Str::from("console-consumer-872f70c4-8ade-4ad4-8dfe-6722705fa82f");
    assert_eq!((&*stable.protocol_type, stable.generation), ("consumer", 1));
    assert_eq!(stable.protocol.as_deref(), Some("range"));
    assert_eq!(stable.leader.as_ref(), Some(&member));
    assert_eq!(stable.current_state_timestamp, 1_795_326_929_720);
    let [only] = &stable.members[..] else { panic!("{stable:?}") };
    assert_eq!((&only.member_id, &only.group_instance_id), (&member, &None));
    assert_eq!((&*only.client_id, &*only.client_host), ("console-consumer", "/127.0.0.1"));
    assert_eq!((only.rebalance_timeout, only.session_timeout), (300_000, 45_000));
    assert_eq!((only.subscription.len(), only.assignment.len()), (23, 29));

    let committed = decode_offset(value(1, 2).unwrap()).unwrap();
    let expected = CommittedOffset {
        offset: 5,
        leader_epoch: 0,
        metadata: Str::new(),
        commit_time_ms: 1_795_326_934_763,
        expire_time_ms: None,
    };
    assert_eq!(committed, expected);

    let empty = decode_group(value(3, 0).unwrap()).unwrap();
    let expected = GroupMetadataValue {
        protocol_type: Str::from("consumer"),
        generation: 2,
        protocol: None,
        leader: None,
        current_state_timestamp: 1_795_326_934_963,
        members: Vec::new(),
    };
    assert_eq!(empty, expected);
    assert!(log[4].iter().all(|(_, value)| value.is_none()));
}

#[test]
fn what_kafka_wrote_is_what_we_write() {
    let mut rewritten = Vec::new();
    for batch in batches(LOG) {
        let header = batch.header().unwrap();
        let opened = payload(&batch, 1 << 20).unwrap();
        let again: Vec<Encoded> = records(header, &opened)
            .map(|record| record.unwrap())
            .map(|record| {
                let own = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
                let (key, value) = (Key::decode(own(record.key.unwrap())).unwrap(), record.value.map(own));
                match &key {
                    Key::Group { group } => {
                        let value = value.map(|value| decode_group(value).unwrap());
                        group_record(group, value.as_ref()).unwrap()
                    }
                    Key::Offset { group, topic, partition } => {
                        let value = value.map(|value| decode_offset(value).unwrap());
                        offset_record(group, topic, *partition, value.as_ref()).unwrap()
                    }
                }
            })
            .collect();
        let content = if header.base_sequence == 0 { Content::Commits } else { Content::Groups };
        let mut bytes = batch_of(&again, content, header.max_timestamp);
        // The leader's part.
        bytes[..8].copy_from_slice(&header.base_offset.0.to_be_bytes());
        bytes[12..16].copy_from_slice(&header.leader_epoch.0.to_be_bytes());
        rewritten.extend(bytes);
    }
    assert_eq!(rewritten, LOG);
}

fn batch_of(records: &[Encoded], content: Content, now_ms: i64) -> Vec<u8> {
    super::batch(records, content, Compression::NONE, now_ms).unwrap()
}

#[test]
fn every_version_is_read() {
    let keys = [
        ("0000 0001 67 0001 74 00000007", Key::Offset { group: "g".into(), topic: "t".into(), partition: 7 }),
        ("0001 0001 67 0001 74 00000007", Key::Offset { group: "g".into(), topic: "t".into(), partition: 7 }),
        ("0002 0001 67", Key::Group { group: "g".into() }),
    ];
    for (bytes, key) in keys {
        assert_eq!(Key::decode(hex(bytes)), Ok(key), "{bytes}");
    }
    let offset = |leader_epoch, expire_time_ms| CommittedOffset {
        offset: 77,
        leader_epoch,
        metadata: "mm".into(),
        commit_time_ms: 5,
        expire_time_ms,
    };
    let (value, metadata) = ("000000000000004d", "0002 6d6d 0000000000000005");
    let offsets = [
        (format!("0000 {value} {metadata}"), offset(-1, None)),
        (format!("0001 {value} {metadata} 0000000000000009"), offset(-1, Some(9))),
        (format!("0001 {value} {metadata} ffffffffffffffff"), offset(-1, None)),
        (format!("0002 {value} {metadata}"), offset(-1, None)),
        (format!("0003 {value} 00000007 {metadata}"), offset(7, None)),
        (format!("0004 {value} 00000007 03 6d6d 0000000000000005 00"), offset(7, None)),
    ];
    for (bytes, expected) in offsets {
        assert_eq!(decode_offset(hex(&bytes)), Ok(expected), "{bytes}");
    }

    let value = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 3,
        protocol: Some("range".into()),
        leader: Some("m".into()),
        current_state_timestamp: 8,
        members: vec![MemberMetadata {
            member_id: "m".into(),
            group_instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout: 9,
            session_timeout: 10,
            subscription: Bytes::from_static(b"s"),
            assignment: Bytes::from_static(b"a"),
        }],
    };
    for version in 0..=VALUE_MAX {
        let mut expected = value.clone();
        if version < 3 {
            expected.members[0].group_instance_id = None;
        }
        if version < 2 {
            expected.current_state_timestamp = -1;
        }
        if version < 1 {
            expected.members[0].rebalance_timeout = -1;
        }
        let bytes = [&version.to_be_bytes(), &encode_to_bytes(&value, version).unwrap()[..]].concat();
        assert_eq!(decode_group(bytes.into()), Ok(expected), "version {version}");
    }
}

#[test]
fn an_offset_with_an_expiry_time_is_written_as_version_1() {
    let mut offset = CommittedOffset {
        offset: 77,
        leader_epoch: 7,
        metadata: "mm".into(),
        commit_time_ms: 0x01a2_008b_ca7d,
        expire_time_ms: None,
    };
    let (key, value) = offset_record(&"final1".into(), &"p1".into(), 0, Some(&offset)).unwrap();
    assert_eq!(key, hex("0001 0006 66696e616c31 0002 7031 00000000"));
    assert_eq!(value, Some(hex("0003 000000000000004d 00000007 0002 6d6d 000001a2008bca7d")));
    offset.expire_time_ms = Some(0xff);
    let bytes = encode_offset(&offset).unwrap();
    assert_eq!(bytes, hex("0001 000000000000004d 0002 6d6d 000001a2008bca7d 00000000000000ff"));
    offset.leader_epoch = -1;
    assert_eq!(decode_offset(bytes), Ok(offset));
}

#[test]
fn other_bytes_are_refused() {
    for version in [-1, 3, 4] {
        let bytes = Bytes::copy_from_slice(&i16::to_be_bytes(version));
        assert_eq!(Key::decode(bytes), Err(RecordError::UnknownKey { version }));
    }
    let unknown = hex("0005 00");
    assert_eq!(decode_group(unknown.clone()), Err(RecordError::UnknownValue { version: 5 }));
    assert_eq!(decode_offset(unknown), Err(RecordError::UnknownValue { version: 5 }));
    for batch in read(LOG) {
        for (key, value) in batch {
            for cut in 0..key.len() {
                let error = Key::decode(key.slice(..cut)).unwrap_err();
                assert!(matches!(error, RecordError::Decode(_)), "{error}");
            }
            let Some(value) = value else { continue };
            for cut in 0..value.len() {
                match Key::decode(key.clone()).unwrap() {
                    Key::Group { .. } => drop(decode_group(value.slice(..cut)).unwrap_err()),
                    Key::Offset { .. } => drop(decode_offset(value.slice(..cut)).unwrap_err()),
                }
            }
        }
    }
}
