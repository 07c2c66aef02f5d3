//! Whether an arena does what is asked of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::arena::{Arena, ArenaError, End, Node, Weather};
use crate::zookeeper::four_letters;

const SERVER: Node = Node::ZooKeeper(1);
const BROKER: i32 = 1;
const SOON: Duration = Duration::from_secs(60);
/// Long enough for an answer, were it to come.
const MOMENT: Duration = Duration::from_secs(2);

/// Does each thing to a ZooKeeper server and to a broker's surroundings, and looks. What is not as it should be.
/// The arena must have clocks and slow disks.
pub fn self_test(arena: &mut dyn Arena) -> Result<Vec<String>, ArenaError> {
    let address = arena.zookeeper_connect();
    let server: SocketAddr = address.parse().map_err(|error| ArenaError {
        what: address.clone(),
        why: format!("a test needs one server's address: {error}"),
    })?;
    let answers = || four_letters(server, "srvr", MOMENT).is_some_and(|said| said.contains("Mode:"));
    let answers_soon = || soon(&answers);
    let mut wrong = Vec::new();
    let mut expect = |holds: bool, what: &str| {
        println!("{}  {what}", if holds { "ok   " } else { "WRONG" });
        if !holds {
            wrong.push(String::from(what));
        }
    };
    arena.start(SERVER)?;
    expect(answers_soon(), "a node starts, and clients hear it");

    for (from, to, what) in [
        (End::Clients, End::Node(SERVER), "a cut keeps questions away"),
        (End::Node(SERVER), End::Clients, "a cut keeps answers away"),
    ] {
        arena.cut(from, to)?;
        expect(!answers(), what);
        arena.heal(from, to)?;
        expect(answers_soon(), "after the heal they are heard again");
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
        expect(answers_soon(), "fair weather again");
    }

    arena.pause(SERVER)?;
    expect(!answers(), "a paused node is silent");
    arena.resume(SERVER)?;
    expect(answers_soon(), "and goes on when resumed");
    arena.kill(SERVER)?;
    expect(!arena.is_running(SERVER) && !answers(), "a killed node is gone");
    expect(arena.ended().is_empty(), "which is not of itself");

    surroundings(arena, &mut expect)?;
    Ok(wrong)
}

/// Disk and clock, by programs of the system's in a broker's place.
fn surroundings(arena: &mut dyn Arena, expect: &mut impl FnMut(bool, &str)) -> Result<(), ArenaError> {
    let write = "dd if=/dev/zero of=$DISK/probe bs=8k count=1";
    arena.fill_disk(BROKER)?;
    expect(arena.beside(BROKER, write).is_err(), "a full disk takes nothing");
    arena.free_disk(BROKER)?;
    expect(arena.beside(BROKER, write).is_ok(), "a freed one does");

    let delay = Duration::from_millis(1_500);
    for (wanted, slow) in [(delay, true), (Duration::ZERO, false)] {
        arena.slow_disk(BROKER, wanted)?;
        let began = Instant::now();
        arena.beside(BROKER, "sync $DISK/probe")?;
        expect((began.elapsed() >= delay) == slow, &format!("a sync takes {delay:?} longer: {slow}"));
    }
    for shift in [3_600, -3_600, 0] {
        arena.shift_clock(BROKER, shift)?;
        let theirs: i64 = arena.beside(BROKER, "date +%s")?.trim().parse().unwrap_or(0);
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let off = theirs - i64::try_from(ours).unwrap_or(0);
        expect((off - shift).abs() <= 5, &format!("a clock is {shift} s off"));
    }
    Ok(())
}

fn soon(condition: &impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > SOON {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}
