//! Tests with real processes.

mod admin;
mod assignors;
mod classic_consumer;
mod clients;
mod closest_replica;
mod compaction_interop;
mod controller;
mod discovery;
mod dynamic_config;
mod examples;
mod groups_tool;
mod idempotence;
mod kill;
mod log_interop;
mod offsets_api;
mod offsets_store;
mod producer;
mod replay;
mod replicas;
mod sessions;
mod tidy;
mod topics_interop;
mod topics_ours;
mod topics_tool;
mod zk;
mod znodes;
