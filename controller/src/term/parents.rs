//! The parents of what controllers keep under `/ottla`. They are made when the first child is.

use std::collections::BTreeSet;

use crate::world::{Trouble, World, Write};

const OTTLA: &str = "/ottla";

/// Those that are there.
#[derive(Debug, Default)]
pub(super) struct Parents(BTreeSet<String>);

impl Parents {
    pub(super) async fn read(world: &impl World) -> Result<Parents, Trouble> {
        let children = world.list(OTTLA).await?.into_iter();
        Ok(Parents(children.map(|child| format!("{OTTLA}/{child}")).collect()))
    }

    pub(super) fn has(&self, parent: &str) -> bool {
        self.0.contains(parent)
    }

    /// What has to be written before a child of `parent`. Some of it may be there nevertheless.
    pub(super) fn missing(&self, parent: &str) -> Vec<Write> {
        let create = |path: &str| Write::Create { path: path.to_owned(), data: Vec::new() };
        match (self.has(parent), self.0.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => [OTTLA, parent].map(create).to_vec(),
            (false, false) => vec![create(parent)],
        }
    }

    pub(super) fn are_made(&mut self, parent: &str) {
        self.0.insert(parent.to_owned());
    }

    /// Somebody has removed some.
    pub(super) fn may_be_gone(&mut self) {
        self.0.clear();
    }
}
