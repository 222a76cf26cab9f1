//! The service's TOML file, table by table; `conf/service.toml` says the same for people.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::Milliseconds;
use crate::service::engine::scripted::{Says, Script};
use crate::service::fault::Fault;
use crate::service::gate::Credentials;
use crate::service::rules::{OverLength, Rules, Silence};

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct File {
    /// Where the service listens.
    pub listen: SocketAddr,
    /// Which engine answers.
    pub engine: EngineName,
    /// The recogniser.
    pub whisper: Whisper,
    /// What the scripted engine says.
    pub script: ScriptTable,
    /// Certificate and key, for `wss`.
    pub tls: Option<Tls>,
    /// Limits and manners.
    pub rules: RulesTable,
    /// Who may connect.
    pub credentials: Credentials,
    /// What goes wrong.
    pub fault: Vec<Fault>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9020)),
            engine: EngineName::Whisper,
            whisper: Whisper::default(),
            script: ScriptTable::default(),
            tls: None,
            rules: RulesTable::default(),
            credentials: Credentials::default(),
            fault: Vec::new(),
        }
    }
}

/// The engines by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum EngineName {
    /// Recognises Mandarin.
    Whisper,
    /// Says what its script says; for tests.
    Scripted,
}

/// Table `whisper`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Whisper {
    /// A model file of whisper.cpp; the one in the user's cache when absent.
    pub model: Option<PathBuf>,
    /// Threads that work on one session together.
    pub threads: Option<usize>,
    /// Sessions recognised at once.
    pub workers: Option<usize>,
}

/// Table `script`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ScriptTable {
    /// Where the text comes from.
    pub says: SaysName,
    /// The lines, for `says = "lines"`.
    pub lines: Vec<String>,
    /// From the end of a session to its text.
    pub delay_ms: Milliseconds<0, 3_600_000>,
}

impl Default for ScriptTable {
    fn default() -> Self {
        Self {
            says: SaysName::ToneCode,
            lines: Vec::new(),
            delay_ms: Milliseconds::new(0),
        }
    }
}

/// The sources of scripted text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaysName {
    /// What the tones in the audio name.
    ToneCode,
    /// The lines of the script, one a session.
    Lines,
    /// How much audio there was.
    Length,
}

/// Table `tls`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tls {
    /// PEM: the certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// Table `rules`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RulesTable {
    /// Connections open at once.
    pub max_connections: usize,
    /// Sessions open at once.
    pub max_sessions: usize,
    /// Audio of one session at most.
    pub max_audio_ms: Milliseconds<1, 18_000_000>,
    /// What becomes of a longer session.
    pub over_length: OverLength,
    /// Longest time without a message of the client.
    pub idle_ms: Milliseconds<1, 18_000_000>,
    /// Longest life of a connection.
    pub max_life_ms: Milliseconds<1, 86_400_000>,
    /// New audio between two interim results.
    pub interim_every_ms: Milliseconds<20, 60_000>,
    /// What is said of a session without words.
    pub silence: Silence,
    /// Hot-word tables that exist.
    pub vocabularies: Vec<String>,
}

impl Default for RulesTable {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_sessions: 10_000,
            max_audio_ms: Milliseconds::new(60_000),
            over_length: OverLength::Error,
            idle_ms: Milliseconds::new(20_000),
            max_life_ms: Milliseconds::new(18_000_000),
            interim_every_ms: Milliseconds::new(1_000),
            silence: Silence::EmptyText,
            vocabularies: Vec::new(),
        }
    }
}

impl RulesTable {
    /// The rules of each connection.
    pub fn rules(&self) -> Rules {
        Rules {
            max_audio: self.max_audio_ms.duration(),
            over_length: self.over_length,
            idle: self.idle_ms.duration(),
            max_life: self.max_life_ms.duration(),
            interim_every: self.interim_every_ms.duration(),
            silence: self.silence,
            vocabularies: self.vocabularies.clone(),
        }
    }
}

impl ScriptTable {
    /// The script.
    pub fn script(&self) -> Script {
        let says = match self.says {
            SaysName::ToneCode => Says::ToneCode,
            SaysName::Lines => Says::Lines(self.lines.clone()),
            SaysName::Length => Says::Length,
        };
        let delay: Duration = self.delay_ms.duration();
        Script { says, delay }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_files_rules_are_the_clouds_unless_it_says_otherwise() {
        assert_eq!(RulesTable::default().rules(), Rules::default());
    }

    #[test]
    fn the_shipped_file_gives_the_defaults_and_so_does_every_key_in_it_uncommented() {
        let text = include_str!("../../../conf/service.toml");
        let uncommented: String = text
            .lines()
            .filter(|line| !line.starts_with("# "))
            .map(|line| line.strip_prefix('#').unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        for text in [text, &uncommented] {
            let file: File = crate::config::read(Path::new("service.toml"), text).unwrap();
            assert_eq!(
                (file.listen, file.engine),
                (File::default().listen, EngineName::Whisper)
            );
            assert_eq!(file.rules.rules(), Rules::default());
            assert_eq!(file.script.script(), Script::default());
        }
        let file: File = crate::config::read(Path::new("service.toml"), &uncommented).unwrap();
        assert!(!file.fault.is_empty() && file.fault.iter().all(|fault| fault.check().is_ok()));
    }

    #[test]
    fn a_secret_is_not_repeated_in_an_error() {
        let text = "[credentials]\ntokens = [{ hush = 1 }]";
        let error = crate::config::read::<File>(Path::new("s.toml"), text)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("credentials.tokens") && !error.contains("hush"),
            "{error}"
        );
    }
}
