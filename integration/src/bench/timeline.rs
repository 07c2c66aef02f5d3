//! What the brokers' logs say of the time in which a partition had no acknowledgement.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When something happened, as time since midnight in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimeOfDay(Duration);

impl TimeOfDay {
    pub(super) fn of(moment: SystemTime) -> TimeOfDay {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        TimeOfDay(Duration::new(since.as_secs() % DAY.as_secs(), since.subsec_nanos()))
    }

    /// At the beginning of a broker's line: `2026-11-22T18:53:23.667885Z`.
    fn at_start(line: &str) -> Option<TimeOfDay> {
        let (time, _) = line.split_once('T')?.1.split_once('Z')?;
        let mut parts = time.split(':');
        let hours: f64 = parts.next()?.parse().ok()?;
        let minutes: f64 = parts.next()?.parse().ok()?;
        let seconds: f64 = parts.next()?.parse().ok()?;
        Duration::try_from_secs_f64((hours * 60.0 + minutes) * 60.0 + seconds).ok().map(TimeOfDay)
    }

    /// Of moments less than half a day apart; `None` if `earlier` is not.
    fn since(self, earlier: TimeOfDay) -> Option<Duration> {
        let passed = (self.0 + DAY).saturating_sub(earlier.0);
        let passed = passed.checked_sub(DAY).unwrap_or(passed);
        (passed < DAY / 2).then_some(passed)
    }
}

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// When the broker was killed or told to stop.
    pub(super) began: TimeOfDay,
    pub(super) victim: i32,
    pub(super) topic: &'a str,
    pub(super) partition: usize,
    /// When the partition's longest time without an acknowledgement ended.
    pub(super) acknowledged: Option<TimeOfDay>,
}

/// How long after the beginning of a failover each step of it was taken, as far as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Timeline {
    noticed: Option<Duration>,
    controller: Option<Duration>,
    written: Option<Duration>,
    role: Option<Duration>,
    acknowledged: Option<Duration>,
}

impl Timeline {
    /// Reads it off the logs of all brokers.
    pub(super) fn read<'a>(logs: impl IntoIterator<Item = &'a str>, question: &Question<'_>) -> Timeline {
        let Question { began, victim, topic, partition, acknowledged } = *question;
        let (dead, leaving) = (format!("dead=[{victim}]"), format!("wants to leave broker={victim} "));
        let this = format!(" partition={topic}-{partition} ");
        let mut timeline = Timeline {
            acknowledged: acknowledged.and_then(|moment| moment.since(began)),
            ..Timeline::default()
        };
        for line in logs.into_iter().flat_map(str::lines) {
            let Some(after) = TimeOfDay::at_start(line).and_then(|time| time.since(began)) else { continue };
            let noticed = line.contains("a broker's process is gone")
                || line.contains(&leaving)
                || line.contains("brokers changed") && line.contains(&dead);
            first(&mut timeline.noticed, after, noticed);
            first(&mut timeline.controller, after, line.contains("elected: this broker is the controller"));
            let state = line.contains("leader changed") || line.contains("ISR changed");
            first(&mut timeline.written, after, state && line.contains(&this));
            first(&mut timeline.role, after, line.contains(": leading") && line.contains(&this));
        }
        timeline
    }
}

fn first(known: &mut Option<Duration>, after: Duration, is_it: bool) {
    if is_it {
        *known = Some(known.map_or(after, |known| known.min(after)));
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = [
            ("noticed", self.noticed),
            ("another controller elected", self.controller),
            ("new state written", self.written),
            ("its leader told", self.role),
            ("first acknowledgement", self.acknowledged),
        ];
        let told: Vec<String> = steps
            .into_iter()
            .filter_map(|(what, after)| Some(format!("{what} after {} ms", after?.as_millis())))
            .collect();
        f.write_str(&told.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-22T18:53:19.270846Z  INFO controller::controller: elected: this broker is the controller now broker=1 epoch=1
2026-11-22T18:53:23.663211Z  WARN controller::lookout: a broker's process is gone: its connection ended broker=2
2026-11-22T18:53:23.667885Z  INFO controller::term::brokers: brokers changed new=[] dead=[2] now=[1, 3]
2026-11-22T18:53:23.676055Z  INFO controller::term::partitions: leader changed partition=t-1 from=2 to=3
2026-11-22T18:53:23.723748Z  INFO controller::term::partitions: ISR changed partition=t-0 leader=1
    at a line without a time
2026-11-22T18:53:23.694178Z  INFO broker::partition::role: leading partition=t-1 epoch=3 isr=[3, 1]
2026-11-22T18:53:26.402613Z  INFO broker::partition::role: leading partition=t-1 epoch=4 isr=[3, 1, 2]
";

    fn time(text: &str) -> TimeOfDay {
        TimeOfDay::at_start(&format!("2026-11-22T{text}Z ")).unwrap()
    }

    #[test]
    fn each_step_is_the_first_after_the_beginning() {
        let question = Question {
            began: time("18:53:23.600000"),
            victim: 2,
            topic: "t",
            partition: 1,
            acknowledged: Some(time("18:53:25.2")),
        };
        assert_eq!(
            Timeline::read([LOG], &question).to_string(),
            "noticed after 63 ms, new state written after 76 ms, its leader told after 94 ms, \
             first acknowledgement after 1600 ms"
        );
        let other = Question { partition: 0, acknowledged: None, ..question };
        assert_eq!(
            Timeline::read([LOG], &other).to_string(),
            "noticed after 63 ms, new state written after 123 ms"
        );
    }

    #[test]
    fn midnight_may_pass() {
        assert_eq!(time("00:00:00.5").since(time("23:59:59.5")), Some(Duration::from_secs(1)));
        assert_eq!(time("12:00:00.5").since(time("12:00:00.75")), None);
    }
}
