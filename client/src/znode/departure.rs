//! `/ottla/departures/<broker>`: a controller takes this broker out of ISRs, and does not know yet of all their
//! leaders that they have heard. It writes the node before those states, and takes it away once each leader has
//! answered or a list of eligible replicas says more. So if it ends before, the next controller knows of which
//! replicas it must suppose that they hold all that their leaders acknowledged.

use super::ZnodeError;
use super::json::{self, Fields, Object};
use crate::ids::{BrokerId, ControllerEpoch};

/// Has a child for each such broker.
pub const DEPARTURES: &str = "/ottla/departures";

const NODE: &str = "a departure";

pub fn path(broker: BrokerId) -> String {
    format!("{DEPARTURES}/{broker}")
}

/// Whose node it is, by the name of a child of [`DEPARTURES`].
pub fn broker_of(child: &str) -> Option<BrokerId> {
    let broker = child.parse().ok().map(BrokerId)?;
    (broker.0 >= 0 && broker.to_string() == child).then_some(broker)
}

/// What the node holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Departure {
    /// Of the controllers that took the broker out of ISRs: states of others are not meant.
    pub controller_epochs: Vec<ControllerEpoch>,
}

impl Departure {
    pub fn encode(&self) -> Vec<u8> {
        let epochs = json::array(self.controller_epochs.iter().map(|epoch| epoch.0.to_string()));
        Object::new().number("version", 1).raw("controller_epochs", &epochs).into_bytes()
    }

    pub fn decode(data: &[u8]) -> Result<Departure, ZnodeError> {
        const EPOCHS: &str = "controller_epochs";
        let value = json::parse(NODE, data)?;
        let fields = Fields::of(NODE, &value)?;
        let epochs = fields.array(EPOCHS)?.iter().map(|epoch| fields.as_i32(EPOCHS, epoch));
        Ok(Departure {
            controller_epochs: epochs.map(|epoch| epoch.map(ControllerEpoch)).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_names_the_controllers() {
        let departure = Departure { controller_epochs: vec![ControllerEpoch(3), ControllerEpoch(4)] };
        let text = r#"{"version":1,"controller_epochs":[3,4]}"#;
        assert_eq!(String::from_utf8(departure.encode()).unwrap(), text);
        assert_eq!(Departure::decode(text.as_bytes()), Ok(departure));
        for odd in
            [&b""[..], b"{}", br#"{"controller_epochs":["x"]}"#, br#"{"controller_epochs":[4294967296]}"#]
        {
            assert!(Departure::decode(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn the_name_is_the_brokers() {
        assert_eq!(path(BrokerId(12)), "/ottla/departures/12");
        assert_eq!(broker_of("12"), Some(BrokerId(12)));
        for foreign in ["", "a", "-1", "+1", "01", "1.2"] {
            assert_eq!(broker_of(foreign), None, "{foreign}");
        }
    }
}
