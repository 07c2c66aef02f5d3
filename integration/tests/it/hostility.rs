//! A broker bears hostile peers; `scripts/hostility` does the same at full size.

use integration::hostility::{Scale, run};

#[test]
fn hostile_peers_are_borne() {
    let report =
        run(Scale { connections: 300, frames: 20_000, seed: 1 }).unwrap_or_else(|why| panic!("{why}"));
    println!("{report}");
    assert!(report.failures().is_empty(), "{report}");
}
