//! When a broker's process counts as dead before its session ends: a connection to it ended, and its
//! listener then refused new ones several times in a row, which a machine that is up says of a port
//! where nobody listens.
//!
//! Silence says nothing: a process that is stopped, a machine that is gone and a network that is cut
//! look alike, and only the session tells. What was never reached may have been looked for in the
//! wrong place. And a broker that was declared dead and came back as the same process had something
//! between it and us that refuses in its name: for a while it is left to its session, each time for
//! longer.

use std::time::{Duration, Instant};

/// Refusals in a row.
const REFUSALS: u32 = 3;
/// Between two of them.
const SOON: Duration = Duration::from_millis(30);
/// A connection that ended sooner was turned away.
const BRIEF: Duration = Duration::from_millis(200);
/// Between connections, where the broker takes them and ends them at once: it may have too many.
const TURNED_AWAY: Duration = Duration::from_millis(200);
/// Before the next look, where looking says nothing.
const LATER: Duration = Duration::from_secs(1);

const FIRST_TRUCE: Duration = Duration::from_secs(60);
const LONGEST_TRUCE: Duration = Duration::from_secs(3600);

/// What came of an attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    Connected,
    /// By every address that the name stands for.
    Refused,
    /// No answer in time, no route, no such name.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It lives; look again when the connection ends.
    Hold,
    LookAgain(Duration),
    Dead,
}

/// What is known of one registration's process.
#[derive(Debug, Clone)]
pub struct Suspicion {
    met: bool,
    refusals: u32,
    /// Connections in a row that were turned away.
    turned_away: u32,
    truce_until: Instant,
}

impl Suspicion {
    /// `removals`: how often the process lost a registration by mistake.
    pub fn new(removals: u32, now: Instant) -> Suspicion {
        Suspicion { met: false, refusals: 0, turned_away: 0, truce_until: now + truce(removals) }
    }

    /// A connection that was held ended after this long. Gives the pause before the next look. One that is turned away
    /// is nothing yet: where a process dies, its listener may outlive its connections by a moment, and take one more.
    pub fn parted(&mut self, lasted: Duration) -> Duration {
        if lasted >= BRIEF {
            self.turned_away = 0;
            return Duration::ZERO;
        }
        self.turned_away = self.turned_away.saturating_add(1);
        if self.turned_away == 1 { SOON } else { TURNED_AWAY }
    }

    pub fn saw(&mut self, sight: Sight, now: Instant) -> Next {
        match sight {
            Sight::Connected => {
                (self.met, self.refusals) = (true, 0);
                Next::Hold
            }
            Sight::Nothing => {
                self.refusals = 0;
                Next::LookAgain(LATER)
            }
            Sight::Refused if !self.met || now < self.truce_until => Next::LookAgain(LATER),
            Sight::Refused => {
                self.refusals += 1;
                if self.refusals < REFUSALS {
                    return Next::LookAgain(SOON);
                }
                // Whoever cannot act on it now looks anew later.
                self.refusals = 0;
                Next::Dead
            }
        }
    }
}

/// How long a registration is left to its session from when it was first seen.
fn truce(removals: u32) -> Duration {
    match removals.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_TRUCE.saturating_mul(1 << doublings.min(16)).min(LONGEST_TRUCE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Sight::{Connected, Nothing, Refused};

    fn all(removals: u32, sights: &[Sight]) -> Next {
        let now = Instant::now();
        let mut suspicion = Suspicion::new(removals, now);
        let mut last = Next::Hold;
        for &sight in sights {
            last = suspicion.saw(sight, now);
        }
        last
    }

    #[test]
    fn a_connection_that_ended_and_refusals_in_a_row_mean_death() {
        assert_eq!(all(0, &[Connected]), Next::Hold);
        assert_eq!(all(0, &[Connected, Refused]), Next::LookAgain(SOON));
        assert_eq!(all(0, &[Connected, Refused, Refused]), Next::LookAgain(SOON));
        assert_eq!(all(0, &[Connected, Refused, Refused, Refused]), Next::Dead);
        assert_eq!(all(0, &[Connected, Refused, Refused, Refused, Refused]), Next::LookAgain(SOON));
    }

    #[test]
    fn what_answers_in_between_lives() {
        assert_eq!(all(0, &[Connected, Refused, Refused, Connected]), Next::Hold);
        assert_eq!(all(0, &[Connected, Refused, Refused, Connected, Refused]), Next::LookAgain(SOON));
    }

    #[test]
    fn silence_is_no_sign() {
        assert_eq!(all(0, &[Connected, Nothing, Nothing, Nothing, Nothing]), Next::LookAgain(LATER));
        assert_eq!(all(0, &[Connected, Refused, Refused, Nothing, Refused]), Next::LookAgain(SOON));
    }

    #[test]
    fn what_was_never_reached_is_not_missed() {
        assert_eq!(all(0, &[Refused; 10]), Next::LookAgain(LATER));
        assert_eq!(all(0, &[Nothing, Refused, Refused, Refused]), Next::LookAgain(LATER));
    }

    #[test]
    fn a_listener_may_outlive_its_connections_by_a_moment() {
        let mut suspicion = Suspicion::new(0, Instant::now());
        let hour = Duration::from_secs(3600);
        assert_eq!(suspicion.parted(hour), Duration::ZERO);
        assert_eq!(suspicion.parted(Duration::from_micros(50)), SOON);
        assert_eq!(suspicion.parted(Duration::from_micros(50)), TURNED_AWAY);
        assert_eq!(suspicion.parted(Duration::from_micros(50)), TURNED_AWAY);
        assert_eq!(suspicion.parted(hour), Duration::ZERO);
        assert_eq!(suspicion.parted(Duration::ZERO), SOON);
    }

    #[test]
    fn who_came_back_from_the_dead_is_left_alone_for_longer_each_time() {
        let start = Instant::now();
        for (removals, seconds) in [(1, 60), (2, 120), (6, 1920), (7, 3600), (u32::MAX, 3600)] {
            let mut suspicion = Suspicion::new(removals, start);
            suspicion.saw(Connected, start);
            let before = start + Duration::from_secs(seconds) - Duration::from_millis(1);
            for _ in 0..10 {
                assert_eq!(suspicion.saw(Refused, before), Next::LookAgain(LATER), "{removals}");
            }
            let after = start + Duration::from_secs(seconds);
            let sights = [Refused, Refused, Refused].map(|sight| suspicion.saw(sight, after));
            assert_eq!(sights[2], Next::Dead, "{removals}");
        }
    }
}
