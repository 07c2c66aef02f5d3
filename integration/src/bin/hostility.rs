//! Is hostile to a broker and tells how it bore that: `scripts/hostility`.

use std::process::ExitCode;

use clap::Parser;
use integration::bench::machine;
use integration::hostility::{Scale, run};

/// Starts a broker of this machine's own and is hostile to it: crowds, slow readers, unfinished and
/// impossible frames, damaged requests. Exit code 1: it was not borne as it must be, or the broker
/// did not answer.
#[derive(Parser)]
#[command(name = "scripts/hostility")]
struct Arguments {
    /// Connections that stay open throughout; a tenth as many again for each kind of bad peer.
    #[arg(long, default_value_t = 5_000)]
    connections: usize,
    /// Damaged requests.
    #[arg(long, default_value_t = 10_000_000)]
    frames: usize,
    /// Of the damage.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let Arguments { connections, frames, seed } = Arguments::parse();
    println!("{}", machine::describe());
    match run(Scale { connections, frames, seed }) {
        Ok(report) => {
            println!("{report}");
            if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(abandoned) => {
            println!("WRONG:\n  {abandoned}");
            ExitCode::FAILURE
        }
    }
}
