//! Any bytes as a request's frame: an error or a message, never a panic. A message that was read can be
//! written again, and what was written reads as the same message.

#![no_main]

use bytes::Bytes;
use client::wire::{EncodeError, Reader, RequestBody, Writer, frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok((header, api, mut body)) = frame::parse_request(Bytes::copy_from_slice(data)) else { return };
    let version = header.request_api_version;
    let Ok(message) = RequestBody::decode(api, version, &mut body) else { return };
    let bytes = match encode(&message, version) {
        Ok(bytes) => bytes,
        // The replacement characters for what was not UTF-8 are longer.
        Err(EncodeError::TooLong { .. }) => return,
        Err(error) => panic!("{api} {version}: {error}"),
    };
    let mut reader = Reader::new(bytes.clone());
    let again = RequestBody::decode(api, version, &mut reader).expect("it was just written");
    assert_eq!(reader.remaining(), 0);
    // Bytes are compared, since a NaN is not equal to itself.
    assert_eq!(encode(&again, version).expect("it was written before"), bytes);
});

fn encode(message: &RequestBody, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version)?;
    writer.finish().into_bytes().map_err(EncodeError::File)
}
