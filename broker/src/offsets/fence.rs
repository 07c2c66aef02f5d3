//! What a coordinator knows of its right to write and of how fresh its reads are.
//!
//! The right is the data version of the coordinating partition's state znode, as last read while it
//! named this broker at the epoch it loaded, and that of its stamp. Freshness is a barrier: a write, after
//! which a connection shows all that was acknowledged before. It renews the stamp, so whatever was sent before
//! and is not done by then is never done: ZooKeeper may carry out a request long after its connection was
//! given up, even of a session that has moved to another server and gone on there (RELIABILITY.md, 27).

use client::ids::{BrokerId, LeaderEpoch, ZkVersion};

use super::check::Check;

/// One connection of one session with ZooKeeper, by numbers that never come again in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) session: i64,
    pub(crate) generation: u64,
}

/// What a write must find unchanged: data versions of the partition's state and of its stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) state: ZkVersion,
    pub(crate) stamp: ZkVersion,
}

/// What a partition's state znode says of its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leads {
    pub(crate) leader: BrokerId,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) version: ZkVersion,
}

/// Why a coordinator may not write any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deposed {
    /// Another broker leads, or nobody.
    ByAnother,
    /// This broker leads at a newer epoch, which the controller has yet to tell it.
    ByNewerEpoch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The state must be read (again).
    Unknown,
    Leads(ZkVersion),
    Deposed(Deposed),
}

#[derive(Debug)]
pub(crate) struct Fence {
    me: BrokerId,
    /// The leader epoch that was loaded.
    epoch: LeaderEpoch,
    standing: Standing,
    /// The newest that is known of.
    stamp: Option<ZkVersion>,
    /// The connection that the last barrier was made on.
    barrier: Option<Attached>,
}

impl Fence {
    pub(crate) fn new(me: BrokerId, epoch: LeaderEpoch) -> Fence {
        Fence { me, epoch, standing: Standing::Unknown, stamp: None, barrier: None }
    }

    /// The stamp that a barrier made on a connection, and the state as read behind it; `None`: there is no such
    /// node.
    pub(crate) fn saw(&mut self, on: Attached, stamp: ZkVersion, state: Option<Leads>) {
        if self.deposed().is_some() {
            return;
        }
        self.stamp = Some(stamp);
        self.standing = match state {
            Some(state) if !Check::Term.is_made() => Standing::Leads(state.version),
            Some(state) if state.leader == self.me && state.epoch == self.epoch => {
                Standing::Leads(state.version)
            }
            Some(state) if state.leader == self.me && state.epoch > self.epoch => {
                Standing::Deposed(Deposed::ByNewerEpoch)
            }
            // An older epoch, behind a barrier, is of a topic that was made anew.
            Some(_) | None => Standing::Deposed(Deposed::ByAnother),
        };
        self.barrier = Some(on);
    }

    /// The stamp was renewed without a look at the state. Of several at a time the last one counts.
    pub(crate) fn renewed(&mut self, stamp: ZkVersion) {
        self.stamp = self.stamp.max(Some(stamp));
    }

    /// A write found that these are not so any more.
    pub(crate) fn doubt(&mut self, rights: Rights) {
        if self.rights() == Some(rights) {
            self.standing = Standing::Unknown;
        }
    }

    /// The controller has given the partition away, or to this broker at a newer epoch.
    pub(crate) fn depose(&mut self, why: Deposed) {
        self.standing = Standing::Deposed(why);
    }

    /// What a write must check. `None`: the state must be read first, or the right is gone.
    pub(crate) fn rights(&self) -> Option<Rights> {
        match self.standing {
            Standing::Leads(state) => self.stamp.map(|stamp| Rights { state, stamp }),
            Standing::Unknown | Standing::Deposed(_) => None,
        }
    }

    pub(crate) fn deposed(&self) -> Option<Deposed> {
        match self.standing {
            Standing::Deposed(why) => Some(why),
            Standing::Unknown | Standing::Leads(_) => None,
        }
    }

    /// Whether reads on this connection show all that an earlier coordinator was told is written.
    pub(crate) fn is_fresh(&self, on: Attached) -> bool {
        !Check::Barrier.is_made() || self.rights().is_some() && self.barrier == Some(on)
    }

    /// Whether the state must be read before anything can go on.
    pub(crate) fn must_look(&self, on: Attached) -> bool {
        self.deposed().is_none() && (self.rights().is_none() || self.barrier != Some(on))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: Attached = Attached { session: 1, generation: 1 };
    const STAMP: ZkVersion = ZkVersion(3);

    fn state(leader: i32, epoch: i32, version: i32) -> Option<Leads> {
        Some(Leads { leader: BrokerId(leader), epoch: LeaderEpoch(epoch), version: ZkVersion(version) })
    }

    fn rights(state: i32) -> Option<Rights> {
        Some(Rights { state: ZkVersion(state), stamp: STAMP })
    }

    #[test]
    fn only_the_leader_at_the_loaded_epoch_goes_on() {
        let of = |seen: Option<Leads>| {
            let mut fence = Fence::new(BrokerId(1), LeaderEpoch(5));
            fence.saw(ON, STAMP, seen);
            (fence.rights(), fence.deposed(), fence.is_fresh(ON))
        };
        assert_eq!(of(state(1, 5, 9)), (rights(9), None, true));
        assert_eq!(of(state(2, 6, 9)), (None, Some(Deposed::ByAnother), false));
        assert_eq!(of(state(-1, 6, 9)), (None, Some(Deposed::ByAnother), false));
        assert_eq!(of(state(1, 6, 9)), (None, Some(Deposed::ByNewerEpoch), false));
        // The topic was made anew. To look once more would renew the stamp of whoever leads now, without end.
        assert_eq!(of(state(2, 4, 9)), (None, Some(Deposed::ByAnother), false));
        assert_eq!(of(state(1, 4, 9)), (None, Some(Deposed::ByAnother), false));
        assert_eq!(of(None), (None, Some(Deposed::ByAnother), false));
    }

    #[test]
    fn a_new_connection_needs_a_barrier_of_its_own() {
        let mut fence = Fence::new(BrokerId(1), LeaderEpoch(5));
        assert!(fence.must_look(ON));
        fence.saw(ON, STAMP, state(1, 5, 9));
        let next = Attached { generation: 2, ..ON };
        assert_eq!((fence.is_fresh(ON), fence.must_look(ON)), (true, false));
        assert_eq!((fence.is_fresh(next), fence.must_look(next)), (false, true));
        assert_eq!(fence.rights(), rights(9), "writes are fenced without a barrier");
        fence.doubt(Rights { state: ZkVersion(9), stamp: STAMP });
        assert_eq!((fence.is_fresh(ON), fence.rights()), (false, None));
    }

    #[test]
    fn the_deposed_stays_so() {
        let mut fence = Fence::new(BrokerId(1), LeaderEpoch(5));
        fence.saw(ON, STAMP, state(2, 6, 9));
        fence.saw(ON, STAMP, state(1, 5, 9));
        fence.doubt(Rights { state: ZkVersion(9), stamp: STAMP });
        assert_eq!((fence.deposed(), fence.must_look(ON)), (Some(Deposed::ByAnother), false));
    }

    #[test]
    fn a_write_under_an_older_stamp_raises_no_doubt() {
        let mut fence = Fence::new(BrokerId(1), LeaderEpoch(5));
        fence.saw(ON, STAMP, state(1, 5, 9));
        let older = fence.rights().expect("it leads");
        let newer = Rights { stamp: ZkVersion(5), ..older };
        // Two renewals at a time, whose answers change places.
        fence.renewed(ZkVersion(5));
        fence.renewed(ZkVersion(4));
        fence.doubt(older);
        assert_eq!(fence.rights(), Some(newer));
        fence.doubt(newer);
        assert!(fence.must_look(ON));
        // Somebody may have made the node anew.
        fence.saw(ON, ZkVersion(0), state(1, 5, 9));
        assert_eq!(fence.rights(), Some(Rights { stamp: ZkVersion(0), ..older }));
    }
}
