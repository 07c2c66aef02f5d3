//! Benchmarks on real processes: `scripts/bench NAME` builds everything for release and runs one.

use clap::{Parser, Subcommand};
use integration::bench::{failover, flush, group_queries, machine, offset_commits, rebalance, watches};

/// Measures a cluster of this machine's own, and prints the figures with the machine beside them.
#[derive(Parser)]
#[command(name = "scripts/bench")]
struct Arguments {
    #[command(subcommand)]
    which: Which,
}

#[derive(Subcommand)]
enum Which {
    /// Offsets that a broker commits in a second, each group waiting for its answer.
    OffsetCommits {
        #[arg(long, default_value_t = 200)]
        groups: usize,
        /// Of each request.
        #[arg(long, default_value_t = 10)]
        partitions: i32,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// What syncing before acknowledging costs (`flush.before.ack`).
    Flush {
        /// Each waiting for one acknowledgement after the other.
        #[arg(long, default_value_t = 64)]
        producers: usize,
        #[arg(long, default_value_t = 6)]
        partitions: i32,
        #[arg(long, default_value_t = 1_000)]
        record_bytes: usize,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// ListGroups, DescribeGroups and OffsetFetch over many groups of one partition.
    GroupQueries {
        #[arg(long, default_value_t = 10_000)]
        groups: usize,
    },
    /// The longest time without an acknowledgement when brokers die, stop or sleep.
    Failover {
        /// Of each kind.
        #[arg(long, default_value_t = 5)]
        trials: usize,
        /// `zookeeper.session.timeout.ms`, up to 20000.
        #[arg(long, default_value_t = 18_000)]
        session_ms: u32,
        /// Leave out what waits for sessions to end.
        #[arg(long)]
        no_sleep: bool,
        /// The producer.
        #[arg(long, value_enum, default_value = "librdkafka")]
        client: failover::Whose,
        /// A folder for the brokers' logs.
        #[arg(long)]
        logs: Option<std::path::PathBuf>,
    },
    /// From the last member's joining until all members of a group have their assignments.
    Rebalance {
        #[arg(long, default_value_t = 100)]
        members: usize,
        #[arg(long, default_value_t = 20)]
        rounds: usize,
    },
    /// From a state znode's change to the producer's first acknowledged record at the new leader.
    Watches {
        /// In use by the producer at the same time.
        #[arg(long, default_value_t = 5_000)]
        partitions: i32,
        /// Replicas of each, 1 to 3.
        #[arg(long, default_value_t = 2)]
        replicas: usize,
        /// How often the leader of a single partition dies.
        #[arg(long, default_value_t = 10)]
        trials: usize,
    },
}

fn main() {
    let arguments = Arguments::parse();
    println!("{}", machine::describe());
    match arguments.which {
        Which::OffsetCommits { groups, partitions, seconds } => {
            println!("{}", offset_commits::run(&offset_commits::Load { groups, partitions, seconds }));
        }
        Which::Failover { trials, session_ms, no_sleep, client, logs } => {
            let sleep = !no_sleep;
            failover::run(&failover::Trials { count: trials, session_ms, sleep, whose: client, logs });
        }
        Which::Flush { producers, partitions, record_bytes, seconds } => {
            println!("{}", flush::run(&flush::Load { producers, partitions, record_bytes, seconds }));
        }
        Which::Rebalance { members, rounds } => println!("{}", rebalance::run(members, rounds)),
        Which::GroupQueries { groups } => println!("{}", group_queries::run(groups)),
        Which::Watches { partitions, replicas, trials } => {
            println!("{}", watches::run(&watches::Scale { partitions, replicas, trials }));
        }
    }
}
