//! `OTTLA_MUTANTS=1` makes a build with `--cfg mutants`, whose checks can be taken out as it runs, to show that
//! tests fail without them (`scripts/mutants`). Such a build is for nothing else.

fn main() {
    println!("cargo::rerun-if-env-changed=OTTLA_MUTANTS");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(mutants)");
    if std::env::var_os("OTTLA_MUTANTS").is_some_and(|value| !value.is_empty()) {
        println!("cargo::warning=THIS BROKER CAN LOSE DATA: its checks can be taken out (OTTLA_MUTANTS)");
        println!("cargo::rustc-cfg=mutants");
    }
}
