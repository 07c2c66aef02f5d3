//! Who leads a partition next. Four strategies, each a function of the assignment, the current
//! state and who is there; each decision raises the leader epoch by one (Kafka's `Election.scala`).

use std::collections::BTreeSet;

use client::ids::{BrokerId, ControllerEpoch, LeaderEpoch, ZkVersion};

use crate::cluster::{Leadership, Recovery};

/// Whether a replica outside the ISR may lead when no ISR member is there: records that were
/// acknowledged may be lost by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unclean {
    Forbidden,
    Allowed,
}

/// The first state of a partition: the first assigned replica that is online leads, and all
/// online ones are in sync. `None` if nobody is online.
pub fn initial(assigned: &[BrokerId], online: &BTreeSet<BrokerId>) -> Option<Leadership> {
    let isr = kept(assigned, online);
    Some(Leadership {
        leader: *isr.first()?,
        leader_epoch: LeaderEpoch(0),
        isr,
        recovery: Recovery::Recovered,
        partition_epoch: ZkVersion(0),
        controller_epoch: ControllerEpoch(0),
    })
}

/// The leader is gone: the first assigned replica that is online and in sync takes over, and
/// whoever is not online leaves the ISR.
/// Without one, if allowed, the first assigned online replica, alone in the ISR and marked as recovering.
pub fn offline(
    assigned: &[BrokerId],
    current: &Leadership,
    online: &BTreeSet<BrokerId>,
    unclean: Unclean,
) -> Option<Leadership> {
    let in_sync = assigned.iter().find(|id| online.contains(id) && current.isr.contains(id));
    if let Some(&leader) = in_sync {
        return Some(led_by(current, leader, kept(&current.isr, online)));
    }
    match unclean {
        Unclean::Forbidden => None,
        Unclean::Allowed => {
            let &leader = assigned.iter().find(|id| online.contains(id))?;
            Some(alone(current, leader, Recovery::Recovering))
        }
    }
}

/// The head of the assignment leads, if it is online and in sync.
pub fn preferred(
    assigned: &[BrokerId],
    current: &Leadership,
    online: &BTreeSet<BrokerId>,
) -> Option<Leadership> {
    let &leader = assigned.first()?;
    let eligible = online.contains(&leader) && current.isr.contains(&leader);
    eligible.then(|| led_by(current, leader, current.isr.clone()))
}

/// The first of the replicas to stay that is online and in sync leads.
pub fn reassign(
    target: &[BrokerId],
    current: &Leadership,
    online: &BTreeSet<BrokerId>,
) -> Option<Leadership> {
    let &leader = target.iter().find(|id| online.contains(id) && current.isr.contains(id))?;
    Some(led_by(current, leader, current.isr.clone()))
}

/// Brokers are about to leave: the first assigned replica that is in sync and stays takes over,
/// and those that leave are out of the ISR. `online` counts the leaving ones too.
pub fn controlled_shutdown(
    assigned: &[BrokerId],
    current: &Leadership,
    online: &BTreeSet<BrokerId>,
    leaving: &BTreeSet<BrokerId>,
) -> Option<Leadership> {
    let stays = |id: &BrokerId| online.contains(id) && current.isr.contains(id) && !leaving.contains(id);
    let &leader = assigned.iter().find(|id| stays(id))?;
    let isr = current.isr.iter().copied().filter(|id| !leaving.contains(id)).collect();
    Some(led_by(current, leader, isr))
}

/// The state without one replica: `None` if it is not in sync anyway. The last member stays in
/// the ISR, since only its log is complete; a leader that leaves leaves the place empty.
pub fn without(replica: BrokerId, current: &Leadership) -> Option<Leadership> {
    if !current.isr.contains(&replica) {
        return None;
    }
    let leader = if current.leader == replica { BrokerId::NONE } else { current.leader };
    let isr = match current.isr.len() {
        1 => current.isr.clone(),
        _ => current.isr.iter().copied().filter(|&id| id != replica).collect(),
    };
    Some(led_by(current, leader, isr))
}

/// Some replicas have lost the ends of their logs with their machines: they neither lead nor count as in
/// sync, as long as one that lost nothing is left in the ISR. `None`: that changes nothing.
pub fn without_tail_losers(current: &Leadership, losers: &BTreeSet<BrokerId>) -> Option<Leadership> {
    let isr: Vec<BrokerId> = current.isr.iter().copied().filter(|id| !losers.contains(id)).collect();
    if isr.is_empty() || isr.len() == current.isr.len() {
        return None;
    }
    let leader = if losers.contains(&current.leader) { BrokerId::NONE } else { current.leader };
    Some(led_by(current, leader, isr))
}

/// Nobody leads, and the ISR stays as it is. `None`: it is so already.
pub fn without_leader(current: &Leadership) -> Option<Leadership> {
    let is_led = current.leader != BrokerId::NONE;
    is_led.then(|| led_by(current, BrokerId::NONE, current.isr.clone()))
}

/// This replica leads, alone in the ISR.
pub fn alone(current: &Leadership, leader: BrokerId, recovery: Recovery) -> Leadership {
    Leadership { recovery, ..led_by(current, leader, vec![leader]) }
}

fn led_by(current: &Leadership, leader: BrokerId, isr: Vec<BrokerId>) -> Leadership {
    let leader_epoch = LeaderEpoch(current.leader_epoch.0.wrapping_add(1));
    Leadership { leader, leader_epoch, isr, ..current.clone() }
}

fn kept(replicas: &[BrokerId], online: &BTreeSet<BrokerId>) -> Vec<BrokerId> {
    replicas.iter().copied().filter(|id| online.contains(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASSIGNED: [BrokerId; 3] = [BrokerId(3), BrokerId(1), BrokerId(2)];

    fn state(leader: BrokerId, isr: Vec<BrokerId>) -> Leadership {
        Leadership {
            leader,
            leader_epoch: LeaderEpoch(7),
            isr,
            recovery: Recovery::Recovered,
            partition_epoch: ZkVersion(9),
            controller_epoch: ControllerEpoch(2),
        }
    }

    fn subsets() -> impl Iterator<Item = BTreeSet<BrokerId>> {
        (0..8).map(|bits| {
            ASSIGNED.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, &id)| id).collect()
        })
    }

    /// Every ISR, in assignment order and reversed, with every leader it may have.
    fn states() -> Vec<Leadership> {
        let mut all = Vec::new();
        for members in subsets().filter(|members| !members.is_empty()) {
            let isr: Vec<BrokerId> = ASSIGNED.into_iter().filter(|id| members.contains(id)).collect();
            let reversed: Vec<BrokerId> = isr.iter().rev().copied().collect();
            for leader in isr.iter().copied().chain([BrokerId::NONE]) {
                all.push(state(leader, isr.clone()));
                all.push(state(leader, reversed.clone()));
            }
        }
        all
    }

    /// What holds of every decision, whatever the strategy.
    fn check(current: &Leadership, next: &Leadership) {
        assert_eq!(next.leader_epoch, LeaderEpoch(8));
        assert_eq!(next.partition_epoch, current.partition_epoch);
        assert!(next.isr.contains(&next.leader), "{next:?}");
        assert!(!next.isr.is_empty());
    }

    /// The members keep the order they had.
    fn is_subsequence(part: &[BrokerId], whole: &[BrokerId]) -> bool {
        let mut whole = whole.iter();
        part.iter().all(|id| whole.any(|other| other == id))
    }

    #[test]
    fn offline_elects_the_first_assigned_in_sync_replica_in_every_case() {
        for current in states() {
            for online in subsets() {
                let candidates: Vec<BrokerId> = ASSIGNED
                    .into_iter()
                    .filter(|id| online.contains(id) && current.isr.contains(id))
                    .collect();
                let clean = offline(&ASSIGNED, &current, &online, Unclean::Forbidden);
                let unclean = offline(&ASSIGNED, &current, &online, Unclean::Allowed);
                match candidates.first() {
                    Some(&first) => {
                        let next = clean.clone().expect("an in-sync replica is online");
                        check(&current, &next);
                        assert_eq!(next.leader, first);
                        assert!(is_subsequence(&next.isr, &current.isr));
                        assert_eq!(next.isr.len(), candidates.len());
                        assert_eq!(next.recovery, Recovery::Recovered);
                        assert_eq!(unclean, clean, "a clean election is preferred");
                    }
                    None => {
                        assert_eq!(clean, None);
                        let expected = ASSIGNED.into_iter().find(|id| online.contains(id));
                        assert_eq!(unclean.as_ref().map(|next| next.leader), expected);
                        if let Some(next) = unclean {
                            check(&current, &next);
                            assert_eq!(next.isr, vec![next.leader]);
                            assert_eq!(next.recovery, Recovery::Recovering);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn preferred_and_reassign_keep_the_isr_as_it_is() {
        for current in states() {
            for online in subsets() {
                let eligible = |id: &BrokerId| online.contains(id) && current.isr.contains(id);
                let next = preferred(&ASSIGNED, &current, &online);
                assert_eq!(next.as_ref().map(|n| n.leader), Some(ASSIGNED[0]).filter(eligible));
                let target = [BrokerId(2), BrokerId(3)];
                let moved = reassign(&target, &current, &online);
                assert_eq!(moved.as_ref().map(|n| n.leader), target.into_iter().find(eligible));
                for next in next.into_iter().chain(moved) {
                    check(&current, &next);
                    assert_eq!(next.isr, current.isr);
                }
            }
        }
    }

    #[test]
    fn controlled_shutdown_hands_over_to_one_that_stays() {
        for current in states() {
            for online in subsets() {
                for leaving in subsets() {
                    let stays = |id: &BrokerId| {
                        online.contains(id) && current.isr.contains(id) && !leaving.contains(id)
                    };
                    let next = controlled_shutdown(&ASSIGNED, &current, &online, &leaving);
                    assert_eq!(next.as_ref().map(|n| n.leader), ASSIGNED.into_iter().find(stays));
                    if let Some(next) = next {
                        check(&current, &next);
                        let expected: Vec<BrokerId> =
                            current.isr.iter().copied().filter(|id| !leaving.contains(id)).collect();
                        assert_eq!(next.isr, expected);
                    }
                }
            }
        }
    }

    #[test]
    fn the_last_member_of_the_isr_stays_in_it() {
        for current in states() {
            for gone in ASSIGNED {
                let next = without(gone, &current);
                assert_eq!(next.is_some(), current.isr.contains(&gone));
                if let Some(next) = next {
                    assert_eq!(next.leader_epoch, LeaderEpoch(8));
                    let expected = if current.leader == gone { BrokerId::NONE } else { current.leader };
                    assert_eq!(next.leader, expected);
                    assert_eq!(next.isr.contains(&gone), current.isr.len() == 1);
                    assert_eq!(next.isr.len(), (current.isr.len() - 1).max(1));
                    assert!(is_subsequence(&next.isr, &current.isr));
                }
            }
        }
    }

    #[test]
    fn who_lost_records_leaves_the_isr_unless_all_did() {
        for current in states() {
            for losers in subsets() {
                let next = without_tail_losers(&current, &losers);
                let whole: Vec<BrokerId> =
                    current.isr.iter().copied().filter(|id| !losers.contains(id)).collect();
                let expected = !whole.is_empty() && whole != current.isr;
                assert_eq!(next.is_some(), expected, "{current:?} without {losers:?}");
                if let Some(next) = next {
                    let deposed = losers.contains(&current.leader);
                    assert_eq!(next.leader, if deposed { BrokerId::NONE } else { current.leader });
                    assert_eq!((next.isr, next.leader_epoch), (whole, LeaderEpoch(8)));
                }
            }
        }
    }

    #[test]
    fn a_new_partition_is_led_by_the_first_that_is_there() {
        for online in subsets() {
            let first = initial(&ASSIGNED, &online);
            let isr: Vec<BrokerId> = ASSIGNED.into_iter().filter(|id| online.contains(id)).collect();
            assert_eq!(first.as_ref().map(|state| state.leader), isr.first().copied());
            if let Some(state) = first {
                assert_eq!((state.isr, state.leader_epoch), (isr.clone(), LeaderEpoch(0)));
            }
        }
    }
}
