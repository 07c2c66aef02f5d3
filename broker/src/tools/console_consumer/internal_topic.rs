//! The records of `__consumer_offsets` and `__transaction_state` as JSON, as Kafka's formatters write them: one
//! document a record, nothing for records of another kind.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use client::wire::messages::{
    GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue, TransactionLogKey,
    TransactionLogValue,
};
use client::wire::{DecodeError, Message, Reader, Str};
use serde_json::{Map, Value, json};

use super::deserializer::Unreadable;

/// Versions of keys that say what a record of `__consumer_offsets` is about.
const OFFSET_KEYS: std::ops::RangeInclusive<i16> = 0..=1;
const GROUP_KEY: i16 = 2;
const TRANSACTION_KEY: i16 = 0;

impl From<DecodeError> for Unreadable {
    fn from(error: DecodeError) -> Unreadable {
        Unreadable(error.to_string())
    }
}

/// Bytes that begin with their version. `None`: a version that is not known.
fn decode<M: Message>(bytes: Bytes, latest: i16) -> Result<Option<(i16, M)>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    match (0..=latest).contains(&version) {
        true => Ok(Some((version, M::decode(&mut reader, version)?))),
        false => Ok(None),
    }
}

fn version_of(key: Option<&Bytes>) -> Option<i16> {
    let bytes = key?.get(..2)?;
    Some(i16::from_be_bytes(bytes.try_into().ok()?))
}

/// A key and a value as one document. A tombstone's value is null.
fn document(key: (i16, Value), value: Option<(i16, Value)>) -> Value {
    let part = |(version, data): (i16, Value)| json!({ "version": version, "data": data });
    json!({ "key": part(key), "value": value.map_or(Value::Null, part) })
}

pub(super) fn offset(key: Option<Bytes>, value: Option<Bytes>) -> Result<Option<Value>, Unreadable> {
    let version = version_of(key.as_ref());
    let Some((key, version)) = key.zip(version.filter(|version| OFFSET_KEYS.contains(version))) else {
        return Ok(None);
    };
    let mut reader = Reader::new(key);
    reader.i16()?;
    let key = OffsetCommitKey::decode(&mut reader, version)?;
    let key = json!({ "group": &*key.group, "topic": &*key.topic, "partition": key.partition });
    let value = match value.map(|value| decode::<OffsetCommitValue>(value, 3)).transpose()? {
        None => None,
        Some(None) => return Ok(None),
        Some(Some((version, value))) => {
            let mut data = Map::new();
            data.insert("offset".to_owned(), value.offset.into());
            if version >= 3 {
                data.insert("leaderEpoch".to_owned(), value.leader_epoch.into());
            }
            data.insert("metadata".to_owned(), (&*value.metadata).into());
            data.insert("commitTimestamp".to_owned(), value.commit_timestamp.into());
            if version == 1 {
                data.insert("expireTimestamp".to_owned(), value.expire_timestamp.into());
            }
            Some((version, data.into()))
        }
    };
    Ok(Some(document((version, key), value)))
}

pub(super) fn group(key: Option<Bytes>, value: Option<Bytes>) -> Result<Option<Value>, Unreadable> {
    if version_of(key.as_ref()) != Some(GROUP_KEY) {
        return Ok(None);
    }
    let mut reader = Reader::new(key.unwrap_or_default());
    reader.i16()?;
    let key = GroupMetadataKey::decode(&mut reader, GROUP_KEY)?;
    let value = match value.map(|value| decode::<GroupMetadataValue>(value, 3)).transpose()? {
        None => None,
        Some(None) => return Ok(None),
        Some(Some((version, value))) => Some((version, group_value(version, &value))),
    };
    Ok(Some(document((GROUP_KEY, json!({ "group": &*key.group })), value)))
}

fn group_value(version: i16, value: &GroupMetadataValue) -> Value {
    let text = |text: &Option<Str>| text.as_ref().map_or(Value::Null, |text| Value::from(&**text));
    let mut data = Map::new();
    data.insert("protocolType".to_owned(), (&*value.protocol_type).into());
    data.insert("generation".to_owned(), value.generation.into());
    data.insert("protocol".to_owned(), text(&value.protocol));
    data.insert("leader".to_owned(), text(&value.leader));
    if version >= 2 {
        data.insert("currentStateTimestamp".to_owned(), value.current_state_timestamp.into());
    }
    let members = value.members.iter().map(|member| {
        let mut data = Map::new();
        data.insert("memberId".to_owned(), (&*member.member_id).into());
        if version >= 3 {
            data.insert("groupInstanceId".to_owned(), text(&member.group_instance_id));
        }
        data.insert("clientId".to_owned(), (&*member.client_id).into());
        data.insert("clientHost".to_owned(), (&*member.client_host).into());
        if version >= 1 {
            data.insert("rebalanceTimeout".to_owned(), member.rebalance_timeout.into());
        }
        data.insert("sessionTimeout".to_owned(), member.session_timeout.into());
        data.insert("subscription".to_owned(), STANDARD.encode(&member.subscription).into());
        data.insert("assignment".to_owned(), STANDARD.encode(&member.assignment).into());
        Value::from(data)
    });
    data.insert("members".to_owned(), members.collect());
    data.into()
}

pub(super) fn transaction(key: Option<Bytes>, value: Option<Bytes>) -> Result<Option<Value>, Unreadable> {
    if version_of(key.as_ref()) != Some(TRANSACTION_KEY) {
        return Ok(None);
    }
    let mut reader = Reader::new(key.unwrap_or_default());
    reader.i16()?;
    let key = TransactionLogKey::decode(&mut reader, TRANSACTION_KEY)?;
    let value = match value.map(|value| decode::<TransactionLogValue>(value, 1)).transpose()? {
        None => None,
        Some(None) => return Ok(None),
        Some(Some((version, value))) => {
            let partitions = value.transaction_partitions.map(|topics| {
                let topics = topics.iter();
                let topics = topics
                    .map(|topic| json!({ "topic": &*topic.topic, "partitionIds": topic.partition_ids }));
                topics.collect::<Vec<Value>>()
            });
            let data = json!({
                "producerId": value.producer_id,
                "producerEpoch": value.producer_epoch,
                "transactionTimeoutMs": value.transaction_timeout_ms,
                "transactionStatus": value.transaction_status,
                "transactionPartitions": partitions,
                "transactionLastUpdateTimestampMs": value.transaction_last_update_timestamp_ms,
                "transactionStartTimestampMs": value.transaction_start_timestamp_ms,
            });
            Some((version, data))
        }
    };
    Ok(Some(document((TRANSACTION_KEY, json!({ "transactionalId": &*key.transactional_id })), value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Kafka 3.9.1's formatter wrote it.
    #[test]
    fn an_offset_is_shown_as_kafka_does_and_other_records_are_not() {
        let key = Bytes::from_static(b"\0\x01\0\x01g\0\x03one\0\0\0\0");
        let value = Bytes::from_static(b"\0\x03\0\0\0\0\0\0\0\x05\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\x07");
        let shown = offset(Some(key.clone()), Some(value)).unwrap().unwrap().to_string();
        assert_eq!(
            shown,
            "{\"key\":{\"version\":1,\"data\":{\"group\":\"g\",\"topic\":\"one\",\"partition\":0}},\
             \"value\":{\"version\":3,\"data\":{\"offset\":5,\"leaderEpoch\":-1,\"metadata\":\"\",\
             \"commitTimestamp\":7}}}"
        );
        let gone = offset(Some(key.clone()), None).unwrap().unwrap().to_string();
        assert!(gone.ends_with("\"value\":null}"), "{gone}");
        assert_eq!(group(Some(key), None), Ok(None));
        assert_eq!(offset(Some(Bytes::from_static(b"\0\x02\0\x01g")), None), Ok(None));
        assert_eq!(offset(None, None), Ok(None));
        assert!(offset(Some(Bytes::from_static(b"\0\x01\0\x09g")), None).is_err());
    }
}
