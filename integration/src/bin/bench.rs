//! Benchmarks on real processes: `scripts/bench NAME` builds everything for release and runs one.

use clap::{Parser, Subcommand};
use integration::bench::{group_queries, machine, offset_commits, rebalance};

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
    /// ListGroups, DescribeGroups and OffsetFetch over many groups of one partition.
    GroupQueries {
        #[arg(long, default_value_t = 10_000)]
        groups: usize,
    },
    /// From the last member's joining until all members of a group have their assignments.
    Rebalance {
        #[arg(long, default_value_t = 100)]
        members: usize,
        #[arg(long, default_value_t = 20)]
        rounds: usize,
    },
}

fn main() {
    let arguments = Arguments::parse();
    println!("{}", machine::describe());
    match arguments.which {
        Which::OffsetCommits { groups, partitions, seconds } => {
            println!("{}", offset_commits::run(&offset_commits::Load { groups, partitions, seconds }));
        }
        Which::Rebalance { members, rounds } => println!("{}", rebalance::run(members, rounds)),
        Which::GroupQueries { groups } => println!("{}", group_queries::run(groups)),
    }
}
