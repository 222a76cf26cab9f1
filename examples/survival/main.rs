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

/// How long the recogniser is away.
const OUTAGE: Duration = Duration::from_secs(4);

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
    upgrade: String,
    /// Disturb one call by one of each instead
    #[arg(long)]
    brief: bool,
    /// Only stop the unit, twice: the recogniser is slow, and a second signal does not wait for it
    #[arg(long)]
    hurry: bool,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    /// The unit is restarted.
    Restart,
    /// The daemon is killed.
    Kill,
    /// The package is upgraded, and with it the daemon restarted.
    Upgrade,
    /// The recogniser is away for a while.
    Outage,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let unit = Unit {
        leader: arguments.leader,
        package: arguments.upgrade,
    };
    let socket = format!("/proc/{}/root/run/callscribe/events.sock", arguments.leader);
    let reader = Reader::start(PathBuf::from(socket));
    if arguments.hurry {
        return exit_code(hurried(&unit));
    }
    let many = |what, count| vec![what; usize::try_from(count).unwrap()];
    let calls = if arguments.brief {
        let of_each = [Disturbance::Restart, Disturbance::Kill, Disturbance::Outage];
        vec![
            ("restart, kill, outage", of_each.to_vec()),
            ("upgrade", many(Disturbance::Upgrade, 1)),
        ]
    } else {
        vec![
            ("restarts", many(Disturbance::Restart, arguments.restarts)),
            ("kills", many(Disturbance::Kill, arguments.kills)),
            ("outage of the recogniser", many(Disturbance::Outage, 1)),
            ("upgrade", many(Disturbance::Upgrade, 1)),
        ]
    };
    let survived = calls
        .iter()
        .filter(|(name, disturbances)| disturbed(name, &unit, &reader, disturbances).is_well());
    let survived = survived.count() == calls.len();
    let stopped = stopped(&unit, &reader);
    exit_code(survived && stopped)
}

fn exit_code(is_well: bool) -> ExitCode {
    if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One call, disturbed like this.
fn disturbed(name: &str, unit: &Unit, reader: &Reader, disturbances: &[Disturbance]) -> Account {
    let seen_before = reader.len();
    let talk = Talk::start();
    std::thread::sleep(PAUSE);
    let mut until_ready = Vec::new();
    for &disturbance in disturbances {
        until_ready.push(unit.disturb(disturbance));
        std::thread::sleep(PAUSE);
    }
    let sent = talk.stop();
    let lines = reader.until_call_ended(seen_before, Duration::from_secs(60));
    let kills = disturbances.iter().filter(|&&one| one == Disturbance::Kill);
    let account = Account::new(name, &sent, &lines, until_ready, kills.count());
    println!("{account}");
    account
}

/// A call in which the unit is stopped for good: its last words still get their text.
fn stopped(unit: &Unit, reader: &Reader) -> bool {
    let seen_before = reader.len();
    let talk = Talk::start();
    std::thread::sleep(PAUSE);
    let begun = Instant::now();
    unit.run(&["systemctl", "stop", "callscribe.service"]);
    let took = begun.elapsed().as_millis();
    talk.stop();
    let lines = reader.until_call_ended(seen_before, Duration::from_secs(5));
    unit.run(&["systemctl", "start", "callscribe.service"]);
    // The reader comes again, for which the socket starts the daemon, and the talk that still goes on is another call.
    let end = lines.iter().position(|line| line["event"] == "call_ended");
    let ended = end.map_or(&lines[..], |end| &lines[..=end]);
    let last = &ended[ended.len().saturating_sub(2)..];
    let last: Vec<_> = last
        .iter()
        .filter_map(|line| line["event"].as_str())
        .collect();
    let reason = ended.last().and_then(|ended| ended["reason"].as_str());
    let is_well = last == ["transcript", "call_ended"] && reason == Some("shutdown");
    let verdict = if is_well { "ok" } else { "FAILED" };
    println!("stop: {verdict}\n  it took       {took} ms; the last lines: {last:?}, {reason:?}");
    is_well
}

/// A stop that waits for the recogniser, until it is told again.
fn hurried(unit: &Unit) -> bool {
    let talk = Talk::start();
    std::thread::sleep(PAUSE);
    let begun = Instant::now();
    unit.run(&["systemctl", "stop", "--no-block", "callscribe.service"]);
    std::thread::sleep(PAUSE);
    let waited = unit.state() == "deactivating";
    let told_again = Instant::now();
    let signal = ["--kill-whom=main", "--signal=TERM", "callscribe.service"];
    unit.run(&[&["systemctl", "kill"], &signal[..]].concat());
    while unit.state() == "deactivating" && told_again.elapsed() < Duration::from_secs(30) {}
    talk.stop();
    let took = told_again.elapsed();
    let is_well = waited && took < Duration::from_secs(5);
    let verdict = if is_well { "ok" } else { "FAILED" };
    println!(
        "second signal: {verdict}\n  it took       {} ms after {} ms of waiting",
        took.as_millis(),
        (told_again - begun).as_millis()
    );
    is_well
}

/// The daemon's unit in its container.
struct Unit {
    leader: u32,
    package: String,
}

impl Unit {
    /// Gives the time until the daemon was ready again.
    fn disturb(&self, disturbance: Disturbance) -> Duration {
        match disturbance {
            Disturbance::Restart => self.restart(),
            Disturbance::Kill => self.kill(),
            Disturbance::Upgrade => self.upgrade(),
            Disturbance::Outage => self.outage(),
        }
    }

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
        self.run(&["systemctl", "kill", "--signal=KILL", "callscribe.service"]);
        loop {
            if self.state() == "active" && process() != old {
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "no daemon 30 s after a kill"
            );
        }
    }

    fn upgrade(&self) -> Duration {
        let begun = Instant::now();
        let keep = ["dpkg", "--force-confdef", "--force-confold", "--install"];
        self.run(&[&keep[..], &[&self.package]].concat());
        begun.elapsed()
    }

    /// The recogniser is away for longer than a part waits for it in memory.
    fn outage(&self) -> Duration {
        let begun = Instant::now();
        self.run(&["systemctl", "stop", "callscribe-service.service"]);
        std::thread::sleep(OUTAGE);
        self.run(&["systemctl", "start", "callscribe-service.service"]);
        begun.elapsed()
    }

    fn state(&self) -> String {
        let property = ["show", "-P", "ActiveState", "callscribe.service"];
        self.run(&[&["systemctl"], &property[..]].concat())
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
