//! How far a leg's speech is on its way to a text: what an operator is shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Where a part is on its way to its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits until a session may be opened.
    Waiting,
    /// A connection is being made.
    Connecting,
    /// A session is open.
    Open,
    /// A try was in vain for this reason; another follows.
    Retrying(Arc<str>),
}

/// A [`Stage`], and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where the part is.
    pub stage: Stage,
    /// Since when.
    pub since: Instant,
    /// Tries so far, the one that goes on included.
    pub tries: u32,
}

/// What is shown of a leg's sessions: of all its parts the one that is furthest from a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionSnapshot {
    /// In a word.
    pub state: SessionState,
    /// How long it has been so, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Tries so far, where there were several.
    #[serde(skip_serializing_if = "is_first")]
    pub tries: u32,
    /// Why the last try was in vain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
}

/// The states of a leg's sessions, from the nearest to a text to the furthest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Nothing of the leg is being recognised: all that was said has its outcome.
    Ended,
    /// A session is open.
    Open,
    /// A connection is being made.
    Connecting,
    /// A part waits until a session may be opened: the quota is used up.
    Waiting,
    /// A try was in vain; another follows.
    Retrying,
    /// A part waits on disk for the recogniser.
    Spooled,
}

impl SessionSnapshot {
    /// The leg has been spoken on, and nothing of it is being recognised.
    pub const ENDED: Self = Self::of_state(SessionState::Ended);

    /// All that waits, waits on disk.
    pub const SPOOLED: Self = Self::of_state(SessionState::Spooled);

    /// Of the parts that are on their way, the one that is furthest from its text; `None` if there is none.
    pub fn of<'a>(parts: impl Iterator<Item = &'a Progress>, now: Instant) -> Option<Self> {
        let furthest = parts.max_by_key(|part| part.stage.state())?;
        let since = now.saturating_duration_since(furthest.since);
        Some(Self {
            state: furthest.stage.state(),
            for_ms: Some(ms(since)),
            tries: furthest.tries,
            reason: match &furthest.stage {
                Stage::Retrying(reason) => Some(Arc::clone(reason)),
                Stage::Waiting | Stage::Connecting | Stage::Open => None,
            },
        })
    }

    const fn of_state(state: SessionState) -> Self {
        Self {
            state,
            for_ms: None,
            tries: 0,
            reason: None,
        }
    }
}

impl Stage {
    const fn state(&self) -> SessionState {
        match self {
            Self::Waiting => SessionState::Waiting,
            Self::Connecting => SessionState::Connecting,
            Self::Open => SessionState::Open,
            Self::Retrying(_) => SessionState::Retrying,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_first(tries: &u32) -> bool {
    *tries <= 1
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any instant will do as zero")]
mod tests {
    use super::*;

    #[test]
    fn part_that_is_furthest_from_a_text_is_shown() {
        let since = Instant::now();
        let progress = |stage, tries| Progress {
            stage,
            since,
            tries,
        };
        let parts = [
            progress(Stage::Open, 1),
            progress(Stage::Retrying("closed".into()), 3),
            progress(Stage::Connecting, 1),
        ];
        let now = since + Duration::from_millis(1500);
        let shown = SessionSnapshot::of(parts.iter(), now).unwrap();
        assert_eq!(
            serde_json::to_string(&shown).unwrap(),
            r#"{"state":"retrying","for_ms":1500,"tries":3,"reason":"closed"}"#
        );
        let shown = SessionSnapshot::of(parts[..1].iter(), now).unwrap();
        assert_eq!(
            serde_json::to_string(&shown).unwrap(),
            r#"{"state":"open","for_ms":1500}"#
        );
        assert_eq!(SessionSnapshot::of([].iter(), now), None);
    }
}
