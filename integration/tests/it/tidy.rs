//! Holds the boundaries that ARCHITECTURE.md draws. A rule about absence needs a check: each test reads
//! the sources and fails with file, line and what to do.

mod modules;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use modules::Reached;
use serde_json::Value;
use source::Source;

/// What a module may touch. The longest entry of [`KINDS`] that a path starts with decides; a file without one
/// belongs to the shell, which may do anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Decides from its arguments: time, randomness and state are told.
    Pure,
    /// Works on files by the disk seam, under a lock and without a runtime.
    Sync,
    /// Touches files themselves, and still neither runtime nor clock.
    Files,
}

const KINDS: &[(&str, Kind)] = &[
    ("client/src/cluster/backoff.rs", Kind::Pure),
    ("client/src/consumer/chunk.rs", Kind::Pure),
    ("client/src/consumer/classic/assignment.rs", Kind::Pure),
    ("client/src/consumer/classic/config.rs", Kind::Pure),
    ("client/src/consumer/classic/subscription.rs", Kind::Pure),
    ("client/src/consumer/fetcher/answer.rs", Kind::Pure),
    ("client/src/consumer/fetcher/partitions.rs", Kind::Pure),
    ("client/src/consumer/fetcher/request.rs", Kind::Pure),
    ("client/src/consumer/group/membership.rs", Kind::Pure),
    ("client/src/consumer/group/membership/", Kind::Pure),
    ("client/src/consumer/group/positions.rs", Kind::Pure),
    ("client/src/fetch_session.rs", Kind::Pure),
    ("client/src/consumer/assignor.rs", Kind::Pure),
    ("client/src/consumer/assignor/", Kind::Pure),
    ("client/src/ids.rs", Kind::Pure),
    ("client/src/java_string.rs", Kind::Pure),
    ("client/src/topic_filter.rs", Kind::Pure),
    ("client/src/wire/", Kind::Pure),
    // Names a part of an open file, to be sent from there.
    ("client/src/wire/records.rs", Kind::Files),
    ("client/src/producer/accumulator.rs", Kind::Pure),
    ("client/src/producer/batch.rs", Kind::Pure),
    ("client/src/producer/partitioner.rs", Kind::Pure),
    ("client/src/producer/queue.rs", Kind::Pure),
    ("client/src/producer/record.rs", Kind::Pure),
    ("client/src/producer/request.rs", Kind::Pure),
    ("client/src/record/", Kind::Pure),
    ("client/src/znode/", Kind::Pure),
    ("controller/src/cluster.rs", Kind::Pure),
    ("controller/src/election.rs", Kind::Pure),
    ("controller/src/isr.rs", Kind::Pure),
    ("controller/src/placement.rs", Kind::Pure),
    ("controller/src/plan.rs", Kind::Pure),
    ("controller/src/requests.rs", Kind::Pure),
    ("controller/src/states.rs", Kind::Pure),
    ("controller/src/suspicion.rs", Kind::Pure),
    // A reign sees the world through one trait, so that whole reigns run in memory.
    ("controller/src/store.rs", Kind::Pure),
    ("controller/src/term/", Kind::Pure),
    ("controller/src/world.rs", Kind::Pure),
    ("broker/src/config/", Kind::Pure),
    // Reads server.properties.
    ("broker/src/config.rs", Kind::Files),
    ("broker/src/control_fence.rs", Kind::Pure),
    ("broker/src/fetch_session.rs", Kind::Pure),
    ("broker/src/fetch_session/", Kind::Pure),
    ("broker/src/fetcher/backoff.rs", Kind::Pure),
    ("broker/src/fetcher/step.rs", Kind::Pure),
    ("broker/src/isr_channel/questions.rs", Kind::Pure),
    ("broker/src/group/", Kind::Pure),
    ("broker/src/log/", Kind::Sync),
    ("broker/src/log/disk/", Kind::Files),
    ("broker/src/metadata/", Kind::Pure),
    ("broker/src/offsets/expiry.rs", Kind::Pure),
    ("broker/src/offsets/fence.rs", Kind::Pure),
    ("broker/src/offsets/import.rs", Kind::Pure),
    ("broker/src/offsets/pending.rs", Kind::Pure),
    ("broker/src/offsets/pending/", Kind::Pure),
    ("broker/src/partition/epochs.rs", Kind::Pure),
    ("broker/src/partition/follower.rs", Kind::Pure),
    ("broker/src/partition/leader.rs", Kind::Pure),
    ("broker/src/partition/leader/", Kind::Pure),
    ("broker/src/partition/role.rs", Kind::Pure),
    ("broker/src/partition/status.rs", Kind::Pure),
    ("broker/src/replicas/orders.rs", Kind::Pure),
    ("broker/src/server/ledger.rs", Kind::Pure),
    ("broker/src/server/pace.rs", Kind::Pure),
    ("broker/src/tools/hash_order.rs", Kind::Pure),
    ("broker/src/tools/help.rs", Kind::Pure),
    ("broker/src/tools/java_text.rs", Kind::Pure),
    ("broker/src/tools/options.rs", Kind::Pure),
    ("broker/src/tools/topics/description.rs", Kind::Pure),
    ("broker/src/tools/topics/json.rs", Kind::Pure),
    ("integration/src/chaos/plan.rs", Kind::Pure),
    ("integration/src/chaos/scenario.rs", Kind::Pure),
    ("integration/src/checker/event.rs", Kind::Pure),
    ("integration/src/checker/rules/", Kind::Pure),
    ("integration/src/checker/verdict.rs", Kind::Pure),
];

/// Forbidden to every kind above, with the way out.
const OUTSIDE: &[(&str, &str)] = &[
    ("tokio", "move what waits into the shell that calls this module"),
    ("futures", "move what waits into the shell that calls this module"),
    ("std::net", "take what is needed of the peer as an argument"),
    ("std::process", "leave processes to the shell"),
    ("std::env", "take the setting as an argument"),
    ("Instant::now", "take `now` as an argument"),
    ("SystemTime::now", "take `now` as an argument"),
    ("Now::read", "take `now` as an argument"),
    ("rand::rng", "take the random value or the generator as an argument"),
    ("rand::random", "take the random value or the generator as an argument"),
    ("thread_rng", "take the random value or the generator as an argument"),
    ("zookeeper_client", "return what is to be read or written, and let the shell do it"),
    ("client::zk", "return what is to be read or written, and let the shell do it"),
    ("crate::zk", "return what is to be read or written, and let the shell do it"),
    ("client::connection", "return the request, and let the shell send it"),
    ("crate::connection", "return the request, and let the shell send it"),
];

/// The crates, and which of ours each may depend on.
const LINE: &[(&str, &[&str])] = &[
    ("ottla-client", &[]),
    ("ottla-controller", &["ottla-client"]),
    ("ottla-broker", &["ottla-client", "ottla-controller"]),
    ("ottla-integration", &["ottla-client", "ottla-controller", "ottla-broker"]),
];

/// Where the language's guarantees are set aside, and why that is needed.
const UNSAFE: &[(&str, &str)] = &[
    ("broker/src/log/index_file.rs", "a read-only mapping of an index file"),
    ("client/tests/support/counting_allocator.rs", "an allocator that counts, for a test"),
];

/// Files longer than [`LINES_MAX`], each with what makes one file of it.
const LONG: &[(&str, &str)] =
    &[("client/src/record/tests/validate.rs", "one table of cases: every rule of Kafka's validator")];

const LINES_MAX: usize = 600;

#[test]
fn crates_depend_along_the_line() {
    let mut complaints = Vec::new();
    let packages = packages(&root().join("Cargo.toml"));
    for package in &packages {
        let (name, manifest) = (text(package, "name"), PathBuf::from(text(package, "manifest_path")));
        let Some((_, allowed)) = LINE.iter().find(|(crate_name, _)| *crate_name == name) else {
            complaints.push(format!(
                "{}:1: {name} is not one of the four crates; a fifth is a decision to be written into \
                 ARCHITECTURE.md and into this test",
                relative(&manifest)
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let wanted = text(dependency, "name");
            if wanted == "zookeeper-client" && name != "ottla-client" {
                complaints.push(format!(
                    "{}: {name} names ZooKeeper's client; use `client::zk`",
                    line_of(&manifest, "zookeeper-client")
                ));
            }
            if dependency["path"].is_string() && !allowed.contains(&wanted) {
                complaints.push(format!(
                    "{}: {name} depends on {wanted}, against client <- controller <- broker <- integration; \
                     move the shared thing to its owner further left",
                    line_of(&manifest, wanted.trim_start_matches("ottla-"))
                ));
            }
        }
    }
    assert_eq!(packages.len(), LINE.len(), "the workspace's crates");
    expect_none(complaints);
}

#[test]
fn pure_and_synchronous_modules_stay_so() {
    let files = ours();
    let mut complaints = Vec::new();
    for (prefix, _) in KINDS {
        if !files.iter().any(|file| file.path.starts_with(prefix)) {
            complaints.push(format!("{prefix}: nothing is there any more; correct the table in this test"));
        }
    }
    for file in files.iter().filter(|file| !file.is_test) {
        let Some(kind) = kind(&file.path) else { continue };
        let source = Source::read(&root(), &file.path);
        let mut forbidden = OUTSIDE.to_vec();
        if kind != Kind::Files {
            forbidden.push(("std::fs", "go by the disk seam, `broker::log::disk`"));
        }
        if kind == Kind::Pure {
            forbidden.push(("std::thread", "leave threads to the caller"));
        }
        for (name, way_out) in forbidden {
            for line in source.production_lines_with(name) {
                complaints.push(format!("{}:{line}: {kind:?} code mentions {name}: {way_out}", file.path));
            }
        }
    }
    expect_none(complaints);
}

#[test]
fn only_the_session_names_the_zookeeper_crate() {
    let mut complaints = Vec::new();
    for file in ours().iter().filter(|file| !file.path.starts_with("client/src/zk/")) {
        for line in Source::read(&root(), &file.path).code_lines_with("zookeeper_client") {
            complaints.push(format!(
                "{}:{line}: only client/src/zk/ names this crate; use `client::zk`",
                file.path
            ));
        }
    }
    expect_none(complaints);
}

#[test]
fn unsafe_code_is_where_it_is_listed() {
    let mut complaints = Vec::new();
    for file in ours() {
        let is_listed = UNSAFE.iter().any(|(path, _)| *path == file.path);
        let source = Source::read(&root(), &file.path);
        let lines: Vec<usize> =
            ["unsafe", "unsafe_code"].iter().flat_map(|word| source.code_lines_with(word)).collect();
        match lines.first() {
            Some(line) if !is_listed => complaints.push(format!(
                "{}:{line}: unsafe code; find a safe way, or list the file in this test with its reason",
                file.path
            )),
            None if is_listed => {
                complaints.push(format!("{}: has no unsafe code any more; take it off the list", file.path));
            }
            _ => {}
        }
    }
    expect_none(complaints);
}

#[test]
fn nothing_is_left_for_later() {
    // Written in halves, so that this file does not find itself.
    let markers = [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X"), concat!("HA", "CK")];
    let macros = ["dbg!", "todo!", "unimplemented!"];
    let excuses = [concat!("for ", "now"), concat!("in ", "production"), concat!("in a real ", "system")];
    let mut complaints = Vec::new();
    for file in ours() {
        let source = Source::read(&root(), &file.path);
        for marker in markers {
            for line in source.text_lines_with(marker) {
                complaints.push(format!("{}:{line}: {marker}: do it, or file an issue", file.path));
            }
        }
        for name in macros {
            for line in source.code_lines_with(name) {
                complaints
                    .push(format!("{}:{line}: {name} is for the moment of writing; finish it", file.path));
            }
        }
        for words in excuses {
            for line in source.prose_lines_with(words) {
                complaints.push(format!(
                    "{}:{line}: \u{201c}{words}\u{201d}: make it what it should be, or state the limit as a fact",
                    file.path
                ));
            }
        }
        for line in source.code_lines_with("#[ignore") {
            complaints.push(format!("{}:{line}: a test that does not run tests nothing", file.path));
        }
    }
    expect_none(complaints);
}

#[test]
fn files_are_short_or_say_why_not() {
    let mut complaints = Vec::new();
    let files = ours();
    for file in &files {
        let lines = Source::read(&root(), &file.path).lines();
        let is_listed = LONG.iter().any(|(path, _)| *path == file.path);
        if lines > LINES_MAX && !is_listed {
            complaints.push(format!(
                "{}:{LINES_MAX}: {lines} lines; cut it by noun, or list it in this test with its reason",
                file.path
            ));
        }
        if lines <= LINES_MAX && is_listed {
            complaints.push(format!("{}:1: only {lines} lines by now; take it off the list", file.path));
        }
    }
    for (path, _) in LONG {
        if !files.iter().any(|file| file.path == *path) {
            complaints.push(format!("{path}: is not there any more; take it off the list"));
        }
    }
    expect_none(complaints);
}

#[test]
fn every_allowed_lint_has_a_reason() {
    let mut complaints = Vec::new();
    for file in ours() {
        for line in Source::read(&root(), &file.path).allowances_without_reason() {
            complaints.push(format!("{}:{line}: a lint is allowed; add `reason = \"\u{2026}\"`", file.path));
        }
    }
    expect_none(complaints);
}

#[test]
fn every_file_belongs_to_a_target() {
    let reached = ours();
    let mut complaints = Vec::new();
    for file in sources() {
        if !reached.iter().any(|r| r.path == file) {
            complaints.push(format!("{file}:1: no `mod` leads here; declare it or delete it"));
        }
    }
    expect_none(complaints);
}

/// All our Rust files that some target includes, those of the fuzz targets too, by path.
fn ours() -> Vec<Reached> {
    let fuzz = root().join("client/fuzz/Cargo.toml");
    let mut reached: BTreeMap<String, bool> = BTreeMap::new();
    for manifest in [root().join("Cargo.toml"), fuzz] {
        for package in packages(&manifest) {
            for target in package["targets"].as_array().into_iter().flatten() {
                let kind = target["kind"][0].as_str().unwrap_or_default();
                let is_test = matches!(kind, "test" | "bench" | "example");
                modules::walk(&root(), &relative(Path::new(text(target, "src_path"))), is_test, &mut reached);
            }
        }
    }
    reached.into_iter().map(|(path, is_test)| Reached { path, is_test }).collect()
}

/// All Rust files in the crates' folders, included or not.
fn sources() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["client", "controller", "broker", "integration"].iter().map(|name| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of ours can be listed") {
            let path = entry.expect("a folder of ours can be listed").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") {
                found.push(relative(&path));
            }
        }
    }
    found.sort();
    found
}

fn kind(path: &str) -> Option<Kind> {
    let matching = KINDS.iter().filter(|(prefix, _)| path.starts_with(prefix));
    matching.max_by_key(|(prefix, _)| prefix.len()).map(|(_, kind)| *kind)
}

/// The packages of a workspace as cargo understands them, whatever way their manifests are written.
fn packages(manifest: &Path) -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(manifest)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    metadata["packages"].as_array().expect("there are packages").clone()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("cargo's metadata has no {field}: {value}"))
}

/// `file:line` of a dependency in a manifest.
fn line_of(manifest: &Path, dependency: &str) -> String {
    let lines = std::fs::read_to_string(manifest).expect("a manifest can be read");
    let line = lines.lines().position(|line| line.starts_with(dependency)).map_or(1, |at| at + 1);
    format!("{}:{line}", relative(manifest))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

fn expect_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
