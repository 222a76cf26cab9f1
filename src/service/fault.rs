//! Faults on order: what goes wrong, when, and how often.
//!
//! They happen on the wire, whatever the engine, so that the client under test meets them as it
//! would in life.

use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use crate::config::Milliseconds;

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// When, in the life of a handshake or of a session.
    pub at: At,
    /// What.
    #[serde(rename = "do")]
    pub action: Action,
    /// To which handshakes or sessions.
    #[serde(default)]
    pub which: Which,
}

/// The moment of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum At {
    /// Before the handshake is answered.
    Handshake,
    /// When START came, before it is answered.
    Start,
    /// When so many bytes of the session's audio have come.
    Byte(u64),
    /// When END came, before it is answered.
    End,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Action {
    /// The handshake is refused. Only at `handshake`.
    Refuse {
        /// The HTTP status.
        status: u16,
        /// `APIG.nnnn` or `SIS.nnnn`.
        code: String,
        /// A sentence.
        #[serde(default)]
        message: String,
    },
    /// The answer comes late. Pings are answered meanwhile only at `end`.
    Delay(Milliseconds<0, 3_600_000>),
    /// There is no answer to anything any more, but to pings.
    Silence,
    /// `ERROR`, then `END` where a session is open.
    Error {
        /// `SIS.nnnn`.
        code: String,
        /// A sentence.
        #[serde(default)]
        message: String,
    },
    /// `FATAL_ERROR`, then a close.
    FatalError {
        /// `SIS.nnnn`.
        code: String,
        /// A sentence.
        #[serde(default)]
        message: String,
    },
    /// An `EVENT` of that name; all goes on.
    Event(String),
    /// The TCP connection ends without a close frame.
    Drop,
    /// A close frame with that code.
    Close(u16),
    /// The service's side of the TCP connection ends; it still reads, and answers nothing.
    HalfClose,
    /// The service vanishes: it reads, and answers nothing, not even pings; the socket stays open.
    Vanish,
    /// The service reads no more; the socket stays open.
    StopReading,
    /// From now on the service reads so many bytes of audio a second.
    ReadSlowly(u32),
}

/// Which handshakes (for a fault at `handshake`) or sessions, counted from 1 over the whole
/// service.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Which {
    /// The first that is struck.
    pub first: u64,
    /// From there on every n-th; 1 strikes all.
    pub every: u64,
    /// The last that may be struck.
    pub last: u64,
    /// How likely one of them is struck, 0 to 1; the dice fall alike in every run.
    pub chance: f64,
}

impl Default for Which {
    fn default() -> Self {
        Self {
            first: 1,
            every: 1,
            last: u64::MAX,
            chance: 1.0,
        }
    }
}

/// The faults in force; they may change while the service runs.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// Those faults and no others.
    pub const fn new(faults: Vec<Fault>) -> Self {
        Self(Mutex::new(faults))
    }

    /// Puts other faults in force; sessions that are open keep theirs.
    pub fn set(&self, faults: Vec<Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// The faults of a handshake.
    pub(super) fn of_handshake(&self, ordinal: u64) -> Vec<Fault> {
        self.striking(ordinal, |at| at == At::Handshake)
    }

    /// The faults of a session.
    pub(super) fn of_session(&self, ordinal: u64) -> Vec<Fault> {
        self.striking(ordinal, |at| at != At::Handshake)
    }

    fn striking(&self, ordinal: u64, belongs: impl Fn(At) -> bool) -> Vec<Fault> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let numbered = (0..).zip(faults.iter());
        numbered
            .filter(|(n, fault)| belongs(fault.at) && fault.which.strikes(ordinal, *n))
            .map(|(_, fault)| fault.clone())
            .collect()
    }
}

impl Which {
    fn strikes(self, ordinal: u64, fault: u64) -> bool {
        (self.first..=self.last).contains(&ordinal)
            && (ordinal - self.first).is_multiple_of(self.every.max(1))
            && dice(ordinal, fault) < self.chance
    }
}

/// A fault whose moment and deed do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{action:?} cannot happen at {at:?}; at a handshake: refuse, delay, silence or drop; later: all but refuse"
)]
pub struct MismatchError {
    at: At,
    action: Action,
}

impl Fault {
    /// Whether the deed can happen at the moment.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check(&self) -> Result<(), MismatchError> {
        let is_possible = match self.action {
            Action::Refuse { .. } => self.at == At::Handshake,
            Action::Delay(_) | Action::Silence | Action::Drop => true,
            Action::Error { .. }
            | Action::FatalError { .. }
            | Action::Event(_)
            | Action::Close(_)
            | Action::HalfClose
            | Action::Vanish
            | Action::StopReading
            | Action::ReadSlowly(_) => self.at != At::Handshake,
        };
        let mismatch = || MismatchError {
            at: self.at,
            action: self.action.clone(),
        };
        is_possible.then_some(()).ok_or_else(mismatch)
    }
}

/// A number from 0 to 1 that looks random and is the same in every run (splitmix64).
fn dice(ordinal: u64, fault: u64) -> f64 {
    let mut x =
        ordinal.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ fault.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(which: Which, at: At) -> Vec<u64> {
        let faults = Faults::new(vec![Fault {
            at,
            action: Action::Drop,
            which,
        }]);
        (1..=20)
            .filter(|&ordinal| !faults.of_session(ordinal).is_empty())
            .collect()
    }

    #[test]
    fn a_fault_strikes_those_it_is_meant_for() {
        let at = At::Byte(1);
        let which = Which {
            first: 3,
            every: 5,
            last: 13,
            chance: 1.0,
        };
        assert_eq!(struck(which, at), [3, 8, 13]);
        assert_eq!(struck(Which::default(), at).len(), 20);
        assert_eq!(
            struck(
                Which {
                    chance: 0.0,
                    ..Which::default()
                },
                at
            ),
            [0; 0]
        );
        assert_eq!(struck(Which::default(), At::Handshake), [0; 0]);
    }

    #[test]
    fn chance_is_about_as_often_as_it_says_and_the_same_every_time() {
        let which = Which {
            chance: 0.25,
            ..Which::default()
        };
        let count = (1..=10_000)
            .filter(|&ordinal| which.strikes(ordinal, 1))
            .count();
        assert!((2_300..2_700).contains(&count), "{count}");
    }

    #[test]
    fn faults_are_written_in_toml() {
        #[derive(Deserialize)]
        struct File {
            fault: Vec<Fault>,
        }
        let text = r#"
            [[fault]]
            at = "handshake"
            do = { refuse = { status = 401, code = "APIG.0301" } }
            which = { every = 5 }
            [[fault]]
            at = { byte = 32000 }
            do = "drop"
            [[fault]]
            at = "end"
            do = { delay = 1500 }
            which = { chance = 0.1 }
            [[fault]]
            at = "start"
            do = { error = { code = "SIS.0312" } }
        "#;
        let file: File = toml::from_str(text).unwrap();
        assert_eq!(file.fault[1].at, At::Byte(32_000));
        assert_eq!(file.fault[1].action, Action::Drop);
        assert_eq!(file.fault[2].action, Action::Delay(Milliseconds::new(1500)));
        assert!(file.fault.iter().all(|fault| fault.check().is_ok()));
        assert!(toml::from_str::<Fault>("at = \"end\"\ndo = \"explode\"").is_err());
    }

    #[test]
    fn a_fault_at_the_wrong_moment_is_refused() {
        let fault = |at, action| {
            Fault {
                at,
                action,
                which: Which::default(),
            }
            .check()
        };
        assert!(fault(At::Handshake, Action::Event("E".into())).is_err());
        let refuse = Action::Refuse {
            status: 503,
            code: "APIG.0201".into(),
            message: String::new(),
        };
        assert!(fault(At::End, refuse.clone()).is_err());
        assert!(fault(At::Handshake, refuse).is_ok());
    }
}
