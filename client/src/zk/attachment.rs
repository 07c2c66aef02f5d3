//! One connection's client, with the means to end it for good.
//!
//! The crate's client runs as a task that reconnects by itself, with a pause that doubles without
//! a bound, and takes the session back from a newer client when it succeeds. To replace it, its
//! task must be gone. The crate starts the task through a spawner of ours, which gives us its
//! handle.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::FutureExt;
use spawns_core::{Spawn, Task};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zookeeper_client::{Client, Error, SessionInfo};

use super::config::ZkConfig;

/// Open as long as the client's task runs.
#[derive(Debug)]
pub(super) struct Gate {
    open: RwLock<bool>,
    closed: watch::Sender<bool>,
}

impl Gate {
    fn new() -> Arc<Gate> {
        Arc::new(Gate { open: RwLock::new(true), closed: watch::Sender::new(false) })
    }

    /// Runs `poll` unless the gate is closed; it does not close meanwhile.
    pub(super) fn while_open<T>(&self, poll: impl FnOnce() -> T) -> Option<T> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.then(poll)
    }

    pub(super) fn is_open(&self) -> bool {
        *self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn closed(self: Arc<Gate>) {
        let mut closed = self.closed.subscribe();
        // An error would mean that the sender is gone, which `self` holds.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = false;
        self.closed.send_replace(true);
    }
}

/// A client attached to the session.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) client: Client,
    pub(super) gate: Arc<Gate>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Whether the session outlives the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attach {
    /// It does: another client will take the session up.
    Detached,
    /// The session is closed with the client.
    Closing,
}

impl Attachment {
    /// Tries each host once. `session`: the one to take up again, or a new one.
    pub(super) async fn connect(
        config: &ZkConfig,
        connect: &str,
        session: Option<SessionInfo>,
        attach: Attach,
    ) -> Result<Attachment, Error> {
        let mut connector = Client::connector()
            .with_session_timeout(config.session_timeout)
            .with_connection_timeout(config.silence_timeout())
            .with_fail_eagerly();
        if attach == Attach::Detached {
            connector = connector.with_detached();
        }
        if let Some(session) = session {
            connector = connector.with_session(session);
        }
        let spawner = Captured::default();
        let mut connecting = pin!(connector.connect(connect));
        let client = poll_fn(|cx| {
            let _scope = spawns_core::enter(&spawner);
            connecting.as_mut().poll(cx)
        })
        .await?;
        let gate = Gate::new();
        let task = spawner.take().map(|task| tokio::spawn(run(task, Arc::clone(&gate))));
        Ok(Attachment { client, gate, task: Mutex::new(task) })
    }

    /// Cuts the connection and ends every watch on it. What was in flight is answered as lost.
    pub(super) fn kill(&self) {
        self.gate.close();
        if let Some(task) = self.take_task() {
            task.abort();
        }
    }

    /// Lets go of the client, and waits until it has closed the session.
    pub(super) async fn close(self, patience: Duration) -> bool {
        let task = self.take_task();
        drop(self.client);
        match task {
            Some(task) => tokio::time::timeout(patience, task).await.is_ok(),
            None => true,
        }
    }

    fn take_task(&self) -> Option<JoinHandle<()>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Runs the client's task to its end; the gate closes before anything in the task is dropped.
async fn run(task: Task, gate: Arc<Gate>) {
    let mut serving = Box::into_pin(task.future);
    let ended = AssertUnwindSafe(&mut serving).catch_unwind().await;
    gate.close();
    if ended.is_err() {
        tracing::error!("the ZooKeeper client's task panicked; its connection is replaced");
    }
}

/// Keeps the one task that connecting spawns.
#[derive(Default)]
struct Captured {
    task: Mutex<Option<Task>>,
}

impl Captured {
    fn take(&self) -> Option<Task> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Spawn for Captured {
    fn spawn(&self, task: Task) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }
}
