//! The configuration, read again while the daemon runs.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::config::{self, Changes, ConfigError, File, RecogniserError};
use crate::io::control::Adjustable;
use crate::io::logging::Logging;
use crate::io::media_worker::Command;
use crate::io::provider::{self, Provider};
use crate::io::systemd;
use crate::speech::utterance::SettingsError;

/// What a running daemon can be given anew, and what it was given so far.
#[derive(Debug)]
pub(super) struct Reloader {
    /// The configuration file.
    pub(super) path: PathBuf,
    /// What the daemon was started with: what only a restart changes is still so.
    pub(super) started_with: File,
    /// What was read last.
    pub(super) read_last: File,
    /// Where log lines go.
    pub(super) logging: Logging,
    /// The recogniser.
    pub(super) provider: Arc<Provider>,
    /// The media workers.
    pub(super) workers: Vec<mpsc::Sender<Command>>,
    /// What the control API goes by.
    pub(super) control: Adjustable,
}

/// Why the configuration stays as it was.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Speech(#[from] SettingsError),
    #[error(transparent)]
    Recogniser(#[from] RecogniserError),
    #[error(transparent)]
    Provider(#[from] provider::SettingsError),
}

impl Reloader {
    /// Reads the configuration again whenever the signal comes.
    pub(super) async fn on(mut self, mut hangup: Signal) -> Infallible {
        loop {
            hangup.recv().await;
            systemd::reloading();
            self.reload().await;
            systemd::ready(&self.receiving_on());
        }
    }

    /// Takes what can be taken of the file as it is now, and says what cannot. A file that is wrong
    /// changes nothing.
    async fn reload(&mut self) {
        match self.adopt().await {
            Ok(changes) => self.tell(&changes),
            Err(error) => error!(
                %error,
                "the configuration was not reloaded and nothing has changed; mend the file and \
                 reload again"
            ),
        }
    }

    fn receiving_on(&self) -> String {
        let rtp = &self.started_with.rtp;
        format!("receiving on {}:{}", rtp.bind_address, rtp.port_range)
    }

    async fn adopt(&mut self) -> Result<Changes, ReloadError> {
        let new = config::load(&self.path)?;
        let settings = Arc::new(new.switchboard()?);
        // The last that can fail: what comes after it cannot leave the daemon half changed.
        self.provider.adopt(new.recogniser_settings()?)?;
        self.logging.adopt(&new.log);
        self.control.adopt(&new);
        for worker in &self.workers {
            let (settings, lines) = (Arc::clone(&settings), new.line.clone());
            // A worker that is gone ends the daemon by itself.
            drop(worker.send(Command::Adopt { settings, lines }).await);
        }
        let changes = Changes {
            live: Changes::between(&self.read_last, &new).live,
            restart: Changes::between(&self.started_with, &new).restart,
        };
        self.read_last = new;
        Ok(changes)
    }

    fn tell(&self, changes: &Changes) {
        let path = self.path.display();
        info!(
            %path,
            changed = %list(&changes.live),
            "the configuration was reloaded; files with secrets and certificates were read again"
        );
        if !changes.restart.is_empty() {
            warn!(
                keys = %list(&changes.restart),
                "restart needed: these keys take effect when the daemon is started again"
            );
        }
        for warning in self.read_last.warnings() {
            warn!("{warning}");
        }
    }
}

fn list(keys: &BTreeSet<String>) -> String {
    match keys.is_empty() {
        true => "nothing".to_owned(),
        false => keys
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    }
}
