//! `/consumers/<group>/{offsets,commits}/<topic>/<partition>`: a commit as Ottla's group coordinators
//! write it.
//!
//! The offset is plain text where every tool of the ZooKeeper era looks for it; what those tools do
//! not know stands beside it under `commits`, where they never list. The two are written together,
//! and the second counts only while it repeats the offset of the first: a classic consumer, or
//! OffsetCommit v0, writes the offset alone.
//!
//! A group's id may be any text, a node's name may not. Ids that ZooKeeper takes as a name stand
//! as they are; the others are escaped, and below a parent of their own, so that no two ids meet.

use super::ZnodeError;
use super::consumer::CONSUMERS;
use super::json::{self, Fields, Object};
use super::sanitized::{desanitize, sanitize};
use crate::ids::{LeaderEpoch, Offset, TopicPartition};

/// The parent of groups whose ids ZooKeeper does not take as a name.
pub const ESCAPED_GROUPS: &str = "/ottla/consumers";

/// Has a child for each coordinating partition: its stamp.
pub const COMMIT_STAMPS: &str = "/ottla/commit_stamps";

/// Stands for the empty id; no escaped id is a lone `%`.
const EMPTY: &str = "%";

const NODE: &str = "a commit";

/// Whether ZooKeeper takes the text as the name of one node (`PathUtils.validatePath`, which sees
/// UTF-16 units: whatever takes two of them is refused).
pub fn is_node_name(text: &str) -> bool {
    let legal = |char: char| {
        !matches!(
            u32::from(char),
            0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff | 0x1_0000.. | 0x2f
        )
    };
    !matches!(text, "" | "." | "..") && text.chars().all(legal)
}

/// A group's own node.
pub fn group_path(group: &str) -> String {
    if is_node_name(group) {
        return format!("{CONSUMERS}/{group}");
    }
    let name = match group {
        "" => String::from(EMPTY),
        "." | ".." => group.replace('.', "%2E"),
        _ => sanitize(group),
    };
    format!("{ESCAPED_GROUPS}/{name}")
}

/// The id of a group whose node below [`ESCAPED_GROUPS`] has this name. `None`: no group's node is
/// called so.
pub fn escaped_group(name: &str) -> Option<String> {
    let group = if name == EMPTY { String::new() } else { desanitize(name)? };
    let path = group_path(&group);
    (path.strip_prefix(ESCAPED_GROUPS)?.strip_prefix('/')? == name).then_some(group)
}

/// Has a child for each topic that the group has offsets of.
pub fn offsets_path(group: &str) -> String {
    format!("{}/offsets", group_path(group))
}

/// Has a child for each topic that a coordinator has committed offsets of. A group without it is a
/// classic one.
pub fn commits_path(group: &str) -> String {
    format!("{}/commits", group_path(group))
}

pub fn offset_path(group: &str, partition: &TopicPartition) -> String {
    format!("{}/{}/{}", offsets_path(group), partition.topic, partition.partition)
}

pub fn commit_path(group: &str, partition: &TopicPartition) -> String {
    format!("{}/{}/{}", commits_path(group), partition.topic, partition.partition)
}

/// A node without data. Each write of commits that a coordinating partition's leader sends names its data version,
/// and the leader makes a new one before it asks what became of a write in doubt: whatever was sent before and
/// is done only then, fails.
pub fn stamp_path(partition: i32) -> String {
    format!("{COMMIT_STAMPS}/{partition}")
}

/// The end of a leader's log. What stands before it may be cut off and replaced by another leader, so an
/// offset alone is no place: of two records the one of the later epoch is the newer one, and within an epoch
/// the one of the higher offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEnd {
    /// That of the leader.
    pub epoch: LeaderEpoch,
    pub offset: Offset,
}

/// What stands beside a committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The offset that this belongs to.
    pub offset: Offset,
    /// Of the last record consumed; −1: not known.
    pub leader_epoch: LeaderEpoch,
    pub metadata: String,
    /// Where the log of the coordinating partition of `__consumer_offsets` ended when this was
    /// written: a record from there on is newer, one before is not.
    pub log_end: LogEnd,
    /// Milliseconds since 1970, if it is another time than that of the write (OffsetCommit v1, and
    /// what was imported).
    pub commit_time_ms: Option<i64>,
    /// Milliseconds since 1970, if the client set its own retention (OffsetCommit v2 to 4).
    pub expire_time_ms: Option<i64>,
}

impl Commit {
    /// Version 1 of the node; times are written only where there are any.
    pub fn encode(&self) -> Vec<u8> {
        let mut node = Object::new()
            .number("version", 1)
            .number("offset", self.offset.0)
            .number("leader_epoch", self.leader_epoch.0)
            .string("metadata", &self.metadata)
            .number("log_epoch", self.log_end.epoch.0)
            .number("log_end", self.log_end.offset.0);
        if let Some(time) = self.commit_time_ms {
            node = node.number("commit_timestamp", time);
        }
        if let Some(time) = self.expire_time_ms {
            node = node.number("expire_timestamp", time);
        }
        node.into_bytes()
    }

    pub fn decode(data: &[u8]) -> Result<Commit, ZnodeError> {
        let value = json::parse(NODE, data)?;
        let fields = Fields::of(NODE, &value)?;
        Ok(Commit {
            offset: Offset(fields.i64("offset")?),
            leader_epoch: LeaderEpoch(fields.i32_or("leader_epoch", LeaderEpoch::NONE.0)?),
            metadata: fields.string_if_any("metadata")?.unwrap_or_default().to_owned(),
            log_end: LogEnd {
                epoch: LeaderEpoch(fields.i32("log_epoch")?),
                offset: Offset(fields.i64("log_end")?),
            },
            commit_time_ms: fields.i64_if_any("commit_timestamp")?,
            expire_time_ms: fields.i64_if_any("expire_timestamp")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commits_are_one_line_of_json() {
        let commit = Commit {
            offset: Offset(77),
            leader_epoch: LeaderEpoch(7),
            metadata: "m\"m".into(),
            log_end: LogEnd { epoch: LeaderEpoch(4), offset: Offset(12) },
            commit_time_ms: None,
            expire_time_ms: None,
        };
        let text =
            r#"{"version":1,"offset":77,"leader_epoch":7,"metadata":"m\"m","log_epoch":4,"log_end":12}"#;
        assert_eq!(String::from_utf8(commit.encode()).unwrap(), text);
        assert_eq!(Commit::decode(text.as_bytes()), Ok(commit.clone()));

        let timed = Commit { commit_time_ms: Some(1), expire_time_ms: Some(2), ..commit };
        let text = r#"{"version":1,"offset":77,"leader_epoch":7,"metadata":"m\"m","log_epoch":4,"log_end":12,"commit_timestamp":1,"expire_timestamp":2}"#;
        assert_eq!(String::from_utf8(timed.encode()).unwrap(), text);
        assert_eq!(Commit::decode(text.as_bytes()), Ok(timed));
        assert_eq!(
            Commit::decode(br#"{"offset":"x"}"#).unwrap_err().to_string(),
            "a commit has \"x\" in the field 'offset', where a 64-bit integer belongs"
        );
    }

    #[test]
    fn ids_that_zookeeper_takes_stand_as_they_are() {
        let partition = TopicPartition::new("t", 3);
        for plain in ["g", "sp ace", "\u{fc}", "%2F", "a.b", "...", "%"] {
            assert_eq!(offset_path(plain, &partition), format!("/consumers/{plain}/offsets/t/3"));
            assert_eq!(commit_path(plain, &partition), format!("/consumers/{plain}/commits/t/3"));
        }
        for (odd, path) in [
            ("", "/ottla/consumers/%"),
            (".", "/ottla/consumers/%2E"),
            ("..", "/ottla/consumers/%2E%2E"),
            ("a/b", "/ottla/consumers/a%2Fb"),
            ("\u{1}", "/ottla/consumers/%01"),
            ("\u{1f600}", "/ottla/consumers/%F0%9F%98%80"),
        ] {
            assert_eq!(group_path(odd), path);
        }
        for foreign in ["g", "%2f", "a%2", "", "%41"] {
            assert_eq!(escaped_group(foreign), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn escaped_ids_are_found_again(group in any::<String>()) {
            let path = group_path(&group);
            let name = path.rsplit('/').next().unwrap_or_default();
            prop_assert!(is_node_name(name));
            let escaped = path.strip_prefix("/ottla/consumers/").and_then(escaped_group);
            prop_assert_eq!(escaped, (!is_node_name(&group)).then_some(group));
        }
    }
}
