//! `/ottla/unclean_stops/<broker>.<boot>`: a broker came back after its machine had stopped without a
//! clean shutdown, so that the ends of its logs may be lost. The broker writes it before it registers;
//! a controller takes it away once it has acted on it. Who stopped when is in the name, so that
//! taking one away cannot take a later one with it. There is no data until a controller has acted on it and
//! some partitions have no leader yet because of it: then these are named, and it says nothing of others any more,
//! where the broker may be in sync since.

use std::collections::BTreeSet;

use super::ZnodeError;
use super::admin::{partition_list, read_partition_list};
use super::json::{self, Object};
use crate::ids::{BrokerId, TopicPartition};

/// Has a child for each stop that no controller has acted on yet.
pub const UNCLEAN_STOPS: &str = "/ottla/unclean_stops";

/// A broker's start after an unclean stop of its machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UncleanStop {
    pub broker: BrokerId,
    /// The kernel's id of the boot that followed the stop (`/proc/sys/kernel/random/boot_id`), with a number that was
    /// drawn where log directories were replaced, which may happen again in one boot.
    pub boot: String,
}

impl UncleanStop {
    /// The node's whole path.
    pub fn path(&self) -> String {
        format!("{UNCLEAN_STOPS}/{}.{}", self.broker, self.boot)
    }

    /// What a child of [`UNCLEAN_STOPS`] tells by its name. `None`: it is none of ours.
    pub fn named(child: &str) -> Option<UncleanStop> {
        let (broker, boot) = child.split_once('.')?;
        let broker = broker.parse().ok().map(BrokerId)?;
        let stop = UncleanStop { broker, boot: boot.to_owned() };
        // `+1` and `01` are numbers too.
        let is_ours = broker.0 >= 0 && is_boot_id(boot) && stop.path().ends_with(&format!("/{child}"));
        is_ours.then_some(stop)
    }
}

const NODE: &str = "an unclean stop";

/// What partitions a stop concerns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Concern {
    /// No controller has acted on it: all that the broker has replicas of.
    #[default]
    All,
    /// Those that are still without a leader because of it.
    Only(BTreeSet<TopicPartition>),
}

impl Concern {
    pub fn includes(&self, partition: &TopicPartition) -> bool {
        match self {
            Concern::All => true,
            Concern::Only(partitions) => partitions.contains(partition),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let Concern::Only(partitions) = self else { return Vec::new() };
        let partitions: Vec<TopicPartition> = partitions.iter().cloned().collect();
        Object::new().number("version", 1).raw("partitions", &partition_list(&partitions)).into_bytes()
    }

    pub fn decode(data: &[u8]) -> Result<Concern, ZnodeError> {
        if data.is_empty() {
            return Ok(Concern::All);
        }
        let partitions = read_partition_list(NODE, &json::parse(NODE, data)?)?;
        Ok(Concern::Only(partitions.into_iter().collect()))
    }
}

/// Whether the text may stand for a boot: what the kernel draws is a UUID in small letters.
pub fn is_boot_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit() || byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_names_what_is_still_open() {
        let partitions = [TopicPartition::new("a", 0), TopicPartition::new("b", 12)];
        let open = Concern::Only(BTreeSet::from(partitions.clone()));
        let text = r#"{"version":1,"partitions":[{"topic":"a","partition":0},{"topic":"b","partition":12}]}"#;
        assert_eq!(String::from_utf8(open.encode()).unwrap(), text);
        assert!(open.includes(&partitions[1]) && !open.includes(&TopicPartition::new("a", 1)));
        assert_eq!(Concern::decode(text.as_bytes()), Ok(open));
        assert_eq!(Concern::All.encode(), b"");
        assert_eq!(Concern::decode(b""), Ok(Concern::All));
        assert!(Concern::decode(b"x").is_err());
    }

    #[test]
    fn the_name_tells_all() {
        let stop = UncleanStop { broker: BrokerId(7), boot: "3e7b2f2c-0d4e-4a55-9c52-5f1f0d9f9a11".into() };
        assert_eq!(stop.path(), "/ottla/unclean_stops/7.3e7b2f2c-0d4e-4a55-9c52-5f1f0d9f9a11");
        assert_eq!(UncleanStop::named("7.3e7b2f2c-0d4e-4a55-9c52-5f1f0d9f9a11"), Some(stop));
        for foreign in ["", "7", "7.", "a.b", "-1.b", "+7.b", "07.b", "7.B", "7.a/b", "7.a.b"] {
            assert_eq!(UncleanStop::named(foreign), None, "{foreign}");
        }
    }
}
