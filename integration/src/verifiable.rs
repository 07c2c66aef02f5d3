//! Apache's tool `VerifiableProducer` as a load: it numbers its values and prints where each one went.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::apache::Release;
use crate::cluster::PATIENCE;
use crate::process::Process;
use crate::wait;

/// The tool turns retries off, and with them idempotence; this is the producer's own default again.
const DEFAULT_RETRIES: &str = "retries=2147483647\n";

/// The tool with acks=all and the producer's defaults, but for `settings` (lines of a properties file).
pub fn verifiable_producer(bootstrap: &str, topic: &str, settings: &str, folder: &Path) -> Command {
    let file = folder.join("verifiable-producer.properties");
    std::fs::write(&file, format!("{DEFAULT_RETRIES}{settings}\n")).expect("a file can be written");
    let mut command = Release::V3_9.java("org.apache.kafka.tools.VerifiableProducer");
    command.args(["--bootstrap-server", bootstrap, "--topic", topic, "--acks", "-1"]);
    command.arg("--producer.config").arg(file);
    command
}

/// A running producer.
#[derive(Debug)]
pub struct VerifiableLoad(Process);

/// A value that was acknowledged, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acknowledged {
    pub partition: i32,
    pub offset: i64,
    pub value: String,
}

impl VerifiableLoad {
    /// Starts sending as many values a second.
    pub fn start(bootstrap: &str, topic: &str, per_second: u32, folder: &Path) -> VerifiableLoad {
        let mut command = verifiable_producer(bootstrap, topic, "", folder);
        command.args(["--throughput", &per_second.to_string()]);
        VerifiableLoad(Process::start(&mut command, &folder.join("verifiable-producer.log")))
    }

    /// Waits until `more` values beyond those of now are acknowledged.
    #[track_caller]
    pub fn wait_for_more(&self, more: usize) {
        let count = || self.0.output().matches("producer_send_success").count();
        let target = count() + more;
        wait::until(&format!("{more} more values"), PATIENCE, || (count() >= target).then_some(()));
    }

    /// Lets the producer deliver what it holds, and end. Fails if it gave up on any value.
    pub fn finish(self, limit: Duration) -> Vec<Acknowledged> {
        let (output, status) = self.0.terminate_with_output(limit);
        let events: Vec<Value> = output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let named = |name: &'static str| events.iter().filter(move |event| event["name"] == name);
        let failed: Vec<&Value> = named("producer_send_error").take(5).collect();
        assert!(failed.is_empty(), "values were given up ({status}): {failed:?}");
        let acknowledged = |event: &Value| {
            Some(Acknowledged {
                partition: i32::try_from(event["partition"].as_i64()?).ok()?,
                offset: event["offset"].as_i64()?,
                value: event["value"].as_str()?.to_owned(),
            })
        };
        named("producer_send_success").map(|event| acknowledged(event).expect("all fields")).collect()
    }
}
