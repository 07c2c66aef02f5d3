//! A Python with foreign clients in it, in a virtual environment made once.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::apache::target_folder;
use crate::process::succeed;

/// What the environment holds; pinned so that a run today equals a run tomorrow.
/// kafka-python reads compressed batches by way of the last three; confluent-kafka is librdkafka.
const PACKAGES: [&str; 5] = [
    "confluent-kafka==2.16.1",
    "kafka-python==3.0.12",
    "lz4==4.4.5",
    "python-snappy==0.7.3",
    "zstandard==0.25.0",
];

/// A command that runs this Python.
pub fn python() -> Command {
    static MAKING: Mutex<()> = Mutex::new(());
    let folder = target_folder().join("python");
    let holds = folder.join("holds");
    let _one_at_a_time = MAKING.lock().expect("nobody panics while making it");
    if !std::fs::read_to_string(&holds).is_ok_and(|text| text == PACKAGES.join(" ")) {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&folder), &[], Duration::from_secs(120));
        let pip: PathBuf = folder.join("bin/pip");
        succeed(
            Command::new(pip).args(["install", "-q", "--disable-pip-version-check"]).args(PACKAGES),
            &[],
            Duration::from_secs(300),
        );
        std::fs::write(holds, PACKAGES.join(" ")).expect("the environment can be written");
    }
    Command::new(folder.join("bin/python"))
}
