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
///
/// Strings are copied, as Kafka copies them: a request may wait long for its answer, and should hold
/// its frame meanwhile only if it has records or bytes in it.
pub fn parse_request(frame: Bytes) -> Result<(RequestHeader, ApiKey, Reader), FrameError> {
    let mut reader = Reader::copying_strings(frame);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::*;

    /// Without the length, which must be that of the rest.
    fn content(encoded: Encoded) -> Bytes {
        let mut bytes = encoded.into_bytes().unwrap();
        let length = bytes.split_to(4);
        assert_eq!(*length, (bytes.len() as i32).to_be_bytes());
        bytes
    }

    #[test]
    fn a_request_of_each_header_version_comes_back() {
        let shutdown = ControlledShutdownRequest { broker_id: 5, ..Default::default() };
        for (version, header, client_id) in [
            (0, &b"\x00\x07\x00\x00\x00\x00\x00\x09"[..], None),
            (1, b"\x00\x07\x00\x01\x00\x00\x00\x09\x00\x01c", Some(Str::from("c"))),
            (3, b"\x00\x07\x00\x03\x00\x00\x00\x09\x00\x01c\x00", Some(Str::from("c"))),
        ] {
            let bytes = content(encode_request(version, 9, Some(Str::from("c")), &shutdown).unwrap());
            assert_eq!(bytes.get(..header.len()), Some(header));
            let (parsed, api, mut body) = parse_request(bytes).unwrap();
            assert_eq!(
                (api, parsed.request_api_version, parsed.correlation_id),
                (ApiKey::ControlledShutdown, version, 9)
            );
            // Version 0 has none: the field keeps its default.
            assert_eq!(parsed.client_id, client_id.or(RequestHeader::default().client_id));
            assert_eq!(ControlledShutdownRequest::decode(&mut body, version).unwrap(), shutdown);
        }
    }

    #[test]
    fn requests_nobody_can_answer_are_refused() {
        let parse = |bytes: &'static [u8]| parse_request(Bytes::from_static(bytes)).map(|(_, api, _)| api);
        assert_eq!(parse(b"\x03\xe7\x00\x00\x00\x00\x00\x00\xff\xff"), Err(UnknownApiKey(999).into()));
        let unsupported = |version| Err(FrameError::UnsupportedVersion { api: ApiKey::Metadata, version });
        assert_eq!(parse(b"\x00\x03\x00\x0d\x00\x00\x00\x00\xff\xff\x00"), unsupported(13));
        assert_eq!(parse(b"\x00\x03\xff\xff\x00\x00\x00\x00\xff\xff"), unsupported(-1));
        let short = DecodeError::Truncated { at: 4, needed: 4, left: 2 };
        assert_eq!(parse(b"\x00\x03\x00\x00\x00\x00"), Err(short.into()));
    }

    #[test]
    fn api_versions_passes_in_any_version() {
        for version in [-1, 5, i16::MAX] {
            let [high, low] = i16::to_be_bytes(version);
            let frame = vec![0, 18, high, low, 0, 0, 0, 1, 0xff, 0xff, 0];
            let (header, api, _) = parse_request(frame.into()).unwrap();
            assert_eq!((api, header.request_api_version), (ApiKey::ApiVersions, version));
        }
    }

    #[test]
    fn api_versions_is_answered_with_the_oldest_header() {
        let refused = ApiVersionsResponse { error_code: 35, ..Default::default() };
        let old = content(encode_response(ApiKey::ApiVersions, 0, 1, &refused).unwrap());
        assert_eq!(old, &b"\x00\x00\x00\x01\x00\x23\x00\x00\x00\x00"[..]);
        let new = content(encode_response(ApiKey::ApiVersions, 4, 1, &refused).unwrap());
        assert_eq!(new.get(..6), Some(&b"\x00\x00\x00\x01\x00\x23"[..]));
        let flexible =
            content(encode_response(ApiKey::Heartbeat, 4, 1, &HeartbeatResponse::default()).unwrap());
        assert_eq!(flexible.get(..5), Some(&b"\x00\x00\x00\x01\x00"[..]));
    }
}
