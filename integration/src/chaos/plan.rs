//! Which faults, when and for how long, from a seed alone.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::scenario::{Kind, Part, Role, Scenario};

/// A fault to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub kind: Kind,
    pub role: Role,
    /// From the round's beginning.
    pub at: Duration,
    pub lasts: Duration,
    /// Decides whatever else is left to chance: the victim, the direction, the measure.
    pub dice: u64,
}

/// Some time without faults, then some faults that overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    pub calm: Duration,
    pub faults: Vec<Planned>,
}

/// Storms have so many faults at once, mostly few.
const AT_ONCE: [usize; 6] = [1, 1, 1, 2, 2, 3];

/// The round of this number; the same for the same seed, whatever happened before.
pub fn round(scenario: &Scenario, seed: u64, number: u64, quorum_loss: Duration) -> Round {
    let mut random = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    let calm = ms(&mut random, 3_000, 7_000);
    let chosen = match scenario {
        Scenario::Together(parts) => parts.clone(),
        Scenario::Storm => drawn(&mut random),
    };
    let faults = chosen.into_iter().map(|Part { kind, role, at, lasts }| {
        // Drawn in any case, so that what is left to the seed does not depend on what is not.
        let drawn = (ms(&mut random, 0, 3_000), self::lasts(&mut random, kind, quorum_loss));
        let (at, lasts) = (at.unwrap_or(drawn.0), lasts.unwrap_or(drawn.1));
        Planned { kind, role, at, lasts, dice: random.random() }
    });
    Round { calm, faults: faults.collect() }
}

fn drawn(random: &mut StdRng) -> Vec<Part> {
    let count = AT_ONCE.choose(random).copied().unwrap_or(1);
    let kinds: Vec<Kind> = Kind::all().collect();
    let chosen: Vec<Kind> = kinds.choose_multiple(random, count).copied().collect();
    // A rolling restart waits between brokers until all is whole, which other faults would prevent.
    if chosen.contains(&Kind::RollingRestart) {
        return vec![part(Kind::RollingRestart, Role::Random)];
    }
    let roles = Role::all();
    chosen.into_iter().map(|kind| part(kind, roles.choose(random).copied().unwrap_or(Role::Random))).collect()
}

fn part(kind: Kind, role: Role) -> Part {
    Part { kind, role, at: None, lasts: None }
}

/// Sessions last 4 s here, followers are given up after 5 s: some faults are shorter, most are longer.
fn lasts(random: &mut StdRng, kind: Kind, quorum_loss: Duration) -> Duration {
    match kind {
        Kind::Kill | Kind::KillAll => ms(random, 500, 9_000),
        Kind::Bounce | Kind::ZooKeeperRestart | Kind::RollingRestart => Duration::ZERO,
        Kind::Pause => ms(random, 5_000, 12_000),
        Kind::ZooKeeperKill | Kind::ZooKeeperPause => ms(random, 2_000, 12_000),
        Kind::ZooKeeperQuorum => quorum_loss,
        Kind::DisconnectPeers
        | Kind::DisconnectZooKeeper
        | Kind::DisconnectClients
        | Kind::Disconnect
        | Kind::OneWay
        | Kind::Ring
        | Kind::Lossy
        | Kind::SlowLink
        | Kind::DiskFull
        | Kind::SlowDisk
        | Kind::ClockJump => ms(random, 3_000, 14_000),
    }
}

fn ms(random: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.random_range(from..=to))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LOSS: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_is_a_plan() {
        let plan = |seed| (0..50).map(|n| round(&Scenario::Storm, seed, n, LOSS)).collect::<Vec<_>>();
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }

    #[test]
    fn a_storm_has_everything() {
        let rounds = (0..300).map(|number| round(&Scenario::Storm, 1, number, LOSS));
        let kinds: BTreeSet<Kind> = rounds.flat_map(|round| round.faults).map(|fault| fault.kind).collect();
        assert_eq!(kinds, Kind::all().collect());
    }

    #[test]
    fn what_is_asked_for_strikes_in_each_round() {
        let parts = vec![part(Kind::Kill, Role::Leader), part(Kind::ZooKeeperQuorum, Role::Random)];
        let scenario = Scenario::Together(parts);
        for number in 0..10 {
            let round = round(&scenario, 3, number, LOSS);
            let parts = round.faults.iter().map(|fault| part(fault.kind, fault.role)).collect();
            assert_eq!(Scenario::Together(parts), scenario);
            assert_eq!(round.faults[1].lasts, LOSS);
        }
    }
    #[test]
    fn what_is_fixed_by_name_is_not_left_to_the_seed() {
        let of = |name: &str| {
            let scenario: Scenario = name.parse().expect(name);
            round(&scenario, 7, 0, LOSS).faults
        };
        let (free, fixed) = (of("kill,pause"), of("kill@1+2,pause"));
        assert_eq!((fixed[0].at, fixed[0].lasts), (Duration::from_secs(1), Duration::from_secs(2)));
        assert_eq!(fixed[0].dice, free[0].dice);
        assert_eq!(fixed[1], free[1]);
    }
}
