//! Kafka's wire protocol: message structs and their codec (generated from `client/messages`), frames,
//! API keys, error codes, and which versions Ottla claims. No socket, no clock.
//!
//! Decoding borrows: strings, bytes and records are slices of the frame they came in, so whatever is
//! kept for long must be copied out of it. Only the strings of requests are copies: see
//! [`frame::parse_request`]. Input is never trusted: see [`Reader`].

#![deny(clippy::indexing_slicing)]

mod api_key;
mod error_code;
pub mod frame;
pub mod messages;
mod reader;
mod records;
pub mod versions;
mod writer;

pub use api_key::{ApiKey, UnknownApiKey};
/// A string of the protocol: UTF-8, cheap to clone, usually a slice of the frame it was read from.
pub use bytestring::ByteString as Str;
pub use error_code::ErrorCode;
pub use messages::{RequestBody, ResponseBody};
pub use reader::{DecodeError, Reader};
pub use records::{FileSlice, Records};
pub use writer::{EncodeError, Encoded, Segment, Writer};

/// The longest string of the protocol, in bytes: its oldest length prefix is an i16.
pub const MAX_STRING: usize = i16::MAX as usize;

/// A struct that has a form on the wire for each of its versions.
pub trait Message: Sized {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// A message that asks an API for something.
pub trait Request: Message {
    const KEY: ApiKey;
    type Response: Message;
}

/// Reads a message that fills `bytes` exactly: one from disk, a record or a znode, where bytes left over
/// mean that something else was written there. Requests are laxer, as Kafka is: see [`frame`].
pub fn decode_exact<M: Message>(bytes: bytes::Bytes, version: i16) -> Result<M, DecodeError> {
    let mut reader = Reader::new(bytes);
    let message = M::decode(&mut reader, version)?;
    match reader.remaining() {
        0 => Ok(message),
        left => Err(DecodeError::TrailingBytes { left }),
    }
}

/// The message alone, without header or length.
pub fn encode_to_bytes<M: Message>(message: &M, version: i16) -> Result<bytes::Bytes, EncodeError> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version)?;
    writer.finish().into_bytes().map_err(EncodeError::File)
}
