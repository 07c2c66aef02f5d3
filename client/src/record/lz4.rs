//! lz4 frames as Kafka uses them: independent blocks of 64 KiB without checksums.
//!
//! Clients of message format 0 computed the frame header's checksum over the frame's magic number
//! too (KAFKA-3160). So it is not checked in that format, and written the same wrong way.

use std::io::{self, Chain, Cursor, Read};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

pub(super) type Reader<'a> = FrameDecoder<Chain<Cursor<Vec<u8>>, &'a [u8]>>;
pub(super) type Writer = FrameEncoder<Vec<u8>>;

const FRAME_MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
const MAGIC_LEN: usize = FRAME_MAGIC.len();
/// Where the header checksum stands in a frame without content size and dictionary.
const CHECKSUM_AT: usize = 6;
const HAS_BLOCK_CHECKSUMS: u8 = 0x10;
const HAS_CONTENT_SIZE: u8 = 0x08;
const HAS_CONTENT_CHECKSUM: u8 = 0x04;
const HAS_DICTIONARY: u8 = 0x01;
/// Set in a block's size: it is stored as it is.
const BLOCK_IS_PLAIN: u32 = 1 << 31;

/// A reader of the one frame that `payload` starts with; Kafka looks at nothing behind it.
pub(super) fn reader(payload: &[u8], magic: i8) -> io::Result<Reader<'_>> {
    let frame = whole_frame(payload)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not one whole lz4 frame"))?;
    let (header, rest) = if magic == 0 { frame.with_mended_header() } else { (Vec::new(), payload) };
    let behind_header = payload.len() - rest.len();
    let rest = rest.get(..frame.len.saturating_sub(behind_header)).unwrap_or(rest);
    Ok(FrameDecoder::new(Cursor::new(header).chain(rest)))
}

struct Frame<'a> {
    /// Magic number, flags and what they announce, without the checksum.
    header: &'a [u8],
    behind_header: &'a [u8],
    len: usize,
}

impl<'a> Frame<'a> {
    /// The header with the checksum it should have, and what follows it.
    fn with_mended_header(&self) -> (Vec<u8>, &'a [u8]) {
        let mut header = self.header.to_vec();
        header.push(checksum(self.header.get(MAGIC_LEN..).unwrap_or_default()));
        (header, self.behind_header)
    }
}

/// Finds the end of the frame. The decoder would take the end of the input for it, but Kafka's
/// consumers refuse a frame without its end mark.
fn whole_frame(payload: &[u8]) -> Option<Frame<'_>> {
    let flags = *payload.strip_prefix(&FRAME_MAGIC)?.first()?;
    let set = |flag: u8, len: usize| if flags & flag != 0 { len } else { 0 };
    let header_len = CHECKSUM_AT + set(HAS_CONTENT_SIZE, 8) + set(HAS_DICTIONARY, 4);
    let (header, rest) = payload.split_at_checked(header_len)?;
    let (_, behind_header) = rest.split_first()?;

    let mut rest = behind_header;
    loop {
        let (size, after) = rest.split_first_chunk()?;
        let size = u32::from_le_bytes(*size);
        if size == 0 {
            rest = after.get(set(HAS_CONTENT_CHECKSUM, 4)..)?;
            break;
        }
        let stored = usize::try_from(size & !BLOCK_IS_PLAIN).ok()?;
        rest = after.get(stored.checked_add(set(HAS_BLOCK_CHECKSUMS, 4))?..)?;
    }
    Some(Frame { header, behind_header, len: payload.len() - rest.len() })
}

pub(super) fn writer(buffer: Vec<u8>) -> Writer {
    let frame = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    FrameEncoder::with_frame_info(frame, buffer)
}

/// Ends the frame that begins at `start` of the buffer.
pub(super) fn finish(mut writer: Writer, start: usize, magic: i8) -> io::Result<Vec<u8>> {
    // An empty frame would otherwise come out as nothing at all.
    io::Write::flush(&mut writer)?;
    let mut buffer = writer.finish().map_err(io::Error::from)?;
    if magic == 0 {
        let frame = buffer.get_mut(start..).unwrap_or_default();
        let wrong = frame.get(..CHECKSUM_AT).map(checksum);
        if let (Some(wrong), Some(field)) = (wrong, frame.get_mut(CHECKSUM_AT)) {
            *field = wrong;
        }
    }
    Ok(buffer)
}

fn checksum(described: &[u8]) -> u8 {
    (XxHash32::oneshot(0, described) >> 8) as u8
}
