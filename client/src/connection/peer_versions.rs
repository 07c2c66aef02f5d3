//! Which versions the other side speaks.

use std::collections::BTreeMap;

use crate::wire::ApiKey;
use crate::wire::messages::ApiVersionsResponse;

/// Which versions a broker said it speaks, per API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerVersions {
    ranges: BTreeMap<i16, (i16, i16)>,
}

impl PeerVersions {
    pub fn new(response: &ApiVersionsResponse) -> PeerVersions {
        let ranges = response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
        PeerVersions { ranges: ranges.collect() }
    }

    /// Its oldest and latest version of an API.
    pub fn range(&self, key: ApiKey) -> Option<(i16, i16)> {
        self.ranges.get(&(key as i16)).copied()
    }

    /// The latest version that it and we know.
    pub fn latest(&self, key: ApiKey) -> Option<i16> {
        self.latest_up_to(key, key.max_version())
    }

    /// The latest version that it knows and that is not above `max`.
    pub fn latest_up_to(&self, key: ApiKey, max: i16) -> Option<i16> {
        let (oldest, latest) = self.range(key)?;
        let version = latest.min(max);
        (version >= oldest && version >= key.min_version()).then_some(version)
    }
}
