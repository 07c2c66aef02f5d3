//! API keys, and what follows from key and version: which header goes before the body.

include!(concat!(env!("OUT_DIR"), "/api_key.rs"));

/// What the definition of an API's messages says of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Definition {
    name: &'static str,
    min: i16,
    max: i16,
    /// First flexible version; `i16::MAX` if there is none.
    flexible: i16,
}

/// A key that no API of Kafka 3.9 in ZooKeeper mode has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no API has the key {0}")]
pub struct UnknownApiKey(pub i16);

impl ApiKey {
    /// Kafka's name of it, as `Metadata`.
    pub const fn name(self) -> &'static str {
        self.definition().name
    }

    pub const fn min_version(self) -> i16 {
        self.definition().min
    }

    /// The latest version that has a definition; what Ottla serves is in [`versions`](super::versions).
    pub const fn max_version(self) -> i16 {
        self.definition().max
    }

    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.definition().flexible
    }

    /// The first version of ControlledShutdown had no client id in its header.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if matches!(self, ApiKey::ControlledShutdown) && version == 0 {
            return 0;
        }
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// Always 0 for ApiVersions: who asks for it does not know yet what the broker speaks (KIP-511).
    pub const fn response_header_version(self, version: i16) -> i16 {
        if matches!(self, ApiKey::ApiVersions) {
            return 0;
        }
        if self.is_flexible(version) { 1 } else { 0 }
    }
}

impl TryFrom<i16> for ApiKey {
    type Error = UnknownApiKey;

    fn try_from(key: i16) -> Result<ApiKey, UnknownApiKey> {
        let found = ApiKey::ALL.binary_search_by_key(&key, |api| *api as i16);
        found.ok().and_then(|index| ApiKey::ALL.get(index).copied()).ok_or(UnknownApiKey(key))
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
