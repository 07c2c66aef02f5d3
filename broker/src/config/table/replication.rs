//! Replication, leadership and shutdown.

use crate::config::definition::{Definition, boolean, int, long, string};
use crate::config::refusal::KRAFT;
use crate::config::{LEADER_SELECTOR, RACK_AWARE_SELECTOR};

pub(super) const TABLE: &[Definition] = &[
    int("default.replication.factor").or("1").kept("Replicas of a topic created without saying how many."),
    int("min.insync.replicas").or("1").at_least(1).cluster_wide().kept("In-sync replicas that must have a write before it is acknowledged with acks=all."),
    long("replica.lag.time.max.ms").or("30000").kept("A follower that has not caught up for so long leaves the in-sync set."),
    int("replica.socket.timeout.ms").or("30000").kept("How long a follower waits for its leader's answer."),
    int("replica.socket.receive.buffer.bytes").or("65536").accepted("SO_RCVBUF of a follower's connection; the system's choice is used."),
    int("replica.fetch.max.bytes").or("1048576").at_least(0).kept("Bytes a follower asks for per partition."),
    int("replica.fetch.response.max.bytes").or("10485760").at_least(0).kept("Bytes a follower asks for per request."),
    int("replica.fetch.wait.max.ms").or("500").kept("How long the leader may hold a follower's request for want of data."),
    int("replica.fetch.min.bytes").or("1").kept("Bytes a follower's request waits for."),
    int("replica.fetch.backoff.ms").or("1000").at_least(0).kept("Pause of a follower after a failed fetch."),
    int("num.replica.fetchers").or("1").cluster_wide().kept("Tasks that fetch from each leader broker."),
    long("replica.high.watermark.checkpoint.interval.ms").or("5000").kept("How often high watermarks are written to disk."),
    int("fetch.purgatory.purge.interval.requests").or("1000").accepted("Cleaning of parked fetches, which leave nothing behind here."),
    int("producer.purgatory.purge.interval.requests").or("1000").accepted("Cleaning of parked produce requests, which leave nothing behind here."),
    int("delete.records.purgatory.purge.interval.requests").or("1").accepted("Cleaning of parked record deletions, which leave nothing behind here."),
    boolean("auto.leader.rebalance.enable").or("true").kept("Whether the controller moves leadership back to preferred replicas."),
    int("leader.imbalance.per.broker.percentage").or("10").kept("Share of a broker's leaderships that may be elsewhere before they are moved back."),
    long("leader.imbalance.check.interval.seconds").or("300").at_least(1).kept("How often the controller looks at the balance of leaders."),
    boolean("unclean.leader.election.enable").or("false").cluster_wide().kept("Whether a replica outside the in-sync set may lead when no other is left, at the price of lost records."),
    long("unclean.leader.election.interval.ms").or("300000").at_least(1).internal().accepted("Interval of a KRaft controller's check."),
    string("replica.selector.class").one_of(&["", LEADER_SELECTOR, RACK_AWARE_SELECTOR]).kept("Who chooses the replica a consumer reads from: one of Kafka's own two classes."),
    boolean("controlled.shutdown.enable").or("true").kept("Whether leaderships are moved away before the broker stops."),
    int("controlled.shutdown.max.retries").or("3").kept("Tries of a controlled shutdown."),
    long("controlled.shutdown.retry.backoff.ms").or("5000").kept("Pause between tries of a controlled shutdown."),
    int("num.replica.alter.log.dirs.threads").accepted("Threads that move replicas between folders."),
    boolean("eligible.leader.replicas.enable").or("false").refused(&KRAFT, "Eligible leader replicas (KIP-966)."),
];
