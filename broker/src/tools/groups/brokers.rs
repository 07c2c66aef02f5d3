//! The actions over `--bootstrap-server` (`ConsumerGroupCommand.java` of Kafka 3.9).

use std::time::Duration;

use client::admin::{Admin, AdminError, AdminOptions, Bootstrap, GroupListing};

use super::options::{Action, Arguments, usage};
use super::{Failed, Stop, client_config, delete, describe, json, reset, tables};
use crate::tools::client_config::{CONFIG_EXCEPTION, KAFKA_EXCEPTION, NO_CLIENT};
use crate::tools::console::Console;
use crate::tools::failure::Exception;
use crate::tools::java_exception::{RUNTIME, execution};

const DEFAULT_TIMEOUT_MS: i64 = 5000;

const STATES: [&str; 7] =
    ["PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling"];
const TYPES: [&str; 2] = ["Consumer", "Classic"];

pub(super) async fn run(arguments: &Arguments, console: &mut Console) -> Result<(), Stop> {
    let admin = connect(arguments).await?;
    match arguments.action {
        Action::List => list(&admin, arguments, console).await,
        Action::Describe => describe::run(&admin, arguments, console).await,
        Action::Delete => delete::groups(&admin, arguments, console).await,
        Action::ResetOffsets => reset::run(&admin, arguments, console).await,
        Action::DeleteOffsets => delete::offsets(&admin, arguments, console).await,
    }
}

async fn connect(arguments: &Arguments) -> Result<Admin, Stop> {
    let options = &arguments.options;
    let loaded = match options.value("command-config")? {
        // A file that cannot be read is a RuntimeException around the reason; wrong values are not.
        Some(path) => client_config::load(path).map_err(|exception| match exception.class {
            class if class.starts_with("java.") => exception.wrapped_in(RUNTIME),
            _ => exception,
        })?,
        None => AdminOptions::default(),
    };
    let servers = options.value("bootstrap-server")?.unwrap_or_default();
    let bootstrap = Bootstrap::resolve(servers).await.map_err(|error| {
        Exception::new(KAFKA_EXCEPTION, NO_CLIENT).caused_by(CONFIG_EXCEPTION, error.to_string())
    })?;
    let timeout_ms = options.long("timeout")?.unwrap_or(DEFAULT_TIMEOUT_MS);
    let api_timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    Ok(Admin::new(bootstrap, AdminOptions { api_timeout, ..loaded }))
}

/// As the tool throws what a future of the admin client held.
pub(super) fn thrown(error: &AdminError) -> Stop {
    failed(execution(error), error)
}

/// The same where the tool puts a `RuntimeException` around it.
pub(super) fn rethrown(error: &AdminError) -> Stop {
    failed(execution(error).wrapped_in(RUNTIME), error)
}

fn failed(exception: Exception, error: &AdminError) -> Stop {
    let hint = error.cause().map(|cause| format!("The last thing that went wrong: {cause}"));
    Stop::Failed(Failed { exception, hint })
}

async fn list(admin: &Admin, arguments: &Arguments, console: &mut Console) -> Result<(), Stop> {
    let (with_type, with_state) = (arguments.options.has("type"), arguments.options.has("state"));
    if !with_type && !with_state {
        let groups = consumer_groups(admin, &[], &[]).await.map_err(|error| rethrown(&error))?;
        match arguments.is_json {
            true => json::print_list(&groups, console),
            false => groups.iter().for_each(|listing| console.line(&listing.group)),
        }
        return Ok(());
    }
    let types = words(arguments.options.value("type")?, &TYPES, "types")?;
    let states = words(arguments.options.value("state")?, &STATES, "state")?;
    let groups = consumer_groups(admin, &states, &types).await.map_err(|error| thrown(&error))?;
    match arguments.is_json {
        true => json::print_list(&groups, console),
        false => tables::print_list(&groups, with_type, with_state, console),
    }
    Ok(())
}

async fn consumer_groups(
    admin: &Admin,
    states: &[String],
    types: &[String],
) -> Result<Vec<GroupListing>, AdminError> {
    let mut groups = admin.list_groups(states, types).await?;
    groups.retain(GroupListing::is_consumer_group);
    Ok(groups)
}

/// A list of known words in any case, as the brokers write them.
fn words(given: Option<&str>, known: &[&str], what: &str) -> Result<Vec<String>, Stop> {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(Vec::new()) };
    let found = |word: &str| known.iter().find(|known| known.eq_ignore_ascii_case(word.trim()));
    let words: Option<Vec<String>> =
        given.split(',').map(|word| found(word).map(|word| word.to_string())).collect();
    let plural = if what == "state" { "states" } else { what };
    words.map_or_else(
        || usage(format!("Invalid {what} list '{given}'. Valid {plural} are: {}", known.join(", "))),
        Ok,
    )
}

/// The groups that an action is about: those named, or all that there are.
pub(super) async fn chosen_groups(admin: &Admin, arguments: &Arguments) -> Result<Vec<String>, Stop> {
    if !arguments.options.has("all-groups") {
        return Ok(arguments.options.values("group").to_vec());
    }
    let groups = consumer_groups(admin, &[], &[]).await.map_err(|error| rethrown(&error))?;
    Ok(groups.into_iter().map(|listing| listing.group).collect())
}
