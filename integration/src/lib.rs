//! A harness that runs real brokers, real ZooKeeper and real clients.
