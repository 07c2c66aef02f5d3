//! A run: start, load, rounds of faults, peace, verdict.

mod story;
mod times;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client::admin::{Admin, AdminError, AdminOptions, NewTopic, Placement};
use client::cluster::Bootstrap;

use super::arena::{Arena, ArenaError, Node};
use super::counts::Counts;
use super::epochs;
use super::finale;
use super::folder;
use super::load::{GROUPS, Load, PARTITIONS, TOPIC};
use super::plan::{self, Planned};
use super::scenario::{Kind, Scenario};
use super::stop::{self, Company};
use super::strike::{Struck, Taken, strike};
use super::view::{Seen, View};
use crate::checker::{Event, Recorder, Verdict};
use crate::runtime::own_thread;
use story::Story;
use times::Times;

const START_LIMIT: Duration = Duration::from_secs(90);
/// Records are given up so long after ZooKeeper's quorum is back: later than any fault lasts.
const DELIVERY: Duration = Duration::from_secs(180);
/// Everything is read to the end within so many times the patience that a run has with a cluster: groups that wait for
/// members which went without a word have a backlog besides.
const READING: u32 = 3;
/// From here on it is told that ZooKeeper itself was slow to come back.
const SLOW_ANSWER: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(50);

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    pub scenario: Scenario,
    pub seed: u64,
    /// Rounds begin until then.
    pub lasts: Duration,
    pub quorum_loss: Duration,
    /// Records a second.
    pub rate: u32,
    /// The cluster must be whole by then after the last heal of a round, and read within three times that at the end.
    pub patience: Duration,
    pub folder: PathBuf,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Arena(#[from] ArenaError),
    #[error("{}: {cause}", path.display())]
    Folder { path: PathBuf, cause: std::io::Error },
    #[error("{what}: not within {} s", within.as_secs())]
    Late { what: &'static str, within: Duration },
    #[error("the topic cannot be made: {0}")]
    Topic(#[from] AdminError),
    #[error("the topic cannot be read at the end: {0}")]
    FinalRead(#[from] rdkafka::error::KafkaError),
    #[error(transparent)]
    History(#[from] crate::checker::HistoryError),
}

struct Run<'a> {
    settings: &'a Settings,
    arena: &'a mut dyn Arena,
    stop: &'a AtomicBool,
    recorder: Recorder,
    counts: Arc<Counts>,
    view: View,
    story: Story,
    taken: Taken,
    /// In force, by their number in the round.
    struck: BTreeMap<usize, Struck>,
    times: Vec<Times>,
    /// Registrations of processes that were ended: what is left of them does not make the cluster whole.
    former: BTreeMap<i32, i64>,
}

/// Runs it to the verdict. `stop` ends the faults early.
pub fn run(settings: &Settings, arena: &mut dyn Arena, stop: &AtomicBool) -> Result<Verdict, RunError> {
    let failed = |cause| RunError::Folder { path: settings.folder.clone(), cause };
    let recorder = Recorder::create(&settings.folder.join("history")).map_err(failed)?;
    let story = Story::begin(&settings.folder.join("story")).map_err(failed)?;
    let view = start(arena, &story)?;
    let counts = Arc::new(Counts::new());
    let bootstrap = bootstrap(arena);
    let delivery = settings.quorum_loss + DELIVERY;
    let mut load = Load::start(&bootstrap, &recorder, &counts, settings.rate, delivery, settings.seed);
    let mut run = Run {
        settings,
        arena,
        stop,
        recorder,
        counts,
        view,
        story,
        taken: Taken::default(),
        struck: BTreeMap::new(),
        times: Vec::new(),
        former: BTreeMap::new(),
    };
    let judged = run.until_judged(&mut load);
    let kept = run.keep(judged.as_ref().ok());
    drop(run.view);
    let verdict = judged?;
    kept?;
    Ok(verdict)
}

/// Brings everybody up, and the topic.
fn start(arena: &mut dyn Arena, story: &Story) -> Result<View, RunError> {
    let view = View::of(arena.zookeeper_connect(), finale::topics());
    for server in arena.zookeepers() {
        arena.start(Node::ZooKeeper(server))?;
    }
    let brokers = arena.brokers();
    let late = |what| RunError::Late { what, within: START_LIMIT };
    story.tell("ZooKeeper starts");
    wait_for(START_LIMIT, || view.last().is_some()).ok_or_else(|| late("ZooKeeper answers"))?;
    for broker in &brokers {
        arena.start(Node::Broker(*broker))?;
    }
    story.tell(&format!("brokers {brokers:?} start"));
    let registered = || view.last().is_some_and(|seen| seen.registered.len() == brokers.len());
    wait_for(START_LIMIT, registered).ok_or_else(|| late("all brokers are registered"))?;
    // A controller answers for the brokers that it has told of.
    let known = || view.last().is_some_and(|seen| finale::all_know_all(arena, &seen));
    wait_for(START_LIMIT, known).ok_or_else(|| late("all brokers know one another"))?;
    make_topic(&bootstrap(arena))?;
    Ok(view)
}

fn make_topic(bootstrap: &str) -> Result<(), RunError> {
    own_thread().block_on(async {
        let bootstrap = Bootstrap::resolve(bootstrap).await.expect("these are addresses");
        let admin = Admin::new(bootstrap, AdminOptions::default());
        let placement = Placement::Counts { partitions: Some(PARTITIONS), replication_factor: Some(3) };
        let new = NewTopic { name: String::from(TOPIC), placement, configs: BTreeMap::new() };
        Ok(admin.create_topic(&new).await?)
    })
}

fn bootstrap(arena: &dyn Arena) -> String {
    arena.brokers().into_iter().map(|id| arena.address(id)).collect::<Vec<_>>().join(",")
}

fn wait_for(limit: Duration, condition: impl Fn() -> bool) -> Option<Duration> {
    let started = Instant::now();
    while started.elapsed() < limit {
        if condition() {
            return Some(started.elapsed());
        }
        std::thread::sleep(TICK);
    }
    None
}

impl Run<'_> {
    fn until_judged(&mut self, load: &mut Load) -> Result<Verdict, RunError> {
        self.storm()?;
        self.story.tell("all is healed: producers stop, consumers read to the end");
        load.stop_producing();
        let whole = self.wait_until_whole(Instant::now());
        let ends = self.read_all()?;
        self.wait_for_groups(&ends);
        load.stop_consuming();
        self.look(whole)?;
        Ok(folder::verdict_of(&self.settings.folder)?)
    }

    /// Rounds until the time is over.
    fn storm(&mut self) -> Result<(), RunError> {
        let brokers = self.arena.brokers();
        let whole = self.wait("everything is replicated everywhere", START_LIMIT, |run| {
            run.view.last().is_some_and(|seen| seen.is_whole(&brokers, &finale::topics()))
        });
        whole.ok_or(RunError::Late { what: "everything is replicated everywhere", within: START_LIMIT })?;
        let began = Instant::now();
        let mut number = 0;
        while began.elapsed() < self.settings.lasts && !self.is_stopped() {
            self.round(number)?;
            number += 1;
        }
        Ok(())
    }

    /// Which of them are behind when their time is over is written down.
    fn wait_for_groups(&mut self, ends: &BTreeMap<i32, i64>) {
        let limit = self.settings.patience * READING;
        self.wait("the groups read to the end", limit, |run| run.counts.behind(&GROUPS, ends).is_empty());
        self.counts.behind(&GROUPS, ends).iter().for_each(|event| self.recorder.record(event));
    }

    fn round(&mut self, number: u64) -> Result<(), RunError> {
        let settings = self.settings;
        let round = plan::round(&settings.scenario, settings.seed, number, settings.quorum_loss);
        let kinds: Vec<String> =
            round.faults.iter().map(|f| format!("{}:{}", f.kind.name(), f.role)).collect();
        self.story.tell(&format!("round {number}: {}", kinds.join(", ")));
        self.pause_for(round.calm);
        let mut agenda: Vec<(Duration, bool, usize)> = Vec::new();
        for (index, fault) in round.faults.iter().enumerate() {
            agenda.push((fault.at, true, index));
            agenda.push((fault.at + fault.lasts, false, index));
        }
        // At the same time, what is over ends before something new begins; a fault begins before it ends.
        agenda.sort_by_key(|(at, strikes, index)| (*at, *index, !*strikes));
        let company = if round.faults.len() > 1 { Company::AmongFaults } else { Company::Alone };
        let began = Instant::now();
        for (at, strikes, index) in agenda {
            self.pause_for((began + at).saturating_duration_since(Instant::now()));
            match round.faults.get(index) {
                Some(fault) if strikes => self.strike(index, fault, company)?,
                _ => self.heal(index)?,
            }
        }
        self.after_heal(began, &kinds.join(", "))
    }

    fn strike(&mut self, index: usize, fault: &Planned, company: Company) -> Result<(), RunError> {
        if self.is_stopped() {
            return Ok(());
        }
        // What has ended by itself must not pass for the fault's victim.
        self.note_ends()?;
        if fault.kind == Kind::RollingRestart {
            return self.rolling_restart();
        }
        let seen = self.view.last();
        match strike(fault, self.arena, &mut self.taken, seen.as_ref(), company, &self.recorder)? {
            Some(struck) => {
                let what = struck.to_string();
                self.recorder.record(&Event::Fault { what: what.clone() });
                self.story.tell(&format!("FAULT  {what}, for {:.1} s", fault.lasts.as_secs_f64()));
                struck.ends().for_each(|broker| self.remember(broker, seen.as_ref()));
                self.struck.insert(index, struck);
            }
            None => self
                .story
                .tell(&format!("       {}: passed over, its victim has trouble enough", fault.kind.name())),
        }
        Ok(())
    }

    fn remember(&mut self, broker: i32, seen: Option<&Seen>) {
        if let Some(czxid) = seen.and_then(|seen| seen.registered.get(&broker)) {
            self.former.insert(broker, *czxid);
        }
    }

    fn heal(&mut self, index: usize) -> Result<(), RunError> {
        self.note_ends()?;
        let Some(struck) = self.struck.remove(&index) else { return Ok(()) };
        struck.undo(self.arena, &mut self.taken)?;
        let what = struck.to_string();
        self.story.tell(&format!("HEAL   {what}"));
        self.recorder.record(&Event::Healed { what });
        Ok(())
    }

    fn rolling_restart(&mut self) -> Result<(), RunError> {
        for broker in self.arena.brokers() {
            let node = Node::Broker(broker);
            let what = format!("rolling-restart [SIGTERM {node}]");
            self.recorder.record(&Event::Fault { what: what.clone() });
            self.note_ends()?;
            let began = Instant::now();
            self.remember(broker, self.view.last().as_ref());
            let stopped = stop::stop(self.arena, node, Company::Alone.limit())?;
            stopped.iter().for_each(|event| self.recorder.record(event));
            self.story
                .tell(&format!("FAULT  {what}, which ended after {:.1} s", began.elapsed().as_secs_f64()));
            self.note_ends()?;
            self.arena.start(node)?;
            self.recorder.record(&Event::Healed { what });
            let took = self.wait_until_whole(Instant::now());
            self.record_whole(took);
        }
        Ok(())
    }

    /// Waits until the cluster is whole, and tells how long that and the longest silence took.
    fn after_heal(&mut self, began: Instant, faults: &str) -> Result<(), RunError> {
        let healed = Instant::now();
        // ZooKeeper's own start is not the brokers' doing.
        let answered = self.wait("ZooKeeper answers", START_LIMIT, |run| run.view.since(healed).is_some());
        let answered = answered.filter(|time| *time > SLOW_ANSWER);
        let took = self.wait_until_whole(if answered.is_some() { Instant::now() } else { healed });
        self.record_whole(took);
        // Acknowledgements that the recovery made possible are on their way.
        self.pause_for(Duration::from_secs(1));
        let gap = self.counts.longest_gap(began, Instant::now());
        let silence = gap.map_or(String::from("nothing was acknowledged"), |(partition, gap)| {
            format!(
                "longest time without an acknowledgement {:.2} s (partition {partition})",
                gap.as_secs_f64()
            )
        });
        let whole = match took > self.settings.patience {
            true => format!("NOT WHOLE {} s after", self.settings.patience.as_secs()),
            false => format!("whole {:.1} s after", took.as_secs_f64()),
        };
        let whole = match answered {
            Some(time) => {
                format!("ZooKeeper answered {:.1} s after the heal; {whole} that", time.as_secs_f64())
            }
            None => format!("{whole} the heal"),
        };
        self.story.tell(&format!("       {whole}; {silence}"));
        self.times.push(Times {
            faults: String::from(faults),
            lasted: healed - began,
            silence: gap.map(|(_, gap)| gap),
            answered,
            whole: took,
        });
        self.note_ends()
    }

    fn record_whole(&self, took: Duration) {
        let limit_us = micros(self.settings.patience);
        self.recorder.record(&Event::Whole { took_us: micros(took), limit_us });
    }

    /// From `since` on; a little more than the limit if it does not come.
    fn wait_until_whole(&mut self, since: Instant) -> Duration {
        let brokers = self.arena.brokers();
        let former = std::mem::take(&mut self.former);
        let whole = |seen: Seen| {
            let anew = former.iter().all(|(broker, czxid)| seen.registered.get(broker) != Some(czxid));
            anew && seen.is_whole(&brokers, &finale::topics())
        };
        self.wait("the cluster is whole", self.settings.patience, |run| {
            run.view.since(since).is_some_and(&whole)
        })
        .map_or(self.settings.patience + TICK, |_| since.elapsed())
    }

    /// A broker that ended by itself is written down, and started again.
    fn note_ends(&mut self) -> Result<(), RunError> {
        for (node, how) in self.arena.ended() {
            if self.struck.values().any(|struck| struck.may_end(node)) {
                self.story.tell(&format!("       {node} has ended ({how}), as it may"));
                continue;
            }
            self.story.tell(&format!("       {node} HAS ENDED BY ITSELF: {how}"));
            self.recorder.record(&Event::Ended { node: node.to_string(), how });
            if !self.struck.values().any(|struck| struck.holds_down(node)) {
                self.arena.start(node)?;
            }
        }
        Ok(())
    }

    /// The story goes on meanwhile. How long it took, if it came.
    fn wait(&mut self, what: &str, limit: Duration, condition: impl Fn(&Self) -> bool) -> Option<Duration> {
        let started = Instant::now();
        while !condition(self) {
            if started.elapsed() > limit {
                self.story.tell(&format!("       {what}: NOT within {} s", limit.as_secs()));
                return None;
            }
            self.tick();
        }
        Some(started.elapsed())
    }

    fn pause_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.is_stopped() {
            self.tick();
        }
    }

    fn tick(&mut self) {
        std::thread::sleep(TICK);
        self.story.counts(&self.counts, self.view.last().as_ref());
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn read_all(&mut self) -> Result<BTreeMap<i32, i64>, RunError> {
        Ok(finale::read_all(&bootstrap(self.arena), &self.recorder, self.settings.patience * READING)?)
    }

    /// Everything that clients do not see.
    fn look(&mut self, whole: Duration) -> Result<(), RunError> {
        self.story.tell("replicas, ZooKeeper and brokers are compared");
        self.record_whole(whole);
        finale::compare_replicas(self.arena, &self.recorder)?;
        let now = || self.view.since(Instant::now() - Duration::from_secs(1));
        finale::compare_words(self.arena, now, &self.recorder);
        epochs::ask(self.arena, now, &self.recorder);
        for (node, how) in self.arena.ended() {
            self.recorder.record(&Event::Ended { node: node.to_string(), how });
        }
        for id in self.arena.brokers() {
            let node = Node::Broker(id);
            if self.arena.is_running(node) {
                self.recorder.record(&Event::Alive { node: node.to_string() });
            }
            // A task may panic without ending its process.
            for line in self.arena.log(node).lines().filter(|line| line.contains("panicked at")) {
                self.recorder.record(&Event::Ended { node: node.to_string(), how: String::from(line) });
            }
        }
        self.recorder.flush();
        Ok(())
    }

    /// What would vanish with the arena. Log directories only where there is something to look into.
    fn keep(&self, verdict: Option<&Verdict>) -> Result<(), RunError> {
        let home = &self.settings.folder;
        let failed = |cause| RunError::Folder { path: home.clone(), cause };
        let keep = |name: &str, text: String| std::fs::write(home.join(name), text).map_err(failed);
        keep("znodes", folder::dump_znodes(&self.arena.zookeeper_connect()))?;
        let times = times::table(&self.times);
        println!("\n{times}");
        keep("times", times)?;
        keep("complaints", self.counts.complaints())?;
        keep("librdkafka", self.counts.remarks())?;
        if let Some(verdict) = verdict {
            keep("verdict", format!("{verdict}\n"))?;
        }
        keep("settings", format!("{:#?}\n", self.settings))?;
        if !verdict.is_some_and(Verdict::is_clean) {
            for broker in self.arena.brokers() {
                let data = self.arena.log_dir(broker)?;
                folder::keep_log_dir(home, broker, &data).map_err(failed)?;
            }
        }
        Ok(())
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::arena::Stop;
    use crate::chaos::fake::Fake;
    use crate::chaos::scenario::Role;
    use crate::checker::History;

    const BROKER: Node = Node::Broker(1);

    /// What is written down of ends when this fault strikes broker 1 and is healed at once.
    fn ends(arena: &mut Fake, kind: Kind) -> Vec<Event> {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings {
            scenario: Scenario::Storm,
            seed: 1,
            lasts: Duration::ZERO,
            quorum_loss: Duration::ZERO,
            rate: 1,
            patience: Duration::from_secs(1),
            folder: folder.path().to_path_buf(),
        };
        let path = folder.path().join("history");
        let mut run = Run {
            settings: &settings,
            arena,
            stop: &AtomicBool::new(false),
            recorder: Recorder::create(&path).expect("a file"),
            counts: Arc::new(Counts::new()),
            view: View::blind(),
            story: Story::begin(&folder.path().join("story")).expect("a file"),
            taken: Taken::default(),
            struck: BTreeMap::new(),
            times: Vec::new(),
            former: BTreeMap::new(),
        };
        // Of three brokers these dice mean the first.
        let (at, lasts, dice) = (Duration::ZERO, Duration::ZERO, 0);
        let fault = Planned { kind, role: Role::Random, at, lasts, dice };
        run.strike(0, &fault, Company::Alone).expect("the arena does what it is told");
        run.heal(0).expect("the arena does what it is told");
        run.recorder.flush();
        let history = History::read(&path).expect("it was written").entries;
        let events = history.into_iter().map(|entry| entry.event);
        events.filter(|event| matches!(event, Event::Ended { .. } | Event::Stopped { .. })).collect()
    }

    #[test]
    fn a_broker_that_died_before_the_fault_is_not_taken_for_its_victim() {
        let ended = Event::Ended { node: BROKER.to_string(), how: String::from("signal: 6") };
        for kind in [Kind::Kill, Kind::Bounce, Kind::DiskFull, Kind::Pause] {
            let mut arena = Fake::new();
            arena.dies(BROKER, "signal: 6");
            let told = ends(&mut arena, kind);
            assert_eq!(told.first(), Some(&ended), "{kind:?}");
            assert!(arena.is_running(BROKER), "{kind:?}");
        }
    }

    #[test]
    fn a_bounce_tells_how_the_broker_stopped() {
        for (stop, told) in [
            (Stop::Orderly, Some("orderly")),
            (Stop::Otherwise(String::from("exit status: 1")), Some("exit status: 1")),
            (Stop::Late, Some("it ran on, and was killed")),
            (Stop::Before, None),
        ] {
            let mut arena = Fake { stop, ..Fake::new() };
            let events = ends(&mut arena, Kind::Bounce);
            let how = events.iter().find_map(|event| match event {
                Event::Stopped { how, .. } => Some(how.as_str()),
                _ => None,
            });
            assert_eq!(how, told);
            assert!(arena.is_running(BROKER));
        }
    }
}
