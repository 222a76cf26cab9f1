//! Values of the configuration that a plain type would admit too much of.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A time in whole milliseconds within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "i64")]
pub struct Milliseconds<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Milliseconds<MIN, MAX> {
    /// So many milliseconds. Used for defaults; a value out of bounds does not compile in a `const`.
    ///
    /// # Panics
    /// When `ms` is out of bounds.
    pub const fn new(ms: u64) -> Self {
        assert!(MIN <= ms && ms <= MAX, "default out of bounds");
        Self(ms)
    }

    /// The whole milliseconds of a time. Used for defaults.
    ///
    /// # Panics
    /// When the time is out of bounds.
    #[expect(clippy::cast_possible_truncation, reason = "the bound is checked")]
    pub const fn from_duration(time: Duration) -> Self {
        assert!(time.as_millis() <= MAX as u128, "default out of bounds");
        Self::new(time.as_millis() as u64)
    }

    /// The time.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl<const MIN: u64, const MAX: u64> TryFrom<i64> for Milliseconds<MIN, MAX> {
    type Error = String;
    fn try_from(ms: i64) -> Result<Self, String> {
        match u64::try_from(ms) {
            Ok(ms) if (MIN..=MAX).contains(&ms) => Ok(Self(ms)),
            _ => Err(format!(
                "{ms} is out of range; expected {MIN} to {MAX} milliseconds"
            )),
        }
    }
}

/// The UDP ports to receive on, both ends included; written `"20000-20999"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange(RangeInclusive<u16>);

impl PortRange {
    /// The ports from `first` to `last`.
    pub const fn new(first: u16, last: u16) -> Self {
        Self(first..=last)
    }

    /// The ports, lowest first.
    pub fn ports(&self) -> RangeInclusive<u16> {
        self.0.clone()
    }

    /// Whether the port is one of them.
    pub fn contains(&self, port: u16) -> bool {
        self.0.contains(&port)
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let parse = |port: &str| port.trim().parse::<u16>().ok().filter(|&port| port > 0);
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        match (parse(first), parse(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self::new(first, last)),
            _ => Err(format!(
                "{text:?} is not a range of UDP ports; expected \"FIRST-LAST\", for example \
                 \"20000-20999\""
            )),
        }
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

/// Permissions of a socket, written as an octal string: `"0660"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SocketMode(pub u32);

impl TryFrom<String> for SocketMode {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if mode <= 0o777 => Ok(Self(mode)),
            _ => Err(format!(
                "{text:?} is not a file mode; expected octal digits such as \"0660\""
            )),
        }
    }
}

impl From<SocketMode> for String {
    fn from(mode: SocketMode) -> Self {
        format!("{:04o}", mode.0)
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
