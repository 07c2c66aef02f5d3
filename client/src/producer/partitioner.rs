//! Which partition a record goes to.

use std::fmt;
use std::sync::Arc;

use super::record::ProducerRecord;

/// How a partition is chosen for a record that names none.
#[derive(Clone, Default)]
pub enum Partitioning {
    /// As Java's producer does by default: by the hash of the key, and records without key stay with one
    /// partition for `batch.size` bytes before they move on to another (KIP-794).
    #[default]
    Keyed,
    /// The same for all records, whatever their keys (`partitioner.ignore.keys`).
    Sticky,
    /// One after the other, whatever the keys.
    RoundRobin,
    /// By chance for each record, whatever the keys.
    Random,
    Custom(Arc<dyn Partitioner>),
}

/// A caller's own choice.
///
/// ```
/// use client::producer::{Partitioner, Partitioning, ProducerRecord};
///
/// /// Records of the shop itself go to partition 0.
/// struct ShopFirst;
///
/// impl Partitioner for ShopFirst {
///     fn partition(&self, record: &ProducerRecord, partitions: i32) -> i32 {
///         match &record.key {
///             Some(key) if key.starts_with(b"shop-") || partitions == 1 => 0,
///             key => 1 + client::producer::key_partition(key.as_deref().unwrap_or_default(), partitions - 1),
///         }
///     }
/// }
///
/// let partitioning = Partitioning::custom(ShopFirst);
/// ```
pub trait Partitioner: Send + Sync {
    /// A number from 0 to `partitions` (exclusive). Called once for a record.
    fn partition(&self, record: &ProducerRecord, partitions: i32) -> i32;
}

impl Partitioning {
    pub fn custom(partitioner: impl Partitioner + 'static) -> Partitioning {
        Partitioning::Custom(Arc::new(partitioner))
    }
}

impl fmt::Debug for Partitioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Partitioning::Keyed => "Keyed",
            Partitioning::Sticky => "Sticky",
            Partitioning::RoundRobin => "RoundRobin",
            Partitioning::Random => "Random",
            Partitioning::Custom(_) => "Custom(..)",
        })
    }
}

/// Where Java's producer sends a record with this key: all clients that agree on it keep the order of a key.
pub fn key_partition(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & i32::MAX).checked_rem(partitions).unwrap_or(0)
}

/// MurmurHash 2 of 32 bits with the seed that Kafka uses (`Utils.murmur2`).
pub fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Lengths wrap as Java's do; keys are shorter.
    let mut h = SEED ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = word.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
        h = (h ^ tail).wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^= h >> 15;
    h.cast_signed()
}

/// What a topic's choices depend on beside the record.
#[derive(Debug, Default)]
pub(super) struct Choices {
    next: i32,
    sticky: Option<Sticky>,
}

#[derive(Debug)]
struct Sticky {
    partition: i32,
    /// Sent to it since it was chosen.
    bytes: usize,
}

impl Choices {
    /// A partition from 0 to `partitions` (exclusive), which is positive. `load`: the batches that wait for
    /// each partition, `None` where nobody leads it. `chance` is drawn anew for each call.
    pub(super) fn choose(
        &mut self,
        partitioning: &Partitioning,
        record: &ProducerRecord,
        partitions: i32,
        chance: u32,
        load: impl FnOnce() -> Vec<Option<u32>>,
    ) -> i32 {
        match (partitioning, &record.key) {
            (Partitioning::Keyed, Some(key)) => key_partition(key, partitions),
            (Partitioning::Keyed, None) | (Partitioning::Sticky, _) => {
                let kept = self.sticky.as_ref().map(|sticky| sticky.partition);
                let partition = kept.filter(|kept| *kept < partitions).unwrap_or_else(|| {
                    let loads = load();
                    less_loaded(&loads, chance).unwrap_or_else(|| any(partitions, chance))
                });
                if kept != Some(partition) {
                    self.sticky = Some(Sticky { partition, bytes: 0 });
                }
                partition
            }
            (Partitioning::RoundRobin, _) => {
                let partition = self.next.checked_rem(partitions).unwrap_or(0);
                self.next = partition.saturating_add(1);
                partition
            }
            (Partitioning::Random, _) => any(partitions, chance),
            (Partitioning::Custom(custom), _) => custom.partition(record, partitions),
        }
    }

    /// A record of so many bytes went to the partition. After `batch_size` bytes, another one is chosen.
    pub(super) fn sent(&mut self, partition: i32, bytes: usize, batch_size: usize) {
        let full =
            self.sticky.as_mut().filter(|sticky| sticky.partition == partition).is_some_and(|sticky| {
                sticky.bytes = sticky.bytes.saturating_add(bytes);
                sticky.bytes >= batch_size
            });
        if full {
            self.sticky = None;
        }
    }
}

fn any(partitions: i32, chance: u32) -> i32 {
    let partitions = u32::try_from(partitions).unwrap_or(1).max(1);
    (chance % partitions).cast_signed()
}

/// By chance among those that are led; the fewer batches wait for one, the likelier it is.
fn less_loaded(loads: &[Option<u32>], chance: u32) -> Option<i32> {
    let heaviest = loads.iter().flatten().copied().max()?;
    let weight = |load: &Option<u32>| load.map_or(0, |load| u64::from(heaviest - load) + 1);
    let total: u64 = loads.iter().map(weight).sum();
    let mut at = u64::from(chance) % total.max(1);
    for (partition, load) in (0..).zip(loads) {
        let weight = weight(load);
        if at < weight {
            return Some(partition);
        }
        at -= weight;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by a program that calls `org.apache.kafka.common.utils.Utils.murmur2` of kafka-clients 3.9.1 on
    /// the UTF-8 bytes of each.
    const HASHES: [(&str, i32); 10] = [
        ("", 275646681),
        ("a", -1563381124),
        ("ab", 316155434),
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
        ("café 😀", -729563248),
    ];

    #[test]
    fn hashes_are_javas() {
        for (key, hash) in HASHES {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
        // The same of the bytes 0 to 255, and `Utils.toPositive` of it by ten partitions.
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(murmur2(&bytes), -1948347274);
        assert_eq!(key_partition(b"foobar", 10), 6);
    }

    fn choose(choices: &mut Choices, how: &Partitioning, chance: u32, loads: &[Option<u32>]) -> i32 {
        let record = ProducerRecord::to("t").value("v");
        let count = i32::try_from(loads.len()).unwrap();
        choices.choose(how, &record, count, chance, || loads.to_vec())
    }

    #[test]
    fn keyless_records_stay_until_a_batch_is_full() {
        let (mut choices, loads) = (Choices::default(), [Some(0); 4]);
        let first = choose(&mut choices, &Partitioning::Keyed, 2, &loads);
        assert_eq!(first, 2);
        choices.sent(first, 99, 100);
        assert_eq!(choose(&mut choices, &Partitioning::Keyed, 3, &loads), first);
        choices.sent(first, 1, 100);
        assert_eq!(choose(&mut choices, &Partitioning::Keyed, 3, &loads), 3);
    }

    #[test]
    fn partitions_without_leader_are_passed_over_and_busy_ones_are_rarer() {
        let loads = [None, Some(3), Some(0), None];
        let mut counts = [0; 4];
        for chance in 0..5 {
            let chosen = choose(&mut Choices::default(), &Partitioning::Sticky, chance, &loads);
            counts[usize::try_from(chosen).unwrap()] += 1;
        }
        assert_eq!(counts, [0, 1, 4, 0]);
        assert_eq!(choose(&mut Choices::default(), &Partitioning::Sticky, 7, &[None; 4]), 3);
    }

    #[test]
    fn the_others_go_around_or_by_chance() {
        let (mut choices, loads) = (Choices::default(), [Some(0); 3]);
        let around: Vec<i32> =
            (0..5).map(|_| choose(&mut choices, &Partitioning::RoundRobin, 0, &loads)).collect();
        assert_eq!(around, [0, 1, 2, 0, 1]);
        let by_chance: Vec<i32> =
            (0..5).map(|n| choose(&mut choices, &Partitioning::Random, n, &loads)).collect();
        assert_eq!(by_chance, [0, 1, 2, 0, 1]);
    }
}
