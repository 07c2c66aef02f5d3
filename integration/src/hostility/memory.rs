//! What a process occupies.

/// In bytes, as the kernel counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Now.
    pub(super) resident: u64,
    /// The most it ever was.
    pub(super) peak: u64,
}

impl Memory {
    pub(super) fn of(pid: u32) -> Memory {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_end_matches("kB").trim().parse::<u64>().unwrap_or_default() << 10
        };
        Memory { resident: kib("VmRSS:"), peak: kib("VmHWM:") }
    }
}
