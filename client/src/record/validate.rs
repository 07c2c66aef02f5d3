//! What a leader checks in the records of a Produce request, and what it appends of them.
//!
//! Three steps, in the order Kafka takes them: [`look`] at every records field of the request before
//! anything else, [`check_format`] per partition, [`validate`] on the leader.
//!
//! Every record of a batch is looked at, also of a compressed one: its timestamp must be in range and
//! makes the batch's greatest one, it must have a key in a compacted topic, and all together must
//! fill the batch. So a compressed payload is decompressed, but piece by piece, and neither keys nor
//! values are kept. An accepted batch is stored with the producer's own bytes; only its timestamp
//! type and greatest timestamp are set where they differ. It is written anew only if the topic wants
//! another codec, or if it came in an older format.

use super::NO_TIMESTAMP;
use super::attributes::{Codec, TimestampType};
use super::batch::{BatchHeader, MAGIC, set_max_timestamp};
use super::builder::{BatchBuilder, BatchOptions, NewRecord, Producer};
use super::compression::Compression;
use super::entry::{AnyBatch, Batches, EntryError, EntryHeader, Tail, batches};
use super::legacy::for_each_message;
use super::record::{Record, records};
use super::refusal::Refusal;
use super::rules::RecordCheck;
use super::stream::{RecordHead, RecordStream};
use crate::ids::Offset;

pub use super::rules::{Origin, ProduceRules};

/// What [`look`] tells of a request before it is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FirstLook {
    /// The request needs a transactional id.
    pub transactional: bool,
    /// It comes from an idempotent producer.
    pub idempotent: bool,
}

/// Looks at the head of one records field. An error here refuses *every* partition of the request
/// with CORRUPT_MESSAGE and, from version 8 on, [`look_message`].
pub fn look(bytes: &[u8]) -> Result<FirstLook, EntryError> {
    match EntryHeader::parse(bytes) {
        Ok(_) | Err(EntryError::HeadTruncated { .. }) => {}
        // Too small for its format only: left to the partition's own checks.
        Err(EntryError::SizeTooSmall { size, .. }) if size >= MESSAGE_SIZE_MIN => {}
        Err(error) => return Err(error),
    }
    let header = BatchHeader::parse(bytes).ok().filter(|header| header.size() <= bytes.len());
    Ok(header.map_or(FirstLook::default(), |header| FirstLook {
        transactional: header.attributes.is_transactional(),
        idempotent: header.has_producer_id(),
    }))
}

/// The `error_message` for a request that [`look`] refuses.
pub fn look_message(error: &EntryError) -> String {
    match error {
        EntryError::UnknownMagic { magic } => format!("Invalid magic found in record: {magic}"),
        EntryError::SizeTooSmall { size, .. } => {
            format!("Record size {size} is less than the minimum record overhead ({MESSAGE_SIZE_MIN})")
        }
        EntryError::HeadTruncated { .. } => error.to_string(),
    }
}

const MESSAGE_SIZE_MIN: i32 = 14;

/// Checks one records field against the version of its request: from 3 on exactly one batch of
/// format 2, and zstd only from 7 on.
pub fn check_format(bytes: &[u8], version: i16) -> Result<(), Refusal> {
    if version < 3 {
        return Ok(());
    }
    let not_one = Refusal::NotOneBatch { version };
    let mut walk = batches(bytes);
    let Some(batch) = walk.next() else {
        refuse_corrupt_tail(&walk)?;
        return Err(not_one);
    };
    if batch.magic() != MAGIC {
        return Err(not_one);
    }
    if batch.attributes().codec() == Ok(Codec::Zstd) && version < 7 {
        return Err(Refusal::ZstdTooEarly { version });
    }
    if walk.next().is_some() {
        return Err(not_one);
    }
    refuse_corrupt_tail(&walk)
}

fn refuse_corrupt_tail(walk: &Batches<'_>) -> Result<(), Refusal> {
    match walk.tail() {
        Tail::Corrupt { error, .. } => Err(error.into()),
        Tail::Clean | Tail::Torn { .. } => Ok(()),
    }
}

/// Records that may be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validated {
    /// One whole batch of format 2 with base offset 0, or nothing if the producer sent nothing whole.
    pub batch: Vec<u8>,
    pub record_count: i32,
    /// The batch's greatest timestamp: the append time, if the topic's timestamps are that.
    pub max_timestamp: i64,
    /// The place in the batch of the first record with that timestamp.
    pub max_timestamp_index: i32,
    /// `log_append_time` of the response; −1 unless the topic's timestamps are that.
    pub log_append_time: i64,
    /// The batch is not the producer's own, but written anew.
    pub re_encoded: bool,
    /// Of an idempotent producer.
    pub producer: Option<ProducedBy>,
    pub transactional: bool,
}

/// The producer of a batch and the sequence numbers of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducedBy {
    pub id: i64,
    pub epoch: i16,
    pub first_sequence: i32,
    pub last_sequence: i32,
}

impl Validated {
    fn nothing() -> Validated {
        Validated {
            batch: Vec::new(),
            record_count: 0,
            max_timestamp: NO_TIMESTAMP,
            max_timestamp_index: 0,
            log_append_time: NO_TIMESTAMP,
            re_encoded: false,
            producer: None,
            transactional: false,
        }
    }
}

/// Checks one records field against the rules of its topic. The result is ready to get its offset
/// and leader epoch. Bytes behind the last whole entry are dropped.
pub fn validate(bytes: &[u8], rules: &ProduceRules<'_>, now_ms: i64) -> Result<Validated, Refusal> {
    let Some(produced) = Produced::admit(bytes, rules)? else {
        return Ok(Validated::nothing());
    };
    let as_it_comes = Compression::from(produced.codec);
    let target = match rules.compression {
        Some(wanted) if !produced.first.is_control() => wanted,
        _ => as_it_comes,
    };
    let in_place = produced.first.magic() == MAGIC && target.codec == produced.codec;
    produced.check_heads(rules.origin)?;

    let mut check = RecordCheck::new(rules, now_ms, produced.codec != Codec::None && in_place);
    let mut batch = match produced.first.header() {
        Some(header) => {
            check_records(&produced, header, in_place, &mut check)?;
            check.verdict()?;
            match in_place {
                true => produced.first.bytes().to_vec(),
                false => re_encode(&produced, header, target, rules, now_ms)?,
            }
        }
        None => up_convert(&produced, target, rules, now_ms, &mut check)?,
    };
    let log_append_time = match rules.timestamp_type {
        TimestampType::CreateTime => NO_TIMESTAMP,
        TimestampType::LogAppendTime => now_ms,
    };
    let max_timestamp = match rules.timestamp_type {
        TimestampType::CreateTime => check.max_timestamp,
        TimestampType::LogAppendTime => now_ms,
    };
    if in_place {
        set_max_timestamp(&mut batch, rules.timestamp_type, max_timestamp)?;
    }
    let (size, limit) = (batch.len(), rules.segment_bytes);
    if size > limit {
        return Err(Refusal::LargerThanSegment { size, limit });
    }
    let header = produced.first.header();
    Ok(Validated {
        batch,
        record_count: check.index,
        max_timestamp,
        max_timestamp_index: match rules.timestamp_type {
            TimestampType::CreateTime => check.max_timestamp_index,
            TimestampType::LogAppendTime => 0,
        },
        log_append_time,
        re_encoded: !in_place,
        producer: header.filter(|header| header.has_producer_id()).map(|header| ProducedBy {
            id: header.producer_id,
            epoch: header.producer_epoch,
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
        }),
        transactional: produced.first.is_transactional(),
    })
}

/// Whole entries whose sizes and checksums are right.
struct Produced<'a> {
    bytes: &'a [u8],
    first: AnyBatch<'a>,
    /// Of the last entry that is compressed; a compressed one must be the only one, though.
    codec: Codec,
}

impl<'a> Produced<'a> {
    /// `None`: not one whole entry.
    fn admit(bytes: &'a [u8], rules: &ProduceRules<'_>) -> Result<Option<Produced<'a>>, Refusal> {
        let mut first = None;
        let mut codec = Codec::None;
        let mut walk = batches(bytes);
        for entry in walk.by_ref() {
            if let Some(header) = entry.header()
                && rules.origin == Origin::Client
                && header.base_offset != Offset(0)
            {
                return Err(Refusal::BaseOffset { offset: header.base_offset });
            }
            let (size, limit) = (entry.size(), rules.max_message_bytes);
            if size > limit {
                return Err(Refusal::TooLarge { size, limit });
            }
            entry.check_crc()?;
            codec = match entry.attributes().codec()? {
                Codec::None => codec,
                compressed => compressed,
            };
            first.get_or_insert(entry);
        }
        refuse_corrupt_tail(&walk)?;
        Ok(first.map(|first| Produced { bytes, first, codec }))
    }

    /// The checks that need no records.
    fn check_heads(&self, origin: Origin) -> Result<(), Refusal> {
        let first = self.first.magic();
        if (first == MAGIC || self.codec != Codec::None) && batches(self.bytes).nth(1).is_some() {
            return Err(Refusal::MoreThanOneBatch);
        }
        match self.first.header() {
            Some(header) if origin == Origin::Client => check_header(header),
            _ => Ok(()),
        }
    }
}

fn check_header(header: &BatchHeader) -> Result<(), Refusal> {
    let (count, last_offset_delta) = (header.record_count, header.last_offset_delta);
    if count <= 0 || last_offset_delta != count - 1 {
        return Err(Refusal::Count { count, last_offset_delta });
    }
    if header.attributes.is_control() {
        return Err(Refusal::Control);
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        let (producer_id, base_sequence) = (header.producer_id, header.base_sequence);
        return Err(Refusal::NoSequence { producer_id, base_sequence });
    }
    Ok(())
}

/// Looks at every record of a batch of format 2.
fn check_records(
    produced: &Produced<'_>,
    header: &BatchHeader,
    in_place: bool,
    check: &mut RecordCheck<'_>,
) -> Result<(), Refusal> {
    check.batch_has_append_time = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
    let payload = produced.first.payload().unwrap_or_default();
    if produced.codec == Codec::None {
        for record in records(header, payload) {
            check.see(&head_of(&record?));
        }
        return Ok(());
    }
    let limit = check.rules.decompressed_max_bytes;
    let mut stream = RecordStream::new(header, produced.codec, payload, limit)?;
    // Kafka takes gaps between compressed records as a reason to write the batch anew, and fails at
    // it since it has not kept the records (LogValidator, PartialDefaultRecord).
    let mut gap = None;
    while let Some(head) = stream.next_head()? {
        if head.offset_delta != check.index && in_place {
            gap.get_or_insert(Refusal::OffsetDelta { expected: check.index, found: head.offset_delta });
        }
        check.see(&head);
    }
    check.verdict()?;
    gap.map_or(Ok(()), Err)
}

fn head_of(record: &Record<'_>) -> RecordHead {
    RecordHead {
        timestamp: record.timestamp,
        offset_delta: record.offset_delta,
        key_len: len_of(record.key),
        value_len: len_of(record.value),
    }
}

/// As records write it: −1 is none.
fn len_of(bytes: Option<&[u8]>) -> i32 {
    bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX))
}

/// Writes a batch of format 2 anew with another codec.
fn re_encode(
    produced: &Produced<'_>,
    header: &BatchHeader,
    target: Compression,
    rules: &ProduceRules<'_>,
    now_ms: i64,
) -> Result<Vec<u8>, Refusal> {
    let producer = Producer {
        id: header.producer_id,
        epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    };
    let mut rebuilt = Rebuilt::new(
        BatchOptions {
            compression: target,
            append_time: append_time(rules, now_ms),
            producer,
            transactional: header.attributes.is_transactional(),
            control: header.attributes.is_control(),
            ..BatchOptions::default()
        },
        rules,
    )?;
    let payload = produced.first.payload().unwrap_or_default();
    if produced.codec == Codec::None {
        for record in records(header, payload) {
            rebuilt.copy(&record?)?;
        }
    } else {
        let limit = rules.decompressed_max_bytes;
        let mut stream = RecordStream::new(header, produced.codec, payload, limit)?;
        let mut buffer = Vec::new();
        while let Some(record) = stream.next_record(&mut buffer)? {
            rebuilt.copy(&record)?;
        }
    }
    rebuilt.finish()
}

/// Makes one batch of format 2 of all messages of formats 0 and 1.
fn up_convert(
    produced: &Produced<'_>,
    target: Compression,
    rules: &ProduceRules<'_>,
    now_ms: i64,
    check: &mut RecordCheck<'_>,
) -> Result<Vec<u8>, Refusal> {
    let first = produced.first.magic();
    let limit = rules.decompressed_max_bytes;
    for entry in batches(produced.bytes) {
        if entry.magic() != first {
            return Err(Refusal::MixedFormats { first, other: entry.magic() });
        }
        check.batch_has_append_time = entry.timestamp_type() == TimestampType::LogAppendTime;
        for_each_message(&entry, limit, |message| {
            check.see(&RecordHead {
                timestamp: message.timestamp,
                offset_delta: check.index,
                key_len: len_of(message.key),
                value_len: len_of(message.value),
            });
            Ok::<(), Refusal>(())
        })?;
        check.verdict()?;
    }
    let options = BatchOptions {
        compression: target,
        append_time: append_time(rules, now_ms),
        ..BatchOptions::default()
    };
    let mut rebuilt = Rebuilt::new(options, rules)?;
    for entry in batches(produced.bytes) {
        for_each_message(&entry, limit, |message| {
            rebuilt.push(&NewRecord {
                timestamp: message.timestamp,
                key: message.key,
                value: message.value,
                headers: &[],
            })
        })?;
    }
    rebuilt.finish()
}

fn append_time(rules: &ProduceRules<'_>, now_ms: i64) -> Option<i64> {
    (rules.timestamp_type == TimestampType::LogAppendTime).then_some(now_ms)
}

/// A batch written anew, refused as soon as it has grown too large.
struct Rebuilt {
    builder: BatchBuilder,
    limit: usize,
    compressed: bool,
}

impl Rebuilt {
    fn new(options: BatchOptions, rules: &ProduceRules<'_>) -> Result<Rebuilt, Refusal> {
        let compressed = options.compression.codec != Codec::None;
        Ok(Rebuilt { builder: BatchBuilder::new(options)?, limit: rules.max_message_bytes, compressed })
    }

    fn copy(&mut self, record: &Record<'_>) -> Result<(), Refusal> {
        check_timestamp(record.timestamp)?;
        self.builder.copy(record)?;
        self.check_size()
    }

    fn push(&mut self, record: &NewRecord<'_>) -> Result<(), Refusal> {
        check_timestamp(record.timestamp)?;
        self.builder.push(record)?;
        self.check_size()
    }

    /// With a codec, what is still to be compressed does not count.
    fn check_size(&self) -> Result<(), Refusal> {
        let size = if self.compressed { self.builder.compressed_size() } else { self.builder.size() };
        refuse_larger(size, self.limit)
    }

    fn finish(self) -> Result<Vec<u8>, Refusal> {
        let batch = self.builder.finish()?;
        refuse_larger(batch.len(), self.limit)?;
        Ok(batch)
    }
}

fn check_timestamp(timestamp: i64) -> Result<(), Refusal> {
    if timestamp < NO_TIMESTAMP { Err(Refusal::NegativeTimestamp { timestamp }) } else { Ok(()) }
}

fn refuse_larger(size: usize, limit: usize) -> Result<(), Refusal> {
    if size > limit { Err(Refusal::TooLarge { size, limit }) } else { Ok(()) }
}
