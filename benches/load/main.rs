//! What a stream costs: callscribe and its yardsticks under the same load, one after the other.
//!
//! `make bench` runs it; `BENCH=--help` shows what can be chosen. Each contestant receives the same
//! streams from the same generator and is charged what the kernel booked to its process, user and
//! system time together; generator and recogniser are on accounts of their own. Costs are compared
//! within a run only: another machine, another hour, other figures.
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
mod daemon;
mod machine;
mod report;
mod yardstick;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use contestant::{Contestant, Load};
use report::Report;

/// Any error ends the bench; it names what failed.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

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
    /// One-way streams at once, one run for each number and contestant
    #[arg(long, value_delimiter = ',', default_value = "1,100,400,1000,2000")]
    legs: Vec<u16>,
    /// Registered legs of which one in ten speaks, at the end; 0 leaves that run out
    #[arg(long, default_value_t = 9000)]
    registered: u16,
    /// Seconds that are measured, after a warm-up
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Contestants by name; all by default
    #[arg(long, value_delimiter = ',')]
    only: Vec<Contestant>,
    /// Runs of the yardsticks stop at this many legs
    #[arg(long, default_value_t = 1000)]
    yardstick_legs: u16,
    /// Where tables, pictures and figures are kept
    #[arg(long, default_value = "docs/performance")]
    keep: PathBuf,
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
        None => compare(&command.plan),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(plan: &Plan) -> Outcome<()> {
    let chosen = |contestant: &Contestant| plan.only.is_empty() || plan.only.contains(contestant);
    let mut report = Report::new(machine::describe()?);
    println!("{}", report.machine);
    for &legs in &plan.legs {
        for contestant in Contestant::ALL.into_iter().filter(chosen) {
            if contestant.is_yardstick() && legs > plan.yardstick_legs {
                continue;
            }
            let load = Load {
                legs,
                speaking: legs,
                seconds: plan.seconds,
            };
            report.add(contestant, load, contestant.run(load)?);
        }
    }
    if plan.registered > 0 && chosen(&Contestant::Callscribe) {
        let load = Load {
            legs: plan.registered,
            speaking: plan.registered / 10,
            seconds: plan.seconds,
        };
        report.add(Contestant::Callscribe, load, daemon::run_registered(load)?);
    }
    report.keep(&plan.keep)
}
