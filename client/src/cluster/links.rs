//! Where the brokers are, and the connections to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OnceCell, watch};
use tokio::time::{Instant, sleep_until};

use super::{BrokerInfo, ClusterError, ClusterOptions};
use crate::connection::{Connection, ConnectionError};
use crate::ids::BrokerId;

/// A failure counts for so long after the next attempt may be made, which nobody need make.
const RECENT: Duration = Duration::from_secs(1);

/// The brokers as last learned, and one shared connection to each that was asked for.
#[derive(Debug)]
pub(super) struct Links {
    brokers: watch::Sender<Arc<BTreeMap<BrokerId, BrokerInfo>>>,
    /// Addresses to begin with, and to fall back on. Empty where ZooKeeper tells.
    first: Vec<Arc<str>>,
    slots: Mutex<BTreeMap<Arc<str>, Arc<Slot>>>,
    /// A broker was not where it should be.
    pub(super) doubted: Notify,
    /// Who answered the last question that any broker can answer.
    answered: Mutex<Option<Arc<str>>>,
}

/// One address, and the connection to it once there is one.
#[derive(Debug, Default)]
struct Slot {
    connection: OnceCell<Connection>,
    /// Failures in a row, and when the next attempt may be made.
    failures: u32,
    not_before: Option<Instant>,
}

impl Links {
    pub(super) fn new(first: Vec<Arc<str>>) -> Links {
        Links {
            brokers: watch::Sender::new(Arc::default()),
            first,
            slots: Mutex::default(),
            doubted: Notify::new(),
            answered: Mutex::default(),
        }
    }

    pub(super) fn brokers(&self) -> watch::Receiver<Arc<BTreeMap<BrokerId, BrokerInfo>>> {
        self.brokers.subscribe()
    }

    /// Takes the brokers that there are now. Connections to addresses where none is any more are let go.
    pub(super) fn learn(&self, brokers: BTreeMap<BrokerId, BrokerInfo>) {
        self.slots().retain(|address, _| {
            self.first.contains(address) || brokers.values().any(|broker| broker.address == *address)
        });
        self.brokers.send_if_modified(|known| {
            let changed = **known != brokers;
            if changed {
                *known = Arc::new(brokers);
            }
            changed
        });
    }

    /// Takes a broker that was not known so far.
    pub(super) fn hear_of(&self, broker: BrokerId, told: BrokerInfo) {
        self.brokers.send_if_modified(|known| {
            let is_news = !known.contains_key(&broker);
            if is_news {
                Arc::make_mut(known).insert(broker, told);
            }
            is_news
        });
    }

    /// Whether a broker could not be reached just now.
    pub(super) fn is_out_of_reach(&self, broker: BrokerId) -> bool {
        let address = self.brokers.borrow().get(&broker).map(|found| found.address.clone());
        let slots = self.slots();
        let slot = address.and_then(|address| slots.get(&address));
        slot.is_some_and(|slot| {
            slot.connection.get().is_none() && slot.not_before.is_some_and(|at| at.elapsed() < RECENT)
        })
    }

    /// The shared connection to a broker, which has told its versions.
    pub(super) async fn to(
        &self,
        broker: BrokerId,
        options: &ClusterOptions,
    ) -> Result<Connection, ClusterError> {
        let address = self.address(broker)?;
        let opened = self.shared(&address, options).await;
        Ok(opened.inspect_err(|_| self.doubted.notify_one())?)
    }

    /// A connection of the caller's own.
    pub(super) async fn own(
        &self,
        broker: BrokerId,
        options: &ClusterOptions,
    ) -> Result<Connection, ClusterError> {
        let address = self.address(broker)?;
        let opened = open(address, options).await;
        Ok(opened.inspect_err(|_| self.doubted.notify_one())?)
    }

    /// Where the known brokers are, and the other addresses to begin with.
    pub(super) fn addresses(&self) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let known: Vec<Arc<str>> =
            self.brokers.borrow().values().map(|broker| broker.address.clone()).collect();
        let first = self.first.iter().filter(|address| !known.contains(address)).cloned().collect();
        (known, first)
    }

    pub(super) fn last_answered(&self) -> Option<Arc<str>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note_answered(&self, address: Arc<str>) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    /// The shared connection to an address, if there is one.
    pub(super) fn open(&self, address: &str) -> Option<Connection> {
        let slots = self.slots();
        let connection = slots.get(address)?.connection.get()?;
        (!connection.is_closed()).then(|| connection.clone())
    }

    fn address(&self, broker: BrokerId) -> Result<Arc<str>, ClusterError> {
        let address = self.brokers.borrow().get(&broker).map(|found| found.address.clone());
        address.ok_or_else(|| {
            self.doubted.notify_one();
            ClusterError::UnknownBroker { broker }
        })
    }

    /// Those who ask at the same time share one attempt.
    pub(super) async fn shared(
        &self,
        address: &Arc<str>,
        options: &ClusterOptions,
    ) -> Result<Connection, ConnectionError> {
        let slot = self.usable_slot(address);
        let attempt = async {
            if let Some(not_before) = slot.not_before {
                sleep_until(not_before).await;
            }
            open(address.clone(), options).await
        };
        let opened = slot.connection.get_or_try_init(|| attempt).await;
        let connection = opened.inspect_err(|_| self.failed(address, &slot, options))?;
        Ok(connection.clone())
    }

    /// The slot of an address, a new one if its connection has ended.
    fn usable_slot(&self, address: &Arc<str>) -> Arc<Slot> {
        let mut slots = self.slots();
        let slot = slots.entry(address.clone()).or_default();
        if slot.connection.get().is_some_and(Connection::is_closed) {
            *slot = Arc::default();
        }
        slot.clone()
    }

    /// The next attempt waits, longer each time.
    fn failed(&self, address: &Arc<str>, slot: &Arc<Slot>, options: &ClusterOptions) {
        let mut slots = self.slots();
        let Some(current) = slots.get_mut(address).filter(|current| Arc::ptr_eq(current, slot)) else {
            return;
        };
        let failures = slot.failures.saturating_add(1);
        let pause: Duration = options.reconnect_backoff.pause(failures, rand::random());
        let not_before = Some(Instant::now() + pause);
        *current = Arc::new(Slot { connection: OnceCell::new(), failures, not_before });
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Slot>>> {
        // Nothing panics while it holds the lock; were it so, the map is still whole.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open(address: Arc<str>, options: &ClusterOptions) -> Result<Connection, ConnectionError> {
    let connection =
        Connection::connect(address, options.client_id.clone(), options.connection.clone()).await?;
    connection.negotiate().await?;
    Ok(connection)
}
