//! What is left of the blocks, and when the next one is due.

use std::ops::Range;

/// Ids from `start` to before `end`; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) start: i64,
    pub(super) end: i64,
}

/// The block in use, and the one after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blocks {
    unused: Range<i64>,
    /// Once this is the next id, or beyond, the next block is due.
    threshold: i64,
    next: Option<Block>,
    wanted: bool,
}

impl Default for Blocks {
    fn default() -> Blocks {
        Blocks { unused: 0..0, threshold: 0, next: None, wanted: false }
    }
}

impl Block {
    /// `None`: not a range of ids.
    pub(super) fn new(start: i64, len: i32) -> Option<Block> {
        let end = start.checked_add(i64::from(len))?;
        (start >= 0 && len > 0).then_some(Block { start, end })
    }

    /// Where nine tenths of the block are used, as in Kafka.
    fn threshold(&self) -> i64 {
        self.end - (self.end - self.start) / 10
    }
}

impl Blocks {
    /// An id; `None` if a block has to come first.
    pub(super) fn take(&mut self) -> Option<i64> {
        if self.unused.is_empty()
            && let Some(block) = self.next.take()
        {
            self.unused = block.start..block.end;
            self.threshold = block.threshold();
        }
        let id = self.unused.next();
        self.wanted = self.next.is_none() && self.unused.start >= self.threshold;
        id
    }

    /// Whether a block should be asked for.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unused.is_empty() && self.next.is_none()
    }

    pub(super) fn add(&mut self, block: Block) {
        self.next = Some(block);
        self.wanted = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_on_through_the_blocks() {
        let mut blocks = Blocks::default();
        assert!(!blocks.is_wanted());
        assert_eq!(blocks.take(), None);
        assert!(blocks.is_wanted() && blocks.is_empty());
        blocks.add(Block::new(1000, 1000).expect("a block"));
        for id in 1000..1899 {
            assert_eq!(blocks.take(), Some(id));
            assert!(!blocks.is_wanted(), "after {id}");
        }
        assert_eq!(blocks.take(), Some(1899));
        assert!(blocks.is_wanted());
        blocks.add(Block::new(5000, 1000).expect("a block"));
        for id in (1900..2000).chain(5000..5899) {
            assert_eq!(blocks.take(), Some(id));
            assert!(!blocks.is_wanted(), "after {id}");
        }
        for id in 5899..6000 {
            assert_eq!(blocks.take(), Some(id));
            assert!(blocks.is_wanted());
        }
        assert_eq!(blocks.take(), None);
        assert!(blocks.is_wanted());
    }

    #[test]
    fn nonsense_is_no_block() {
        for (start, len) in [(0, 0), (5, -1), (-1, 1000), (i64::MAX - 998, 1000)] {
            assert_eq!(Block::new(start, len), None, "{start} {len}");
        }
        assert!(Block::new(i64::MAX - 1000, 1000).is_some());
    }
}
