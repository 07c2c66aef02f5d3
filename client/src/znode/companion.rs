//! `/ottla/brokers/<id>-<session>`: stands beside a registration under `/brokers/ids`, says that its
//! broker understands the removal of it, and gives each registration a name of its own. Ephemeral,
//! and no node of Kafka's.
//!
//! It is created in the transaction that registers the broker, by a session that does so once, and
//! written once more in the transaction that removes the registration. So while it is at data
//! version 0 the registration of that transaction is the one there is.

use super::ZnodeError;
use super::json::{self, Fields, Object};
use crate::ids::BrokerId;

pub const BROKERS: &str = "/ottla/brokers";

const NODE: &str = "a registration's companion";

/// `session` is the number of the session that registered the broker.
pub fn path(id: BrokerId, session: i64) -> String {
    format!("{BROKERS}/{id}-{session:#x}")
}

/// What a broker says of its registration beyond what Kafka's node has room for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Companion {
    /// How often this process lost a registration to a mistake before this one.
    pub removals: u32,
    /// A lock that the process holds, by a name that no other machine, boot or file has. Whoever
    /// holds it now knows that the process is gone. `None`: not known.
    pub lock: Option<String>,
    /// Who removed the registration, which is gone then.
    pub removed_by: Option<BrokerId>,
}

impl Companion {
    pub fn encode(&self) -> Vec<u8> {
        let mut node = Object::new().number("version", 1).number("removals", i64::from(self.removals));
        if let Some(lock) = &self.lock {
            node = node.string("lock", lock);
        }
        if let Some(by) = self.removed_by {
            node = node.number("removed_by", by.0);
        }
        node.into_bytes()
    }

    pub fn decode(data: &[u8]) -> Result<Companion, ZnodeError> {
        let value = json::parse(NODE, data)?;
        let fields = Fields::of(NODE, &value)?;
        let version = fields.i32("version")?;
        if version != 1 {
            return Err(ZnodeError::Version { node: NODE, version: version.into(), known: "1" });
        }
        let removed_by = fields.i32_or("removed_by", BrokerId::NONE.0)?;
        Ok(Companion {
            // A number that cannot be is a reason for the longest caution.
            removals: u32::try_from(fields.i32("removals")?).unwrap_or(u32::MAX),
            lock: fields.string_if_any("lock")?.map(String::from),
            removed_by: (removed_by >= 0).then_some(BrokerId(removed_by)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_it_was_told() {
        let fresh = Companion::default();
        assert_eq!(String::from_utf8(fresh.encode()).unwrap(), r#"{"version":1,"removals":0}"#);
        let all = Companion { removals: 2, lock: Some(String::from("b/1/2")), removed_by: Some(BrokerId(0)) };
        let text = r#"{"version":1,"removals":2,"lock":"b/1/2","removed_by":0}"#;
        assert_eq!(String::from_utf8(all.encode()).unwrap(), text);
        for companion in [fresh, all] {
            assert_eq!(Companion::decode(&companion.encode()), Ok(companion));
        }
        assert_eq!(path(BrokerId(3), 0x10), "/ottla/brokers/3-0x10");
    }

    #[test]
    fn what_is_no_companion_says_why() {
        let text = |data: &str| Companion::decode(data.as_bytes()).unwrap_err().to_string();
        assert_eq!(text(""), "a registration's companion has no data");
        assert_eq!(
            text(r#"{"version":2,"removals":0}"#),
            "a registration's companion has version 2, which is not one of those known (1)"
        );
        let odd = Companion::decode(br#"{"version":1,"removals":-1}"#).unwrap();
        assert_eq!(odd.removals, u32::MAX);
    }
}
