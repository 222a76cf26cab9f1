//! Talks into a daemon under systemd while that is restarted and killed, and counts what is lost: `make test-systemd`
//! runs it in the network of a container. Every second of the talk names itself, so that a lost or doubled one shows.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test in real time, with real sockets, whose failure is its answer"
)]

mod account;
mod reader;
mod talk;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use account::Account;
use clap::Parser;
use reader::Reader;
use talk::Talk;

/// Between two disturbances; more than the longest of them takes.
const PAUSE: Duration = Duration::from_millis(2_300);

#[derive(Debug, Parser)]
struct Arguments {
    /// Process id of the container's init
    #[arg(long)]
    leader: u32,
    /// How often the unit is restarted
    #[arg(long, default_value_t = 10)]
    restarts: u32,
    /// How often the daemon is killed
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// A package to upgrade to in mid-call, as the container sees it
    #[arg(long)]
    upgrade: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let unit = Unit {
        leader: arguments.leader,
    };
    let socket = format!("/proc/{}/root/run/callscribe/events.sock", arguments.leader);
    let reader = Reader::start(PathBuf::from(socket));
    let restarts = disturbed(
        "restarts",
        &unit,
        &reader,
        arguments.restarts,
        Unit::restart,
    );
    let kills = disturbed("kills", &unit, &reader, arguments.kills, Unit::kill);
    let upgrade = arguments.upgrade.map(|package| {
        let upgrade = |unit: &Unit| unit.upgrade(&package);
        disturbed("upgrade", &unit, &reader, 1, upgrade)
    });
    let accounts = [Some(restarts), Some(kills), upgrade];
    let is_well = accounts.iter().flatten().all(Account::is_well);
    if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One call, disturbed so many times.
fn disturbed(
    name: &str,
    unit: &Unit,
    reader: &Reader,
    times: u32,
    disturb: impl Fn(&Unit) -> Duration,
) -> Account {
    let seen_before = reader.len();
    let talk = Talk::start();
    std::thread::sleep(PAUSE);
    let mut until_ready = Vec::new();
    for _ in 0..times {
        until_ready.push(disturb(unit));
        std::thread::sleep(PAUSE);
    }
    let sent = talk.stop();
    let lines = reader.until_call_ended(seen_before, Duration::from_secs(60));
    let account = Account::new(name, &sent, &lines, until_ready);
    println!("{account}");
    account
}

/// The daemon's unit in its container.
struct Unit {
    leader: u32,
}

impl Unit {
    /// Restarts it; gives the time until the new daemon was ready.
    fn restart(&self) -> Duration {
        let begun = Instant::now();
        self.run(&["systemctl", "restart", "callscribe.service"]);
        begun.elapsed()
    }

    /// Kills the daemon; gives the time until the next one was ready.
    fn kill(&self) -> Duration {
        let process = || self.run(&["systemctl", "show", "-P", "MainPID", "callscribe.service"]);
        let old = process();
        let begun = Instant::now();
        self.run(&["kill", "-9", &old]);
        loop {
            let state = self.run(&[
                "systemctl",
                "show",
                "-P",
                "ActiveState",
                "callscribe.service",
            ]);
            if state == "active" && process() != old {
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "no daemon 30 s after a kill"
            );
        }
    }

    fn upgrade(&self, package: &str) -> Duration {
        let begun = Instant::now();
        self.run(&["dpkg", "--install", package]);
        begun.elapsed()
    }

    fn run(&self, command: &[&str]) -> String {
        let output = Command::new("nsenter")
            .args(["--all", "--target", &self.leader.to_string(), "--"])
            .args(command)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
