//! Which formatter is asked for, by options and properties.

use std::collections::BTreeMap;

use super::Stop;
use super::deserializer::Deserializer;
use super::format::{Formatter, Layout};
use crate::tools::console::Console;
use crate::tools::failure::Exception;
use crate::tools::options::Options;
use crate::tools::{client_properties, java_log, java_time};

const PACKAGE: &str = "org.apache.kafka.tools.consumer.";

/// Names of before 3.9, and what has taken their place.
const FORMER: [(&str, &str); 6] = [
    ("kafka.tools.DefaultMessageFormatter", "DefaultMessageFormatter"),
    ("kafka.tools.LoggingMessageFormatter", "LoggingMessageFormatter"),
    ("kafka.tools.NoOpMessageFormatter", "NoOpMessageFormatter"),
    (
        "kafka.coordinator.transaction.TransactionLog$TransactionLogMessageFormatter",
        "TransactionLogMessageFormatter",
    ),
    ("kafka.coordinator.group.GroupMetadataManager$OffsetsMessageFormatter", "OffsetsMessageFormatter"),
    (
        "kafka.coordinator.group.GroupMetadataManager$GroupMetadataMessageFormatter",
        "GroupMetadataMessageFormatter",
    ),
];

/// The formatter of Kafka 3.9's tool.
pub(super) fn read(options: &Options, console: &mut Console) -> Result<Formatter, Stop> {
    let value = |name: &str| options.value(name).map_err(|error| Stop::Usage(error.to_string()));
    let mut properties = match value("formatter-config")? {
        Some(path) => client_properties::load(path).map_err(Stop::Crash)?,
        None => BTreeMap::new(),
    };
    properties.extend(client_properties::pairs(options.values("property")));
    for (property, option) in
        [("key.deserializer", "key-deserializer"), ("value.deserializer", "value-deserializer")]
    {
        if let Some(class) = value(option)?.filter(|class| !class.is_empty()) {
            properties.insert(property.to_owned(), class.to_owned());
        }
    }
    let mut layout = Layout::read(&properties);
    layout.key_deserializer = deserializer(&properties, "key.deserializer", console);
    layout.value_deserializer = deserializer(&properties, "value.deserializer", console);
    layout.headers_deserializer = deserializer(&properties, "headers.deserializer", console);
    let class = value("formatter")?;
    let former = class.and_then(|class| FORMER.into_iter().find(|(former, _)| *former == class));
    if let Some((former, name)) = former {
        console.complain(format!(
            "WARNING: {former} is deprecated and will be removed in the next major release. Please use \
             {PACKAGE}{name} instead\n"
        ));
    }
    let name = former.map(|(_, name)| name).or_else(|| class.and_then(|class| class.strip_prefix(PACKAGE)));
    match (class, name) {
        (None, _) | (_, Some("DefaultMessageFormatter" | "LoggingMessageFormatter")) => {
            Ok(Formatter::Default(Box::new(layout)))
        }
        (_, Some("NoOpMessageFormatter")) => Ok(Formatter::NoOp),
        (_, Some("OffsetsMessageFormatter")) => Ok(Formatter::Offsets),
        (_, Some("GroupMetadataMessageFormatter")) => Ok(Formatter::GroupMetadata),
        (_, Some("TransactionLogMessageFormatter")) => Ok(Formatter::TransactionLog),
        (Some(unknown), _) => Err(Stop::Usage(unknown.to_owned())),
    }
}

/// The formatter of Kafka 0.8's tool.
pub(super) fn read_classic(options: &Options) -> Result<Formatter, Stop> {
    let layout = Layout::read(&client_properties::pairs(options.values("property")));
    match options.value("formatter").map_err(|error| Stop::Crash(error.into()))? {
        None | Some("kafka.tools.DefaultMessageFormatter") => Ok(Formatter::Default(Box::new(layout))),
        Some("kafka.tools.NoOpMessageFormatter") => Ok(Formatter::NoOp),
        Some(unknown) => Err(Stop::Crash(Exception::new("java.lang.ClassNotFoundException", unknown))),
    }
}

/// One that is not known is told of, and then done without.
fn deserializer(
    properties: &BTreeMap<String, String>,
    property: &str,
    console: &mut Console,
) -> Option<Deserializer> {
    let class = properties.get(property)?.trim();
    let found = Deserializer::find(class);
    if found.is_none() {
        let message = format!("Unable to instantiate a deserializer from {class}");
        let unknown = Exception::new("java.lang.ClassNotFoundException", class);
        let logger = format!("{PACKAGE}DefaultMessageFormatter");
        console.complain(java_log::error(java_time::now_ms(), &message, &logger, &unknown));
    }
    found
}
