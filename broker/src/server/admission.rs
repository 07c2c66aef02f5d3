//! How many connections there may be: of the whole server, and from one address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ServerOptions;

#[derive(Debug, Clone)]
pub(super) struct Admission {
    slots: Arc<Semaphore>,
    per_ip: Arc<PerIp>,
}

#[derive(Debug)]
struct PerIp {
    limit: usize,
    overrides: BTreeMap<IpAddr, usize>,
    counts: Mutex<BTreeMap<IpAddr, usize>>,
}

/// The right to one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    _slot: Option<OwnedSemaphorePermit>,
    _address: AddressSlot,
}

#[derive(Debug)]
struct AddressSlot {
    ip: IpAddr,
    per_ip: Arc<PerIp>,
}

impl Admission {
    pub(super) fn new(options: &ServerOptions) -> Admission {
        let per_ip = PerIp {
            limit: options.max_connections_per_ip,
            overrides: options
                .max_connections_per_ip_overrides
                .iter()
                .map(|(ip, limit)| (ip.to_canonical(), *limit))
                .collect(),
            counts: Mutex::new(BTreeMap::new()),
        };
        Admission {
            slots: Arc::new(Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS))),
            per_ip: Arc::new(per_ip),
        }
    }

    /// Waits until the server has room for one more connection.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed, so this always yields a permit.
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    /// Admits a connection from `ip`; the limit it would pass otherwise.
    pub(super) fn admit(&self, slot: Option<OwnedSemaphorePermit>, ip: IpAddr) -> Result<Admitted, usize> {
        let ip = ip.to_canonical();
        let limit = self.per_ip.overrides.get(&ip).copied().unwrap_or(self.per_ip.limit);
        let mut counts = self.per_ip.lock();
        let count = counts.entry(ip).or_insert(0);
        if *count >= limit {
            if *count == 0 {
                counts.remove(&ip);
            }
            return Err(limit);
        }
        *count += 1;
        drop(counts);
        Ok(Admitted { _slot: slot, _address: AddressSlot { ip, per_ip: Arc::clone(&self.per_ip) } })
    }
}

impl PerIp {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let mut counts = self.per_ip.lock();
        if let Some(count) = counts.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_held_to_its_limit_and_gets_its_slots_back() {
        let own: IpAddr = "10.0.0.7".parse().expect("an address");
        let other: IpAddr = "10.0.0.8".parse().expect("an address");
        let barred: IpAddr = "10.0.0.9".parse().expect("an address");
        let mapped: IpAddr = "::ffff:10.0.0.7".parse().expect("an address");
        let options = ServerOptions {
            max_connections_per_ip: 1,
            max_connections_per_ip_overrides: BTreeMap::from([(own, 2), (barred, 0)]),
            ..ServerOptions::default()
        };
        let admission = Admission::new(&options);
        let first = admission.admit(None, own).expect("the first");
        let _second = admission.admit(None, mapped).expect("the second, by the same address written as IPv6");
        assert_eq!(admission.admit(None, own).err(), Some(2));
        let _other = admission.admit(None, other).expect("another address");
        assert_eq!(admission.admit(None, other).err(), Some(1));
        assert_eq!(admission.admit(None, barred).err(), Some(0));
        drop(first);
        let _third = admission.admit(None, own).expect("the first one's place");
        assert_eq!(*admission.per_ip.lock(), BTreeMap::from([(own, 2), (other, 1)]));
    }
}
