//! Who runs on which core, so that nobody is charged for another's cache misses and all have the same.

use std::path::Path;
use std::process::Command;
use std::thread;

use crate::Outcome;

/// The contestant has the first core to itself; generator, recogniser and the bench share the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    all: usize,
}

impl Cores {
    /// Divides the machine and moves this process to the others' side.
    pub(crate) fn divide() -> Outcome<Self> {
        let cores = Self {
            all: thread::available_parallelism()?.get(),
        };
        if let Some(others) = cores.others() {
            let pid = std::process::id().to_string();
            let status = Command::new("taskset")
                .args(["-cp", &others, &pid])
                .stdout(std::process::Stdio::null())
                .status()?;
            if !status.success() {
                return Err("taskset cannot move the bench".into());
            }
        }
        Ok(cores)
    }

    /// A command on the contestant's core.
    pub(crate) fn for_contestant(self, program: &Path) -> Command {
        match self.others() {
            Some(_) => on("0", program),
            None => Command::new(program),
        }
    }

    /// A command on the others.
    pub(crate) fn for_others(self, program: &Path) -> Command {
        match self.others() {
            Some(others) => on(&others, program),
            None => Command::new(program),
        }
    }

    fn others(self) -> Option<String> {
        (self.all > 1).then(|| format!("1-{}", self.all - 1))
    }
}

fn on(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}
