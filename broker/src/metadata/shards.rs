//! A map whose copies share most of their parts. Pure.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// How many parts there are. Changing one entry of a shared map of n copies n/256 entries.
const SHARDS: usize = 256;

/// Entries spread over parts by hash. A clone costs as much as there are parts, whatever they
/// hold; a part is copied when it is changed while another map still has it.
#[derive(Debug, Clone)]
pub(super) struct Shards<K, V> {
    parts: Vec<Arc<BTreeMap<K, V>>>,
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let empty = Arc::new(BTreeMap::new());
        Shards { parts: vec![empty; SHARDS] }
    }
}

impl<K: Ord + Hash + Clone, V: Clone> Shards<K, V> {
    pub(super) fn get<Q: Ord + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.parts.get(shard_of(key))?.get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let shard = shard_of(&key);
        if let Some(part) = self.parts.get_mut(shard) {
            Arc::make_mut(part).insert(key, value);
        }
    }

    pub(super) fn remove<Q: Ord + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let shard = shard_of(key);
        // Looked up first: a part is not to be copied for nothing.
        if let Some(part) = self.parts.get_mut(shard).filter(|part| part.contains_key(key)) {
            Arc::make_mut(part).remove(key);
        }
    }

    /// In no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

fn shard_of<Q: Hash + ?Sized>(key: &Q) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_older_copies_and_most_parts_alone() {
        let mut first: Shards<Arc<str>, i32> = Shards::default();
        for n in 0..2000 {
            first.insert(format!("t{n}").into(), n);
        }
        let mut second = first.clone();
        second.insert("t7".into(), -7);
        second.remove("t8");
        second.remove("absent");
        assert_eq!((first.get("t7"), first.get("t8"), first.len()), (Some(&7), Some(&8), 2000));
        assert_eq!((second.get("t7"), second.get("t8"), second.len()), (Some(&-7), None, 1999));
        let shared = first.parts.iter().zip(&second.parts).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert!(shared >= SHARDS - 2, "{shared}");
        assert_eq!(second.iter().count(), 1999);
    }
}
