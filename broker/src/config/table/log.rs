//! The log: segments, retention, flushing, compaction.

use crate::config::definition::{Definition, boolean, double, int, list, long, string};

pub(super) const TABLE: &[Definition] = &[
    string("log.dirs").kept("Folders for the log, separated by commas; takes precedence over log.dir."),
    string("log.dir").or("/tmp/kafka-logs").kept("Folder for the log, when log.dirs is not set."),
    long("log.dir.failure.timeout.ms")
        .or("30000")
        .at_least(1)
        .accepted("How long a KRaft broker waits to report a failed folder."),
    int("num.partitions").or("1").at_least(1).kept("Partitions of a topic created without saying how many."),
    int("log.segment.bytes")
        .or("1073741824")
        .at_least(14)
        .cluster_wide()
        .kept("Size at which a segment file is closed and a new one begun."),
    long("log.roll.ms")
        .cluster_wide()
        .kept("Age at which a segment is closed; takes precedence over log.roll.hours."),
    int("log.roll.hours").or("168").at_least(1).kept("Age at which a segment is closed, in hours."),
    long("log.roll.jitter.ms")
        .cluster_wide()
        .kept("Random part taken off the roll age; takes precedence over log.roll.jitter.hours."),
    int("log.roll.jitter.hours").or("0").at_least(0).kept("Random part taken off the roll age, in hours."),
    long("log.retention.ms")
        .cluster_wide()
        .kept("Age at which segments are deleted; takes precedence over minutes and hours; -1 means never."),
    int("log.retention.minutes")
        .kept("Age at which segments are deleted, in minutes; takes precedence over hours."),
    int("log.retention.hours").or("168").kept("Age at which segments are deleted, in hours."),
    long("log.retention.bytes")
        .or("-1")
        .cluster_wide()
        .kept("Size of a partition beyond which old segments are deleted; -1 means no limit."),
    long("log.retention.check.interval.ms").or("300000").at_least(1).kept("How often retention is applied."),
    list("log.cleanup.policy")
        .or("delete")
        .each_of(&["compact", "delete"])
        .cluster_wide()
        .kept("What happens to old segments: delete, compact, or both."),
    int("log.index.size.max.bytes")
        .or("10485760")
        .at_least(4)
        .cluster_wide()
        .kept("Size of an index file; a segment is closed when it is full."),
    int("log.index.interval.bytes")
        .or("4096")
        .at_least(0)
        .cluster_wide()
        .kept("Bytes of log between two index entries."),
    long("log.flush.interval.messages")
        .or("9223372036854775807")
        .at_least(1)
        .cluster_wide()
        .kept("Records after which the log is flushed to disk."),
    long("log.flush.interval.ms")
        .cluster_wide()
        .kept("Age of an unflushed record at which the log is flushed."),
    long("log.flush.scheduler.interval.ms")
        .or("9223372036854775807")
        .kept("How often log.flush.interval.ms is checked."),
    int("log.flush.offset.checkpoint.interval.ms")
        .or("60000")
        .at_least(0)
        .kept("How often recovery points are written to disk."),
    int("log.flush.start.offset.checkpoint.interval.ms")
        .or("60000")
        .at_least(0)
        .kept("How often log start offsets are written to disk."),
    long("log.segment.delete.delay.ms")
        .or("60000")
        .at_least(0)
        .cluster_wide()
        .kept("How long a deleted segment's file stays under a .deleted name."),
    boolean("log.preallocate")
        .or("false")
        .cluster_wide()
        .kept("Whether a new segment's file is allocated in full."),
    string("log.message.timestamp.type")
        .or("CreateTime")
        .one_of(&["CreateTime", "LogAppendTime"])
        .cluster_wide()
        .kept("Whether a record keeps its producer's time or gets the time of its append."),
    long("log.message.timestamp.before.max.ms")
        .or("9223372036854775807")
        .at_least(0)
        .cluster_wide()
        .kept("How far a record's time may lie before the broker's."),
    long("log.message.timestamp.after.max.ms")
        .or("9223372036854775807")
        .at_least(0)
        .cluster_wide()
        .kept("How far a record's time may lie after the broker's."),
    long("log.message.timestamp.difference.max.ms")
        .or("9223372036854775807")
        .at_least(0)
        .cluster_wide()
        .kept("Deprecated: bound in both directions, where the two newer settings are not given."),
    boolean("log.message.downconversion.enable")
        .or("true")
        .cluster_wide()
        .kept("Whether records are converted for consumers that only know an older format."),
    string("compression.type")
        .or("producer")
        .one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])
        .cluster_wide()
        .kept("Compression of stored records; producer keeps what the producer sent."),
    int("compression.gzip.level")
        .or("-1")
        .gzip_level()
        .cluster_wide()
        .kept("Level used when the broker compresses with gzip."),
    int("compression.lz4.level")
        .or("9")
        .between(1, 17)
        .cluster_wide()
        .kept("Level used when the broker compresses with lz4."),
    int("compression.zstd.level")
        .or("3")
        .between(-131072, 22)
        .cluster_wide()
        .kept("Level used when the broker compresses with zstd."),
    int("num.recovery.threads.per.data.dir")
        .or("1")
        .at_least(1)
        .cluster_wide()
        .kept("Threads per folder that load and recover logs at start and flush them at stop."),
    boolean("log.cleaner.enable").or("true").kept("Whether compaction runs."),
    int("log.cleaner.threads").or("1").at_least(0).cluster_wide().kept("Threads of compaction."),
    long("log.cleaner.dedupe.buffer.size")
        .or("134217728")
        .cluster_wide()
        .kept("Memory compaction may use to find duplicate keys, for all its threads; it is taken as keys come, not beforehand."),
    int("log.cleaner.io.buffer.size")
        .or("524288")
        .at_least(0)
        .cluster_wide()
        .kept("Memory of compaction's buffers."),
    double("log.cleaner.io.buffer.load.factor")
        .or("0.9")
        .cluster_wide()
        .kept("How full compaction's key table may get."),
    double("log.cleaner.io.max.bytes.per.second")
        .or("1.7976931348623157E308")
        .cluster_wide()
        .kept("Disk bandwidth of compaction."),
    long("log.cleaner.backoff.ms")
        .or("15000")
        .at_least(0)
        .cluster_wide()
        .kept("Pause of compaction when there is nothing to do."),
    double("log.cleaner.min.cleanable.ratio")
        .or("0.5")
        .fraction(0.0, 1.0)
        .cluster_wide()
        .kept("Share of uncompacted log that makes compaction worth while."),
    long("log.cleaner.delete.retention.ms")
        .or("86400000")
        .at_least(0)
        .cluster_wide()
        .kept("How long a deletion marker survives compaction."),
    long("log.cleaner.min.compaction.lag.ms")
        .or("0")
        .at_least(0)
        .cluster_wide()
        .kept("Age below which a record is not compacted."),
    long("log.cleaner.max.compaction.lag.ms")
        .or("9223372036854775807")
        .at_least(1)
        .cluster_wide()
        .kept("Age at which a record must be compacted."),
    long("log.initial.task.delay.ms")
        .or("30000")
        .at_least(0)
        .internal()
        .kept("Delay of periodic log tasks after start."),
    long("log.local.retention.ms")
        .or("-2")
        .at_least(-2)
        .cluster_wide()
        .accepted("Age of local segments under tiered storage."),
    long("log.local.retention.bytes")
        .or("-2")
        .at_least(-2)
        .cluster_wide()
        .accepted("Size of local segments under tiered storage."),
];
