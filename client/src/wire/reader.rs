//! Decoding of the protocol's primitives from bytes that may be anything.

use bytes::Bytes;

use super::{MAX_STRING, Message, Records, Str};
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
    #[error("byte {at}: a string of {length} bytes; strings have at most 32767")]
    StringTooLong { at: usize, length: usize },
    #[error("byte {at}: null, which this version does not allow here")]
    Null { at: usize },
    #[error("byte {at}: a variable-length number of more than five bytes")]
    InvalidVarint { at: usize },
    #[error("{left} bytes are left over after the message")]
    TrailingBytes { left: usize },
}

/// A position in a frame.
///
/// The frame may come from anyone, so nothing here panics, and no memory is reserved for what the frame
/// only announces: a count of elements is first compared with the bytes that are left (each element of
/// every message takes at least one), and an array starts with at most [`FIRST_RESERVATION`] bytes.
///
/// What Kafka 3.9 lets pass, passes: any negative length is null, a boolean is any byte but 0, tagged fields
/// may come in any order and twice (the last one counts), the announced size of a known one is not looked at.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    frame: Bytes,
    at: usize,
    /// Otherwise they are slices of the frame.
    copies_strings: bool,
}

/// What an array reserves before its first element was read, in bytes.
const FIRST_RESERVATION: usize = 64 * 1024;

impl Reader {
    pub fn new(frame: impl Into<Bytes>) -> Reader {
        Reader { frame: frame.into(), at: 0, copies_strings: false }
    }

    /// A reader whose strings are copies, so that of what it reads only bytes and records hold on to the
    /// frame.
    pub fn copying_strings(frame: impl Into<Bytes>) -> Reader {
        Reader { copies_strings: true, ..Reader::new(frame) }
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
            // Of a fifth byte the lowest four bits count.
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
        let length = if flexible { self.compact_length()? } else { i32::from(self.i16()?) };
        let Some(length) = length_or_null(at, length, nullable)? else { return Ok(None) };
        if length > MAX_STRING {
            return Err(DecodeError::StringTooLong { at, length });
        }
        let bytes = self.take(length)?;
        let text = if self.copies_strings {
            std::str::from_utf8(&bytes).map(Str::from).ok()
        } else {
            Str::try_from(bytes.clone()).ok()
        };
        // As in Java, what is not UTF-8 becomes U+FFFD: no reason to refuse a client with an odd client id.
        Ok(Some(text.unwrap_or_else(|| Str::from(String::from_utf8_lossy(&bytes).into_owned()))))
    }

    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        let at = self.at;
        self.nullable_bytes(flexible, false)?.ok_or(DecodeError::Null { at })
    }

    pub fn nullable_bytes(&mut self, flexible: bool, nullable: bool) -> Result<Option<Bytes>, DecodeError> {
        let at = self.at;
        let length = if flexible { self.compact_length()? } else { self.i32()? };
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
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            if !known(self, tag)? {
                self.need(size)?;
                self.at += size;
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
                // Doubles, but never beyond what is announced and what the bytes left could hold.
                let more = (count - elements.len()).min(self.remaining());
                elements.reserve_exact(more.min(elements.len().max(1)));
            }
            elements.push(read(self)?);
        }
        Ok(elements)
    }

    /// An array's count of elements, checked against the bytes that are left.
    fn count(&mut self, flexible: bool, nullable: bool) -> Result<Option<usize>, DecodeError> {
        let at = self.at;
        let count = if flexible { self.compact_length()? } else { self.i32()? };
        let Some(count) = length_or_null(at, count, nullable)? else { return Ok(None) };
        let left = self.remaining();
        if count > left {
            return Err(DecodeError::TooManyElements { at, count, left });
        }
        Ok(Some(count))
    }

    /// Compact lengths are stored plus one, 0 is null: −1 here.
    fn compact_length(&mut self) -> Result<i32, DecodeError> {
        Ok((self.uvarint()? as i32).wrapping_sub(1))
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

fn length_or_null(at: usize, length: i32, nullable: bool) -> Result<Option<usize>, DecodeError> {
    match usize::try_from(length) {
        Ok(length) => Ok(Some(length)),
        Err(_) if nullable => Ok(None),
        Err(_) => Err(DecodeError::Null { at }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8]) -> Reader {
        Reader::new(Bytes::from_static(bytes))
    }

    #[test]
    fn a_string_is_a_slice_of_the_frame() {
        let frame = Bytes::from_static(b"\x00\x02hi");
        let text = Reader::new(frame.clone()).string(false).unwrap();
        assert_eq!(text, "hi");
        assert_eq!(text.as_bytes().as_ptr(), frame[2..].as_ptr());
    }

    #[test]
    fn what_is_not_utf8_becomes_a_replacement_character() {
        assert_eq!(reader(b"\x00\x03Z\xfcr").string(false).unwrap(), "Z\u{fffd}r");
    }

    #[test]
    fn negative_lengths_are_null() {
        for length in [b"\xff\xff", b"\xff\xfe", b"\x80\x00"] {
            assert_eq!(reader(length).nullable_string(false, true), Ok(None));
            assert_eq!(reader(length).string(false), Err(DecodeError::Null { at: 0 }));
        }
        assert_eq!(reader(b"\x00").nullable_bytes(true, true), Ok(None));
        assert_eq!(reader(b"\x00").bytes(true), Err(DecodeError::Null { at: 0 }));
        assert_eq!(reader(b"\xff\xff\xff\xff").i32s(false), Err(DecodeError::Null { at: 0 }));
    }

    #[test]
    fn lengths_beyond_the_frame_are_refused() {
        let truncated = |at, needed, left| DecodeError::Truncated { at, needed, left };
        assert_eq!(reader(b"\x00\x03hi").string(false), Err(truncated(2, 3, 2)));
        assert_eq!(reader(b"\x7f\xff\xff\xff\x00").bytes(false), Err(truncated(4, i32::MAX as usize, 1)));
        assert_eq!(reader(b"\x00\x00").i32(), Err(truncated(0, 4, 2)));
        assert_eq!(reader(b"\x80\x80").uvarint(), Err(truncated(2, 1, 0)));
        // One tagged field, tag 5, of 9 bytes.
        assert_eq!(reader(b"\x01\x05\x09\x00").skip_tagged_fields(), Err(truncated(3, 9, 1)));
    }

    #[test]
    fn counts_beyond_the_frame_are_refused_before_anything_is_read() {
        let refused = |at, count, left| DecodeError::TooManyElements { at, count, left };
        assert_eq!(reader(b"\x00\x00\x00\x05abcd").i32s(false), Err(refused(0, 5, 4)));
        let many = i32::MAX as usize;
        assert_eq!(reader(b"\x7f\xff\xff\xff").strings(false), Err(refused(0, many, 0)));
        assert_eq!(reader(b"\x80\x80\x80\x80\x08").strings(true), Err(refused(0, many, 0)));
    }

    #[test]
    fn reads_variable_length_numbers_of_up_to_five_bytes() {
        assert_eq!(reader(b"\x00").uvarint(), Ok(0));
        assert_eq!(reader(b"\x7f").uvarint(), Ok(127));
        assert_eq!(reader(b"\x80\x01").uvarint(), Ok(128));
        assert_eq!(reader(b"\xff\xff\xff\xff\x0f").uvarint(), Ok(u32::MAX));
        // Bits that do not fit are dropped, as Kafka does.
        assert_eq!(reader(b"\x80\x80\x80\x80\x10").uvarint(), Ok(0));
        let long = reader(b"\x80\x80\x80\x80\x80\x01").uvarint();
        assert_eq!(long, Err(DecodeError::InvalidVarint { at: 0 }));
    }

    #[test]
    fn tagged_fields_may_come_in_any_order_and_unknown_ones_are_skipped() {
        // Tag 7: two bytes, tag 2: one, tag 2 again, then a byte that is no longer theirs.
        let mut reader = reader(b"\x03\x07\x02xx\x02\x01a\x02\x01b\x2a");
        let mut seen = Vec::new();
        let read = reader.tagged_fields(|r, tag| {
            if tag == 2 {
                seen.push(r.i8()?);
            }
            Ok(tag == 2)
        });
        assert_eq!((read, seen), (Ok(()), vec![b'a' as i8, b'b' as i8]));
        assert_eq!(reader.i8(), Ok(42));
    }

    #[test]
    fn a_long_string_is_refused_even_where_its_prefix_could_say_it() {
        let mut frame = vec![0x81, 0x80, 0x02];
        frame.resize(40_000, b'x');
        let read = Reader::new(frame).string(true);
        assert_eq!(read, Err(DecodeError::StringTooLong { at: 0, length: 32768 }));
    }
}
