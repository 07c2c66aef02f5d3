//! Tiered storage.

use crate::config::definition::{Definition, boolean, double, int, long, string};
use crate::config::refusal::TIERED_STORAGE;

pub(super) const TABLE: &[Definition] = &[
    boolean("remote.log.storage.system.enable")
        .or("false")
        .refused(&TIERED_STORAGE, "Whether tiered storage is on."),
    int("remote.fetch.max.wait.ms")
        .or("500")
        .at_least(1)
        .cluster_wide()
        .accepted("How long a fetch from tiered storage may take."),
    long("remote.log.index.file.cache.total.size.bytes")
        .or("1073741824")
        .at_least(1)
        .cluster_wide()
        .accepted("Disk space for indexes of tiered segments."),
    int("remote.log.manager.copier.thread.pool.size")
        .or("-1")
        .at_least(-1)
        .accepted("Threads that copy segments to tiered storage."),
    long("remote.log.manager.copy.max.bytes.per.second")
        .or("9223372036854775807")
        .at_least(1)
        .cluster_wide()
        .accepted("Bandwidth to tiered storage."),
    int("remote.log.manager.copy.quota.window.num")
        .or("11")
        .at_least(1)
        .accepted("Samples kept of the bandwidth to tiered storage."),
    int("remote.log.manager.copy.quota.window.size.seconds")
        .or("1")
        .at_least(1)
        .accepted("Length of one sample of the bandwidth to tiered storage."),
    int("remote.log.manager.expiration.thread.pool.size")
        .or("-1")
        .at_least(-1)
        .accepted("Threads that delete from tiered storage."),
    long("remote.log.manager.fetch.max.bytes.per.second")
        .or("9223372036854775807")
        .at_least(1)
        .cluster_wide()
        .accepted("Bandwidth from tiered storage."),
    int("remote.log.manager.fetch.quota.window.num")
        .or("11")
        .at_least(1)
        .accepted("Samples kept of the bandwidth from tiered storage."),
    int("remote.log.manager.fetch.quota.window.size.seconds")
        .or("1")
        .at_least(1)
        .accepted("Length of one sample of the bandwidth from tiered storage."),
    long("remote.log.manager.task.interval.ms")
        .or("30000")
        .at_least(1)
        .accepted("How often tiered storage work is looked for."),
    long("remote.log.manager.task.retry.backoff.max.ms")
        .or("30000")
        .at_least(1)
        .internal()
        .accepted("Longest pause before tiered storage work is tried again."),
    long("remote.log.manager.task.retry.backoff.ms")
        .or("500")
        .at_least(1)
        .internal()
        .accepted("First pause before tiered storage work is tried again."),
    double("remote.log.manager.task.retry.jitter")
        .or("0.2")
        .fraction(0.0, 0.5)
        .internal()
        .accepted("Random part of the pause before tiered storage work is tried again."),
    int("remote.log.manager.thread.pool.size")
        .or("10")
        .at_least(1)
        .accepted("Threads of tiered storage work."),
    int("remote.log.metadata.custom.metadata.max.bytes")
        .or("128")
        .at_least(0)
        .accepted("Longest custom metadata of a tiered segment."),
    string("remote.log.metadata.manager.class.name")
        .or("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager")
        .non_empty()
        .accepted("Java class that remembers what is in tiered storage."),
    string("remote.log.metadata.manager.class.path")
        .accepted("Where to find the Java class that remembers what is in tiered storage."),
    string("remote.log.metadata.manager.impl.prefix")
        .or("rlmm.config.")
        .non_empty()
        .accepted("Prefix of the settings of the class that remembers what is in tiered storage."),
    string("remote.log.metadata.manager.listener.name")
        .non_empty()
        .accepted("Listener used by the class that remembers what is in tiered storage."),
    int("remote.log.reader.max.pending.tasks")
        .or("100")
        .at_least(1)
        .accepted("Queued reads from tiered storage."),
    int("remote.log.reader.threads").or("10").at_least(1).accepted("Threads that read from tiered storage."),
    string("remote.log.storage.manager.class.name")
        .non_empty()
        .accepted("Java class that reaches tiered storage."),
    string("remote.log.storage.manager.class.path")
        .accepted("Where to find the Java class that reaches tiered storage."),
    string("remote.log.storage.manager.impl.prefix")
        .or("rsm.config.")
        .non_empty()
        .accepted("Prefix of the settings of the class that reaches tiered storage."),
];
