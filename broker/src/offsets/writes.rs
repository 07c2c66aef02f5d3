//! From commits to the writes of a multi: which nodes are set, and which must be made first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use client::zk::{Op, Session, ZkError};
use client::znode::commit::LogEnd;

use super::stored::{bytes, paths};
use super::{NewCommit, OffsetKey};

/// Keys that both nodes are known of. A hint: a multi that it misleads fails, and is made anew.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<BTreeSet<OffsetKey>>);

impl Known {
    fn set(&self) -> MutexGuard<'_, BTreeSet<OffsetKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add<'a>(&self, keys: impl Iterator<Item = &'a OffsetKey>) {
        let mut known = self.set();
        for key in keys.filter(|key| !known.contains(key)).collect::<Vec<_>>() {
            known.insert(key.clone());
        }
    }

    pub(super) fn forget<'a>(&self, keys: impl Iterator<Item = &'a OffsetKey>) {
        let mut known = self.set();
        for key in keys {
            known.remove(key);
        }
    }

    fn lacks(&self, writes: &[(OffsetKey, NewCommit)]) -> Vec<OffsetKey> {
        let known = self.set();
        writes.iter().map(|(key, _)| key).filter(|key| !known.contains(key)).cloned().collect()
    }
}

/// The writes of these commits, parents first. Reads which nodes are there of keys that are not known.
pub(super) async fn ops(
    session: &Session,
    known: &Known,
    writes: &[(OffsetKey, NewCommit)],
    log_end: LogEnd,
) -> Result<Vec<Op>, ZkError> {
    let unknown: Vec<String> = known.lacks(writes).iter().flat_map(paths).collect();
    let missing = absent(session, unknown).await?;
    let parents: BTreeSet<String> = missing.iter().flat_map(|path| parents(path)).collect();
    let parents =
        if parents.is_empty() { parents } else { absent(session, parents.into_iter().collect()).await? };
    // By name, so a parent comes before its children.
    let mut ops: Vec<Op> = parents.into_iter().map(|path| Op::create(path, "")).collect();
    let mut data: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (key, commit) in writes {
        data.extend(paths(key).into_iter().zip(bytes(commit, log_end)));
    }
    ops.extend(data.into_iter().map(|(path, data)| {
        if missing.contains(&path) { Op::create(path, data) } else { Op::set(path, data, None) }
    }));
    Ok(ops)
}

/// Those of the paths that have no node.
async fn absent(session: &Session, paths: Vec<String>) -> Result<BTreeSet<String>, ZkError> {
    let nodes = session.get_many(&paths).await?;
    Ok(paths.into_iter().zip(nodes).filter(|(_, node)| node.is_none()).map(|(path, _)| path).collect())
}

/// All nodes above a path, the root not among them.
fn parents(path: &str) -> impl Iterator<Item = String> {
    path.match_indices('/').skip(1).filter_map(|(at, _)| path.get(..at)).map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_all_above() {
        assert_eq!(parents("/a/b/c").collect::<Vec<_>>(), ["/a", "/a/b"]);
        assert_eq!(parents("/a").count(), 0);
    }
}
