//! Turns `OTTLA_MUTANT=name` into `--cfg mutant="name"`: a build in which one check is taken out, to
//! show that a test fails without it (`scripts/mutants`). Such a build is for nothing else.

/// The checks that can be taken out.
const MUTANTS: [&str; 3] = ["fence", "barrier", "order"];

fn main() {
    println!("cargo::rerun-if-env-changed=OTTLA_MUTANT");
    println!("cargo::rerun-if-changed=build.rs");
    let known = MUTANTS.map(|name| format!("\"{name}\"")).join(", ");
    println!("cargo::rustc-check-cfg=cfg(mutant, values({known}))");
    let Some(name) = std::env::var("OTTLA_MUTANT").ok().filter(|name| !name.is_empty()) else { return };
    if !MUTANTS.contains(&name.as_str()) {
        println!("cargo::error=OTTLA_MUTANT={name} is none of {}", MUTANTS.join(", "));
        return;
    }
    println!("cargo::warning=THIS BROKER LOSES DATA: it is built without its check '{name}' (OTTLA_MUTANT)");
    println!("cargo::rustc-cfg=mutant=\"{name}\"");
}
