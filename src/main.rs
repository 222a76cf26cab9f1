//! The `callscribe` program: arguments in, exit code out.

use std::process::ExitCode;

use callscribe::cli::{calls, check_config, demo, manual, replay, run, send, service, tail};
use clap::{CommandFactory, Parser, Subcommand};

/// Writes down what is said on telephone calls: RTP in, Mandarin transcripts as JSON lines out.
#[derive(Debug, Parser)]
#[command(name = "callscribe", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    CheckConfig(check_config::CheckConfigArgs),
    Service(service::ServiceArgs),
    Replay(replay::ReplayArgs),
    Send(send::SendArgs),
    Tail(tail::TailArgs),
    Calls(calls::CallsArgs),
    Demo(demo::DemoArgs),
    #[command(hide = true)]
    Manual(manual::ManualArgs),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(args) => run::run(&args),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Service(args) => service::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Calls(args) => calls::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Manual(args) => manual::run(&args, Arguments::command()),
    }
}
