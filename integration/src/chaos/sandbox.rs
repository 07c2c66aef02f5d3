//! A network, mounts and process ids of our own, which end with us: nothing leaves the machine and nothing is left.

use std::path::Path;
use std::process::{Command, Stdio};

/// Set in the environment of a program that runs inside.
const INSIDE: &str = "OTTLA_CHAOS_SANDBOX";

/// Namespaces for a command; everything in them dies with it.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
}

pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Why there can be no sandbox here, if so.
pub fn missing() -> Option<String> {
    for (program, package) in [("ip", "iproute2"), ("iptables", "iptables"), ("cc", "gcc"), ("java", "a JRE")]
    {
        let found = Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            return Some(format!(
                "{program} is missing (Debian: {package}); `scripts/needs chaos` installs it"
            ));
        }
    }
    let tried = unshare().args(["sh", "-c", "mount -t tmpfs tmpfs /run && ip link set lo up"]).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "this machine does not let us make namespaces: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Some(format!("unshare cannot be run: {error}")),
    }
}

/// Becomes this program, run again with the same arguments, inside; or says why not.
pub fn enter() -> std::io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut command = unshare();
    command.arg(program).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    std::os::unix::process::CommandExt::exec(&mut command)
}

/// Makes the sandbox a place to work in, once, from inside.
pub fn furnish() -> std::io::Result<()> {
    let steps = "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up";
    let output = Command::new("sh").args(["-c", steps]).output()?;
    if !output.status.success() {
        return Err(std::io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    debug_assert!(Path::new("/run/netns").is_dir());
    Ok(())
}
