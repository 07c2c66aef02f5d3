//! ApiVersions: what this broker speaks (KIP-511). The first request of every client, so it is
//! answered whatever its version is.

use client::wire::messages::api_versions_response::ApiVersion;
use client::wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use client::wire::versions::{self, Claimed};
use client::wire::{ApiKey, ErrorCode};

use super::{Reply, Request};

/// The epoch of the finalized features, which a cluster on ZooKeeper has none of but still numbers.
const FINALIZED_FEATURES_EPOCH: i64 = 0;

/// The version of a body that every client can read.
const FALLBACK_VERSION: i16 = 0;

pub(super) fn answer(request: &Request, body: &ApiVersionsRequest) -> ApiVersionsResponse {
    let named = is_valid_name(&body.client_software_name) && is_valid_name(&body.client_software_version);
    if request.version >= 3 && !named {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.code(),
            ..ApiVersionsResponse::default()
        };
    }
    ApiVersionsResponse {
        api_keys: versions::claimed().iter().map(entry).collect(),
        finalized_features_epoch: FINALIZED_FEATURES_EPOCH,
        ..ApiVersionsResponse::default()
    }
}

/// The answer to a version this broker does not know: which ones of ApiVersions it does.
pub(super) fn unsupported(request: &Request) -> Reply {
    let own = versions::claimed().iter().filter(|claimed| claimed.key == ApiKey::ApiVersions);
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: own.map(entry).collect(),
        ..ApiVersionsResponse::default()
    };
    request.respond_at(FALLBACK_VERSION, &response)
}

fn entry(claimed: &Claimed) -> ApiVersion {
    ApiVersion { api_key: claimed.key as i16, min_version: claimed.min, max_version: claimed.max }
}

/// Letters and digits, within them also `-` and `.` (`ApiVersionsRequest.java`).
fn is_valid_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends_well = |end: Option<&u8>| end.is_some_and(u8::is_ascii_alphanumeric);
    ends_well(bytes.first())
        && ends_well(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_letters_and_digits_with_dots_and_dashes_within() {
        for good in ["a", "0", "apache-kafka-java", "3.9.1", "a--b", "x.y-z"] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", "-", ".a", "a-", "a b", "a_b", "ä", "a\0"] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }
}
