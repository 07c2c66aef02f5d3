//! Snappy as Kafka uses it: blocks behind the header of the xerial library for Java, or (read only)
//! one bare block, as some clients send it.

use std::io::{self, Read, Write};

/// Magic, version 1, compatible with version 1.
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const MAGIC_LEN: usize = 8;
/// Most input of one block.
const BLOCK: usize = 32 << 10;
/// The densest element of the format copies 64 bytes for 3 of input; a block that claims more output
/// per input than that is not worth reserving anything for.
const RATIO_MAX: usize = 22;

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads both framings.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    xerial: bool,
    block: Vec<u8>,
    taken: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Reader<'a> {
        let xerial = starts_with_magic(payload);
        let rest = if xerial { payload.get(HEADER.len()..).unwrap_or(&[]) } else { payload };
        Reader { rest, xerial, block: Vec::new(), taken: 0 }
    }

    /// Decompresses the next block; false at the end.
    fn refill(&mut self) -> io::Result<bool> {
        self.taken = 0;
        self.block.clear();
        // Streams written one after the other each begin with a header.
        while self.xerial && starts_with_magic(self.rest) {
            self.rest = self.rest.get(HEADER.len()..).ok_or_else(|| invalid("the header ends early"))?;
        }
        if self.rest.is_empty() {
            return Ok(false);
        }
        let compressed = if self.xerial { self.take_block()? } else { std::mem::take(&mut self.rest) };
        let claimed = snap::raw::decompress_len(compressed)?;
        if claimed > compressed.len().saturating_mul(RATIO_MAX) {
            return Err(invalid("a block claims more output than its input can hold"));
        }
        self.block.resize(claimed, 0);
        snap::raw::Decoder::new().decompress(compressed, &mut self.block)?;
        Ok(true)
    }

    fn take_block(&mut self) -> io::Result<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk().ok_or_else(|| invalid("a block ends early"))?;
        let length = usize::try_from(i32::from_be_bytes(*length))
            .map_err(|_| invalid("a block has negative length"))?;
        let (block, rest) = rest.split_at_checked(length).ok_or_else(|| invalid("a block ends early"))?;
        self.rest = rest;
        Ok(block)
    }
}

fn starts_with_magic(bytes: &[u8]) -> bool {
    bytes.get(..MAGIC_LEN) == HEADER.get(..MAGIC_LEN)
}

impl Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.block.get(self.taken..).unwrap_or(&[]);
            let read = ready.read(out)?;
            self.taken += read;
            if read > 0 || out.is_empty() || !self.refill()? {
                return Ok(read);
            }
        }
    }
}

/// Writes the xerial framing to the end of a buffer.
pub(super) struct Writer {
    out: Vec<u8>,
    block: Vec<u8>,
}

impl Writer {
    pub(super) fn new(mut out: Vec<u8>) -> Writer {
        out.extend_from_slice(&HEADER);
        Writer { out, block: Vec::new() }
    }

    pub(super) fn buffered(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        self.write_block()?;
        Ok(self.out)
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let compressed = snap::raw::Encoder::new().compress_vec(&self.block)?;
        let length = i32::try_from(compressed.len()).map_err(|_| invalid("a block is too long"))?;
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(&compressed);
        self.block.clear();
        Ok(())
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BLOCK - self.block.len();
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
        self.block.extend_from_slice(taken);
        if self.block.len() >= BLOCK {
            self.write_block()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
