//! Whether this machine does what the arena asks of it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Local, Shape, network, settings};
use crate::chaos::arena::{Arena, ArenaError, End, Node, Weather};
use crate::zookeeper::four_letters;

const SERVER: Node = Node::ZooKeeper(1);
const BROKER: i32 = 1;
const SOON: Duration = Duration::from_secs(60);
/// Long enough for an answer, were it to come.
const MOMENT: Duration = Duration::from_secs(2);

/// Does each thing to a ZooKeeper server and to a broker's surroundings, and looks. What is not as it should be.
pub fn self_test(folder: &Path) -> Result<Vec<String>, ArenaError> {
    let shape = Shape { brokers: 1, zookeepers: 1, clocks: true, slow_disks: true, properties: Vec::new() };
    let mut arena = Local::new(folder, shape)?;
    let mut wrong = Vec::new();
    let mut expect = |holds: bool, what: &str| {
        println!("{}  {what}", if holds { "ok   " } else { "WRONG" });
        if !holds {
            wrong.push(String::from(what));
        }
    };
    arena.start(SERVER)?;
    expect(answers_within(SOON), "a node starts, and clients hear it");

    for (from, to, what) in [
        (End::Clients, End::Node(SERVER), "a cut keeps questions away"),
        (End::Node(SERVER), End::Clients, "a cut keeps answers away"),
    ] {
        arena.cut(from, to)?;
        expect(!answers(), what);
        arena.heal(from, to)?;
        expect(answers_within(SOON), "after the heal they are heard again");
    }
    arena.cut(End::Node(Node::Broker(BROKER)), End::Node(SERVER))?;
    expect(answers(), "a cut between others concerns nobody else");
    arena.heal(End::Node(Node::Broker(BROKER)), End::Node(SERVER))?;

    for (weather, arrives) in
        [(Weather::Down, false), (Weather::Lossy(1.0), false), (Weather::Narrow(3_000), true)]
    {
        arena.weather(SERVER, weather)?;
        expect(answers() == arrives, &format!("{weather:?}: answers arrive: {arrives}"));
        arena.weather(SERVER, Weather::Fair)?;
        expect(answers_within(SOON), "fair weather again");
    }

    arena.pause(SERVER)?;
    expect(!answers(), "a paused node is silent");
    arena.resume(SERVER)?;
    expect(answers_within(SOON), "and goes on when resumed");
    arena.kill(SERVER)?;
    expect(!arena.is_running(SERVER) && !answers(), "a killed node is gone");
    expect(arena.ended().is_empty(), "which is not of itself");

    surroundings(&mut arena, &mut expect)?;
    Ok(wrong)
}

/// Disk and clock, by programs of the system's in a broker's place.
fn surroundings(arena: &mut Local, expect: &mut impl FnMut(bool, &str)) -> Result<(), ArenaError> {
    let home = arena.home(Node::Broker(BROKER));
    let file = super::disk::log_dir(&home).with_file_name("probe");
    let write = || fs::write(&file, [0; 8192]);
    arena.fill_disk(BROKER)?;
    let full = write().is_err_and(|error| error.kind() == std::io::ErrorKind::StorageFull);
    expect(full, "a full disk takes nothing");
    arena.free_disk(BROKER)?;
    expect(write().is_ok(), "a freed one does");

    let variables = arena.preloaded(&home)?;
    let preloaded = |program: &str, argument: &str| {
        let output = Command::new("env").args(&variables).args([program, argument]).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    let delay = Duration::from_millis(300);
    for (wanted, slow) in [(delay, true), (Duration::ZERO, false)] {
        arena.slow_disk(BROKER, wanted)?;
        let began = Instant::now();
        preloaded("sync", &file.display().to_string());
        expect((began.elapsed() >= delay) == slow, &format!("a sync takes {delay:?} longer: {slow}"));
    }
    for shift in [3_600, -3_600, 0] {
        arena.shift_clock(BROKER, shift)?;
        let theirs: i64 = preloaded("date", "+%s").trim().parse().unwrap_or(0);
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let off = theirs - i64::try_from(ours).unwrap_or(0);
        expect((off - shift).abs() <= 5, &format!("a clock is {shift} s off"));
    }
    Ok(())
}

fn answers() -> bool {
    let server = SocketAddr::from((network::address(SERVER), settings::ZOOKEEPER_PORT));
    four_letters(server, "srvr", MOMENT).is_some_and(|said| said.contains("Mode:"))
}

fn answers_within(limit: Duration) -> bool {
    let began = Instant::now();
    while !answers() {
        if began.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}
