//! What a stream costs: callscribe and its yardsticks under the same load, one after the other.
//!
//! `make bench` runs it; `make bench BENCH=--help` shows what can be chosen. Each contestant receives the same streams
//! from the same generator, on a core of its own, and is charged what the kernel booked to its process, user and system
//! time together; generator and recogniser are on accounts of their own. Costs are compared within a run only: another
//! machine, another hour, other figures. `docs/PERFORMANCE.md` tells what came out.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench lives in real time, with real sockets and processes"
)]

mod account;
mod chart;
mod contestant;
mod control;
mod cores;
mod daemon;
mod lines;
mod machine;
mod ports;
mod process;
mod prometheus;
mod recording;
mod report;
mod sink;
mod yardstick;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use contestant::{Contestant, Load, Overwhelmed, Talk};
use cores::Cores;
use report::{Report, Run};

/// Any error ends the bench; it names what failed.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The project.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[derive(Debug, Parser)]
#[command(about = "Measures what a stream costs, beside its yardsticks")]
struct Command {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    plan: Plan,
}

#[derive(Debug, Args)]
struct Plan {
    /// A short form of three minutes: 100 and 1,000 streams, once, and 2,000 registered legs
    #[arg(long)]
    quick: bool,
    /// One-way streams at once, one run for each number and contestant
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 400, 1000, 2000])]
    legs: Vec<u16>,
    /// Registered legs of which one in ten speaks, at the end; 0 leaves that run out
    #[arg(long, default_value_t = 10_000)]
    registered: u16,
    /// Seconds that are measured, after a warm-up
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// How often callscribe is measured
    #[arg(long, default_value_t = 2)]
    repeat: u16,
    /// How often callscribe empties its sockets, in milliseconds, if not by its default
    #[arg(long)]
    tick_ms: Option<u16>,
    /// Contestants by name; all by default
    #[arg(long, value_delimiter = ',')]
    only: Vec<Contestant>,
    /// Name under which figures and pictures are kept in benches/results and docs/performance
    #[arg(long)]
    keep: Option<String>,
    /// Figures of another run (benches/results/NAME.json) to compare with
    #[arg(long, value_name = "NAME")]
    against: Option<String>,
}

/// What the bench's own processes do.
#[derive(Debug, Subcommand)]
enum Role {
    /// Be a yardstick: receive, and print what came when standard input ends
    #[command(hide = true)]
    Yardstick(yardstick::Task),
}

fn main() -> ExitCode {
    let command = Command::parse();
    let outcome = match command.role {
        Some(Role::Yardstick(task)) => yardstick::run(&task),
        None => compare(command.plan),
    };
    for folder in [scratch_path(), memory_path()] {
        fs::remove_dir_all(folder).unwrap_or_default();
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(mut plan: Plan) -> Outcome<()> {
    if plan.quick {
        plan.legs = vec![100, 1000];
        plan.registered = plan.registered.min(2000);
        plan.seconds = plan.seconds.min(8);
        plan.repeat = 1;
    }
    let against = plan.against.as_deref().map(report::read).transpose()?;
    let machine = machine::describe()?;
    let cores = Cores::divide()?;
    let mut report = Report::new(machine);
    println!("{}\n\n{}", report.machine, report::HEAD);
    let mut failed = Vec::new();
    for (contestant, load) in runs(&plan, cores) {
        let is_registered = load.legs != load.streams;
        let result = if is_registered {
            daemon::run_registered(load)
        } else {
            contestant.run(load)
        };
        match result {
            Ok(result) => report.add(Run::new(contestant, load, result)),
            Err(error) if contestant.is_yardstick() && error.is::<Overwhelmed>() => {
                let (name, legs) = (contestant.name(), load.legs);
                println!("| {name} | {legs} | did not keep up: {error} |");
            }
            // The others are worth their minutes all the same.
            Err(error) => {
                let (name, legs) = (contestant.name(), load.legs);
                println!("| {name} | {legs} | failed: {error} |");
                failed.push(name);
            }
        }
    }
    report.close(against.as_ref());
    report.keep(plan.keep.as_deref())?;
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("runs failed: {}", failed.join(", ")).into())
    }
}

/// Every run, in its order: the machine may change its pace meanwhile, so those to be compared are neighbours.
fn runs(plan: &Plan, cores: Cores) -> Vec<(Contestant, Load)> {
    let load = |legs, streams, talk| Load {
        legs,
        streams,
        talk,
        seconds: plan.seconds,
        tick_ms: plan.tick_ms,
        cores,
    };
    let mut runs = Vec::new();
    let chosen = |contestant: &Contestant| plan.only.is_empty() || plan.only.contains(contestant);
    for &legs in &plan.legs {
        for contestant in Contestant::ALL.into_iter().filter(chosen) {
            // With one stream there is nothing to compare: hundredths of a second.
            if legs > contestant.most_streams() || (legs == 1 && contestant.is_yardstick()) {
                continue;
            }
            let times = if contestant.is_yardstick() {
                1
            } else {
                plan.repeat
            };
            let one = (contestant, load(legs, legs, Talk::Conversation));
            runs.extend((0..times).map(|_| one));
        }
    }
    if chosen(&Contestant::Callscribe) {
        let most = plan.legs.iter().copied().max().unwrap_or(1).min(1000);
        runs.push((Contestant::Callscribe, load(most, most, Talk::Silence)));
        // Calls have two legs.
        let (legs, speaking) = (plan.registered & !1, (plan.registered / 10) & !1);
        if speaking > 0 {
            runs.push((
                Contestant::Callscribe,
                load(legs, speaking, Talk::Conversation),
            ));
        }
    }
    runs
}

/// A folder for what all runs need.
fn scratch() -> Outcome<PathBuf> {
    let folder = scratch_path();
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn scratch_path() -> PathBuf {
    env::temp_dir().join(format!("callscribe-bench-{}", std::process::id()))
}

/// An empty folder for what one run needs.
fn fresh_folder() -> Outcome<PathBuf> {
    fresh(scratch()?.join("run"))
}

/// An empty folder in memory, as systemd's runtime directories are.
fn fresh_memory() -> Outcome<PathBuf> {
    fresh(memory_path())
}

fn memory_path() -> PathBuf {
    PathBuf::from(format!("/dev/shm/callscribe-bench-{}", std::process::id()))
}

fn fresh(folder: PathBuf) -> Outcome<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir(&folder)?;
    Ok(folder)
}
