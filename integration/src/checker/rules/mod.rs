//! What must hold of every history. One function a rule, each of them a few lines over the same facts,
//! and of what was found in the cluster at the end.

mod cluster;
mod commits;
mod facts;
mod owners;
mod polls;
mod records;
#[cfg(test)]
mod tests;

use facts::Facts;

use super::{History, Verdict};

/// Holds every rule against a history that ends with what is stored, after all faults were healed.
pub fn judge(history: &History) -> Verdict {
    let facts = Facts::of(history);
    Verdict {
        findings: vec![
            records::none_lost(&facts),
            records::none_twice(&facts),
            records::none_invented(&facts),
            records::one_at_each_offset(&facts),
            records::in_their_producers_order(&facts),
            polls::forward(&facts),
            polls::none_skipped(&facts),
            polls::all_seen(&facts),
            owners::one_a_partition(&facts),
            commits::never_back(&facts),
        ],
    }
}

/// Holds those rules against a history that need more than what clients saw: what was found on the brokers'
/// disks, in ZooKeeper and at the brokers when all was over.
pub fn judge_cluster(history: &History) -> Verdict {
    Verdict {
        findings: vec![
            cluster::all_can_be_read(history),
            cluster::replicas_are_the_same(history),
            cluster::all_say_the_same(history),
            cluster::other_epochs_are_refused(history),
            cluster::whole_in_time(history),
            cluster::none_given_up(history),
            cluster::all_end_when_told(history),
        ],
    }
}
