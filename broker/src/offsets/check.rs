//! The checks that make commits safe, by name, so that a test can be shown to fail without each of them.

/// What ARCHITECTURE.md, "Committed offsets", argues with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// A write is done only at the version of the state that was read.
    Fence,
    /// A state that was read again must name this broker at the epoch it loaded.
    Term,
    /// A write is done only under the stamp that was made before it was sent.
    Stamp,
    /// Reads follow a write on the same connection.
    Barrier,
    /// Nothing is sent for a key while the fate of an older write of it is not known.
    Order,
    /// A read waits for the commits of its keys that came before it.
    Wait,
}

impl Check {
    /// Whether it is made. Always, but in a build of `scripts/mutants`, and where a unit test says so.
    #[cfg(not(any(mutants, test)))]
    pub(crate) const fn is_made(self) -> bool {
        true
    }

    /// All but the one that the environment variable OTTLA_MUTANT names.
    #[cfg(all(mutants, not(test)))]
    pub(crate) fn is_made(self) -> bool {
        use std::sync::LazyLock;
        static OUT: LazyLock<Option<Check>> = LazyLock::new(|| {
            let out = match std::env::var("OTTLA_MUTANT").as_deref() {
                Ok("fence") => Check::Fence,
                Ok("term") => Check::Term,
                Ok("stamp") => Check::Stamp,
                Ok("barrier") => Check::Barrier,
                Ok("order") => Check::Order,
                Ok("wait") => Check::Wait,
                _ => return None,
            };
            tracing::error!(?out, "THIS BROKER LOSES DATA: one of its checks is taken out (OTTLA_MUTANT)");
            Some(out)
        });
        *OUT != Some(self)
    }

    #[cfg(test)]
    pub(crate) fn is_made(self) -> bool {
        OUT.get() != Some(self)
    }

    /// Runs something on this thread without this check.
    #[cfg(test)]
    pub(crate) fn without<T>(self, run: impl FnOnce() -> T) -> T {
        OUT.set(Some(self));
        let outcome = run();
        OUT.set(None);
        outcome
    }
}

#[cfg(test)]
thread_local! {
    static OUT: std::cell::Cell<Option<Check>> = const { std::cell::Cell::new(None) };
}
