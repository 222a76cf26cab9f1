//! Jobs on their way to the recognising threads: the longest waiting first.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::service::engine::{Job, Outcome};

/// A job and who waits for it.
pub(super) struct Work {
    pub(super) job: Job,
    pub(super) reply: oneshot::Sender<Outcome>,
}

/// A bounded queue between tasks that must not block and threads that may.
pub(super) struct Queue {
    capacity: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    working: usize,
    is_closed: bool,
}

/// As many jobs wait as may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Puts a job behind the others.
    pub(super) fn push(&self, work: Work) -> Result<(), Full> {
        let mut state = self.lock();
        // Those who left while they waited hold no place.
        state.waiting.retain(|work| !work.reply.is_closed());
        if state.waiting.len() >= self.capacity {
            return Err(Full);
        }
        state.waiting.push_back(work);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next job that somebody still wants; `None` when the queue is closed.
    pub(super) fn pop(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            match state.waiting.pop_front() {
                Some(work) if work.reply.is_closed() => {}
                Some(work) => {
                    state.working += 1;
                    return Some(work);
                }
                None => {
                    state = self
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
    }

    /// A popped job is finished.
    pub(super) fn done(&self) {
        self.lock().working -= 1;
    }

    /// Whether a job that is pushed now may have to wait.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.lock();
        state.working > 0 || !state.waiting.is_empty()
    }

    /// Lets every waiting thread go; jobs not begun are dropped.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.waiting.clear();
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::audio::{Audio, AudioFormat};
    use crate::service::engine::JobId;
    use crate::service::settings::Settings;
    use serde_json::json;

    #[test]
    fn the_longest_waiting_job_is_next_and_abandoned_ones_are_not() {
        let queue = Queue::new(8);
        let (first, _first_outcome) = work(1);
        let (second, second_outcome) = work(2);
        let (third, _third_outcome) = work(3);
        for work in [first, second, third] {
            queue.push(work).unwrap();
        }
        drop(second_outcome);
        let order = [queue.pop().unwrap().job.id, queue.pop().unwrap().job.id];
        assert_eq!(order, [JobId::new(1), JobId::new(3)]);
    }

    #[test]
    fn a_full_queue_refuses_until_somebody_leaves() {
        let queue = Queue::new(1);
        let (first, outcome) = work(1);
        queue.push(first).unwrap();
        assert_eq!(queue.push(work(2).0).err(), Some(Full));
        drop(outcome);
        let (third, _outcome) = work(3);
        assert!(queue.push(third).is_ok());
    }

    #[test]
    fn a_closed_queue_lets_its_threads_go() {
        let queue = Queue::new(1);
        queue.close();
        assert!(queue.pop().is_none());
    }

    #[test]
    fn it_is_busy_while_a_job_waits_or_is_worked_on() {
        let queue = Queue::new(1);
        let (first, _outcome) = work(1);
        queue.push(first).unwrap();
        assert!(queue.is_busy());
        let _popped = queue.pop();
        assert!(queue.is_busy());
        queue.done();
        assert!(!queue.is_busy());
    }

    fn work(id: u64) -> (Work, oneshot::Receiver<Outcome>) {
        let config = json!({"audio_format": "pcm8k16bit", "property": "chinese_8k_common"});
        let job = Job {
            id: JobId::new(id),
            trace_id: String::new(),
            settings: Settings::from_config(config.as_object().unwrap(), &[]).unwrap(),
            audio: Audio {
                format: AudioFormat::PCM_8K,
                bytes: Vec::new(),
            },
            interim: false,
        };
        let (reply, outcome) = oneshot::channel();
        (Work { job, reply }, outcome)
    }
}
