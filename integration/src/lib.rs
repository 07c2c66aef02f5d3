//! A harness that runs real brokers, a real ZooKeeper and foreign clients as processes on loopback.
//! It never uses the broker's code to judge the broker.

pub mod apache;
pub mod apache_cluster;
pub mod bench;
pub mod chaos;
pub mod checker;
pub mod cluster;
pub mod commits;
pub mod ensemble;
pub mod foreign;
pub mod gaps;
pub mod hostility;
pub mod load;
pub mod member;
pub mod observer;
pub mod ownership;
pub mod percentile;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod python;
pub mod runtime;
pub mod servers;
pub mod sim;
pub mod stock_tool;
pub mod transcript;
pub mod verifiable;
pub mod wait;
pub mod zookeeper;
