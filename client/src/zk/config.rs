//! How to reach ZooKeeper.

use std::time::Duration;

/// Settings of a [`Session`](super::Session).
#[derive(Debug, Clone)]
pub struct ZkConfig {
    /// `zookeeper.connect`: `host:port,host:port/chroot`.
    pub connect: String,
    /// `zookeeper.session.timeout.ms`: how long the server waits before it ends a session that it
    /// does not hear from. The server may settle on another value.
    pub session_timeout: Duration,
    /// `zookeeper.connection.timeout.ms`: how long [`Session::connect`](super::Session::connect)
    /// tries.
    pub connection_timeout: Duration,
    /// How long one operation may take, with the wait for a connection in it.
    pub operation_timeout: Duration,
    /// `zookeeper.max.in.flight.requests`: operations sent and not answered yet.
    pub max_in_flight: usize,
}

impl ZkConfig {
    /// Kafka's defaults for everything but the address.
    pub fn new(connect: impl Into<String>) -> ZkConfig {
        ZkConfig {
            connect: connect.into(),
            session_timeout: Duration::from_millis(18_000),
            connection_timeout: Duration::from_millis(18_000),
            operation_timeout: Duration::from_millis(18_000),
            max_in_flight: 10,
        }
    }

    /// The same, with one timeout for session, connecting and operations.
    pub fn with_timeout(self, timeout: Duration) -> ZkConfig {
        ZkConfig { session_timeout: timeout, connection_timeout: timeout, operation_timeout: timeout, ..self }
    }

    /// How long a connection may be silent before it is given up: a sixth of the session, so that
    /// several hosts can be tried before the server ends it, but no less than a second, which a
    /// busy machine may need to answer, unless the session is very short.
    pub(super) fn silence_timeout(&self) -> Duration {
        (self.session_timeout / 6).max(Duration::from_secs(1)).min(self.session_timeout * 2 / 5)
    }
}

/// `zookeeper.connect` is not a list of hosts with an optional chroot behind it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("zookeeper.connect is '{connect}', but {problem}; it should be like host1:2181,host2:2181/chroot")]
pub struct InvalidConnectString {
    pub connect: String,
    pub problem: &'static str,
}

/// `(hosts, chroot)`; the chroot begins with `/`, and is empty if there is none.
pub(super) fn split_chroot(connect: &str) -> Result<(&str, &str), InvalidConnectString> {
    let invalid = |problem| InvalidConnectString { connect: connect.to_owned(), problem };
    let (hosts, chroot) = match connect.find('/') {
        Some(slash) => connect.split_at_checked(slash).unwrap_or((connect, "")),
        None => (connect, ""),
    };
    let hosts = hosts.trim();
    if hosts.is_empty() || hosts.split(',').any(|host| host.trim().is_empty()) {
        return Err(invalid("a host's name is missing"));
    }
    if chroot.contains(',') {
        return Err(invalid("a chroot may only follow the last host"));
    }
    match chroot {
        "" | "/" => Ok((hosts, "")),
        path if path.ends_with('/') || path.contains("//") => {
            Err(invalid("the chroot has an empty name in it"))
        }
        path => Ok((hosts, path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chroot_is_what_follows_the_hosts() {
        assert_eq!(split_chroot("h"), Ok(("h", "")));
        assert_eq!(split_chroot("h:1,g:2"), Ok(("h:1,g:2", "")));
        assert_eq!(split_chroot("h:1,g:2/"), Ok(("h:1,g:2", "")));
        assert_eq!(split_chroot("h:1,g:2/a/b"), Ok(("h:1,g:2", "/a/b")));
        let problem = |connect| split_chroot(connect).unwrap_err().problem;
        assert_eq!(problem(""), "a host's name is missing");
        assert_eq!(problem("h,,g"), "a host's name is missing");
        assert_eq!(problem("h/a,g/a"), "a chroot may only follow the last host");
        assert_eq!(problem("h/a/"), "the chroot has an empty name in it");
        assert_eq!(problem("h//a"), "the chroot has an empty name in it");
    }

    #[test]
    fn silence_is_a_part_of_the_session() {
        let of = |millis| {
            ZkConfig::new("h").with_timeout(Duration::from_millis(millis)).silence_timeout().as_millis()
        };
        assert_eq!((of(18_000), of(4_000), of(2_000)), (3_000, 1_000, 800));
    }
}
