//! `/latest_producer_id_block`: the last block of producer ids that was given out.

use super::ZnodeError;
use super::json::{self, Fields, Object};
use crate::ids::BrokerId;

pub const PATH: &str = "/latest_producer_id_block";

/// Producer ids in one block.
pub const BLOCK_SIZE: i64 = 1000;

const NODE: &str = "/latest_producer_id_block";

/// Ids from `start` to `end`, both included, given to `broker`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    pub broker: BrokerId,
    pub start: i64,
    pub end: i64,
}

impl ProducerIdBlock {
    /// The block after this one. `None`: the ids are used up.
    pub fn next(&self, broker: BrokerId) -> Option<ProducerIdBlock> {
        let start = self.end.checked_add(1)?;
        Some(ProducerIdBlock { broker, start, end: start.checked_add(BLOCK_SIZE - 1)? })
    }

    pub fn first(broker: BrokerId) -> ProducerIdBlock {
        ProducerIdBlock { broker, start: 0, end: BLOCK_SIZE - 1 }
    }

    pub fn encode(&self) -> Vec<u8> {
        Object::new()
            .number("version", 1)
            .number("broker", self.broker.0)
            .quoted_number("block_start", self.start)
            .quoted_number("block_end", self.end)
            .into_bytes()
    }

    /// `None`: the node has no data, as at a cluster's start, and no block was given out yet.
    pub fn decode(data: &[u8]) -> Result<Option<ProducerIdBlock>, ZnodeError> {
        if data.is_empty() {
            return Ok(None);
        }
        let value = json::parse(NODE, data)?;
        let fields = Fields::of(NODE, &value)?;
        Ok(Some(ProducerIdBlock {
            broker: BrokerId(fields.i32("broker")?),
            start: fields.quoted_i64("block_start")?,
            end: fields.quoted_i64("block_end")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_written_as_kafka_does() {
        let text = r#"{"version":1,"broker":1,"block_start":"0","block_end":"999"}"#;
        let block = ProducerIdBlock::first(BrokerId(1));
        assert_eq!(String::from_utf8(block.encode()).unwrap(), text);
        assert_eq!(ProducerIdBlock::decode(text.as_bytes()), Ok(Some(block)));
        assert_eq!(ProducerIdBlock::decode(b""), Ok(None));
    }

    #[test]
    fn blocks_follow_one_another_until_the_numbers_end() {
        let second = ProducerIdBlock { broker: BrokerId(2), start: 1000, end: 1999 };
        assert_eq!(ProducerIdBlock::first(BrokerId(1)).next(BrokerId(2)), Some(second));
        let last = ProducerIdBlock { broker: BrokerId(1), start: i64::MAX - 1500, end: i64::MAX - 501 };
        assert_eq!(last.next(BrokerId(1)), None);
    }
}
