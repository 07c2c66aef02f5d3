//! Faults by name against a cluster of its own, and a verdict: `scripts/chaos`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use integration::chaos::arena::{Arena, Shape};
use integration::chaos::compose::{self, Compose};
use integration::chaos::local::Local;
use integration::chaos::scenario::{Kind, Scenario, list};
use integration::chaos::{Settings, run, sandbox, self_test, verdict_of};
use tokio::signal::unix::{SignalKind, signal};

/// Breaks a cluster and judges what it did. Exit code: 0 the verdict is clean, 1 it is not, 2 there is none.
///
/// The cluster consists of processes in network namespaces of their own, or of the containers of
/// docker-compose.yml; nothing leaves this machine, and nothing is left behind but the folder (and, of Docker,
/// images). ZOOKEEPER_IMAGE names ZooKeeper's image, OTTLA_IMAGE one of brokers that has its own program.
#[derive(Parser)]
#[command(name = "scripts/chaos")]
struct Arguments {
    /// Names joined by commas, each perhaps with `:role` (`rolling-restart` stands alone); or `storm`; or `verdict`, to judge a kept folder again;
    /// or `self-test`, to see whether this machine can do all of it.
    #[arg(required_unless_present = "list")]
    scenario: Option<String>,
    /// The folder to judge again, or for the test.
    #[arg(value_name = "FOLDER")]
    judged: Option<PathBuf>,
    /// What the cluster consists of.
    #[arg(long, value_enum, default_value_t = Place::Local)]
    on: Place,
    /// Names all scenarios.
    #[arg(long)]
    list: bool,
    /// The same seed gives the same plan of faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long rounds of faults begin.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    #[arg(long, default_value_t = 3)]
    brokers: i32,
    /// ZooKeeper servers: 1 or 3. Three if the scenario takes some of them away.
    #[arg(long)]
    zookeepers: Option<i32>,
    /// Seconds for which zookeeper-quorum lasts.
    #[arg(long, default_value_t = 60)]
    quorum_loss: u64,
    /// Records a second.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Seconds within which the cluster must be whole after a heal, from ZooKeeper's answer on where that was away.
    /// Groups have three times as much to read to the end when all is over.
    #[arg(long, default_value_t = 20)]
    patience: u64,
    /// `key=value`, a property of all brokers instead of the usual one; may be repeated. What it makes of the
    /// promises is the verdict's to say.
    #[arg(long)]
    property: Vec<String>,
    /// Where everything is kept; by default a new one in target/chaos.
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Place {
    /// Processes of this machine.
    Local,
    /// Containers; needs a Docker engine.
    Compose,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        print!("{}", list());
        return ExitCode::SUCCESS;
    }
    if arguments.scenario.as_deref() == Some("verdict") {
        return judge_again(arguments.judged);
    }
    let missing = match arguments.on {
        Place::Local if sandbox::is_inside() => None,
        Place::Local => sandbox::missing(),
        Place::Compose => compose::missing(),
    };
    if let Some(why) = missing {
        return refuse(&why);
    }
    if matches!(arguments.on, Place::Local) && !sandbox::is_inside() {
        return refuse(&format!("unshare: {}", sandbox::enter()));
    }
    match work(&arguments) {
        Ok(clean) => ExitCode::from(u8::from(!clean)),
        Err(error) => refuse(&*error),
    }
}

fn refuse(why: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("chaos: {why}");
    ExitCode::from(2)
}

fn judge_again(folder: Option<PathBuf>) -> ExitCode {
    let Some(folder) = folder else { return refuse(&"verdict: of which folder?") };
    match verdict_of(&folder) {
        Ok(verdict) => {
            println!("{verdict}");
            ExitCode::from(u8::from(!verdict.is_clean()))
        }
        Err(error) => refuse(&error),
    }
}

/// Whether the verdict was clean, or the test found nothing wrong.
fn work(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let name = arguments.scenario.as_deref().unwrap_or_default();
    if name == "self-test" {
        let folder = arguments.judged.clone().unwrap_or_else(|| PathBuf::from("target/chaos/self-test"));
        let shape =
            Shape { brokers: 3, zookeepers: 1, clocks: true, slow_disks: true, properties: Vec::new() };
        let mut arena = arena(arguments.on, &std::path::absolute(folder)?, shape)?;
        return Ok(self_test(&mut *arena)?.is_empty());
    }
    let scenario: Scenario = name.parse()?;
    let folder = match &arguments.folder {
        Some(folder) => std::path::absolute(folder)?,
        None => new_folder(arguments)?,
    };
    let wants_three = scenario.may_have(Kind::ZooKeeperQuorum);
    let shape = Shape {
        brokers: arguments.brokers,
        zookeepers: arguments.zookeepers.unwrap_or(if wants_three { 3 } else { 1 }),
        clocks: scenario.may_have(Kind::ClockJump),
        slow_disks: scenario.may_have(Kind::SlowDisk),
        properties: arguments.property.clone(),
    };
    let settings = Settings {
        scenario,
        seed: arguments.seed,
        lasts: Duration::from_secs_f64(arguments.minutes * 60.0),
        quorum_loss: Duration::from_secs(arguments.quorum_loss),
        rate: arguments.rate,
        patience: Duration::from_secs(arguments.patience),
        folder: folder.clone(),
    };
    println!("{name} with seed {}, kept in {}", arguments.seed, folder.display());
    let stop = stop_on_interrupt()?;
    let mut arena = arena(arguments.on, &folder, shape)?;
    let verdict = run(&settings, &mut *arena, &stop)?;
    println!("\n{verdict}\nkept: {}", folder.display());
    Ok(verdict.is_clean())
}

fn arena(on: Place, folder: &Path, shape: Shape) -> Result<Box<dyn Arena>, Box<dyn std::error::Error>> {
    std::fs::create_dir_all(folder)?;
    Ok(match on {
        Place::Local => {
            sandbox::furnish()?;
            Box::new(Local::new(folder, shape)?)
        }
        Place::Compose => {
            println!("images and containers are made, which takes minutes the first time");
            Box::new(Compose::new(folder, shape)?)
        }
    })
}

/// Nobody else's, though he begin in the same second.
fn new_folder(arguments: &Arguments) -> std::io::Result<PathBuf> {
    let home = std::path::absolute("target/chaos")?;
    std::fs::create_dir_all(&home)?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let name = arguments.scenario.as_deref().unwrap_or_default().replace([',', ':', '@', '+'], "_");
    let first = format!("{seconds}-{name}-{}", arguments.seed);
    let mut number = 1;
    loop {
        let folder = home.join(if number == 1 { first.clone() } else { format!("{first}.{number}") });
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|()| folder),
        }
    }
}

/// Ctrl-C, or SIGTERM: no more faults; what is broken is healed and judged.
fn stop_on_interrupt() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            println!("no more faults; what is broken is healed, and the run is judged");
            told.store(true, Ordering::Relaxed);
        });
    });
    Ok(stop)
}
