//! Big-endian numbers at a position of a byte slice; `None` where the slice ends before them.

macro_rules! number_at {
    ($get:ident, $put:ident, $type:ty) => {
        #[inline]
        pub(super) fn $get(bytes: &[u8], at: usize) -> Option<$type> {
            Some(<$type>::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
        }

        #[inline]
        #[must_use = "false: the slice is too short, nothing was written"]
        pub(super) fn $put(bytes: &mut [u8], at: usize, value: $type) -> bool {
            match bytes.get_mut(at..).and_then(|tail| tail.first_chunk_mut()) {
                Some(field) => {
                    *field = value.to_be_bytes();
                    true
                }
                None => false,
            }
        }
    };
}

number_at!(i16_at, put_i16, i16);
number_at!(i32_at, put_i32, i32);
number_at!(u32_at, put_u32, u32);
number_at!(i64_at, put_i64, i64);

#[inline]
pub(super) fn i8_at(bytes: &[u8], at: usize) -> Option<i8> {
    bytes.get(at).map(|byte| byte.cast_signed())
}
