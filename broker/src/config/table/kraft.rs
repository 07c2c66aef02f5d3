//! KRaft, which a cluster on ZooKeeper has no use for.

use crate::config::definition::{Definition, boolean, int, list, long, string};
use crate::config::refusal::KRAFT;

pub(super) const TABLE: &[Definition] = &[
    list("process.roles")
        .or("")
        .each_of(&["broker", "controller"])
        .refused(&KRAFT, "Roles of a KRaft node; empty for a cluster on ZooKeeper."),
    string("controller.listener.names").refused(&KRAFT, "Listeners of a KRaft controller."),
    list("controller.quorum.bootstrap.servers").or("").refused(&KRAFT, "Addresses of the KRaft quorum."),
    list("controller.quorum.voters").or("").refused(&KRAFT, "Voters of the KRaft quorum."),
    int("controller.quorum.append.linger.ms").or("25").accepted("Batching in the KRaft quorum."),
    int("controller.quorum.election.backoff.max.ms")
        .or("1000")
        .accepted("Election pause in the KRaft quorum."),
    int("controller.quorum.election.timeout.ms").or("1000").accepted("Election timeout in the KRaft quorum."),
    int("controller.quorum.fetch.timeout.ms").or("2000").accepted("Fetch timeout in the KRaft quorum."),
    int("controller.quorum.request.timeout.ms").or("2000").accepted("Request timeout in the KRaft quorum."),
    int("controller.quorum.retry.backoff.ms").or("20").accepted("Retry pause in the KRaft quorum."),
    int("broker.heartbeat.interval.ms").or("2000").accepted("Heartbeat of a KRaft broker."),
    int("broker.session.timeout.ms").or("9000").accepted("Session of a KRaft broker."),
    int("initial.broker.registration.timeout.ms")
        .or("60000")
        .accepted("Registration timeout of a KRaft broker."),
    string("metadata.log.dir").accepted("Folder of the KRaft metadata log."),
    long("metadata.log.max.record.bytes.between.snapshots")
        .or("20971520")
        .at_least(1)
        .accepted("Bytes between snapshots of the KRaft metadata log."),
    long("metadata.log.max.snapshot.interval.ms")
        .or("3600000")
        .at_least(0)
        .accepted("Time between snapshots of the KRaft metadata log."),
    int("metadata.log.segment.bytes")
        .or("1073741824")
        .at_least(12)
        .accepted("Segment size of the KRaft metadata log."),
    int("metadata.log.segment.min.bytes")
        .or("8388608")
        .at_least(12)
        .internal()
        .accepted("Least segment size of the KRaft metadata log."),
    long("metadata.log.segment.ms").or("604800000").accepted("Segment age of the KRaft metadata log."),
    int("metadata.max.idle.interval.ms")
        .or("500")
        .at_least(0)
        .accepted("Idle records of the KRaft metadata log."),
    long("metadata.max.retention.bytes")
        .or("104857600")
        .accepted("Retention by size of the KRaft metadata log."),
    long("metadata.max.retention.ms").or("604800000").accepted("Retention by age of the KRaft metadata log."),
    long("server.max.startup.time.ms")
        .or("9223372036854775807")
        .at_least(0)
        .internal()
        .accepted("Longest start of a KRaft node."),
    boolean("unstable.api.versions.enable")
        .or("false")
        .internal()
        .refused(&KRAFT, "Whether unfinished API versions are on offer."),
    boolean("unstable.feature.versions.enable")
        .or("false")
        .internal()
        .refused(&KRAFT, "Whether unfinished feature versions are on offer."),
];
