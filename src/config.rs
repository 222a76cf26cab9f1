//! The configuration: the TOML file as it is written, checked into what the rooms of the program take.
//!
//! Each table is one struct of [`mod@file`]; the only place of a default is its `Default`. `docs/config.md` and
//! `conf/callscribe.toml` say the same for people.

mod change;
mod check;
pub mod file;
mod rooms;
pub mod speech;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use change::Changes;
pub use file::File;
pub use rooms::RecogniserError;
pub use value::{LogFormat, Milliseconds, PortRange, SocketMode};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what the program takes.
    #[error("{}:{place}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line and column, if known, and the key.
        place: Place,
        /// What is wrong and what was expected.
        message: String,
    },
}

/// Where in the file something is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// For example `rtp.port-range`.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}: ")?;
        } else {
            f.write_str(" ")?;
        }
        if self.key.is_empty() {
            Ok(())
        } else {
            write!(f, "{}", self.key)
        }
    }
}

/// Reads and checks a configuration file.
///
/// # Errors
/// When it cannot be read, or is not valid; the error names the key and the line.
pub fn load(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

/// Checks the text of a configuration file; `path` only names it.
///
/// # Errors
/// When it is not valid; the error names the key and the line.
pub fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    let file: File = read(path, text)?;
    file.check().map_err(|(key, message)| {
        let key = key.to_owned();
        let place = Place {
            key,
            ..Place::default()
        };
        ConfigError::Invalid {
            path: path.to_owned(),
            place,
            message,
        }
    })?;
    Ok(file)
}

/// Reads TOML into the type that holds it; `path` only names it.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    let invalid = |place, message| ConfigError::Invalid {
        path: path.to_owned(),
        place,
        message,
    };
    let parser = toml::Deserializer::parse(text)
        .map_err(|error| invalid(place(text, error.span(), ""), error.message().to_owned()))?;
    serde_path_to_error::deserialize(parser).map_err(|error| {
        let key = error.path().to_string();
        let error = error.into_inner();
        let place = place(text, error.span(), &key);
        let message = if is_secret(&key) {
            SECRET_MESSAGE
        } else {
            error.message()
        };
        invalid(place, message.to_owned())
    })
}

/// A message of the parser may repeat the value that it refuses.
const SECRET_MESSAGE: &str = "expected a string; the value is not shown because it is a secret";

fn is_secret(key: &str) -> bool {
    key == "asr.token" || key.starts_with("credentials.")
}

fn place(text: &str, span: Option<std::ops::Range<usize>>, key: &str) -> Place {
    let key = if key == "." {
        String::new()
    } else {
        key.to_owned()
    };
    let Some(before) = span.and_then(|span| text.get(..span.start)) else {
        return Place {
            key,
            ..Place::default()
        };
    };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    Place {
        line: Some(line),
        column: Some(column),
        key,
    }
}

#[cfg(test)]
mod tests;
