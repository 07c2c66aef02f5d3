//! Which APIs and versions Ottla claims. Claimed means implemented: this table is what ApiVersions answers
//! and what the server accepts.

use std::ops::RangeInclusive;

use super::ApiKey;

/// An API that Ottla serves, and the versions it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    pub key: ApiKey,
    pub min: i16,
    pub max: i16,
}

/// By rising key.
const CLAIMED: &[Claimed] = &[
    claim(ApiKey::Produce, 11),
    claim(ApiKey::Fetch, 17),
    claim(ApiKey::ListOffsets, 9),
    claim(ApiKey::Metadata, 12),
    claim(ApiKey::LeaderAndIsr, 7),
    claim(ApiKey::StopReplica, 4),
    claim(ApiKey::UpdateMetadata, 8),
    claim(ApiKey::ControlledShutdown, 3),
    claim(ApiKey::OffsetCommit, 9),
    claim(ApiKey::OffsetFetch, 9),
    claim(ApiKey::FindCoordinator, 6),
    claim(ApiKey::JoinGroup, 9),
    claim(ApiKey::Heartbeat, 4),
    claim(ApiKey::LeaveGroup, 5),
    claim(ApiKey::SyncGroup, 5),
    claim(ApiKey::DescribeGroups, 5),
    claim(ApiKey::ListGroups, 5),
    claim(ApiKey::ApiVersions, 4),
    claim(ApiKey::CreateTopics, 7),
    claim(ApiKey::DeleteTopics, 6),
    claim(ApiKey::DeleteRecords, 2),
    claim(ApiKey::InitProducerId, 5),
    claim(ApiKey::OffsetForLeaderEpoch, 4),
    claim(ApiKey::DescribeConfigs, 4),
    claim(ApiKey::CreatePartitions, 3),
    claim(ApiKey::DeleteGroups, 2),
    claim(ApiKey::ElectLeaders, 2),
    claim(ApiKey::OffsetDelete, 0),
    claim(ApiKey::AlterPartition, 3),
    claim(ApiKey::DescribeCluster, 1),
    claim(ApiKey::DescribeProducers, 0),
    claim(ApiKey::AllocateProducerIds, 0),
];

const fn claim(key: ApiKey, max: i16) -> Claimed {
    Claimed { key, min: 0, max }
}

pub fn claimed() -> &'static [Claimed] {
    CLAIMED
}

/// The claimed versions of one API, `None` if Ottla does not serve it.
pub fn claimed_versions(key: ApiKey) -> Option<RangeInclusive<i16>> {
    CLAIMED.iter().find(|claimed| claimed.key == key).map(|claimed| claimed.min..=claimed.max)
}

pub fn is_claimed(key: ApiKey, version: i16) -> bool {
    claimed_versions(key).is_some_and(|versions| versions.contains(&version))
}

const MIB: usize = 1024 * 1024;

/// The largest frame accepted for an API, in bytes, below the server's own limit
/// (`socket.request.max.bytes`). `None`: only that limit counts, since the frame is mostly records.
///
/// Decoded structs of minimal elements take up to some forty times their bytes on the wire, so requests
/// that are structs through and through have a limit of their own.
pub fn max_request_bytes(key: ApiKey) -> Option<usize> {
    match key {
        ApiKey::Produce => None,
        // One entry a partition of the cluster, some 100 bytes each: 8 MiB hold 80,000 partitions.
        ApiKey::LeaderAndIsr | ApiKey::UpdateMetadata | ApiKey::StopReplica => Some(8 * MIB),
        // One entry a partition that the client names, some 50 bytes each, or configuration texts.
        ApiKey::Fetch
        | ApiKey::ListOffsets
        | ApiKey::Metadata
        | ApiKey::CreateTopics
        | ApiKey::CreatePartitions
        | ApiKey::AlterPartition
        | ApiKey::AlterPartitionReassignments
        | ApiKey::AlterConfigs
        | ApiKey::IncrementalAlterConfigs => Some(8 * MIB),
        // Assignments and member metadata are the members' own bytes.
        ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::OffsetCommit | ApiKey::TxnOffsetCommit => {
            Some(8 * MIB)
        }
        // A wrapped request of any API.
        ApiKey::Envelope => Some(8 * MIB),
        ApiKey::DeleteTopics
        | ApiKey::DeleteRecords
        | ApiKey::OffsetForLeaderEpoch
        | ApiKey::OffsetFetch
        | ApiKey::OffsetDelete
        | ApiKey::DescribeConfigs
        | ApiKey::WriteTxnMarkers
        | ApiKey::AddPartitionsToTxn => Some(4 * MIB),
        _ => Some(MIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_claimed_is_defined_and_in_order() {
        let keys: Vec<_> = claimed().iter().map(|c| c.key).collect();
        assert!(keys.is_sorted());
        for Claimed { key, min, max } in claimed() {
            assert!(key.min_version() <= *min && min <= max && *max <= key.max_version(), "{key}");
        }
        assert!(is_claimed(ApiKey::Fetch, 17));
        assert!(!is_claimed(ApiKey::Fetch, 18));
        assert_eq!(claimed_versions(ApiKey::Envelope), None);
    }
}
