//! Which segments are copied into one: small ones are merged, as far as all limits of a segment allow.

use client::ids::Offset;

/// A segment to be compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) base: Offset,
    /// Where the next segment begins.
    pub(super) end: Offset,
    /// Bytes of `.log`, `.index` and `.timeindex`.
    pub(super) size: u64,
    pub(super) index_size: u64,
    pub(super) time_index_size: u64,
}

/// Greatest sizes of one segment's files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) size: u64,
    pub(super) index_size: u64,
}

/// Splits neighbouring segments, in order, into groups that each fit one segment.
pub(super) fn grouped(sources: &[Source], limits: Limits) -> Vec<Vec<Source>> {
    let mut groups: Vec<Vec<Source>> = Vec::new();
    for source in sources {
        match groups.last_mut() {
            Some(group) if fits(group, source, limits) => group.push(*source),
            _ => groups.push(vec![*source]),
        }
    }
    groups
}

fn fits(group: &[Source], next: &Source, limits: Limits) -> bool {
    let sum = |of: fn(&Source) -> u64| group.iter().map(of).sum::<u64>() + of(next);
    let Some(first) = group.first() else { return true };
    // An empty segment needs no place in the index, however far off its offsets are.
    let offsets_fit = next.size == 0 || next.end - first.base - 1 <= i64::from(i32::MAX);
    sum(|source| source.size) <= limits.size
        && sum(|source| source.index_size) <= limits.index_size
        && sum(|source| source.time_index_size) <= limits.index_size
        && offsets_fit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(base: i64, end: i64, size: u64, index_size: u64) -> Source {
        Source { base: Offset(base), end: Offset(end), size, index_size, time_index_size: index_size / 2 }
    }

    fn check(sources: &[Source], expected: &[&[i64]]) {
        let groups = grouped(sources, Limits { size: 100, index_size: 40 });
        let bases: Vec<Vec<i64>> =
            groups.iter().map(|group| group.iter().map(|source| source.base.0).collect()).collect();
        assert_eq!(bases, expected, "{sources:?}");
    }

    #[test]
    fn a_group_keeps_within_every_limit() {
        check(&[], &[]);
        check(&[source(0, 9, 500, 90)], &[&[0]]);
        let even = [source(0, 9, 50, 8), source(9, 20, 50, 8), source(20, 30, 1, 8), source(30, 31, 99, 8)];
        check(&even, &[&[0, 9], &[20, 30]]);
        check(&[source(0, 9, 5, 20), source(9, 12, 5, 20), source(12, 13, 5, 1)], &[&[0, 9], &[12]]);
        let far = i64::from(i32::MAX);
        check(
            &[source(0, 9, 5, 0), source(9, far + 1, 5, 0), source(far + 1, far + 2, 5, 0)],
            &[&[0, 9], &[far + 1]],
        );
        check(&[source(0, 9, 5, 0), source(9, far + 9, 0, 0)], &[&[0, 9]]);
    }
}
