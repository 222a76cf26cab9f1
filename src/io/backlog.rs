//! The backlog: recognises what waits in the spool, after live speech, when the service is there.

#![expect(
    clippy::disallowed_methods,
    reason = "the shell reads the clock and waits"
)]

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;
use tracing::{debug, error};

use crate::asr::pace::Pace;
use crate::call::part::Outcome;
use crate::io::part_audio::PartAudio;
use crate::io::pressure::Pressure;
use crate::io::provider::Provider;
use crate::io::recogniser::Recogniser;
use crate::io::spool::{Given, Order, Spool};

/// How often the spool is asked for parts while it has none.
const POLL: Duration = Duration::from_millis(500);

/// A part that fails so often while others have their text is given up: it is its own fault.
const MAX_FAILURES: u32 = 3;

/// The running backlog.
#[derive(Debug)]
pub struct BacklogThread {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl BacklogThread {
    /// Stops it; what it was at stays in the spool.
    pub fn stop(self) {
        // It may have ended by itself.
        self.stop.send(()).ok();
        if self.thread.join().is_err() {
            error!("the backlog panicked");
        }
    }
}

/// Starts the backlog, with so many sessions at a time. It begins none while a worker is short of time.
///
/// # Errors
/// When the system refuses a thread or a runtime.
pub fn start(
    spool: Spool,
    provider: Arc<Provider>,
    max_sessions: usize,
    pressure: Pressure,
) -> io::Result<BacklogThread> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (stop, stopped) = oneshot::channel();
    let body = move || {
        let backlog = Backlog {
            spool,
            recogniser: Rc::new(Recogniser::new(provider)),
            pace: Pace::new(max_sessions),
            tasks: JoinSet::new(),
            pressure,
        };
        LocalSet::new().block_on(&runtime, async {
            tokio::select! {
                () = backlog.run() => {}
                _ = stopped => {}
            }
        });
    };
    let thread = thread::Builder::new().name("backlog".to_owned());
    let thread = thread.spawn(body)?;
    Ok(BacklogThread { stop, thread })
}

struct Backlog {
    spool: Spool,
    recogniser: Rc<Recogniser>,
    pace: Pace,
    tasks: JoinSet<Attempt>,
    pressure: Pressure,
}

/// What came of a part.
struct Attempt {
    given: Given,
    /// `None` when it must wait on.
    outcome: Option<Outcome>,
    /// Parts that had their text when it began.
    successes: u64,
}

impl Backlog {
    async fn run(mut self) {
        loop {
            while self.may_begin() {
                let Some(given) = self.take().await else {
                    break;
                };
                self.begin(given);
            }
            tokio::select! {
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(attempt) => self.finish(attempt).await,
                    // The part stays in the spool until the next start.
                    Err(error) => error!(%error, "a recognition of the backlog panicked"),
                },
                () = sleep(POLL) => {}
            }
        }
    }

    fn may_begin(&self) -> bool {
        !self.pressure.is_high() && self.pace.permits(self.tasks.len(), Instant::now())
    }

    /// The next part, if there is one.
    async fn take(&self) -> Option<Given> {
        let (reply, taken) = oneshot::channel();
        self.spool.order(Order::Take(reply)).ok()?;
        taken.await.ok().flatten()
    }

    fn begin(&mut self, mut given: Given) {
        let recogniser = Rc::clone(&self.recogniser);
        let successes = self.pace.successes();
        self.tasks.spawn_local(async move {
            let g711 = std::mem::take(&mut given.part.g711);
            let audio = PartAudio::complete(given.part.label.law, g711);
            let outcome = match recogniser.recognise_backlog(audio).await {
                Ok(recognition) => Some(Outcome::Recognised(recognition)),
                Err(failure) if failure.can_wait => None,
                Err(failure) => Some(Outcome::Unrecognised {
                    reason: failure.reason,
                    detail: failure.detail,
                }),
            };
            Attempt {
                given,
                outcome,
                successes,
            }
        });
    }

    async fn finish(&mut self, attempt: Attempt) {
        let part = &attempt.given.part;
        debug!(call_id = %part.label.call_id, is_done = attempt.outcome.is_some(), "backlog");
        let outcome = match attempt.outcome {
            Some(outcome) => {
                self.pace.handle_success();
                outcome
            }
            None => {
                self.pace.handle_failure(Instant::now());
                let is_own_fault = self.pace.successes() > attempt.successes;
                if !is_own_fault || part.failures + 1 < MAX_FAILURES {
                    return self.put_back(part.ordinal, is_own_fault).await;
                }
                Outcome::Unrecognised {
                    reason: crate::event::GapReason::AsrUnavailable,
                    detail: "it failed again and again while others were recognised".to_owned(),
                }
            }
        };
        // A worker that has stopped has left the part to the next daemon.
        let told = attempt.given.mailbox.send((part.owner.part, outcome));
        told.await.ok();
    }

    async fn put_back(&self, ordinal: u64, is_own_fault: bool) {
        let mut order = Order::PutBack(ordinal, is_own_fault);
        while let Err(refused) = self.spool.order(order) {
            order = refused;
            sleep(POLL).await;
        }
    }
}
