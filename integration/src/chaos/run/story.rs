//! What a person is told while a run goes on, and can read again afterwards.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::chaos::counts::Counts;
use crate::chaos::load::TOPIC;
use crate::chaos::view::Seen;

const COUNT_EVERY: Duration = Duration::from_secs(5);

/// Writes to the terminal and to a file.
#[derive(Debug)]
pub(super) struct Story {
    began: Instant,
    counted: Cell<Instant>,
    acknowledged: Cell<u64>,
    file: RefCell<File>,
}

impl Story {
    pub(super) fn begin(path: &Path) -> std::io::Result<Story> {
        let began = Instant::now();
        let file = RefCell::new(File::create(path)?);
        Ok(Story { began, counted: Cell::new(began), acknowledged: Cell::new(0), file })
    }

    pub(super) fn tell(&self, what: &str) {
        let at = self.began.elapsed().as_secs_f64();
        let line = format!("{:02}:{:04.1}  {what}", (at / 60.0) as u64, at % 60.0);
        println!("{line}");
        // The terminal has it already.
        let _ = writeln!(self.file.borrow_mut(), "{line}");
    }

    /// A line of counts, if it is time for one.
    pub(super) fn counts(&self, counts: &Counts, seen: Option<&Seen>) {
        let since = self.counted.get().elapsed();
        if since < COUNT_EVERY {
            return;
        }
        self.counted.set(Instant::now());
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let acknowledged = of(&counts.acknowledged);
        let fresh = acknowledged.saturating_sub(self.acknowledged.replace(acknowledged));
        let per_second = fresh as f64 / since.as_secs_f64();
        let mut line = format!(
            "       acknowledged {acknowledged} of {} ({per_second:.0}/s)  consumed {}  commits {}  given up {}  errors {}",
            of(&counts.sent),
            of(&counts.consumed),
            of(&counts.committed),
            of(&counts.given_up),
            of(&counts.errors),
        );
        if let Some(seen) = seen {
            let leaders: Vec<String> =
                seen.led(TOPIC).iter().map(|(leader, count)| format!("{leader}:{count}")).collect();
            let number = |number: Option<i32>| number.map_or(String::from("none"), |n| n.to_string());
            line.push_str(&format!(
                "  smallest ISR {}  leaders {}  controller {}",
                seen.smallest_isr().map_or(String::from("none"), |n| n.to_string()),
                leaders.join(" "),
                number(seen.controller),
            ));
            let age = seen.at.elapsed();
            if age > Duration::from_secs(2) {
                line.push_str(&format!("  (ZooKeeper silent for {} s)", age.as_secs()));
            }
        }
        self.tell(&line);
    }
}
