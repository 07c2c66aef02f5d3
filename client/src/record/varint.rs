//! Zigzag variable-length integers, as records of magic 2 use them.
//!
//! As in Kafka's `ByteUtils`, a 32-bit number takes at most 5 bytes and a 64-bit one at most 10;
//! surplus bits of the last byte are dropped.

/// Most bytes of a 32-bit number.
pub(super) const MAX_LEN_32: usize = 5;
/// Most bytes of a 64-bit number.
pub(super) const MAX_LEN_64: usize = 10;

/// Why no number could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VarintError {
    /// The bytes end first.
    Truncated,
    /// It goes on past its greatest length.
    TooLong,
}

/// Takes a 32-bit number off the front of `bytes`.
#[inline]
pub(super) fn take_i32(bytes: &mut &[u8]) -> Result<i32, VarintError> {
    if let [first @ 0..0x80, rest @ ..] = bytes {
        let value = unzigzag32(u32::from(*first));
        *bytes = rest;
        return Ok(value);
    }
    read_i32(|| {
        let (first, rest) = bytes.split_first().ok_or(VarintError::Truncated)?;
        *bytes = rest;
        Ok(*first)
    })
}

/// Takes a 64-bit number off the front of `bytes`.
#[inline]
pub(super) fn take_i64(bytes: &mut &[u8]) -> Result<i64, VarintError> {
    if let [first @ 0..0x80, rest @ ..] = bytes {
        let value = unzigzag64(u64::from(*first));
        *bytes = rest;
        return Ok(value);
    }
    read_i64(|| {
        let (first, rest) = bytes.split_first().ok_or(VarintError::Truncated)?;
        *bytes = rest;
        Ok(*first)
    })
}

/// Reads a 32-bit number byte by byte.
#[inline]
pub(super) fn read_i32<E: From<VarintError>>(mut next: impl FnMut() -> Result<u8, E>) -> Result<i32, E> {
    let mut value = 0_u32;
    for index in 0..MAX_LEN_32 {
        let byte = next()?;
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(unzigzag32(value));
        }
    }
    Err(VarintError::TooLong.into())
}

/// Reads a 64-bit number byte by byte.
#[inline]
pub(super) fn read_i64<E: From<VarintError>>(mut next: impl FnMut() -> Result<u8, E>) -> Result<i64, E> {
    let mut value = 0_u64;
    for index in 0..MAX_LEN_64 {
        let byte = next()?;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(unzigzag64(value));
        }
    }
    Err(VarintError::TooLong.into())
}

/// Appends a 32-bit number.
pub(super) fn put_i32(out: &mut Vec<u8>, value: i32) {
    put_i64(out, i64::from(value));
}

/// Appends a 64-bit number. One that fits 32 bits comes out as [`put_i32`] would write it.
#[inline]
pub(super) fn put_i64(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag64(value);
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes that [`put_i64`] (and [`put_i32`]) takes.
#[inline]
pub(super) fn len(value: i64) -> usize {
    let bits = 64 - (zigzag64(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag64(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

fn unzigzag32(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        put_i64(&mut out, value);
        out
    }

    #[test]
    fn known_encodings() {
        assert_eq!(encoded(0), [0]);
        assert_eq!(encoded(-1), [1]);
        assert_eq!(encoded(63), [0x7e]);
        assert_eq!(encoded(-65), [0x81, 0x01]);
        assert_eq!(encoded(i64::from(i32::MIN)), [0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(encoded(i64::MIN), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[test]
    fn endless_and_cut_numbers_are_errors() {
        assert_eq!(take_i32(&mut &[0x80_u8; 9][..]), Err(VarintError::TooLong));
        assert_eq!(take_i64(&mut &[0x80_u8; 19][..]), Err(VarintError::TooLong));
        assert_eq!(take_i32(&mut &[0x80_u8; 4][..]), Err(VarintError::Truncated));
        assert_eq!(take_i64(&mut &[][..]), Err(VarintError::Truncated));
    }

    proptest! {
        #[test]
        fn numbers_round_trip(value: i64, small: i32) {
            let bytes = encoded(value);
            prop_assert_eq!(bytes.len(), len(value));
            prop_assert_eq!(take_i64(&mut &bytes[..]), Ok(value));
            let bytes = encoded(i64::from(small));
            let mut rest = &bytes[..];
            prop_assert_eq!(take_i32(&mut rest), Ok(small));
            prop_assert!(rest.is_empty());
        }
    }
}
