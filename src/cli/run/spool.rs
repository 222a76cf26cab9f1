//! The spool between two daemons, and what its backlog needs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::error;

use crate::config::File;
use crate::event::{Body, Event};
use crate::io::backlog::{self, BacklogThread};
use crate::io::checkpoint::FoundCall;
use crate::io::journal::history::History;
use crate::io::pressure::Pressure;
use crate::io::provider::Provider;
use crate::io::publisher::Publisher;
use crate::io::spool::{Gauge, OpenError, Settings, Spool, SpoolThread, SpooledPart};
use crate::io::state_directory;
use crate::io::told::Told;

/// The spool, if there is one.
pub(super) struct CallAudio(Option<Kept>);

struct Kept {
    spool: Spool,
    thread: SpoolThread,
    backlog: Option<BacklogThread>,
}

impl CallAudio {
    /// Opens it, and gives the parts of the daemon before. A disk that fails costs no call.
    ///
    /// # Errors
    /// When another daemon has it.
    pub(super) fn open(
        config: &File,
        provider: &Arc<Provider>,
        publisher: &Publisher,
        pressure: &Pressure,
    ) -> Result<(Self, Vec<SpooledPart>), OpenError> {
        let Some(directory) = state_directory::spool(config) else {
            return Ok((Self(None), Vec::new()));
        };
        let settings = Settings {
            directory,
            max_bytes: config.spool.max_bytes,
            max_age: Duration::from_secs(u64::from(config.spool.max_age_hours) * 3600),
        };
        let (spool, parts, thread) = match Spool::open(settings, publisher.clone()) {
            Ok(opened) => opened,
            Err(error @ OpenError::InUse { .. }) => return Err(error),
            Err(error @ OpenError::Refused { .. }) => {
                error!(%error, "calls go on without the spool");
                tell(publisher, format!("calls go on without the spool: {error}"));
                return Ok((Self(None), Vec::new()));
            }
        };
        let sessions = usize::try_from(config.spool.max_sessions).unwrap_or(usize::MAX);
        let backlog = backlog::start(
            spool.clone(),
            Arc::clone(provider),
            sessions,
            pressure.clone(),
        );
        let backlog = backlog
            .inspect_err(|error| error!(%error, "what waits in the spool is not recognised"))
            .ok();
        let kept = Kept {
            spool,
            thread,
            backlog,
        };
        Ok((Self(Some(kept)), parts))
    }

    /// For a worker.
    pub(super) fn spool(&self) -> Option<Spool> {
        self.0.as_ref().map(|kept| kept.spool.clone())
    }

    /// How it fares.
    pub(super) fn gauge(&self) -> Option<Gauge> {
        self.0.as_ref().map(|kept| kept.spool.gauge())
    }

    /// Whether speech outlives this daemon.
    pub(super) const fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Stops the backlog, and waits until everything is on the disk.
    pub(super) fn join(self) {
        if let Some(kept) = self.0 {
            if let Some(backlog) = kept.backlog {
                backlog.stop();
            }
            drop(kept.spool);
            kept.thread.join();
        }
    }
}

/// Brings together what the daemon before left behind: the state of its calls, the audio of their
/// parts, and what was said of them. Calls without a state are found too: they can only be closed.
pub(super) fn reunite(
    mut found: Vec<FoundCall>,
    parts: Vec<SpooledPart>,
    history: Option<&History>,
) -> Vec<FoundCall> {
    let mut by_call: BTreeMap<Arc<str>, Vec<SpooledPart>> = BTreeMap::new();
    for part in parts {
        let call = Arc::clone(&part.label.call_id);
        by_call.entry(call).or_default().push(part);
    }
    for call in &mut found {
        call.spooled = by_call.remove(&call.id).unwrap_or_default();
    }
    let unfinished = history.and_then(|history| history.unfinished_calls().ok());
    for id in unfinished.into_iter().flatten() {
        if found.iter().all(|call| *call.id != *id) {
            by_call.entry(id.into()).or_default();
        }
    }
    found.extend(by_call.into_iter().map(stateless));
    for call in &mut found {
        let lines = history.and_then(|history| history.lines_of_call(&call.id).ok());
        call.told = Told::of(&lines.unwrap_or_default());
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "a call is found now")]
fn stateless((id, spooled): (Arc<str>, Vec<SpooledPart>)) -> FoundCall {
    FoundCall {
        id,
        state: None,
        saved_at: Instant::now(),
        saved_at_tick: None,
        is_started: true,
        audio: Vec::new(),
        spooled,
        told: Told::default(),
    }
}

fn tell(publisher: &Publisher, message: String) {
    publisher.publish(Event {
        at: jiff::Timestamp::now(),
        call_id: None,
        body: Body::Error {
            code: "spool_failed",
            message,
            retry_after_ms: None,
            resume_from: None,
        },
    });
}
