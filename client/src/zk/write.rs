//! Writes. None is sent twice, except those that do no harm when repeated.

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tokio::time::Instant;
use zookeeper_client::{Acls, CreateOptions, MultiWriteError, MultiWriteResult};

use super::attachment::Attachment;
use super::bare;
use super::error::{Failure, MultiError, ZkError};
use super::node::{Node, Stat};
use super::op::{CreateMode, Op, OpResult, Settled, guard_size};
use super::session::{Outcome, Session};
use crate::ids::ZkVersion;
use crate::znode::controller;

/// How often a write that does no harm when repeated is sent again after a lost answer.
const REPEATS: usize = 5;

impl Session {
    /// Creates a node, and gives its path, with the sequence number if there is one.
    pub async fn create(
        &self,
        path: &str,
        data: impl Into<Vec<u8>>,
        mode: CreateMode,
    ) -> Result<String, ZkError> {
        let op = Op::Create { path: path.to_owned(), data: data.into(), mode };
        match self.write(op).await? {
            OpResult::Created { path } => Ok(path),
            _ => Ok(path.to_owned()),
        }
    }

    /// Creates a persistent node, and the parents that are missing, with empty data.
    pub async fn create_recursive(&self, path: &str, data: impl Into<Vec<u8>>) -> Result<(), ZkError> {
        let op = Op::create(path, data);
        match self.write(op.clone()).await {
            Err(ZkError::NoNode { .. }) => {}
            result => return result.map(drop),
        }
        if let Some(parent) = parent(path) {
            self.ensure(parent).await?;
        }
        self.write(op).await.map(drop)
    }

    /// Makes sure that a persistent node is there, and its parents; those that are missing are
    /// created with empty data.
    pub async fn ensure(&self, path: &str) -> Result<(), ZkError> {
        let mut missing = vec![path];
        let mut repeats = 0;
        while let Some(path) = missing.last().copied() {
            match self.write(Op::create(path, "")).await {
                Ok(_) | Err(ZkError::NodeExists { .. }) => {
                    missing.pop();
                }
                Err(ZkError::NoNode { path: of }) => match parent(path) {
                    Some(parent) => missing.push(parent),
                    None => return Err(ZkError::NoNode { path: of }),
                },
                Err(ZkError::Ambiguous { .. }) if repeats < REPEATS => repeats += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes sure that Kafka's directories, or others, are there, in this order, and their parents.
    /// Those that are missing are created without data, on a short connection of their own.
    pub async fn create_directories(&self, paths: &[&str]) -> Result<(), ZkError> {
        let shared = &self.shared;
        let deadline = Instant::now() + shared.config.operation_timeout;
        bare::create(&shared.hosts, &shared.chroot, paths, shared.config.session_timeout, deadline).await
    }

    /// Sets a node's data. `version: None`: whatever version it has.
    pub async fn set(
        &self,
        path: &str,
        data: impl Into<Vec<u8>>,
        version: Option<ZkVersion>,
    ) -> Result<Stat, ZkError> {
        match self.write(Op::set(path, data, version)).await? {
            OpResult::Set { stat } => Ok(stat),
            _ => Err(odd_answer("update", path)),
        }
    }

    /// Sets a node's data if it has this version, and settles a lost answer by reading:
    /// [`ZkError::BadVersion`] is then the answer where somebody else wrote.
    pub async fn set_settled(
        &self,
        path: &str,
        data: impl Into<Vec<u8>>,
        version: ZkVersion,
    ) -> Result<Stat, ZkError> {
        let op = Op::set(path, data, Some(version));
        let mut repeats = 0;
        loop {
            match self.write(op.clone()).await {
                Ok(result) => return result.stat().ok_or_else(|| odd_answer("update", path)),
                Err(ZkError::Ambiguous { .. }) if repeats < REPEATS => repeats += 1,
                Err(error) => return Err(error),
            }
            match self.settle(&op).await? {
                Settled::Applied(Some(stat)) => return Ok(stat),
                Settled::NotApplied => {}
                Settled::Applied(None) | Settled::Overtaken => {
                    return Err(ZkError::BadVersion { path: path.to_owned() });
                }
            }
        }
    }

    /// Sets a node's data whatever it was; creates it, and its parents, if it is missing.
    pub async fn set_or_create(&self, path: &str, data: impl Into<Vec<u8>>) -> Result<(), ZkError> {
        let data = data.into();
        let mut repeats = 0;
        loop {
            let result = match self.set(path, data.clone(), None).await {
                Err(ZkError::NoNode { .. }) => self.create_recursive(path, data.clone()).await,
                result => result.map(drop),
            };
            match result {
                // Deleted or created by somebody else in between, or an unknown outcome: the same
                // write again does no harm.
                Err(ZkError::NodeExists { .. } | ZkError::NoNode { .. } | ZkError::Ambiguous { .. })
                    if repeats < REPEATS =>
                {
                    repeats += 1;
                }
                result => return result,
            }
        }
    }

    pub async fn delete(&self, path: &str, version: Option<ZkVersion>) -> Result<(), ZkError> {
        self.write(Op::delete(path, version)).await.map(drop)
    }

    /// Deletes a node and all below it, children first, one by one. What is gone already, or goes
    /// meanwhile, is no error.
    pub async fn delete_recursive(&self, path: &str) -> Result<(), ZkError> {
        let mut repeats = 0;
        loop {
            let ops = self.subtree(path).await?.into_iter().map(|path| Op::delete(path, None)).collect();
            let mut again = false;
            for result in self.write_many(ops).await {
                match result {
                    Ok(_) | Err(ZkError::NoNode { .. }) => {}
                    // A child was added meanwhile, or an unknown outcome.
                    Err(ZkError::NotEmpty { .. } | ZkError::Ambiguous { .. }) if repeats < REPEATS => {
                        again = true;
                    }
                    Err(error) => return Err(error),
                }
            }
            if !again {
                return Ok(());
            }
            repeats += 1;
        }
    }

    /// A node's path and all below it, children before their parents.
    pub async fn subtree(&self, path: &str) -> Result<Vec<String>, ZkError> {
        let mut found = vec![path.to_owned()];
        let mut level = found.clone();
        while !level.is_empty() {
            let children = self.children_of_many(&level).await?;
            level = level
                .iter()
                .zip(children)
                .flat_map(|(parent, names)| {
                    let parent = parent.trim_end_matches('/');
                    names.into_iter().flatten().map(move |name| format!("{parent}/{name}"))
                })
                .collect();
            found.extend(level.iter().cloned());
        }
        found.reverse();
        Ok(found)
    }

    /// One write.
    pub async fn write(&self, op: Op) -> Result<OpResult, ZkError> {
        let path = op.path().to_owned();
        self.write_many(vec![op]).await.pop().unwrap_or_else(|| Err(odd_answer("write", &path)))
    }

    /// Many writes, each by itself, sent in this order without waiting in between. The results are
    /// in the same order.
    pub async fn write_many(&self, ops: Vec<Op>) -> Vec<Result<OpResult, ZkError>> {
        let outcomes = self.shared.pipeline(&ops, send_one).await;
        ops.iter()
            .zip(outcomes)
            .map(|(op, outcome)| match outcome {
                Outcome::Answered(Ok(result)) => Ok(result),
                Outcome::Answered(Err(failure)) => Err(failure.of_write(op.name(), op.path())),
                Outcome::Unsent(error) => Err(error),
                Outcome::Silent { waited } => Err(silent(op, waited)),
            })
            .collect()
    }

    /// Several writes, all or none.
    pub async fn multi(&self, ops: Vec<Op>) -> Result<Vec<OpResult>, MultiError> {
        self.multi_many(vec![ops]).await.pop().unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Several multis, sent in this order without waiting in between.
    pub async fn multi_many(&self, multis: Vec<Vec<Op>>) -> Vec<Result<Vec<OpResult>, MultiError>> {
        let multis: Vec<Multi> = multis.into_iter().map(Multi).collect();
        let outcomes = self.shared.pipeline(&multis, send_multi_of).await;
        multis
            .iter()
            .zip(outcomes)
            .map(|(Multi(ops), outcome)| {
                let as_a_whole = |error| MultiError { index: None, error };
                match outcome {
                    Outcome::Answered(Ok(results)) => Ok(results),
                    Outcome::Answered(Err((index, failure))) => {
                        let op = ops.get(index.unwrap_or(0));
                        let (name, path) = op.map_or(("multi", ""), |op| (op.name(), op.path()));
                        Err(MultiError { index, error: failure.of_write(name, path) })
                    }
                    Outcome::Unsent(error) => Err(as_a_whole(error)),
                    Outcome::Silent { waited } => Err(as_a_whole(
                        ops.first().map_or(self.shared.unavailable(waited), |op| silent(op, waited)),
                    )),
                }
            })
            .collect()
    }

    /// One write of the controller: done only if `/controller_epoch` still has the data version of
    /// its own election, else [`ZkError::Fenced`].
    pub async fn fenced(&self, op: Op, epoch_version: ZkVersion) -> Result<OpResult, ZkError> {
        let path = op.path().to_owned();
        let mut results = self.fenced_many(vec![op], epoch_version).await;
        results.pop().unwrap_or_else(|| Err(odd_answer("write", &path)))
    }

    /// Many writes of the controller, each fenced and done by itself, sent in this order without
    /// waiting in between.
    pub async fn fenced_many(
        &self,
        ops: Vec<Op>,
        epoch_version: ZkVersion,
    ) -> Vec<Result<OpResult, ZkError>> {
        let multis = ops.into_iter().map(|op| vec![op]).collect();
        let results = self.fenced_batches(multis, epoch_version).await;
        results
            .into_iter()
            .map(|result| match result {
                Ok(mut results) => results.pop().ok_or_else(|| odd_answer("write", controller::EPOCH_PATH)),
                Err(failed) => Err(failed.error),
            })
            .collect()
    }

    /// Several writes of the controller, all or none, fenced. An index in the error counts the
    /// given operations; [`ZkError::Fenced`] has none.
    pub async fn fenced_batch(
        &self,
        ops: Vec<Op>,
        epoch_version: ZkVersion,
    ) -> Result<Vec<OpResult>, MultiError> {
        self.fenced_batches(vec![ops], epoch_version).await.pop().unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Several fenced multis, sent in this order without waiting in between.
    pub async fn fenced_batches(
        &self,
        batches: Vec<Vec<Op>>,
        epoch_version: ZkVersion,
    ) -> Vec<Result<Vec<OpResult>, MultiError>> {
        let check = Op::check(controller::EPOCH_PATH, epoch_version);
        let multis =
            batches.into_iter().map(|ops| std::iter::once(check.clone()).chain(ops).collect()).collect();
        let results = self.multi_many(multis).await;
        results
            .into_iter()
            .map(|result| match result {
                Ok(results) => Ok(results.into_iter().skip(1).collect()),
                Err(MultiError {
                    index: Some(0),
                    error: ZkError::BadVersion { .. } | ZkError::NoNode { .. },
                }) => Err(MultiError { index: None, error: ZkError::Fenced { expected: epoch_version } }),
                Err(MultiError { index, error }) => {
                    Err(MultiError { index: index.and_then(|index| index.checked_sub(1)), error })
                }
            })
            .collect()
    }

    /// What became of a write with an unknown outcome: reads the node and compares.
    pub async fn settle(&self, op: &Op) -> Result<Settled, ZkError> {
        let now: Option<Node> = self.get_if_exists(op.path()).await?;
        Ok(op.settled_by(now.as_ref(), self.id()))
    }
}

fn parent(path: &str) -> Option<&str> {
    match path.rsplit_once('/') {
        Some(("", _)) | None => None,
        Some((parent, _)) => Some(parent),
    }
}

fn silent(op: &Op, waited: std::time::Duration) -> ZkError {
    let cause = format!("no answer within {} ms", waited.as_millis());
    ZkError::Ambiguous { operation: op.name(), path: op.path().to_owned(), cause }
}

fn odd_answer(operation: &'static str, path: &str) -> ZkError {
    let reason = String::from("the answer does not fit the request");
    ZkError::Refused { operation, path: path.to_owned(), reason }
}

fn options(mode: CreateMode) -> CreateOptions<'static> {
    let mode = match mode {
        CreateMode::Persistent => zookeeper_client::CreateMode::Persistent,
        CreateMode::PersistentSequential => zookeeper_client::CreateMode::PersistentSequential,
        CreateMode::Ephemeral => zookeeper_client::CreateMode::Ephemeral,
        CreateMode::EphemeralSequential => zookeeper_client::CreateMode::EphemeralSequential,
    };
    mode.with_acls(Acls::anyone_all())
}

fn is_sequential(mode: CreateMode) -> bool {
    matches!(mode, CreateMode::PersistentSequential | CreateMode::EphemeralSequential)
}

fn send_one<'a>(attachment: &'a Attachment, op: &'a Op) -> BoxFuture<'a, Result<OpResult, Failure>> {
    let client = &attachment.client;
    if let Err(error) = guard_size(std::slice::from_ref(op), client.path().len(), op.name()) {
        return ready(Err(Failure::Answer(error))).boxed();
    }
    let failed = |error| Failure::of(error, op.name(), op.path());
    match op {
        Op::Check { .. } => send_multi(attachment, std::slice::from_ref(op))
            .map(|result| match result {
                Ok(_) => Ok(OpResult::Checked),
                Err((_, failure)) => Err(failure),
            })
            .boxed(),
        Op::Create { path, data, mode } => {
            let answer = client.create(path, data, &options(*mode));
            async move {
                let (_, sequence) = answer.await.map_err(failed)?;
                let path = if is_sequential(*mode) { format!("{path}{sequence}") } else { path.clone() };
                Ok(OpResult::Created { path })
            }
            .boxed()
        }
        Op::Set { path, data, version } => {
            let answer = client.set_data(path, data, version.map(|version| version.0));
            async move { Ok(OpResult::Set { stat: answer.await.map_err(failed)?.into() }) }.boxed()
        }
        Op::Delete { path, version } => {
            let answer = client.delete(path, version.map(|version| version.0));
            async move { answer.await.map(|()| OpResult::Deleted).map_err(failed) }.boxed()
        }
    }
}

type MultiFailure = (Option<usize>, Failure);

/// The writes of one multi.
struct Multi(Vec<Op>);

fn send_multi_of<'a>(
    attachment: &'a Attachment,
    multi: &'a Multi,
) -> BoxFuture<'a, Result<Vec<OpResult>, MultiFailure>> {
    send_multi(attachment, &multi.0)
}

fn send_multi<'a>(
    attachment: &'a Attachment,
    ops: &'a [Op],
) -> BoxFuture<'a, Result<Vec<OpResult>, MultiFailure>> {
    let client = &attachment.client;
    if let Err(error) = guard_size(ops, client.path().len(), "multi") {
        return ready(Err((None, Failure::Answer(error)))).boxed();
    }
    let mut writer = client.new_multi_writer();
    for (index, op) in ops.iter().enumerate() {
        let added = match op {
            Op::Check { path, version } => writer.add_check_version(path, version.0),
            Op::Create { path, data, mode } => writer.add_create(path, data, &options(*mode)),
            Op::Set { path, data, version } => {
                writer.add_set_data(path, data, version.map(|version| version.0))
            }
            Op::Delete { path, version } => writer.add_delete(path, version.map(|version| version.0)),
        };
        if let Err(error) = added {
            return ready(Err((Some(index), Failure::of(error, op.name(), op.path())))).boxed();
        }
    }
    let answer = writer.commit();
    async move {
        match answer.await {
            Ok(results) => Ok(results.into_iter().map(OpResult::from).collect()),
            Err(MultiWriteError::OperationFailed { index, source }) => {
                let (name, path) = ops.get(index).map_or(("multi", ""), |op| (op.name(), op.path()));
                Err((Some(index), Failure::of(source, name, path)))
            }
            Err(MultiWriteError::RequestFailed { source }) => {
                let path = ops.first().map_or("", Op::path);
                Err((None, Failure::of(source, "multi", path)))
            }
        }
    }
    .boxed()
}

impl From<MultiWriteResult> for OpResult {
    fn from(result: MultiWriteResult) -> OpResult {
        match result {
            MultiWriteResult::Create { path, .. } => OpResult::Created { path },
            MultiWriteResult::SetData { stat } => OpResult::Set { stat: stat.into() },
            MultiWriteResult::Delete => OpResult::Deleted,
            // The enum may grow; only checks are left of what we send.
            _ => OpResult::Checked,
        }
    }
}
