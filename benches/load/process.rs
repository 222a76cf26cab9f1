//! Processes that do not outlive the bench.

use std::io;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command};

use crate::Outcome;

/// A process that is killed when nobody holds it any more, however the bench ends.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    /// Asks it to end in its own way, and waits.
    pub(crate) fn stop(mut self) -> Outcome<()> {
        let pid = self.0.id().to_string();
        if !Command::new("kill").arg(pid).status()?.success() {
            return Err("a process cannot be asked to end".into());
        }
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().unwrap_or_default();
        self.0.wait().map(|_| ()).unwrap_or_default();
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}
