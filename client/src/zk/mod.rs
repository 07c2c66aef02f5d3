//! A session with ZooKeeper, and what Kafka's ZooKeeper mode does in one: registration of a
//! broker, election of the controller, writes fenced by the controller's epoch.
//!
//! This is the only place that names the crate `zookeeper_client`. It adds what the crate leaves
//! to its users:
//!
//! - **A bound on everything.** Operations in flight are limited, each has a deadline, and none
//!   queues while the connection is away longer than that.
//! - **Only the server ends a session.** A client that cannot reach ZooKeeper stays
//!   [`SessionState::Disconnected`], however long, and takes the same session up again with a fresh
//!   connection; [`SessionState::Expired`] is the server's word.
//! - **Unknown outcomes have a name.** A write whose answer got lost is [`ZkError::Ambiguous`];
//!   [`Session::settle`] reads back what became of it.
//! - **Watches wake, they do not inform.** A [`Watch`] completes at a change, and also when its
//!   connection is replaced ([`WatchEvent::Lost`]); in both cases the holder reads again, which arms
//!   the next one. Many watches go to a [`WatchPool`], whose sessions carry nothing else.
//!
//! ZooKeeper tells "no data" from "empty data"; the crate cannot. What is read as empty may be
//! either, and nodes that are created without data here have empty data, except for the chroot and
//! what [`Session::create_directories`] makes, which have none.

mod attachment;
mod bare;
mod config;
mod connect;
mod election;
mod error;
mod node;
mod op;
mod read;
mod registration;
mod removal;
mod session;
mod supervisor;
mod watch;
mod watch_pool;
mod write;

pub use config::{InvalidConnectString, ZkConfig};
pub use election::Election;
pub use error::{MultiError, ZkError};
pub use node::{Node, SessionId, Stat};
pub use op::{CreateMode, LARGEST_REQUEST, Op, OpResult, Settled, batches};
pub use registration::{RegisterError, Registered};
pub use removal::Marked;
pub use session::{Session, SessionState};
pub use watch::{Watch, WatchEvent};
pub use watch_pool::WatchPool;
