use client::wire::Str;

/// A position that a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next record to be read. Whatever the client says: negative ones are taken too.
    pub offset: i64,
    /// Of the last record read; −1 if the client did not say.
    pub leader_epoch: i32,
    /// The client's own words.
    pub metadata: Str,
    /// Milliseconds since 1970.
    pub commit_time_ms: i64,
    /// Milliseconds since 1970, where an old client (OffsetCommit 2–4) asked for a time of its own.
    pub expire_time_ms: Option<i64>,
}
