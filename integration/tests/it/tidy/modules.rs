//! Which files a target is made of, by following its `mod` declarations.

use std::collections::BTreeMap;
use std::path::Path;

use super::source::{Declaration, Source};

/// A file that some target includes.
#[derive(Debug)]
pub(super) struct Reached {
    /// From the root of the workspace.
    pub(super) path: String,
    /// Whether only tests include it.
    pub(super) is_test: bool,
}

/// Adds `file`, a root of a target, and all that it includes.
pub(super) fn walk(root: &Path, file: &str, is_test: bool, reached: &mut BTreeMap<String, bool>) {
    include(root, file, true, is_test, reached);
}

/// `owns_folder`: whether the modules of this file lie beside it rather than in a folder of its name.
fn include(root: &Path, file: &str, owns_folder: bool, is_test: bool, reached: &mut BTreeMap<String, bool>) {
    match reached.get_mut(file) {
        Some(known_test) if !*known_test || is_test => return,
        Some(known_test) => *known_test = false,
        None => {
            reached.insert(file.to_string(), is_test);
        }
    }
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let stem = name.trim_end_matches(".rs");
    for Declaration { name, path, is_test: declared_test } in Source::read(root, file).declarations() {
        let is_test = is_test || declared_test;
        if let Some(path) = path {
            include(root, &normal(&format!("{folder}/{path}")), true, is_test, reached);
            continue;
        }
        let beside = if owns_folder { folder.to_string() } else { format!("{folder}/{stem}") };
        let plain = format!("{beside}/{name}.rs");
        if root.join(&plain).exists() {
            include(root, &plain, false, is_test, reached);
        } else {
            include(root, &format!("{beside}/{name}/mod.rs"), true, is_test, reached);
        }
    }
}

/// Resolves `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
