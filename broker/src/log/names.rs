//! Names of the files of a log and of its directory.

use client::ids::{Offset, TopicPartition, Uuid};

pub(super) const LOG: &str = ".log";
pub(super) const INDEX: &str = ".index";
pub(super) const TIME_INDEX: &str = ".timeindex";
pub(super) const TXN_INDEX: &str = ".txnindex";
pub(super) const SNAPSHOT: &str = ".snapshot";
/// Waits to be removed.
pub(super) const DELETED: &str = ".deleted";
/// Written by a compaction that has not finished.
pub(super) const CLEANED: &str = ".cleaned";
/// Written by a compaction that has finished, but not yet put in place.
pub(super) const SWAP: &str = ".swap";

/// Longest file name most file systems take.
const MAX_NAME: usize = 255;

/// `00000000000000000042.log`
pub(super) fn of_offset(offset: Offset, suffix: &str) -> String {
    format!("{:020}{suffix}", offset.0)
}

/// The offset a file name starts with, if the rest of it is `suffix`.
pub(super) fn offset_of(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?;
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse().ok().map(Offset)).flatten()
}

/// What a directory in a log directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PartitionDir {
    Live(TopicPartition),
    /// Its removal has begun.
    Deleted,
    /// A copy being made for another log directory.
    Future,
    /// Found unassigned by a broker on its way to KRaft.
    Stray,
}

impl PartitionDir {
    /// `None` if it is no name that a broker gives.
    pub(super) fn parse(name: &str) -> Option<PartitionDir> {
        for (suffix, kind) in [
            ("-delete", PartitionDir::Deleted),
            ("-future", PartitionDir::Future),
            ("-stray", PartitionDir::Stray),
        ] {
            if let Some(rest) = name.strip_suffix(suffix)
                && let Some((of, id)) = rest.rsplit_once('.')
                && id.len() == 32
                && topic_partition(of).is_some()
            {
                return Some(kind);
            }
        }
        topic_partition(name).map(PartitionDir::Live)
    }
}

/// The name a partition's directory gets when its removal begins. The topic is cut if the whole would be too long.
pub(super) fn deleted(partition: &TopicPartition, unique: Uuid) -> String {
    let unique: String = unique.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let rest = format!("-{}.{unique}-delete", partition.partition);
    let topic = partition.topic.get(..MAX_NAME - rest.len()).unwrap_or(&partition.topic);
    format!("{topic}{rest}")
}

/// Splits at the last `-`.
fn topic_partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let all_digits = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_digit());
    let partition = partition.parse().ok().filter(|_| all_digits && !topic.is_empty())?;
    Some(TopicPartition::new(topic, partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_have_twenty_digits() {
        assert_eq!(of_offset(Offset(42), LOG), "00000000000000000042.log");
        assert_eq!(offset_of("00000000000000000042.log", LOG), Some(Offset(42)));
        assert_eq!(offset_of("00000000000000000042.index", LOG), None);
        assert_eq!(offset_of(".log", LOG), None);
        assert_eq!(offset_of("-1.log", LOG), None);
    }

    #[test]
    fn directories_are_told_apart() {
        let live = |topic: &str, partition| Some(PartitionDir::Live(TopicPartition::new(topic, partition)));
        assert_eq!(PartitionDir::parse("t-0"), live("t", 0));
        assert_eq!(PartitionDir::parse("a-b.c-12"), live("a-b.c", 12));
        for odd in ["foo", "foo-bar", "lost+found", "-1", "t-", "t-1.delete", "t-0.abc-delete"] {
            assert_eq!(PartitionDir::parse(odd), None, "{odd}");
        }
        let id = Uuid([0xab; 16]);
        let gone = deleted(&TopicPartition::new("t-1", 3), id);
        assert_eq!(gone, "t-1-3.abababababababababababababababab-delete");
        assert_eq!(PartitionDir::parse(&gone), Some(PartitionDir::Deleted));
        assert_eq!(PartitionDir::parse(&gone.replace("-delete", "-future")), Some(PartitionDir::Future));
        let long = deleted(&TopicPartition::new("x".repeat(249), 100), id);
        assert_eq!(long.len(), 255);
        assert_eq!(PartitionDir::parse(&long), Some(PartitionDir::Deleted));
    }
}
