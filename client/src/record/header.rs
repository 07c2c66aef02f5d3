//! A header as users of clients write and read it.

use bytes::Bytes;

use crate::wire::Str;

/// A name and a value beside the record's own (KIP-82). A name may come more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHeader {
    /// In what was read, whatever is not UTF-8 is replaced, as Kafka's own clients do.
    pub key: Str,
    pub value: Option<Bytes>,
}
