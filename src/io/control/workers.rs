//! The media workers as the control API sees them: each is asked by command and answers once.
//!
//! A worker alone knows its calls. Where a call is, is asked of all of them, which takes one tick;
//! so nothing is kept here that could be out of date.

#![expect(
    clippy::disallowed_methods,
    reason = "a worker that does not answer is given up"
)]

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::error::ApiError;
use crate::call::conversation::CallUpdate;
use crate::call::registration::Registration;
use crate::call::snapshot::CallSnapshot;
use crate::call::switchboard::RegisterError;
use crate::event::CallEnded;
use crate::io::media_worker::{Command, Survey, WorkerFigures};

/// How long a worker may take to answer; it does so in its next tick.
const WORKER_TIME: Duration = Duration::from_secs(5);

/// The media workers.
#[derive(Debug)]
pub(super) struct Workers {
    commands: Vec<mpsc::Sender<Command>>,
    /// Ids on their way to a worker: two workers must not get the same. Locked for a look, never
    /// over a wait.
    registering: Mutex<BTreeSet<Arc<str>>>,
    /// A list of thousands of calls takes a worker milliseconds: one at a time.
    listing: Semaphore,
}

/// How a call ended, as far as that is known.
#[derive(Debug)]
pub(super) enum Farewell {
    /// Every word of it has its text.
    Ended(CallEnded),
    /// Its last words are still being recognised.
    Ending,
}

impl Workers {
    pub(super) const fn new(commands: Vec<mpsc::Sender<Command>>) -> Self {
        Self {
            commands,
            registering: Mutex::new(BTreeSet::new()),
            listing: Semaphore::const_new(1),
        }
    }

    /// Registers a call with the worker that has the most ports left, of those that take calls.
    pub(super) async fn register(
        &self,
        registration: Registration,
    ) -> Result<CallSnapshot, ApiError> {
        let _reservation = self.reserve(&registration.id)?;
        let mut surveys = self.survey(&registration.id).await?;
        if surveys.iter().any(|(_, survey)| survey.has_call) {
            return Err(ApiError::DuplicateId(registration.id.to_string()));
        }
        surveys.sort_by_key(|(_, survey)| Reverse((survey.takes_calls, survey.free_ports)));
        let mut refusal = ApiError::Stopping;
        for (worker, _) in surveys {
            let registration = registration.clone();
            let order = |reply| Command::Register {
                registration,
                reply,
            };
            match self.ask(worker, order).await? {
                Some(Ok(call)) => return Ok(call),
                // Another registration was quicker; another worker may still have ports.
                Some(Err(full @ RegisterError::NoFreePort { .. })) => refusal = full.into(),
                Some(Err(error)) => return Err(error.into()),
                None => {}
            }
        }
        Err(refusal)
    }

    pub(super) async fn update(
        &self,
        id: &Arc<str>,
        update: CallUpdate,
    ) -> Result<CallSnapshot, ApiError> {
        let worker = self.locate(id).await?;
        let id_there = Arc::clone(id);
        let order = |reply| Command::Update {
            id: id_there,
            update,
            reply,
        };
        let call = self.ask(worker, order).await?;
        Ok(call.ok_or_else(|| no_such_call(id))??)
    }

    /// Ends a call and waits for its last words, but no longer than `patience`.
    pub(super) async fn end(
        &self,
        id: &Arc<str>,
        patience: Duration,
    ) -> Result<Farewell, ApiError> {
        let worker = self.locate(id).await?;
        let (reply, ended) = oneshot::channel();
        let id_there = Arc::clone(id);
        self.order(
            worker,
            Command::End {
                id: id_there,
                reply,
            },
        )
        .await?;
        match timeout(patience, ended).await {
            Ok(Ok(ended)) => Ok(Farewell::Ended(ended)),
            Ok(Err(_)) => Err(no_such_call(id)),
            Err(_) => Ok(Farewell::Ending),
        }
    }

    pub(super) async fn describe(&self, id: &Arc<str>) -> Result<CallSnapshot, ApiError> {
        let worker = self.locate(id).await?;
        let id_there = Arc::clone(id);
        let order = |reply| Command::Describe {
            id: id_there,
            reply,
        };
        let call = self.ask(worker, order).await?;
        call.ok_or_else(|| no_such_call(id))
    }

    /// Every call, in the order of their ids.
    pub(super) async fn list(&self) -> Result<Vec<CallSnapshot>, ApiError> {
        let _one_at_a_time = self
            .listing
            .acquire()
            .await
            .map_err(|_| ApiError::Stopping)?;
        let lists = self.ask_all(|reply| Command::List { reply }).await?;
        let mut calls: Vec<_> = lists.into_iter().flat_map(|(_, calls)| calls).collect();
        calls.sort_by(|a, b| a.call.id.cmp(&b.call.id));
        Ok(calls)
    }

    /// What each worker counts.
    pub(super) async fn measure(&self) -> Result<Vec<WorkerFigures>, ApiError> {
        let _one_at_a_time = self
            .listing
            .acquire()
            .await
            .map_err(|_| ApiError::Stopping)?;
        let figures = self.ask_all(|reply| Command::Measure { reply }).await?;
        Ok(figures.into_iter().map(|(_, figures)| figures).collect())
    }

    async fn locate(&self, id: &Arc<str>) -> Result<usize, ApiError> {
        let surveys = self.survey(id).await?;
        let found = surveys.iter().find(|(_, survey)| survey.has_call);
        found
            .map(|&(worker, _)| worker)
            .ok_or_else(|| no_such_call(id))
    }

    async fn survey(&self, id: &Arc<str>) -> Result<Vec<(usize, Survey)>, ApiError> {
        let order = |reply| {
            let id = Arc::clone(id);
            Command::Survey { id, reply }
        };
        self.ask_all(order).await
    }

    /// Asks every worker at once; one that has stopped has no calls and is left out.
    async fn ask_all<T>(
        &self,
        order: impl Fn(oneshot::Sender<T>) -> Command,
    ) -> Result<Vec<(usize, T)>, ApiError> {
        let all = 0..self.commands.len();
        let answers = join_all(all.map(|worker| self.ask(worker, &order))).await;
        let mut given = Vec::with_capacity(answers.len());
        for (worker, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(Some(answer)) => given.push((worker, answer)),
                Ok(None) | Err(ApiError::Stopping) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(given)
    }

    /// Asks one worker; `None` if it has nothing to say to this.
    async fn ask<T>(
        &self,
        worker: usize,
        order: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<Option<T>, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.order(worker, order(reply)).await?;
        match timeout(WORKER_TIME, answer).await {
            Ok(answer) => Ok(answer.ok()),
            Err(_) => Err(ApiError::Overloaded),
        }
    }

    async fn order(&self, worker: usize, order: Command) -> Result<(), ApiError> {
        let commands = self.commands.get(worker).ok_or(ApiError::Stopping)?;
        match timeout(WORKER_TIME, commands.send(order)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ApiError::Stopping),
            Err(_) => Err(ApiError::Overloaded),
        }
    }

    fn reserve(&self, id: &Arc<str>) -> Result<Reservation<'_>, ApiError> {
        let mut registering = self
            .registering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !registering.insert(Arc::clone(id)) {
            return Err(ApiError::DuplicateId(id.to_string()));
        }
        Ok(Reservation {
            ids: &self.registering,
            id: Arc::clone(id),
        })
    }
}

/// An id that is being registered, until this is dropped.
struct Reservation<'a> {
    ids: &'a Mutex<BTreeSet<Arc<str>>>,
    id: Arc<str>,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.remove(&self.id);
    }
}

fn no_such_call(id: &str) -> ApiError {
    ApiError::NoSuchCall(id.to_owned())
}
