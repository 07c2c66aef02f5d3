//! Encoding of the protocol's primitives into a few buffers, records beside them.

use std::io;

use bytes::Bytes;

use super::{FileSlice, MAX_STRING, Message, Records};
use crate::ids::Uuid;

/// Why a message cannot be written: the caller filled in what this version cannot say.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("{message} has no version {version}")]
    UnsupportedVersion { message: &'static str, version: i16 },
    #[error("{message}.{field} is set, but version {version} has no such field")]
    UnsupportedField { message: &'static str, field: &'static str, version: i16 },
    #[error("{message}.{field} is null, which version {version} does not allow")]
    Null { message: &'static str, field: &'static str, version: i16 },
    #[error("{length} is too long for a length prefix that ends at {max}")]
    TooLong { length: usize, max: usize },
    #[error("the records could not be read from their file: {0}")]
    File(io::Error),
}

impl EncodeError {
    #[cold]
    pub fn unsupported(message: &'static str, field: &'static str, version: i16) -> EncodeError {
        EncodeError::UnsupportedField { message, field, version }
    }

    #[cold]
    pub fn null(message: &'static str, field: &'static str, version: i16) -> EncodeError {
        EncodeError::Null { message, field, version }
    }
}

/// One piece of an encoded message, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Segment {
    Bytes(Bytes),
    File(FileSlice),
}

/// An encoded message, ready to be sent piece by piece.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    pub segments: Vec<Segment>,
    /// The sum of the segments' lengths.
    pub len: usize,
}

/// Collects a message. Everything but records goes into one buffer; records are put beside it, and only
/// small ones in memory are copied.
#[derive(Debug, Default)]
pub struct Writer {
    head: Vec<u8>,
    /// Records, each with the length that `head` had when they came.
    beside: Vec<(usize, Segment)>,
    /// Their bytes together.
    beside_len: usize,
}

/// Records in memory up to this size are copied: cheaper than one more segment for the socket.
const COPIED_RECORDS: usize = 4 * 1024;
/// Most messages fit; those that do not double a few times.
const FIRST_CAPACITY: usize = 512;
const MAX_LENGTH: usize = i32::MAX as usize;

impl Writer {
    pub fn new() -> Writer {
        Writer::with_capacity(FIRST_CAPACITY)
    }

    /// With space for so many bytes that are not records.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { head: Vec::with_capacity(bytes), beside: Vec::new(), beside_len: 0 }
    }

    /// How many bytes were written, records included.
    pub fn len(&self) -> usize {
        self.head.len() + self.beside_len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn finish(self) -> Encoded {
        let len = self.len();
        let head = Bytes::from(self.head);
        let mut segments = Vec::with_capacity(2 * self.beside.len() + 1);
        let mut from = 0;
        for (to, segment) in self.beside {
            if from < to {
                segments.push(Segment::Bytes(head.slice(from..to)));
            }
            from = to;
            segments.push(segment);
        }
        if from < head.len() {
            segments.push(Segment::Bytes(head.slice(from..)));
        }
        Encoded { segments, len }
    }

    /// Puts the four bytes of the frame's length at the front, where [`Writer::framed`] left room.
    pub(super) fn finish_frame(mut self) -> Result<Encoded, EncodeError> {
        let length = length(self.len() - size_of::<i32>(), MAX_LENGTH)?;
        if let Some(prefix) = self.head.first_chunk_mut() {
            *prefix = (length as i32).to_be_bytes();
        }
        Ok(self.finish())
    }

    /// A writer whose first four bytes are kept for the frame's length.
    pub(super) fn framed() -> Writer {
        let mut writer = Writer::new();
        writer.i32(0);
        writer
    }

    pub fn bool(&mut self, value: bool) {
        self.head.push(u8::from(value));
    }

    pub fn i8(&mut self, value: i8) {
        self.head.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i16(&mut self, value: i16) {
        self.head.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.head.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.head.extend_from_slice(&value.to_be_bytes());
    }

    pub fn f64(&mut self, value: f64) {
        self.head.extend_from_slice(&value.to_be_bytes());
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.head.extend_from_slice(&value.0);
    }

    /// An unsigned number of up to 32 bits, seven to a byte, the lowest first.
    pub fn uvarint(&mut self, value: u32) {
        let (bytes, len) = uvarint_bytes(value);
        self.head.extend(bytes.into_iter().take(len));
    }

    pub fn string(&mut self, flexible: bool, value: &str) -> Result<(), EncodeError> {
        let length = length(value.len(), MAX_STRING)?;
        if flexible {
            self.uvarint(length + 1)
        } else {
            self.i16(length as i16)
        }
        self.head.extend_from_slice(value.as_bytes());
        Ok(())
    }

    pub fn nullable_string(&mut self, flexible: bool, value: Option<&str>) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.string(flexible, value)?,
            None if flexible => self.uvarint(0),
            None => self.i16(-1),
        }
        Ok(())
    }

    pub fn bytes(&mut self, flexible: bool, value: &[u8]) -> Result<(), EncodeError> {
        self.length(flexible, Some(value.len()))?;
        self.head.extend_from_slice(value);
        Ok(())
    }

    pub fn nullable_bytes(&mut self, flexible: bool, value: Option<&[u8]>) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.bytes(flexible, value),
            None => self.length(flexible, None),
        }
    }

    pub fn nullable_records(&mut self, flexible: bool, value: Option<&Records>) -> Result<(), EncodeError> {
        self.length(flexible, value.map(Records::len))?;
        match value {
            None => {}
            Some(Records::Memory(bytes)) if bytes.len() <= COPIED_RECORDS => {
                self.head.extend_from_slice(bytes);
            }
            Some(Records::Memory(bytes)) => self.put_beside(Segment::Bytes(bytes.clone())),
            Some(Records::File(slice)) if slice.len == 0 => {}
            Some(Records::File(slice)) => self.put_beside(Segment::File(slice.clone())),
        }
        Ok(())
    }

    /// A struct behind the byte that tells whether there is one.
    pub fn nullable_struct<M: Message>(
        &mut self,
        value: Option<&M>,
        version: i16,
    ) -> Result<(), EncodeError> {
        match value {
            None => {
                self.i8(-1);
                Ok(())
            }
            Some(value) => {
                self.i8(1);
                value.encode(self, version)
            }
        }
    }

    pub fn array<M: Message>(
        &mut self,
        flexible: bool,
        values: &[M],
        version: i16,
    ) -> Result<(), EncodeError> {
        self.length(flexible, Some(values.len()))?;
        for value in values {
            value.encode(self, version)?;
        }
        Ok(())
    }

    pub fn nullable_array<M: Message>(
        &mut self,
        flexible: bool,
        values: Option<&[M]>,
        version: i16,
    ) -> Result<(), EncodeError> {
        match values {
            Some(values) => self.array(flexible, values, version),
            None => self.length(flexible, None),
        }
    }

    pub fn i32s(&mut self, flexible: bool, values: &[i32]) -> Result<(), EncodeError> {
        self.length(flexible, Some(values.len()))?;
        self.head.reserve(size_of_val(values));
        for value in values {
            self.i32(*value);
        }
        Ok(())
    }

    pub fn nullable_i32s(&mut self, flexible: bool, values: Option<&[i32]>) -> Result<(), EncodeError> {
        match values {
            Some(values) => self.i32s(flexible, values),
            None => self.length(flexible, None),
        }
    }

    pub fn i64s(&mut self, flexible: bool, values: &[i64]) -> Result<(), EncodeError> {
        self.length(flexible, Some(values.len()))?;
        for value in values {
            self.i64(*value);
        }
        Ok(())
    }

    pub fn strings(&mut self, flexible: bool, values: &[super::Str]) -> Result<(), EncodeError> {
        self.length(flexible, Some(values.len()))?;
        for value in values {
            self.string(flexible, value)?;
        }
        Ok(())
    }

    pub fn nullable_strings(
        &mut self,
        flexible: bool,
        values: Option<&[super::Str]>,
    ) -> Result<(), EncodeError> {
        match values {
            Some(values) => self.strings(flexible, values),
            None => self.length(flexible, None),
        }
    }

    /// A tagged field: number, size, and what `write` writes. Never records: its size must be known.
    pub fn tagged_field(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.uvarint(tag);
        let start = self.head.len();
        write(self)?;
        let size = length(self.head.len() - start, MAX_LENGTH)?;
        let (bytes, len) = uvarint_bytes(size);
        self.head.splice(start..start, bytes.into_iter().take(len));
        Ok(())
    }

    /// The length prefix of bytes, records and arrays; `None` is null.
    fn length(&mut self, flexible: bool, value: Option<usize>) -> Result<(), EncodeError> {
        match value {
            Some(value) if flexible => self.uvarint(length(value, MAX_LENGTH)? + 1),
            Some(value) => self.i32(length(value, MAX_LENGTH)? as i32),
            None if flexible => self.uvarint(0),
            None => self.i32(-1),
        }
        Ok(())
    }

    fn put_beside(&mut self, segment: Segment) {
        self.beside_len += segment.len();
        self.beside.push((self.head.len(), segment));
    }
}

impl Segment {
    pub fn len(&self) -> usize {
        match self {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::File(slice) => slice.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Encoded {
    /// All of it in one buffer; copies unless there is a single segment, and reads what is in files.
    pub fn into_bytes(mut self) -> io::Result<Bytes> {
        if let [Segment::Bytes(_)] = self.segments.as_slice()
            && let Some(Segment::Bytes(bytes)) = self.segments.pop()
        {
            return Ok(bytes);
        }
        let mut all = Vec::with_capacity(self.len);
        for segment in &self.segments {
            match segment {
                Segment::Bytes(bytes) => all.extend_from_slice(bytes),
                Segment::File(slice) => all.extend_from_slice(&slice.read()?),
            }
        }
        Ok(all.into())
    }
}

fn length(length: usize, max: usize) -> Result<u32, EncodeError> {
    if length > max {
        return Err(EncodeError::TooLong { length, max });
    }
    Ok(length as u32)
}

fn uvarint_bytes(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut len = 0;
    for byte in &mut bytes {
        len += 1;
        if value < 0x80 {
            *byte = value as u8;
            break;
        }
        *byte = value as u8 | 0x80;
        value >>= 7;
    }
    (bytes, len)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    fn bytes(write: impl FnOnce(&mut Writer)) -> Bytes {
        let mut writer = Writer::new();
        write(&mut writer);
        writer.finish().into_bytes().unwrap()
    }

    #[test]
    fn writes_variable_length_numbers() {
        for (number, expected) in [
            (0, &b"\x00"[..]),
            (127, b"\x7f"),
            (128, b"\x80\x01"),
            (16_383, b"\xff\x7f"),
            (16_384, b"\x80\x80\x01"),
            (u32::MAX, b"\xff\xff\xff\xff\x0f"),
        ] {
            assert_eq!(bytes(|w| w.uvarint(number)), expected, "{number}");
        }
    }

    #[test]
    fn a_tagged_field_is_preceded_by_its_size_however_long() {
        let value = "x".repeat(300);
        let written = bytes(|w| w.tagged_field(4, |w| w.string(true, &value)).unwrap());
        // Tag, size 302, compact length 301.
        assert_eq!(written, [b"\x04\xae\x02\xad\x02", value.as_bytes()].concat());
    }

    #[test]
    fn strings_longer_than_the_protocol_allows_are_refused() {
        let long = "x".repeat(32_768);
        for flexible in [false, true] {
            let refused = Writer::new().string(flexible, &long);
            assert!(
                matches!(refused, Err(EncodeError::TooLong { length: 32_768, max: 32_767 })),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn large_records_stay_where_they_are_and_small_ones_are_copied() {
        let large = Bytes::from(vec![7; COPIED_RECORDS + 1]);
        let small = Bytes::from(vec![8; COPIED_RECORDS]);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let slice = FileSlice { file: Arc::new(file), position: 2, len: 3 };

        let mut writer = Writer::new();
        writer.i8(1);
        writer.nullable_records(false, Some(&Records::Memory(small.clone()))).unwrap();
        writer.nullable_records(true, Some(&Records::Memory(large.clone()))).unwrap();
        writer.nullable_records(false, Some(&Records::File(slice.clone()))).unwrap();
        writer.nullable_records(false, Some(&Records::File(FileSlice { len: 0, ..slice.clone() }))).unwrap();
        writer.nullable_records(false, None).unwrap();
        let written = writer.len();
        let encoded = writer.finish();

        let kinds: Vec<_> = encoded.segments.iter().map(|s| matches!(s, Segment::File(_))).collect();
        assert_eq!(kinds, [false, false, false, true, false]);
        let Segment::Bytes(beside) = &encoded.segments[1] else { panic!("no bytes") };
        assert!(std::ptr::eq(&beside[..], &large[..]));

        let len = encoded.len;
        let all = encoded.into_bytes().unwrap();
        assert_eq!((len, written), (all.len(), all.len()));
        let expected = [
            &b"\x01\x00\x00\x10\x00"[..],
            &small,
            b"\x82\x20",
            &large,
            b"\x00\x00\x00\x03",
            b"234",
            b"\x00\x00\x00\x00",
            b"\xff\xff\xff\xff",
        ];
        assert_eq!(all, expected.concat());
    }
}
