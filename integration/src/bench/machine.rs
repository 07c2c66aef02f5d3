//! The machine that figures come from, since they mean nothing without it.

use std::path::Path;
use std::process::Command;

/// Cores, memory and the disk of temporary folders, in one line.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{cores} cores, {} GiB of memory, {}; load {load} before the start",
        memory_kib / (1 << 20),
        disk(&std::env::temp_dir())
    )
}

fn disk(folder: &Path) -> String {
    let output = Command::new("df").args(["--output=fstype,source", "--"]).arg(folder).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let fields: Vec<&str> = text.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    match fields.as_slice() {
        [kind, device, ..] => format!("{kind} on {device}"),
        _ => "an unknown disk".to_string(),
    }
}
