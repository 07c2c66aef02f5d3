//! Newtypes for the numbers that get mixed up. All are plain data; none is validated here.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A broker's id (`broker.id`, the name under `/brokers/ids`). −1: no leader.
    BrokerId(i32)
);
number!(
    /// How often this partition changed leader; rises with every decision of a controller,
    /// never with an ISR change asked for by the leader. −1: none.
    LeaderEpoch(i32)
);
number!(
    /// The number in `/controller_epoch`; rises with every controller election.
    ControllerEpoch(i32)
);
number!(
    /// A znode's data version. For a partition's `state` znode it is Kafka's "partition epoch".
    ZkVersion(i32)
);
number!(
    /// The czxid of a broker's registration: a new one with every registration. −1: not known.
    BrokerEpoch(i64)
);
number!(
    /// A record's position in its partition, or the end of a half-open range of records.
    Offset(i64)
);

impl BrokerId {
    /// Kafka's "no leader".
    pub const NONE: BrokerId = BrokerId(-1);
}

impl LeaderEpoch {
    /// Kafka's "no epoch".
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);
}

impl std::ops::Add<i64> for Offset {
    type Output = Offset;
    fn add(self, records: i64) -> Offset {
        Offset(self.0.wrapping_add(records))
    }
}

impl std::ops::Sub<Offset> for Offset {
    type Output = i64;
    fn sub(self, earlier: Offset) -> i64 {
        self.0.wrapping_sub(earlier.0)
    }
}

/// 16 bytes, shown as Kafka shows them: 22 characters of URL-safe base64 without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// Stands for "no id" on the wire.
    pub const ZERO: Uuid = Uuid([0; 16]);

    pub fn is_zero(&self) -> bool {
        *self == Uuid::ZERO
    }

    /// Makes a version 4 id of 16 random bytes.
    /// `None` if Kafka would not use it: all zero, one of its reserved ids, or text that starts with `-`
    /// (a command line would take it for a flag). Draw again then.
    pub fn from_random(mut bytes: [u8; 16]) -> Option<Uuid> {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let id = Uuid(bytes);
        (!id.to_string().starts_with('-')).then_some(id)
    }

    /// Reads the 22 characters that [`Display`](fmt::Display) writes; `None` if they are not that.
    pub fn parse(text: &str) -> Option<Uuid> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Uuid(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A partition of a topic, cheap to clone. Ordered by topic name, then number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

/// `topic-partition`, the name of the partition's folder.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
