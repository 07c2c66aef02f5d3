//! Compression of record payloads, in the framings Kafka's clients write and read.
//!
//! Decompression never trusts a length from inside: output comes in small steps and ends with an
//! error once it passes the limit given.

use std::io::{self, BufRead, Read, Write};

use thiserror::Error;

use super::attributes::Codec;
use super::{gzip, lz4, snappy};

/// A limit for callers without one of their own: far above what honest producers reach with the
/// default request size, far below what hurts.
pub const DEFAULT_DECOMPRESSED_MAX_BYTES: usize = 256 << 20;

/// zstd's own default for what a decoder accepts: a window of 2²⁷ bytes.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Windows up to this are always accepted: encoders ask for some MiB even for little input.
const ZSTD_WINDOW_LOG_MIN: u32 = 23;
/// Output is grown by this much at a time.
const STEP: usize = 32 << 10;

/// Why a payload could not be compressed or decompressed.
#[derive(Debug, Error)]
pub enum CompressionError {
    #[error("the {codec} payload cannot be decompressed: {source}")]
    Corrupt { codec: Codec, source: io::Error },
    #[error("the {codec} payload decompresses to more than the limit of {limit} bytes")]
    LimitExceeded { codec: Codec, limit: usize },
    #[error("{codec} compression failed: {source}")]
    Compress { codec: Codec, source: io::Error },
}

/// A codec and how hard it tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compression {
    pub codec: Codec,
    /// `compression.gzip.level` or `compression.zstd.level`; `None` is Kafka's default. lz4 has one
    /// level here: its frames differ in size only.
    pub level: Option<i32>,
}

impl Compression {
    pub const NONE: Compression = Compression { codec: Codec::None, level: None };
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Compression {
        Compression { codec, level: None }
    }
}

/// Decompresses a whole payload. `magic` is the format of what holds it: lz4 differed in format 0.
pub fn decompress(
    codec: Codec,
    payload: &[u8],
    magic: i8,
    limit: usize,
) -> Result<Vec<u8>, CompressionError> {
    let mut reader = Decompressor::new(codec, payload, magic, limit)?;
    let mut out = Vec::with_capacity(payload.len().saturating_mul(2).min(STEP).min(limit));
    let mut filled = 0;
    loop {
        out.resize(filled + STEP, 0);
        let free = out.get_mut(filled..).unwrap_or_default();
        let read = reader.read(free)?;
        filled += read;
        out.truncate(filled);
        if read == 0 {
            return Ok(out);
        }
    }
}

/// Compresses a whole payload.
pub fn compress(compression: Compression, payload: &[u8], magic: i8) -> Result<Vec<u8>, CompressionError> {
    let mut writer = Compressor::new(compression, magic, Vec::with_capacity(payload.len() / 2))?;
    writer.write(payload)?;
    writer.finish()
}

/// A payload being decompressed, step by step.
pub struct Decompressor<'a> {
    codec: Codec,
    inner: Inner<'a>,
    produced: usize,
    limit: usize,
    finished: bool,
}

enum Inner<'a> {
    Plain(&'a [u8]),
    Gzip(Box<gzip::Reader<'a>>),
    Snappy(snappy::Reader<'a>),
    Lz4(Box<lz4::Reader<'a>>),
    Zstd(zstd::stream::read::Decoder<'static, &'a [u8]>),
}

impl<'a> Decompressor<'a> {
    pub fn new(
        codec: Codec,
        payload: &'a [u8],
        magic: i8,
        limit: usize,
    ) -> Result<Decompressor<'a>, CompressionError> {
        let inner = match codec {
            Codec::None => Inner::Plain(payload),
            Codec::Gzip => Inner::Gzip(Box::new(gzip::Reader::new(payload))),
            Codec::Snappy => Inner::Snappy(snappy::Reader::new(payload)),
            Codec::Lz4 => {
                let reader = lz4::reader(payload, magic).map_err(|source| corrupt(codec, source))?;
                Inner::Lz4(Box::new(reader))
            }
            Codec::Zstd => Inner::Zstd(zstd_reader(payload, limit).map_err(|source| corrupt(codec, source))?),
        };
        Ok(Decompressor { codec, inner, produced: 0, limit, finished: false })
    }

    /// Fills the front of `out` and says how much; 0 is the end.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, CompressionError> {
        if self.finished || out.is_empty() {
            return Ok(0);
        }
        let read = match &mut self.inner {
            Inner::Plain(rest) => rest.read(out),
            Inner::Gzip(reader) => reader.read(out),
            Inner::Snappy(reader) => reader.read(out),
            Inner::Lz4(reader) => reader.read(out),
            Inner::Zstd(reader) => reader.read(out),
        };
        let read = read.map_err(|source| corrupt(self.codec, source))?;
        self.finished = read == 0;
        self.produced = self.produced.saturating_add(read);
        if self.produced > self.limit {
            return Err(CompressionError::LimitExceeded { codec: self.codec, limit: self.limit });
        }
        Ok(read)
    }
}

impl std::fmt::Debug for Decompressor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("codec", &self.codec).field("produced", &self.produced).finish()
    }
}

fn corrupt(codec: Codec, source: io::Error) -> CompressionError {
    CompressionError::Corrupt { codec, source }
}

/// A window greater than the limit serves no output within the limit, so none is reserved.
fn zstd_reader<R: BufRead>(payload: R, limit: usize) -> io::Result<zstd::stream::read::Decoder<'static, R>> {
    let mut reader = zstd::stream::read::Decoder::with_buffer(payload)?;
    let limit_log = usize::BITS - limit.saturating_sub(1).leading_zeros();
    reader.window_log_max(limit_log.clamp(ZSTD_WINDOW_LOG_MIN, ZSTD_WINDOW_LOG_MAX))?;
    Ok(reader)
}

/// A payload being compressed, behind whatever its buffer held before.
pub struct Compressor {
    codec: Codec,
    magic: i8,
    /// Where the payload begins in the buffer.
    start: usize,
    inner: Sink,
}

enum Sink {
    Plain(Vec<u8>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Snappy(snappy::Writer),
    Lz4(Box<lz4::Writer>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    /// Compresses what is written to the end of `buffer`.
    pub fn new(compression: Compression, magic: i8, buffer: Vec<u8>) -> Result<Compressor, CompressionError> {
        let Compression { codec, level } = compression;
        let start = buffer.len();
        let inner = match codec {
            Codec::None => Sink::Plain(buffer),
            Codec::Gzip => Sink::Gzip(flate2::write::GzEncoder::new(buffer, gzip_level(level))),
            Codec::Snappy => Sink::Snappy(snappy::Writer::new(buffer)),
            Codec::Lz4 => Sink::Lz4(Box::new(lz4::writer(buffer))),
            Codec::Zstd => Sink::Zstd(
                zstd::stream::write::Encoder::new(buffer, level.unwrap_or(0))
                    .map_err(|source| CompressionError::Compress { codec, source })?,
            ),
        };
        Ok(Compressor { codec, magic, start, inner })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CompressionError> {
        let written = match &mut self.inner {
            Sink::Plain(buffer) => buffer.write_all(bytes),
            Sink::Gzip(writer) => writer.write_all(bytes),
            Sink::Snappy(writer) => writer.write_all(bytes),
            Sink::Lz4(writer) => writer.write_all(bytes),
            Sink::Zstd(writer) => writer.write_all(bytes),
        };
        written.map_err(|source| CompressionError::Compress { codec: self.codec, source })
    }

    /// Bytes in the buffer so far, what it held at first included; more may be held back.
    pub fn buffered(&self) -> usize {
        match &self.inner {
            Sink::Plain(buffer) => buffer.len(),
            Sink::Gzip(writer) => writer.get_ref().len(),
            Sink::Snappy(writer) => writer.buffered(),
            Sink::Lz4(writer) => writer.get_ref().len(),
            Sink::Zstd(writer) => writer.get_ref().len(),
        }
    }

    /// Ends the payload and gives the buffer back.
    pub fn finish(self) -> Result<Vec<u8>, CompressionError> {
        let finished = match self.inner {
            Sink::Plain(buffer) => Ok(buffer),
            Sink::Gzip(writer) => writer.finish(),
            Sink::Snappy(writer) => writer.finish(),
            Sink::Lz4(writer) => lz4::finish(*writer, self.start, self.magic),
            Sink::Zstd(writer) => writer.finish(),
        };
        finished.map_err(|source| CompressionError::Compress { codec: self.codec, source })
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("codec", &self.codec).field("buffered", &self.buffered()).finish()
    }
}

fn gzip_level(level: Option<i32>) -> flate2::Compression {
    match level.and_then(|level| u32::try_from(level).ok()) {
        Some(level) => flate2::Compression::new(level.min(9)),
        None => flate2::Compression::default(),
    }
}
