//! Raw requests of idempotent producers to one broker, and its answers as lines that can be compared.

use client::connection::{Connection, ConnectionOptions};
use client::record::{BatchBuilder, BatchOptions, Compression, NewRecord, Producer};
use client::wire::messages::describe_producers_request::TopicRequest;
use client::wire::messages::metadata_request::MetadataRequestTopic;
use client::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use client::wire::messages::{
    DescribeProducersRequest, InitProducerIdRequest, InitProducerIdResponse, MetadataRequest, ProduceRequest,
};
use client::wire::{ErrorCode, Records, Request, Str};
use integration::cluster::PATIENCE;
use tokio::time::{Instant, sleep};

/// A batch as a producer sends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) producer: i64,
    pub(super) epoch: i16,
    pub(super) sequence: i32,
    pub(super) count: usize,
    pub(super) compression: Compression,
    pub(super) acks: i16,
}

/// The sequence, and how many records.
pub(super) fn sent(producer: i64, epoch: i16, sequence: i32, count: usize) -> Sent {
    Sent { producer, epoch, sequence, count, compression: Compression::NONE, acks: -1 }
}

/// A connection to a broker, about one topic.
pub(super) struct Asker {
    connection: Connection,
    topic: String,
    timestamp: i64,
}

impl Asker {
    /// Says nothing yet.
    pub(super) async fn open(address: &str) -> Asker {
        let connection = Connection::connect(address, "tests", ConnectionOptions::default());
        let connection = connection.await.expect("the broker listens");
        Asker { connection, topic: String::new(), timestamp: 0 }
    }

    /// Returns when the topic, made if it is not there, takes requests.
    pub(super) async fn connect(address: &str, topic: &str, timestamp: i64) -> Asker {
        let asker = Asker { topic: topic.to_owned(), timestamp, ..Asker::open(address).await };
        let started = Instant::now();
        loop {
            let named = MetadataRequestTopic { name: Some(Str::from(topic)), ..Default::default() };
            let body = MetadataRequest {
                topics: Some(vec![named]),
                allow_auto_topic_creation: true,
                ..MetadataRequest::default()
            };
            let answer = asker.ask(12, &body).await;
            let led = answer.topics.iter().all(|topic| {
                topic.error_code == 0 && topic.partitions.first().is_some_and(|p| p.leader_id > 0)
            });
            // Metadata may be ahead of the leader's own role.
            if led && asker.described(&[(topic, 0)]).await[0].contains("None None") {
                return asker;
            }
            assert!(started.elapsed() < PATIENCE, "{topic} has no leader");
            sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    pub(super) async fn ask<R: Request>(&self, version: i16, body: &R) -> R::Response {
        self.connection.send(body, version).await.expect("the broker answers")
    }

    /// Code, base offset, append time and log start of the answer.
    pub(super) async fn produce(&self, batch: Sent) -> String {
        let producer = Producer { id: batch.producer, epoch: batch.epoch, base_sequence: batch.sequence };
        let options = BatchOptions { producer, compression: batch.compression, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options).expect("an open batch");
        for n in 0..batch.count {
            let value = format!("{} {}", batch.sequence, n);
            let record = NewRecord {
                timestamp: self.timestamp + n as i64,
                value: Some(value.as_bytes()),
                ..NewRecord::default()
            };
            builder.push(&record).expect("a record");
        }
        let records = Records::Memory(builder.finish().expect("a batch").into());
        let data = PartitionProduceData { index: 0, records: Some(records) };
        let body = ProduceRequest {
            transactional_id: None,
            acks: batch.acks,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData { name: Str::from(&*self.topic), partition_data: vec![data] }],
        };
        let answer = self.ask(9, &body).await;
        let one = &answer.responses[0].partition_responses[0];
        format!(
            "{:?} at {}, time {}, log start {}, {:?}, {} record errors",
            ErrorCode::from_code(one.error_code),
            one.base_offset,
            one.log_append_time_ms,
            one.log_start_offset,
            one.error_message.as_deref(),
            one.record_errors.len(),
        )
    }

    /// The code alone.
    pub(super) async fn code(&self, batch: Sent) -> String {
        let said = self.produce(batch).await;
        said.split(',').next().unwrap_or_default().to_owned()
    }

    /// What DescribeProducers says of these partitions, a line for each producer.
    pub(super) async fn described(&self, partitions: &[(&str, i32)]) -> Vec<String> {
        let topic = |&(name, partition): &(&str, i32)| TopicRequest {
            name: Str::from(name),
            partition_indexes: vec![partition],
        };
        let body = DescribeProducersRequest { topics: partitions.iter().map(topic).collect() };
        let answer = self.ask(0, &body).await;
        let mut lines = Vec::new();
        for topic in &answer.topics {
            for one in &topic.partitions {
                let error = ErrorCode::from_code(one.error_code);
                lines.push(format!(
                    "{}-{}: {error:?} {:?}",
                    topic.name, one.partition_index, one.error_message
                ));
                let mut producers: Vec<_> = one.active_producers.iter().collect();
                producers.sort_by_key(|producer| producer.producer_id);
                lines.extend(producers.into_iter().map(|producer| format!("{producer:?}")));
            }
        }
        lines
    }

    pub(super) async fn init(&self, version: i16, body: &InitProducerIdRequest) -> InitProducerIdResponse {
        self.ask(version, body).await
    }
}

/// InitProducerId of a producer that has no id yet.
pub(super) fn init(transactional_id: Option<&str>, timeout_ms: i32) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: transactional_id.map(Str::from),
        transaction_timeout_ms: timeout_ms,
        ..InitProducerIdRequest::default()
    }
}
