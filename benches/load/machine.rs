//! The machine and the build that the figures belong to.

use std::fmt;
use std::fs;
use std::process::Command;
use std::thread;

use crate::Outcome;

/// Where and of what the figures are.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    commit: String,
    date: String,
}

/// Looks around.
pub(crate) fn describe() -> Outcome<Machine> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let commit = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(crate::ROOT)
        .output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    Ok(Machine {
        processor: model
            .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']))
            .to_owned(),
        cores: thread::available_parallelism()?.get(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
            .trim()
            .to_owned(),
        commit: commit.unwrap_or_default(),
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
    })
}

impl fmt::Display for Machine {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            processor,
            cores,
            kernel,
            commit,
            date,
        } = self;
        write!(
            to,
            "{processor}, {cores} cores, Linux {kernel}, commit {commit}, {date}"
        )
    }
}
