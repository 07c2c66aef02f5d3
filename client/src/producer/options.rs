//! The settings of a producer.

use std::time::Duration;

use super::accumulator::Limits;
use super::partitioner::Partitioning;
use crate::cluster::{Backoff, ClusterOptions};
use crate::connection::ConnectionOptions;
use crate::record::{Codec, Compression};
use crate::wire::Str;

/// Whose word a record waits for (`acks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// Nobody's: it counts as delivered once it was handed to the network.
    None,
    /// The leader's alone: lost if the leader dies before it was replicated.
    Leader,
    /// That of all in-sync replicas.
    #[default]
    All,
}

impl Acks {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// Whether brokers number a producer's records, so that none is stored twice and none out of order
/// (`enable.idempotence`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Idempotence {
    /// Where the other settings and the brokers allow it, as in Kafka.
    #[default]
    WherePossible,
    /// A setting against it is an error, and so is a broker that knows no producer ids.
    Required,
    Off,
}

/// The settings of a [`Producer`](super::Producer). The defaults are those of Kafka's producer of 3.9, named after
/// each field.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// `client.id`
    pub client_id: Str,
    /// `acks`
    pub acks: Acks,
    /// `enable.idempotence`
    pub idempotence: Idempotence,
    /// `retries`: attempts after the first.
    pub retries: u32,
    /// `delivery.timeout.ms`: a record that is not acknowledged so long after it was taken, and not in flight,
    /// is given up.
    pub delivery_timeout: Duration,
    /// `request.timeout.ms`
    pub request_timeout: Duration,
    /// `batch.size`, in bytes
    pub batch_size: usize,
    /// `linger.ms`: how long a batch waits for more records.
    pub linger: Duration,
    /// `buffer.memory`: bytes of records that are not delivered yet.
    pub buffer_memory: usize,
    /// `max.block.ms`: how long a record waits for room, or for its topic to be found.
    pub max_block: Duration,
    /// `max.request.size`, in bytes; no record may be larger.
    pub max_request_size: usize,
    /// `max.in.flight.requests.per.connection`. Without idempotence, and with retries, a partition has one batch
    /// in flight at a time whatever this says, so that order is kept.
    pub max_in_flight: usize,
    /// `compression.type` and `compression.<codec>.level`
    pub compression: Compression,
    /// `partitioner.class` and `partitioner.ignore.keys`
    pub partitioning: Partitioning,
    /// `metadata.max.age.ms`
    pub metadata_max_age: Duration,
    /// `metadata.max.idle.ms`: a topic or partition that nothing was sent to for so long is no longer followed.
    pub metadata_max_idle: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`
    pub retry_backoff: Backoff,
    /// `reconnect.backoff.ms` and `reconnect.backoff.max.ms`
    pub reconnect_backoff: Backoff,
}

impl Default for ProducerOptions {
    fn default() -> ProducerOptions {
        let cluster = ClusterOptions::default();
        ProducerOptions {
            client_id: Str::new(),
            acks: Acks::All,
            idempotence: Idempotence::WherePossible,
            retries: i32::MAX.unsigned_abs(),
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
            batch_size: 16_384,
            linger: Duration::ZERO,
            buffer_memory: 33_554_432,
            max_block: Duration::from_secs(60),
            max_request_size: 1_048_576,
            max_in_flight: 5,
            compression: Compression::NONE,
            partitioning: Partitioning::Keyed,
            metadata_max_age: cluster.metadata_max_age,
            metadata_max_idle: Duration::from_secs(300),
            retry_backoff: cluster.retry_backoff,
            reconnect_backoff: cluster.reconnect_backoff,
        }
    }
}

/// Settings that do not go together. The texts are Kafka's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    #[error(
        "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence."
    )]
    IdempotenceNeedsAcks,
    #[error("Must set retries to non-zero when using the idempotent producer.")]
    IdempotenceNeedsRetries,
    #[error("Must set max.in.flight.requests.per.connection to at most 5 to use the idempotent producer.")]
    IdempotenceNeedsFewInFlight,
    #[error("delivery.timeout.ms should be equal to or larger than linger.ms + request.timeout.ms")]
    DeliveryTimeoutTooShort,
    #[error("{property} must be at least 1")]
    Zero { property: &'static str },
}

impl ProducerOptions {
    /// Whether records are to be numbered; an error where settings contradict one another.
    pub(super) fn is_idempotent(&self) -> Result<bool, OptionsError> {
        /// How many batches of a producer brokers remember for each partition.
        const BATCHES_REMEMBERED: usize = 5;
        let zero = |property| Err(OptionsError::Zero { property });
        if self.max_in_flight == 0 {
            return zero("max.in.flight.requests.per.connection");
        }
        if self.max_request_size == 0 {
            return zero("max.request.size");
        }
        if self.buffer_memory == 0 {
            return zero("buffer.memory");
        }
        if self.delivery_timeout < self.linger + self.request_timeout {
            return Err(OptionsError::DeliveryTimeoutTooShort);
        }
        let against = if self.acks != Acks::All {
            OptionsError::IdempotenceNeedsAcks
        } else if self.retries == 0 {
            OptionsError::IdempotenceNeedsRetries
        } else if self.max_in_flight > BATCHES_REMEMBERED {
            OptionsError::IdempotenceNeedsFewInFlight
        } else {
            return Ok(self.idempotence != Idempotence::Off);
        };
        match self.idempotence {
            Idempotence::Required => Err(against),
            Idempotence::WherePossible | Idempotence::Off => Ok(false),
        }
    }

    pub(super) fn limits(&self, is_idempotent: bool) -> Limits {
        Limits {
            batch_size: self.batch_size,
            linger: self.linger,
            buffer_memory: self.buffer_memory,
            max_request_size: self.max_request_size,
            delivery_timeout: self.delivery_timeout,
            retries: self.retries,
            retry_backoff: self.retry_backoff,
            max_in_flight: self.max_in_flight,
            is_idempotent,
            is_compressing: self.compression.codec != Codec::None,
        }
    }

    pub(super) fn cluster(&self) -> ClusterOptions {
        let connection =
            ConnectionOptions { request_timeout: self.request_timeout, ..ConnectionOptions::default() };
        ClusterOptions {
            client_id: self.client_id.clone(),
            connection,
            metadata_max_age: self.metadata_max_age,
            retry_backoff: self.retry_backoff,
            reconnect_backoff: self.reconnect_backoff,
            api_timeout: self.max_block,
            ..ClusterOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idempotence_yields_to_settings_unless_it_is_required() {
        let of = |options: &ProducerOptions| options.is_idempotent();
        let required = ProducerOptions { idempotence: Idempotence::Required, ..Default::default() };
        assert_eq!(of(&ProducerOptions::default()), Ok(true));
        assert_eq!(of(&ProducerOptions { idempotence: Idempotence::Off, ..Default::default() }), Ok(false));
        let cases = [
            (ProducerOptions { acks: Acks::Leader, ..required.clone() }, OptionsError::IdempotenceNeedsAcks),
            (ProducerOptions { retries: 0, ..required.clone() }, OptionsError::IdempotenceNeedsRetries),
            (
                ProducerOptions { max_in_flight: 6, ..required.clone() },
                OptionsError::IdempotenceNeedsFewInFlight,
            ),
        ];
        for (options, error) in cases {
            assert_eq!(of(&options), Err(error));
            assert_eq!(
                of(&ProducerOptions { idempotence: Idempotence::WherePossible, ..options }),
                Ok(false)
            );
        }
        let late = ProducerOptions { linger: Duration::from_secs(91), ..Default::default() };
        assert_eq!(of(&late), Err(OptionsError::DeliveryTimeoutTooShort));
    }
}
