//! Checks that a build for `scripts/sim mutants` can do without, to show that the simulation misses
//! them. In every other build each of them is made.

/// Whether the check of this name is left out.
#[cfg(not(mutants))]
pub(crate) const fn lacks(_check: &str) -> bool {
    false
}

/// Whether the check of this name is left out: `OTTLA_MUTANT` names it.
#[cfg(mutants)]
pub(crate) fn lacks(check: &str) -> bool {
    static LEFT_OUT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    LEFT_OUT.get_or_init(|| std::env::var("OTTLA_MUTANT").ok()).as_deref() == Some(check)
}
