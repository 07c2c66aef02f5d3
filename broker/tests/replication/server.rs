//! A server that answers just what followers and leaders ask of each other, sessionless.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use broker::clock::Now;
use broker::partition::{
    Asker, ListOffset, OffsetQuery, Partition, PartitionError, Read, ReadArgs, Reader as FetchReader,
};
use broker::replicas::Replicas;
use bytes::Bytes;
use client::ids::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, Uuid};
use client::wire::messages::fetch_request::FetchPartition;
use client::wire::messages::fetch_response::{EpochEndOffset, FetchableTopicResponse, PartitionData};
use client::wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use client::wire::messages::{
    AlterPartitionRequest, AlterPartitionResponse, FetchRequest, FetchResponse, ListOffsetsRequest,
    ListOffsetsResponse,
};
use client::wire::{ApiKey, Encoded, ErrorCode, Message, Reader, frame};
use futures::future::{FutureExt, select_all};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves until the runtime ends; `answer` makes a response frame of (key, version, id, body).
pub(crate) async fn serve<F, A>(listener: TcpListener, answer: F)
where
    F: Fn(ApiKey, i16, i32, Reader) -> A + Clone + Send + 'static,
    A: Future<Output = Encoded> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, answer.clone()));
    }
}

async fn connection<F, A>(mut stream: TcpStream, answer: F)
where
    F: Fn(ApiKey, i16, i32, Reader) -> A,
    A: Future<Output = Encoded>,
{
    while let Ok(len) = stream.read_i32().await {
        let mut request = vec![0; usize::try_from(len).unwrap()];
        if stream.read_exact(&mut request).await.is_err() {
            return;
        }
        let (header, key, body) = frame::parse_request(Bytes::from(request)).unwrap();
        let response = answer(key, header.request_api_version, header.correlation_id, body).await;
        if stream.write_all(&response.into_bytes().unwrap()).await.is_err() {
            return;
        }
    }
}

/// What a broker answers its followers.
pub(crate) async fn broker(
    replicas: Arc<Replicas>,
    topic_id: Uuid,
    topic: &'static str,
    key: ApiKey,
    version: i16,
    id: i32,
    mut body: Reader,
) -> Encoded {
    match key {
        ApiKey::Fetch => {
            let request = FetchRequest::decode(&mut body, version).unwrap();
            let response = fetch(&replicas, topic_id, topic, &request).await;
            frame::encode_response(key, version, id, &response).unwrap()
        }
        ApiKey::ListOffsets => {
            let request = ListOffsetsRequest::decode(&mut body, version).unwrap();
            frame::encode_response(key, version, id, &list_offsets(&replicas, &request)).unwrap()
        }
        other => panic!("{other:?} is not served here"),
    }
}

/// What a controller answers leaders.
pub(crate) fn controller(
    alter: impl Fn(&AlterPartitionRequest) -> AlterPartitionResponse,
    key: ApiKey,
    version: i16,
    id: i32,
    mut body: Reader,
) -> Encoded {
    assert_eq!(key, ApiKey::AlterPartition);
    let request = AlterPartitionRequest::decode(&mut body, version).unwrap();
    frame::encode_response(key, version, id, &alter(&request)).unwrap()
}

async fn fetch(replicas: &Replicas, topic_id: Uuid, topic: &str, request: &FetchRequest) -> FetchResponse {
    let asked: Vec<(Arc<Partition>, &FetchPartition)> = request
        .topics
        .iter()
        .filter(|asked| asked.topic_id == topic_id)
        .flat_map(|asked| &asked.partitions)
        .filter_map(|asked| Some((replicas.partition(topic, asked.partition)?, asked)))
        .collect();
    let mut watches: Vec<_> = asked.iter().map(|(partition, _)| partition.watch()).collect();
    let read = |record_position| -> Vec<PartitionData> {
        asked
            .iter()
            .map(|(partition, asked)| {
                data(asked.partition, partition.read(&args(request, asked, record_position), Now::read()))
            })
            .collect()
    };
    for watch in &mut watches {
        watch.mark_unchanged();
    }
    let mut partitions = read(true);
    // The read itself may have moved the watermark, which is no reason to answer.
    let deadline = tokio::time::sleep(Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap()));
    tokio::pin!(deadline);
    while partitions.iter().all(is_empty) && !watches.is_empty() {
        let changed = select_all(watches.iter_mut().map(|watch| watch.changed().boxed()));
        tokio::select! {
            _ = changed => partitions = read(false),
            () = &mut deadline => break,
        }
    }
    let responses = vec![FetchableTopicResponse { topic_id, partitions, ..Default::default() }];
    FetchResponse { responses, ..FetchResponse::default() }
}

fn is_empty(data: &PartitionData) -> bool {
    let nothing = data.records.as_ref().is_none_or(|records| records.is_empty());
    data.error_code == 0 && data.diverging_epoch.epoch < 0 && nothing
}

fn args(request: &FetchRequest, asked: &FetchPartition, record_position: bool) -> ReadArgs {
    let epoch = |epoch: i32| (epoch >= 0).then_some(LeaderEpoch(epoch));
    ReadArgs {
        reader: FetchReader::Replica {
            id: BrokerId(request.replica_state.replica_id),
            registration: BrokerEpoch(request.replica_state.replica_epoch),
            log_start: Offset(asked.log_start_offset),
            record_position,
        },
        offset: Offset(asked.fetch_offset),
        current_leader_epoch: epoch(asked.current_leader_epoch),
        last_fetched_epoch: epoch(asked.last_fetched_epoch),
        max_bytes: usize::try_from(asked.partition_max_bytes).unwrap(),
        at_least_one: true,
    }
}

fn data(partition_index: i32, read: Result<Read, PartitionError>) -> PartitionData {
    match read {
        Err(error) => {
            PartitionData { partition_index, error_code: error.code().code(), ..PartitionData::default() }
        }
        Ok(read) => PartitionData {
            partition_index,
            high_watermark: read.high_watermark.0,
            log_start_offset: read.log_start.0,
            diverging_epoch: read.diverging.map_or(EpochEndOffset::default(), |found| EpochEndOffset {
                epoch: found.epoch.0,
                end_offset: found.end.0,
            }),
            records: Some(read.records),
            ..PartitionData::default()
        },
    }
}

fn list_offsets(replicas: &Replicas, request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let ask = ListOffset {
                asker: Asker::Replica,
                current_leader_epoch: Some(LeaderEpoch(asked.current_leader_epoch)),
                query: if asked.timestamp == -1 { OffsetQuery::Latest } else { OffsetQuery::Earliest },
            };
            let partition = replicas.partition(&topic.name, asked.partition_index).unwrap();
            let (offset, error) = match partition.list_offset(&ask, Now::read()) {
                Ok(found) => (found.unwrap().offset.0, ErrorCode::None),
                Err(error) => (-1, error.code()),
            };
            ListOffsetsPartitionResponse {
                partition_index: asked.partition_index,
                error_code: error.code(),
                offset,
                ..ListOffsetsPartitionResponse::default()
            }
        });
        ListOffsetsTopicResponse { name: topic.name.clone(), partitions: partitions.collect() }
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
}
