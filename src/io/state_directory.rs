//! Where the daemon keeps what must outlast it.
//!
//! The service manager's state directory comes first; a daemon that is started by hand keeps its calls beside its
//! journal, and that where a user's programs keep their state.

use std::env;
use std::path::{Path, PathBuf};

use crate::config::File;
use crate::config::file;

/// The database of the lines; `None` if there is to be none.
pub fn journal(config: &file::Journal) -> Option<PathBuf> {
    let path = || config.path.clone();
    config
        .enabled
        .then(|| path().unwrap_or_else(|| default_folder().join("journal.db")))
}

/// The folder of audio that waits for its text; `None` if there is to be none.
pub fn spool(config: &File) -> Option<PathBuf> {
    let spool = &config.spool;
    let directory = || spool.directory.clone();
    spool
        .enabled
        .then(|| directory().unwrap_or_else(|| folder_for_calls(config).join("spool")))
}

/// The folder of the state of calls; `None` if there is to be none.
pub fn calls(config: &File) -> Option<PathBuf> {
    let resume = &config.resume;
    // The spool is of no use to a daemon that knows nothing of the calls in it.
    let with_spool = || {
        let spool = config.spool.directory.as_ref();
        spool.filter(|_| config.spool.enabled && given().is_none())
    };
    let directory = || {
        resume
            .directory
            .clone()
            .or_else(|| Some(with_spool()?.join("calls")))
    };
    resume
        .enabled
        .then(|| directory().unwrap_or_else(|| folder_for_calls(config).join("calls")))
}

fn folder_for_calls(config: &File) -> PathBuf {
    let beside_journal = || Some(config.journal.path.as_ref()?.parent()?.to_owned());
    let folder = given().or_else(beside_journal);
    folder.unwrap_or_else(default_folder)
}

fn default_folder() -> PathBuf {
    let is_root = rustix::process::geteuid().is_root();
    given().unwrap_or_else(|| by_hand(is_root, |name| env::var_os(name).map(PathBuf::from)))
}

/// The first of what the service manager gave.
fn given() -> Option<PathBuf> {
    let given = env::var_os("STATE_DIRECTORY")?;
    let first = given.to_str()?.split(':').next()?;
    (!first.is_empty()).then(|| first.into())
}

/// For a daemon that no service manager started: the system's place, or the user's (XDG Base Directory Specification).
fn by_hand(is_root: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let absolute = |name| variable(name).filter(|path: &PathBuf| path.is_absolute());
    let xdg = || absolute("XDG_STATE_HOME");
    let home = || Some(absolute("HOME")?.join(".local/state"));
    let users = if is_root { None } else { xdg().or_else(home) };
    users.map_or_else(
        || Path::new("/var/lib/callscribe").to_owned(),
        |state| state.join("callscribe"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_user(variables: &[(&str, &str)]) -> PathBuf {
        by_hand(false, |name| {
            let given = variables.iter().find(|(given, _)| *given == name);
            given.map(|(_, value)| value.into())
        })
    }

    #[test]
    fn user_has_a_place_of_their_own_and_root_that_of_the_system() {
        let home = ("HOME", "/home/anna");
        let system = Path::new("/var/lib/callscribe");
        assert_eq!(
            of_user(&[home]),
            Path::new("/home/anna/.local/state/callscribe")
        );
        assert_eq!(
            of_user(&[home, ("XDG_STATE_HOME", "/state")]),
            Path::new("/state/callscribe")
        );
        assert_eq!(of_user(&[("HOME", "relative")]), system);
        assert_eq!(by_hand(true, |_| Some("/root".into())), system);
    }

    #[test]
    fn calls_are_kept_beside_the_journal_unless_told_otherwise() {
        let mut config = File::default();
        config.journal.path = Some("/data/journal.db".into());
        assert_eq!(spool(&config), Some("/data/spool".into()));
        assert_eq!(calls(&config), Some("/data/calls".into()));
        config.spool.directory = Some("/fast/spool".into());
        assert_eq!(calls(&config), Some("/fast/spool/calls".into()));
        config.resume.directory = Some("/calls".into());
        assert_eq!(calls(&config), Some("/calls".into()));
        config.resume.enabled = false;
        config.spool.enabled = false;
        assert_eq!((spool(&config), calls(&config)), (None, None));
    }
}
