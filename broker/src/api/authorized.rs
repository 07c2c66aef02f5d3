//! What a client may do, as a set of bits. Without an authorizer: everything a resource knows.

/// On the cluster: create, alter, describe, cluster action, the configs, idempotent write.
pub(super) const CLUSTER_OPERATIONS: i32 = 0x1FA0;

/// On a topic: read, write, create, delete, alter, describe, the configs.
pub(super) const TOPIC_OPERATIONS: i32 = 0xDF8;

/// On a group: read, delete, describe.
pub(super) const GROUP_OPERATIONS: i32 = 0x148;
