use std::fmt;

/// Where a group stands. Only these transitions happen, and any state may become `Dead`:
///
/// ```text
/// Empty ─▶ PreparingRebalance ─▶ CompletingRebalance ─▶ Stable
///   ▲────────────┘    ▲────────────────────┴──────────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// No members; offsets may be kept for it.
    Empty,
    /// Members are asked to join, and those that did wait for the others.
    PreparingRebalance,
    /// All have joined; the leader is about to say who gets what.
    CompletingRebalance,
    Stable,
    /// Deleted, or coordinated elsewhere now.
    Dead,
}

impl State {
    /// As tools show it.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
            State::Dead => "Dead",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
