//! Generates the structs, the codec and the table of API keys from `messages/*.txt`.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

#[path = "build/condition.rs"]
mod condition;
#[path = "build/emit.rs"]
mod emit;
#[path = "build/fields.rs"]
mod fields;
#[path = "build/parse.rs"]
mod parse;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=messages");
    if let Err(what) = generate() {
        eprintln!("{what}");
        process::exit(1);
    }
}

fn generate() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this through cargo")?);
    let messages = read_definitions(Path::new("messages"))?;
    write(&out.join("messages.rs"), &emit::messages(&messages))?;
    write(&out.join("api_key.rs"), &emit::api_keys(&messages)?)
}

/// Every message of every `.txt` file of the folder, in order of the files' names.
fn read_definitions(folder: &Path) -> Result<Vec<parse::Message>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry.map_err(|e| format!("{}: {e}", folder.display()))?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let mut messages = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        messages.extend(parse::parse(&text).map_err(|e| format!("{}, {e}", file.display()))?);
    }
    Ok(messages)
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))
}
