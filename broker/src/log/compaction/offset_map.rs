//! The newest offset of each key in the part of a log that is about to be compacted.
//!
//! A key is remembered by 128 bits of a hash that is keyed with a secret, so that nobody can make two keys that are
//! taken for one; with the offset that is 24 bytes, whatever the length of the key, as in Kafka (`SkimpyOffsetMap`).
//! The table grows with what is put in: a log with little to compact takes little memory.

use std::hash::Hasher as _;

use client::ids::Offset;
use siphasher::sip128::{Hash128, Hasher128, SipHasher13};

/// Bytes of an entry.
const SLOT_BYTES: usize = size_of::<Slot>();
/// Parts that grow one by one, so that growing does not for a moment take the whole twice.
const SHARDS: usize = 64;
const SMALLEST_SHARD: usize = 16;
/// Of the slots of a shard, how many may be used before it grows: 7 of 8, and 15 of 16 at the size that is its share.
const FULL: (usize, usize) = (7, 8);
const FULL_SHARE: (usize, usize) = (15, 16);

#[derive(Debug)]
pub(super) struct OffsetMap {
    secret: (u64, u64),
    shards: Vec<Shard>,
    len: usize,
    max_len: usize,
    /// A shard's share of the slots. It grows a little beyond, where chance gave it more keys than others.
    shard_slots: usize,
}

#[derive(Debug, Default)]
struct Shard {
    slots: Vec<Slot>,
    used: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: Hash128,
    /// −1: free.
    offset: i64,
}

impl Default for Slot {
    fn default() -> Slot {
        Slot { hash: Hash128 { h1: 0, h2: 0 }, offset: -1 }
    }
}

impl OffsetMap {
    /// A map of about `max_bytes` at most, filled up to `load_factor`. `secret` is random.
    pub(super) fn new(max_bytes: usize, load_factor: f64, secret: (u64, u64)) -> OffsetMap {
        let slots = max_bytes / SLOT_BYTES;
        let max_len = (slots as f64 * load_factor.clamp(0.0, 1.0)) as usize;
        OffsetMap {
            secret,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            len: 0,
            max_len: max_len.max(1),
            shard_slots: (slots / SHARDS).max(SMALLEST_SHARD),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more keys it should take. It does take more.
    pub(super) fn room(&self) -> usize {
        self.max_len.saturating_sub(self.len)
    }

    /// Keys in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes it takes now.
    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.slots.len() * SLOT_BYTES).sum()
    }

    /// Notes that `key` was written at `offset`, which is greater than all before.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) {
        let hash = self.hash(key);
        let share = self.shard_slots;
        let Some(shard) = self.shards.get_mut(shard_of(hash)) else { return };
        if let Some(known) = shard.slot(hash).filter(|slot| slot.offset >= 0) {
            known.offset = offset.0;
            return;
        }
        shard.make_room(share);
        if let Some(free) = shard.slot(hash) {
            *free = Slot { hash, offset: offset.0 };
            shard.used += 1;
            self.len += 1;
        }
    }

    /// The newest offset of `key`, if it was put in.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let hash = self.hash(key);
        let shard = self.shards.get(shard_of(hash))?;
        let slot = shard.slots.get(shard.find(hash)?)?;
        (slot.offset >= 0).then_some(Offset(slot.offset))
    }

    fn hash(&self, key: &[u8]) -> Hash128 {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        hasher.write(key);
        hasher.finish128()
    }
}

fn shard_of(hash: Hash128) -> usize {
    usize::try_from(hash.h1 % SHARDS as u64).unwrap_or(0)
}

impl Shard {
    /// The slot that holds the hash, or else the free one where it belongs. `None` without slots.
    fn find(&self, hash: Hash128) -> Option<usize> {
        let slots = self.slots.len() as u64;
        let start = usize::try_from(hash.h2.checked_rem(slots)?).unwrap_or(0);
        let (before, from) = self.slots.split_at_checked(start)?;
        let fits = |slot: &Slot| slot.offset < 0 || slot.hash == hash;
        from.iter().position(fits).map(|at| start + at).or_else(|| before.iter().position(fits))
    }

    fn slot(&mut self, hash: Hash128) -> Option<&mut Slot> {
        let at = self.find(hash)?;
        self.slots.get_mut(at)
    }

    /// Sees to it that one more slot can be used.
    fn make_room(&mut self, share: usize) {
        let slots = self.slots.len();
        let (part, of) = if slots >= share { FULL_SHARE } else { FULL };
        if (self.used + 1) * of <= slots * part {
            return;
        }
        self.grow_to(match slots < share {
            true => (slots * 2).max(SMALLEST_SHARD).min(share),
            false => slots + slots / SMALLEST_SHARD,
        });
    }

    fn grow_to(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); slots]);
        for slot in old.into_iter().filter(|slot| slot.offset >= 0) {
            if let Some(place) = self.find(slot.hash).and_then(|at| self.slots.get_mut(at)) {
                *place = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> [u8; 8] {
        n.to_be_bytes()
    }

    #[test]
    fn remembers_the_newest_offset_of_each_key() {
        let mut map = OffsetMap::new(1 << 20, 0.9, (1, 2));
        for n in 0..20_000 {
            map.put(&key(n % 7_000), Offset(n as i64));
        }
        assert_eq!(map.len(), 7_000);
        for n in 0..7_000 {
            let newest = if n < 6_000 { n + 14_000 } else { n + 7_000 };
            assert_eq!(map.get(&key(n)), Some(Offset(newest as i64)), "{n}");
        }
        assert_eq!(map.get(&key(7_000)), None);
        assert_eq!(map.get(b""), None);
    }

    #[test]
    fn takes_no_more_memory_than_its_keys_need() {
        let mut map = OffsetMap::new(128 << 20, 0.9, (1, 2));
        assert_eq!(map.bytes(), 0);
        (0..1_000).for_each(|n| map.put(&key(n), Offset(n as i64)));
        assert!(map.bytes() <= 4 * 1_000 * SLOT_BYTES, "{} bytes", map.bytes());
    }

    #[test]
    fn keeps_within_its_limit_and_goes_on_beyond() {
        let limit = 3 << 20;
        let mut map = OffsetMap::new(limit, 0.9, (3, 4));
        let room = map.room() as u64;
        assert_eq!(room, (limit / SLOT_BYTES) as u64 * 9 / 10);
        (0..room).for_each(|n| map.put(&key(n), Offset(n as i64)));
        assert_eq!(map.room(), 0);
        assert!(map.bytes() <= limit + limit / 16, "{} bytes", map.bytes());
        (room..room + 200_000).for_each(|n| map.put(&key(n), Offset(n as i64)));
        assert!((0..room + 200_000).all(|n| map.get(&key(n)) == Some(Offset(n as i64))));
        assert_eq!((map.len() as u64, map.room()), (room + 200_000, 0));
    }
}
