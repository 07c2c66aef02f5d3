//! librdkafka's producer, with acks=all and idempotence.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::{Fates, Numbers, Pace, Part, TOPIC};

struct Context(Arc<Fates>);

impl ClientContext for Context {
    /// Why it sends again, and under which numbers: what a record that is stored twice is explained by.
    fn log(&self, _: RDKafkaLogLevel, about: &str, text: &str) {
        self.0.part.counts.remark(&format!("{about} {text}"));
    }

    fn error(&self, error: KafkaError, _: &str) {
        self.0.part.counts.complain("rdkafka producer", &error);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, record: Box<u64>) {
        match result {
            Ok(message) => self.0.acknowledged(*record, message.partition(), message.offset()),
            Err((error, _)) => self.0.given_up(*record, error),
        }
    }
}

/// Sends until it is to stop, and returns when everything sent met its fate.
pub(super) fn run(part: &Part, producer: u32, per_second: u32) {
    let fates = Arc::new(Fates { part: part.clone(), settled: AtomicU64::new(0) });
    let mut numbers = Numbers::of(producer);
    let mut pace = Pace::of(per_second);
    let mut client = connect(part, &fates);
    while !part.is_over() {
        let (wait, burst) = pace.next();
        std::thread::sleep(wait);
        if fates.is_full(numbers.sent) {
            continue;
        }
        for _ in 0..burst {
            let (record, partition) = numbers.next(part);
            send(&client, &fates, record, partition);
        }
        if let Some((code, why)) = client.client().fatal_error() {
            part.counts.complain("rdkafka producer, fatal", &format!("{code}: {why}"));
            drain(part, &client);
            client = connect(part, &fates);
        }
    }
    drain(part, &client);
}

fn connect(part: &Part, fates: &Arc<Fates>) -> ThreadedProducer<Context> {
    ClientConfig::new()
        .set("bootstrap.servers", &part.bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("message.timeout.ms", part.delivery.as_millis().to_string())
        .set("request.timeout.ms", "5000")
        .set("socket.timeout.ms", "6000")
        .set("retry.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500")
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("debug", "eos")
        .set_log_level(RDKafkaLogLevel::Debug)
        .create_with_context(Context(Arc::clone(fates)))
        .expect("the settings are right")
}

fn send(client: &ThreadedProducer<Context>, fates: &Fates, record: u64, partition: i32) {
    let value = record.to_string();
    let mut next = BaseRecord::<(), str, _>::with_opaque_to(TOPIC, Box::new(record))
        .payload(value.as_str())
        .partition(partition);
    loop {
        match client.send(next) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                next = back;
                std::thread::sleep(Duration::from_millis(20));
            }
            Err((error, _)) => return fates.given_up(record, &error),
        }
    }
}

fn drain(part: &Part, client: &ThreadedProducer<Context>) {
    client.flush(part.delivery * 2).expect("every record meets its fate");
}
