//! Frames: four bytes of length, a header, a body.
//!
//! What may follow a request's body is ignored, as Kafka 3.9 ignores it. Reading the length and keeping
//! to a limit is the business of who owns the socket.

use bytes::Bytes;

use super::messages::{RequestHeader, ResponseHeader};
use super::{
    ApiKey, DecodeError, EncodeError, Encoded, Message, Reader, Request, Str, UnknownApiKey, Writer,
};

/// Why a frame cannot be told apart as a request. There is no answering it: the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error(transparent)]
    UnknownApi(#[from] UnknownApiKey),
    #[error("{api} has no version {version}")]
    UnsupportedVersion { api: ApiKey, version: i16 },
    #[error("the request header is broken: {0}")]
    Header(#[from] DecodeError),
}

/// Reads the header of a frame (without its length) and leaves the reader before the body.
///
/// ApiVersions passes with any version, since the answer to an unknown one tells the known ones.
pub fn parse_request(frame: Bytes) -> Result<(RequestHeader, ApiKey, Reader), FrameError> {
    let mut reader = Reader::new(frame);
    let mut start = reader.clone();
    let api = ApiKey::try_from(start.i16()?)?;
    let version = start.i16()?;
    if !(api.min_version()..=api.max_version()).contains(&version) && api != ApiKey::ApiVersions {
        return Err(FrameError::UnsupportedVersion { api, version });
    }
    let header = RequestHeader::decode(&mut reader, api.request_header_version(version))?;
    Ok((header, api, reader))
}

/// A whole frame, its length first.
pub fn encode_request<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<Str>,
    request: &R,
) -> Result<Encoded, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::KEY as i16,
        request_api_version: version,
        correlation_id,
        client_id,
    };
    let mut writer = Writer::framed();
    header.encode(&mut writer, R::KEY.request_header_version(version))?;
    request.encode(&mut writer, version)?;
    writer.finish_frame()
}

/// A whole frame, its length first.
pub fn encode_response(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &impl Message,
) -> Result<Encoded, EncodeError> {
    let mut writer = Writer::framed();
    ResponseHeader { correlation_id }.encode(&mut writer, key.response_header_version(version))?;
    response.encode(&mut writer, version)?;
    writer.finish_frame()
}

/// Reads the header of a response's frame (without its length) and leaves the reader before the body.
pub fn parse_response(
    key: ApiKey,
    version: i16,
    frame: Bytes,
) -> Result<(ResponseHeader, Reader), DecodeError> {
    let mut reader = Reader::new(frame);
    let header = ResponseHeader::decode(&mut reader, key.response_header_version(version))?;
    Ok((header, reader))
}
