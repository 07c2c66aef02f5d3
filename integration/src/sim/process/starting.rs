//! From the start of a process to its registration, as the broker's own start goes (`broker::last_stop`): what
//! the last stop may have cost is told in ZooKeeper, then the boot is noted, then the logs are loaded.

use std::sync::atomic::Ordering;

use broker::log::{LastStop, LogDirs};
use client::ids::BrokerId;
use client::znode::unclean_stop::UncleanStop;

use super::session::Purpose;
use super::{LAG_MAX, Out, Process, SECOND, Tick};
use crate::sim::zookeeper::Op;

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Starting {
    /// What has to be told first.
    stop: Option<(LastStop, UncleanStop)>,
    is_loaded: bool,
}

impl Starting {
    /// What the disk says of the last stop.
    pub(super) fn look(me: BrokerId, dirs: &LogDirs, boot: &str) -> Starting {
        let last = dirs.last_stop(boot);
        let stop = UncleanStop { broker: me, boot: boot.to_owned() };
        Starting { stop: (last != LastStop::Harmless).then_some((last, stop)), is_loaded: false }
    }
}

impl Process {
    /// There is a session: the next step of the start.
    pub(super) fn go_on_starting(&mut self, out: &mut Out<'_>) {
        match &self.starting {
            Some(Starting { stop: Some((_, stop)), .. }) => {
                let op = Op::SetOrCreate { path: stop.path(), data: Vec::new() };
                self.ask_zookeeper(op, Purpose::TellStop, out);
            }
            Some(Starting { is_loaded: false, .. }) => self.load(out),
            Some(Starting { is_loaded: true, .. }) | None => self.register(out),
        }
    }

    pub(super) fn stop_told(&mut self, out: &mut Out<'_>) {
        if let Some((last, _)) = self.starting.as_mut().and_then(|starting| starting.stop.take()) {
            out.counts.add_if(last == LastStop::OfTheMachine, "unclean stop told");
        }
        self.go_on_starting(out);
    }

    fn load(&mut self, out: &mut Out<'_>) {
        let Some(starting) = &mut self.starting else { return };
        starting.is_loaded = true;
        if !(self.roles.note_boot(&self.boot) && self.roles.load(out.clock)) {
            self.disk_failed.store(true, Ordering::Relaxed);
            return;
        }
        for (delay, tick) in [
            (LAG_MAX / 2, Tick::CheckLag),
            (SECOND, Tick::Watermarks),
            (5 * SECOND, Tick::RecoveryPoints),
            (SECOND, Tick::Flush),
        ] {
            out.after(delay, tick);
        }
        self.register(out);
    }
}
