//! What the kernel has booked to a process.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::Outcome;

/// A process whose use is measured from one moment to another.
#[derive(Debug)]
pub(crate) struct Account {
    pid: u32,
    since: Duration,
    opened: Instant,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Use {
    /// User and system time of all its threads.
    pub(crate) cpu: Duration,
    /// The time that went by meanwhile.
    pub(crate) wall: Duration,
    /// Most resident memory since its start, in KiB.
    pub(crate) peak_kib: u64,
}

impl Account {
    /// Begins to measure.
    pub(crate) fn open(process: &Child) -> Outcome<Self> {
        let pid = process.id();
        Ok(Self {
            pid,
            since: cpu(pid)?,
            opened: Instant::now(),
        })
    }

    /// The use so far.
    pub(crate) fn so_far(&self) -> Outcome<Use> {
        Ok(Use {
            cpu: cpu(self.pid)?.saturating_sub(self.since),
            wall: self.opened.elapsed(),
            peak_kib: memory_kib(self.pid, "VmHWM:")?,
        })
    }
}

/// Resident memory now, in KiB.
pub(crate) fn resident_kib(process: &Child) -> Outcome<u64> {
    memory_kib(process.id(), "VmRSS:")
}

fn memory_kib(pid: u32, key: &str) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kib
        .ok_or("the kernel does not tell the memory of a process")?
        .parse()?)
}

/// Nanoseconds on a processor, summed over the threads: `/proc/PID/stat` counts in steps of 10 ms.
fn cpu(pid: u32) -> Outcome<Duration> {
    let mut total = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that has just ended has taken its account with it; the contestants keep theirs.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else {
            continue;
        };
        let spent = text.split_whitespace().next().unwrap_or_default();
        total += spent.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}
