//! What this broker's last stop may have cost, told to the cluster before anybody counts on its logs.

use client::ids::BrokerId;
use client::znode::unclean_stop::{UncleanStop, is_boot_id};

use super::BrokerError;
use super::ensemble::Ensemble;
use crate::log::{LastStop, LogDirs};

/// A UUID that the kernel draws when it starts.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Tells controllers if the ends of the logs may be lost, and notes in which boot the directories are used now.
/// The note is written last: whoever dies in between tells it again.
pub(super) async fn tell(
    dirs: &LogDirs,
    ensemble: &mut Ensemble<'_>,
    id: BrokerId,
) -> Result<(), BrokerError> {
    let Some(boot) = boot_id() else {
        tracing::warn!(
            "{BOOT_ID} cannot be read: whether the machine stopped since this broker last ran is not known, and taken \
             for no"
        );
        return Ok(());
    };
    let last_stop = dirs.last_stop(&boot);
    match last_stop {
        LastStop::Harmless => return Ok(dirs.note_boot(&boot)?),
        LastStop::Untold => tracing::info!(
            "the log directories do not tell how they were last used; other replicas in sync lead what they hold"
        ),
        LastStop::OfTheMachine => tracing::warn!(
            "the machine stopped since this broker last ran, without a clean shutdown: records that were not on disk yet \
             are lost here. Other replicas in sync lead, and this one fetches from them what it lacks"
        ),
    }
    let stop = UncleanStop { broker: id, boot: name_of(last_stop, &boot, rand::random()) };
    let path = &stop.path();
    ensemble.step(async |session| Ok(session.set_or_create(path, "").await?)).await?;
    Ok(dirs.note_boot(&boot)?)
}

/// Directories may be replaced several times in one boot, each time after the word of the time before was acted on for
/// some partitions: taking that away must not take a later one with it.
fn name_of(last_stop: LastStop, boot: &str, draw: u64) -> String {
    match last_stop {
        LastStop::Untold => format!("{boot}-{draw:016x}"),
        LastStop::Harmless | LastStop::OfTheMachine => String::from(boot),
    }
}

pub(super) fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string(BOOT_ID).ok()?;
    Some(text.trim().to_owned()).filter(|boot| is_boot_id(boot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_replaced_directory_has_a_word_of_its_own() {
        let boot = boot_id().expect("the kernel tells");
        let replaced = [1, u64::MAX].map(|draw| name_of(LastStop::Untold, &boot, draw));
        let told = [&replaced[0], &replaced[1], &name_of(LastStop::OfTheMachine, &boot, 1)];
        for (place, name) in told.iter().enumerate() {
            let stop = UncleanStop { broker: BrokerId(7), boot: String::from(*name) };
            let child = stop.path().rsplit('/').next().map(String::from).expect("it has a name");
            assert_eq!(UncleanStop::named(&child), Some(stop));
            assert!(!told[..place].contains(name));
        }
    }
}
