//! How long faults lasted and what they cost, round by round.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Times {
    pub(super) faults: String,
    /// From the first fault to the last heal.
    pub(super) lasted: Duration,
    /// The longest time in which some partition had no record acknowledged; `None`: no partition ever had.
    pub(super) silence: Option<Duration>,
    /// When ZooKeeper answered after the heal, if it took its time.
    pub(super) answered: Option<Duration>,
    /// When the cluster was whole after the heal, or after ZooKeeper's answer if that took its time.
    pub(super) whole: Duration,
}

/// A table in Markdown.
pub(super) fn table(times: &[Times]) -> String {
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let mut text = String::from(
        "| faults | from the first to the last heal | longest silence | ZooKeeper answered | whole |\n\
         |---|---|---|---|---|\n",
    );
    for Times { faults, lasted, silence, answered, whole } in times {
        text.push_str(&format!(
            "| {faults} | {} | {} | {} | {} |\n",
            seconds(*lasted),
            silence.map_or(String::from("all the time"), seconds),
            answered.map_or(String::from("at once"), seconds),
            seconds(*whole),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_a_row() {
        let row = Times {
            faults: String::from("kill:leader"),
            lasted: Duration::from_millis(2_540),
            silence: Some(Duration::from_millis(310)),
            answered: None,
            whole: Duration::from_secs(1),
        };
        let text = table(&[row]);
        assert_eq!(text.lines().last(), Some("| kill:leader | 2.5 s | 0.3 s | at once | 1.0 s |"));
    }
}
