//! What members and administrators ask of a coordinated partition.

use std::sync::Arc;

use client::wire::{ErrorCode, Str};
use tokio::sync::oneshot;

use super::Led;
use super::append::told_to_committers;
use super::cell::{Cell, Waiter};
use crate::clock::Now;
use crate::group::record::{self, Content};
use crate::group::{
    Commit, Description, Group, GroupError, Identity, Join, JoinAnswer, JoinRefused, LeaveAnswer, Leaving,
    Overview, Sync, SyncAnswer,
};

impl Led {
    /// JoinGroup. Waits until the generation begins.
    pub async fn join(self: &Arc<Self>, group: &Str, join: Join) -> JoinAnswer {
        let member_id = join.member_id.clone();
        let refused = |error| Err(JoinRefused { error, member_id: member_id.clone() });
        let limits = self.config().limits;
        if let Err(error) = limits.check_session(join.session_timeout) {
            return refused(error);
        }
        let cell = if join.member_id.is_empty() {
            match self.find_or_create(group) {
                Ok(cell) => cell,
                Err(_) => return refused(GroupError::Moved),
            }
        } else {
            match self.find(group) {
                Some(cell) => cell,
                None => return refused(GroupError::UnknownMember),
            }
        };
        let (waiter, answer) = oneshot::channel();
        cell.park(self, Waiter::Join(waiter), |group, ticket| group.join(join, ticket, Now::read()));
        drop(cell);
        answer.await.unwrap_or_else(|_| refused(GroupError::Moved))
    }

    /// SyncGroup. Waits until the leader's assignment is stored.
    pub async fn sync(self: &Arc<Self>, group: &str, sync: Sync) -> SyncAnswer {
        let cell = self.find(group).ok_or(GroupError::UnknownMember)?;
        let (waiter, answer) = oneshot::channel();
        cell.park(self, Waiter::Sync(waiter), |group, ticket| group.sync(sync, ticket, Now::read()));
        drop(cell);
        answer.await.unwrap_or(Err(GroupError::Moved))
    }

    pub fn heartbeat(self: &Arc<Self>, group: &str, who: Identity<'_>) -> Result<(), GroupError> {
        let cell = self.find(group).ok_or(GroupError::UnknownMember)?;
        cell.update(self, |group| {
            (group.heartbeat(who.member_id, who.instance_id, who.generation, Now::read()), Vec::new())
        })
    }

    pub fn leave(self: &Arc<Self>, group: &str, leaving: &[Leaving]) -> LeaveAnswer {
        match self.find(group) {
            Some(cell) => cell.update(self, |group| group.leave(leaving, Now::read())),
            None => Ok(leaving.iter().map(|_| Err(GroupError::UnknownMember)).collect()),
        }
    }

    /// Whether `who` may commit offsets for the group now. A group that does not exist is made if
    /// the one who commits is no member of any.
    pub fn check_commit(
        self: &Arc<Self>,
        group: &Str,
        who: Identity<'_>,
        commit: Commit,
    ) -> Result<(), GroupError> {
        let cell = match self.find(group) {
            Some(cell) => cell,
            None if who.generation < 0 => self.find_or_create(group).map_err(|_| GroupError::Moved)?,
            None => return Err(GroupError::IllegalGeneration),
        };
        cell.update(self, |group| (group.check_commit(who, commit, Now::read()), Vec::new()))
    }

    /// Whether offsets of the group may be deleted; if so, which topics its members may be reading.
    pub fn check_offset_delete(&self, group: &str, topics: &[Str]) -> Result<Vec<bool>, OffsetDeleteRefused> {
        let cell = self.find(group).ok_or(OffsetDeleteRefused::NoGroup)?;
        cell.look(|group| match group.check_offset_delete() {
            Ok(()) => Ok(topics.iter().map(|topic| group.reads(topic)).collect()),
            Err(GroupError::Dead) => Err(OffsetDeleteRefused::NoGroup),
            Err(error) => Err(OffsetDeleteRefused::Group(error)),
        })
    }

    pub fn describe(&self, group: &str) -> Option<Description> {
        self.find(group).map(|cell| cell.look(|group| group.describe()))
    }

    /// All groups here, in order.
    pub fn list(&self) -> Vec<Overview> {
        self.all().iter().map(|cell| cell.look(|group| group.overview())).collect()
    }

    /// DeleteGroups: ends an empty group, deletes its offsets and takes it out of the log. If that fails
    /// the group is there as before.
    pub async fn delete(self: &Arc<Self>, group: &str) -> Result<(), ErrorCode> {
        let cell = self.find(group).ok_or(ErrorCode::GroupIdNotFound)?;
        let ended = self.end_empty(cell)?;
        self.delete_group_offsets(group).await?;
        ended.bury().await
    }

    /// Takes out a group that nothing is left of. Whatever offsets stand under its name are not its own:
    /// a classic consumer's, or those of a commit that is on its way.
    pub(super) async fn forget(self: &Arc<Self>, cell: Arc<Cell>) -> Result<(), ErrorCode> {
        self.end_empty(cell)?.bury().await
    }

    fn end_empty(self: &Arc<Self>, cell: Arc<Cell>) -> Result<Ended<'_>, ErrorCode> {
        match cell.update(self, |group| (group.delete(Now::read()), Vec::new())) {
            Ok(()) => Ok(Ended { led: self, cell, is_buried: false }),
            Err(GroupError::Dead) => Err(ErrorCode::GroupIdNotFound),
            Err(error) => Err(error.into()),
        }
    }
}

/// A group that has ended. Until this is dropped it stands in the way of a new one of its name, whose
/// offsets and records would be deleted with it. Unless it was buried it is empty again then, as before.
struct Ended<'a> {
    led: &'a Arc<Led>,
    cell: Arc<Cell>,
    is_buried: bool,
}

impl Ended<'_> {
    /// Appends the group's tombstone, unless the log never heard of it.
    async fn bury(mut self) -> Result<(), ErrorCode> {
        let group = self.cell.id().clone();
        if self.cell.look(Group::generation) == 0 {
            self.is_buried = true;
            return Ok(());
        }
        let tombstone = record::group_record(&group, None).map_err(|_| ErrorCode::UnknownServerError)?;
        let appending = self.led.append(&[tombstone], Content::Groups).map_err(told_to_committers)?;
        self.is_buried = true;
        drop(self);
        if let Err(code) = appending.done().await {
            tracing::warn!(
                %group,
                code = code.name(),
                "the group is deleted, but other replicas may not know: it may come back, empty, at another coordinator"
            );
        }
        Ok(())
    }
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if self.is_buried {
            self.led.remove(&self.cell);
        } else {
            self.led.revive(&self.cell);
        }
    }
}

/// Why no offset of a group may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OffsetDeleteRefused {
    #[error("the group does not exist")]
    NoGroup,
    #[error(transparent)]
    Group(GroupError),
}

impl From<OffsetDeleteRefused> for ErrorCode {
    fn from(refused: OffsetDeleteRefused) -> ErrorCode {
        match refused {
            OffsetDeleteRefused::NoGroup => ErrorCode::GroupIdNotFound,
            OffsetDeleteRefused::Group(error) => error.into(),
        }
    }
}
