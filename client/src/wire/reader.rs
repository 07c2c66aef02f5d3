//! Decoding of the protocol's primitives from bytes that may be anything.

use bytes::Bytes;

use super::{Message, Records, Str};
use crate::ids::Uuid;

/// What is wrong with bytes that should have been a message. `at` counts from the start of the frame's
/// content (after its length).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("{message} has no version {version}")]
    UnsupportedVersion { message: &'static str, version: i16 },
    #[error("byte {at}: {needed} more bytes should follow, but the message ends after {left}")]
    Truncated { at: usize, needed: usize, left: usize },
    #[error("byte {at}: {count} array elements announced, but only {left} bytes follow")]
    TooManyElements { at: usize, count: usize, left: usize },
    #[error("byte {at}: {length} is not a length")]
    InvalidLength { at: usize, length: i64 },
    #[error("byte {at}: null, which this version does not allow here")]
    Null { at: usize },
    #[error("byte {at}: the string is not UTF-8")]
    InvalidUtf8 { at: usize },
    #[error("byte {at}: a variable-length number of more than 32 bits")]
    InvalidVarint { at: usize },
    #[error("byte {at}: tagged field {tag} after tagged field {previous}; tags must rise")]
    TagOrder { at: usize, tag: u32, previous: u32 },
    #[error("byte {at}: tagged field {tag} was announced with {size} bytes, but takes {used}")]
    TagSize { at: usize, tag: u32, size: usize, used: usize },
    #[error("{left} bytes are left over after the message")]
    TrailingBytes { left: usize },
}

/// A position in a frame.
///
/// The frame may come from anyone, so nothing here panics, and no memory is reserved for what the frame
/// only announces: a count of elements is first compared with the bytes that are left (each element of
/// every message takes at least one), and an array starts with at most [`FIRST_RESERVATION`] bytes.
#[derive(Debug, Clone)]
pub struct Reader {
    frame: Bytes,
    at: usize,
}

/// What an array reserves before its first element was read, in bytes.
const FIRST_RESERVATION: usize = 64 * 1024;
/// Longest string of the protocol, in bytes: its oldest length prefix is an i16.
const MAX_STRING: usize = i16::MAX as usize;

impl Reader {
    pub fn new(frame: impl Into<Bytes>) -> Reader {
        Reader { frame: frame.into(), at: 0 }
    }

    /// How many bytes were not read yet.
    pub fn remaining(&self) -> usize {
        self.frame.len() - self.at
    }

    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array_of()?))
    }

    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array_of()?))
    }

    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array_of()?))
    }

    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array_of()?))
    }

    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.array_of()?))
    }

    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(self.array_of()?))
    }

    /// An unsigned number of up to 32 bits, seven to a byte, the lowest first.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let at = self.at;
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array_of()?;
            // The fifth byte carries the top four bits and ends the number.
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::InvalidVarint { at });
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::InvalidVarint { at })
    }

    pub fn string(&mut self, flexible: bool) -> Result<Str, DecodeError> {
        let at = self.at;
        self.nullable_string(flexible, false)?.ok_or(DecodeError::Null { at })
    }

    pub fn nullable_string(&mut self, flexible: bool, nullable: bool) -> Result<Option<Str>, DecodeError> {
        let at = self.at;
        let length = if flexible { self.compact_length()? } else { i64::from(self.i16()?) };
        let Some(length) = length_or_null(at, length, nullable)? else { return Ok(None) };
        if length > MAX_STRING {
            return Err(DecodeError::InvalidLength { at, length: length as i64 });
        }
        let at = self.at;
        let bytes = self.take(length)?;
        Str::try_from(bytes).map(Some).map_err(|_| DecodeError::InvalidUtf8 { at })
    }

    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        let at = self.at;
        self.nullable_bytes(flexible, false)?.ok_or(DecodeError::Null { at })
    }

    pub fn nullable_bytes(&mut self, flexible: bool, nullable: bool) -> Result<Option<Bytes>, DecodeError> {
        let at = self.at;
        let length = if flexible { self.compact_length()? } else { i64::from(self.i32()?) };
        match length_or_null(at, length, nullable)? {
            None => Ok(None),
            Some(length) => self.take(length).map(Some),
        }
    }

    pub fn nullable_records(
        &mut self,
        flexible: bool,
        nullable: bool,
    ) -> Result<Option<Records>, DecodeError> {
        Ok(self.nullable_bytes(flexible, nullable)?.map(Records::Memory))
    }

    /// A struct behind the byte that tells whether there is one.
    pub fn nullable_struct<M: Message>(&mut self, version: i16) -> Result<Option<M>, DecodeError> {
        if self.i8()? < 0 { Ok(None) } else { M::decode(self, version).map(Some) }
    }

    pub fn array<M: Message>(&mut self, flexible: bool, version: i16) -> Result<Vec<M>, DecodeError> {
        let at = self.at;
        self.nullable_array(flexible, false, version)?.ok_or(DecodeError::Null { at })
    }

    pub fn nullable_array<M: Message>(
        &mut self,
        flexible: bool,
        nullable: bool,
        version: i16,
    ) -> Result<Option<Vec<M>>, DecodeError> {
        match self.count(flexible, nullable)? {
            None => Ok(None),
            Some(count) => self.elements(count, |r| M::decode(r, version)).map(Some),
        }
    }

    pub fn i32s(&mut self, flexible: bool) -> Result<Vec<i32>, DecodeError> {
        let at = self.at;
        self.nullable_i32s(flexible, false)?.ok_or(DecodeError::Null { at })
    }

    pub fn nullable_i32s(&mut self, flexible: bool, nullable: bool) -> Result<Option<Vec<i32>>, DecodeError> {
        match self.count(flexible, nullable)? {
            None => Ok(None),
            Some(count) => self.elements(count, Reader::i32).map(Some),
        }
    }

    pub fn i64s(&mut self, flexible: bool) -> Result<Vec<i64>, DecodeError> {
        let at = self.at;
        match self.count(flexible, false)? {
            None => Err(DecodeError::Null { at }),
            Some(count) => self.elements(count, Reader::i64),
        }
    }

    pub fn strings(&mut self, flexible: bool) -> Result<Vec<Str>, DecodeError> {
        let at = self.at;
        self.nullable_strings(flexible, false)?.ok_or(DecodeError::Null { at })
    }

    pub fn nullable_strings(
        &mut self,
        flexible: bool,
        nullable: bool,
    ) -> Result<Option<Vec<Str>>, DecodeError> {
        match self.count(flexible, nullable)? {
            None => Ok(None),
            Some(count) => self.elements(count, |r| r.string(flexible)).map(Some),
        }
    }

    /// The tagged fields that end a struct. `known` reads the value of the tags it knows, and answers
    /// false for the others, which are skipped.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(&mut Reader, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let mut previous = None;
        for _ in 0..self.uvarint()? {
            let at = self.at;
            let tag = self.uvarint()?;
            if let Some(previous) = previous
                && tag <= previous
            {
                return Err(DecodeError::TagOrder { at, tag, previous });
            }
            previous = Some(tag);
            let size = self.uvarint()? as usize;
            self.need(size)?;
            let start = self.at;
            if !known(self, tag)? {
                self.at = start + size;
            }
            let used = self.at - start;
            if used != size {
                return Err(DecodeError::TagSize { at, tag, size, used });
            }
        }
        Ok(())
    }

    /// Tagged fields of a struct that knows none.
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields(|_, _| Ok(false))
    }

    fn elements<T>(
        &mut self,
        count: usize,
        mut read: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let first = FIRST_RESERVATION / size_of::<T>().max(1);
        let mut elements = Vec::with_capacity(count.min(first));
        while elements.len() < count {
            if elements.len() == elements.capacity() {
                // Doubles, but never beyond the count: small elements would else cost twice their size.
                elements.reserve_exact((count - elements.len()).min(elements.len().max(1)));
            }
            elements.push(read(self)?);
        }
        Ok(elements)
    }

    /// An array's count of elements, checked against the bytes that are left.
    fn count(&mut self, flexible: bool, nullable: bool) -> Result<Option<usize>, DecodeError> {
        let at = self.at;
        let count = if flexible { self.compact_length()? } else { i64::from(self.i32()?) };
        let Some(count) = length_or_null(at, count, nullable)? else { return Ok(None) };
        let left = self.remaining();
        if count > left {
            return Err(DecodeError::TooManyElements { at, count, left });
        }
        Ok(Some(count))
    }

    /// Compact lengths are stored plus one, 0 is null: −1 here.
    fn compact_length(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from(self.uvarint()?) - 1)
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.frame.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(DecodeError::Truncated { at: self.at, needed: N, left: self.remaining() }),
        }
    }

    fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        self.need(length)?;
        let start = self.at;
        self.at += length;
        Ok(self.frame.slice(start..self.at))
    }

    fn need(&self, length: usize) -> Result<(), DecodeError> {
        let left = self.remaining();
        if length > left {
            return Err(DecodeError::Truncated { at: self.at, needed: length, left });
        }
        Ok(())
    }
}

fn length_or_null(at: usize, length: i64, nullable: bool) -> Result<Option<usize>, DecodeError> {
    match length {
        -1 if nullable => Ok(None),
        -1 => Err(DecodeError::Null { at }),
        // Fits: at most 32 bits.
        0.. => Ok(Some(length as usize)),
        _ => Err(DecodeError::InvalidLength { at, length }),
    }
}
