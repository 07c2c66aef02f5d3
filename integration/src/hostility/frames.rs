//! Requests of every API in every version, as Kafka's own classes encode them, and requests about a
//! topic that is there, which get further.

use client::ids::Uuid;
use client::record::{BatchBuilder, BatchOptions, NewRecord};
use client::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use client::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use client::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use client::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use client::wire::messages::{FetchRequest, ListOffsetsRequest, OffsetCommitRequest, ProduceRequest};
use client::wire::{ApiKey, Records, Request, Str, frame, versions};
use rand::rngs::StdRng;

#[path = "../../../client/tests/support/damage.rs"]
#[allow(clippy::unwrap_used, reason = "what is unexpected ends the run")]
mod damage;
#[path = "../../../client/tests/support/golden.rs"]
#[allow(clippy::unwrap_used, dead_code, reason = "only the bytes of the requests matter here")]
mod golden;

/// The topic that requests are about.
pub(super) const TARGET: &str = "target";

/// Random requests about [`TARGET`] are as likely as all others together.
pub(super) fn valid() -> Vec<Vec<u8>> {
    let others: Vec<Vec<u8>> =
        damage::valid_frames(&golden::corpus()).into_iter().filter(|frame| !is_obeyed(frame)).collect();
    let of_target = of_target();
    let as_many = others.len();
    of_target.into_iter().cycle().take(as_many).chain(others).collect()
}

/// One of them, damaged.
pub(super) fn damaged(frames: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    loop {
        let frame = damage::mutate(frames, random);
        if !is_obeyed(&frame) {
            return frame;
        }
    }
}

/// Whether it would be right to do what the request says, whomever it harms.
fn is_obeyed(frame: &[u8]) -> bool {
    let key = frame.first_chunk().and_then(|&key| ApiKey::try_from(i16::from_be_bytes(key)).ok());
    matches!(
        key,
        Some(
            ApiKey::LeaderAndIsr
                | ApiKey::StopReplica
                | ApiKey::UpdateMetadata
                | ApiKey::ControlledShutdown
                | ApiKey::CreateTopics
                | ApiKey::CreatePartitions
                | ApiKey::ElectLeaders
        )
    )
}

fn of_target() -> Vec<Vec<u8>> {
    [
        every_version(&produce()),
        every_version(&fetch()),
        every_version(&list_offsets()),
        every_version(&commit()),
    ]
    .concat()
}

/// As far as versions can express it; without lengths.
fn every_version<R: Request>(request: &R) -> Vec<Vec<u8>> {
    let encoded = |version| {
        let client_id = Some(Str::from_static("damaged"));
        let frame = frame::encode_request(version, 1, client_id, request).ok()?.into_bytes().ok()?;
        frame.get(size_of::<i32>()..).map(<[u8]>::to_vec)
    };
    versions::claimed_versions(R::KEY).into_iter().flatten().filter_map(encoded).collect()
}

fn produce() -> ProduceRequest {
    let mut batch = BatchBuilder::new(BatchOptions::default()).expect("an open batch");
    for value in ["some", "more"] {
        let record = NewRecord { timestamp: 1, value: Some(value.as_bytes()), ..NewRecord::default() };
        batch.push(&record).expect("a record");
    }
    let records = Records::Memory(batch.finish().expect("a batch").into());
    let partition = PartitionProduceData { index: 0, records: Some(records) };
    ProduceRequest {
        acks: 1,
        timeout_ms: 1_000,
        topic_data: vec![TopicProduceData { name: TARGET.into(), partition_data: vec![partition] }],
        ..ProduceRequest::default()
    }
}

fn fetch() -> FetchRequest {
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let topic = FetchTopic { topic: TARGET.into(), topic_id: Uuid([7; 16]), partitions: vec![partition; 2] };
    FetchRequest { max_bytes: 1 << 20, topics: vec![topic], ..FetchRequest::default() }
}

fn list_offsets() -> ListOffsetsRequest {
    let topic =
        ListOffsetsTopic { name: TARGET.into(), partitions: vec![ListOffsetsPartition::default(); 2] };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() }
}

fn commit() -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() };
    OffsetCommitRequest {
        group_id: "damaged".into(),
        topics: vec![OffsetCommitRequestTopic { name: TARGET.into(), partitions: vec![partition] }],
        ..OffsetCommitRequest::default()
    }
}
