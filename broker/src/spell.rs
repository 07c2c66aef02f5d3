//! A time in which something fails that is tried again and again: a line in the log when it begins and one when it
//! is over, not one for every attempt.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Spell(AtomicU64);

impl Spell {
    /// It failed. Whether that is the first time, and worth telling.
    pub(crate) fn begins(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// It worked. How often it had failed, if it had.
    pub(crate) fn ends(&self) -> Option<u64> {
        // Most often there is nothing to end, and nothing to write.
        (self.0.load(Ordering::Relaxed) > 0)
            .then(|| self.0.swap(0, Ordering::Relaxed))
            .filter(|times| *times > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spell_is_told_of_twice() {
        let spell = Spell::default();
        assert_eq!(spell.ends(), None);
        assert_eq!([(); 3].map(|()| spell.begins()), [true, false, false]);
        assert_eq!((spell.ends(), spell.ends()), (Some(3), None));
        assert!(spell.begins(), "another one");
    }
}
