//! What a worker leaves behind at every moment, so that another process can go on with its calls.

#![expect(
    clippy::disallowed_methods,
    reason = "the clocks that outlive the process are read here"
)]

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::call::conversation::{Call, Phase, SavedCall};
use crate::call::switchboard::{News, Switchboard};
use crate::call::{CallKey, PartKey};
use crate::io::clock::monotonic;
use crate::io::spool::SpooledPart;
use crate::io::told::Told;
use crate::media::Law;
use crate::speech::utterance::Depth;

/// Raised with every change of what [`SavedCall`] is made of, or a tape: another version's calls are not gone
/// on with, but ended.
const LAYOUT: u32 = 6;

/// How often calls are saved.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// How long one round over all calls of a worker takes. The state of a call in which somebody speaks, or whose text
    /// is due, is at most two rounds old.
    round: Duration,
    /// How old the state of any other call is before it is saved again, in up to two rounds more.
    quiet: Duration,
}

impl Rhythm {
    /// What is younger than the oldest state is on the tape ([`crate::io::tape`]), which goes back three seconds at least.
    pub const WITH_TAPE: Self = Self {
        round: Duration::from_millis(1_300),
        quiet: Duration::ZERO,
    };

    /// What is younger is lost by a crash.
    pub const WITHOUT_TAPE: Self = Self {
        round: Duration::from_millis(200),
        quiet: Duration::from_millis(600),
    };
}

/// Calls that begin or end are written at once, but not more often than this.
const URGENT_PAUSE: Duration = Duration::from_millis(50);

/// A call as it is found after a restart.
#[derive(Debug)]
pub struct FoundCall {
    /// Names the call to readers.
    pub id: Arc<str>,
    /// Its state; `None` if this version of the program cannot read it.
    pub state: Option<SavedCall>,
    /// When that was saved, on the clock of this process.
    pub saved_at: Instant,
    /// The same on the monotonic clock itself; `None` if the machine was started since.
    pub saved_at_tick: Option<Duration>,
    /// Whether readers know of the call.
    pub is_started: bool,
    /// The audio of its unsettled parts, as far as it was left with the state.
    pub audio: Vec<KeptAudio>,
    /// The same, as far as it is in the spool.
    pub spooled: Vec<SpooledPart>,
    /// What readers know of it.
    pub told: Told,
}

impl FoundCall {
    /// The UDP ports of its legs; none if its state cannot be read.
    pub fn ports(&self) -> Vec<u16> {
        self.state.iter().flat_map(SavedCall::ports).collect()
    }
}

/// The calls of one worker as they were saved last, and whose turn is next.
#[derive(Debug)]
pub struct Checkpoints {
    rhythm: Rhythm,
    boot: String,
    records: Vec<Option<Kept>>,
    next_slot: usize,
    round_began: Instant,
    written_at: Instant,
    /// How much that was.
    bytes: usize,
    /// Whether something is to be written that was not.
    is_changed: bool,
}

/// A call as it was saved last.
#[derive(Debug)]
struct Kept {
    key: CallKey,
    at: Instant,
    /// Whether all that was said had its text.
    is_settled: bool,
    record: Record,
}

/// The audio of a part that has no outcome.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptAudio {
    /// The leg's number in the call.
    pub channel: u8,
    /// Ordinal of the utterance on its leg.
    pub utterance: u64,
    /// Ordinal of the part in its utterance.
    pub part: u32,
    /// The law of the samples.
    pub law: Law,
    /// The samples.
    #[serde(with = "crate::octets")]
    pub g711: Vec<u8>,
}

/// A file of a worker. Its form, unlike that of the states in it, is the same in every version.
#[derive(Debug, Serialize, Deserialize)]
struct Checkpoint<R> {
    layout: u32,
    clock: Clock,
    calls: Vec<R>,
    /// With the call that it belongs to; only after a handover.
    audio: Vec<(Arc<str>, KeptAudio)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    id: Arc<str>,
    is_started: bool,
    /// Reading of the monotonic clock.
    saved_at: Duration,
    #[serde(with = "crate::octets")]
    state: Vec<u8>,
}

/// Two clocks at one moment: the monotonic one is exact until the machine is booted again.
#[derive(Debug, Serialize, Deserialize)]
struct Clock {
    boot: String,
    monotonic: Duration,
    wall_ms: i64,
}

impl Checkpoints {
    /// Of a worker that has no calls yet.
    pub fn new(rhythm: Rhythm, now: Instant) -> Self {
        Self {
            rhythm,
            boot: boot_id(),
            records: Vec::new(),
            next_slot: 0,
            round_began: now,
            written_at: now,
            bytes: 0,
            is_changed: true,
        }
    }

    /// Saves the calls whose turn it is. Once a round, or at once after a call began or ended, it is
    /// time to write: gives what has to be, if anything has changed.
    pub fn advance(&mut self, calls: &mut Switchboard, now: Instant) -> Option<Option<Vec<u8>>> {
        let slots = calls.slots();
        let elapsed = now.saturating_duration_since(self.round_began);
        let round = self.rhythm.round;
        let due = slots * millis(elapsed.min(round)) / millis(round);
        for slot in self.next_slot..due {
            self.save(calls, slot, Depth::Checkpoint, now);
        }
        self.next_slot = self.next_slot.max(due);
        let may_press = now.saturating_duration_since(self.written_at) >= URGENT_PAUSE;
        let urgent: Vec<_> = calls.pressing_slots().filter(|_| may_press).collect();
        let is_pressing = !urgent.is_empty();
        for slot in urgent {
            self.save(calls, slot, Depth::Checkpoint, now);
        }
        if elapsed >= round {
            self.round_began = now;
            self.next_slot = 0;
        } else if !is_pressing {
            return None;
        }
        self.written_at = now;
        let is_changed = std::mem::take(&mut self.is_changed);
        Some(is_changed.then(|| self.write_out(Vec::new())).flatten())
    }

    /// Saves every call with all that belongs to it, for the process that goes on at once.
    pub fn hand_over(
        &mut self,
        calls: &mut Switchboard,
        audio: impl Fn(PartKey) -> Option<KeptAudio>,
        now: Instant,
    ) -> Option<Vec<u8>> {
        self.records.clear();
        (0..calls.slots()).for_each(|slot| self.save(calls, slot, Depth::Handover, now));
        let of_call = |call: &Call| {
            let kept = call.unsettled_parts().filter_map(|part| audio(part.key));
            let id = Arc::clone(&call.spec().id);
            kept.map(move |kept| (Arc::clone(&id), kept))
                .collect::<Vec<_>>()
        };
        let audio = calls.calls().flat_map(of_call).collect();
        self.write_out(audio)
    }

    /// A call that nothing happened to is not saved again, and one in which nobody speaks not often.
    fn save(&mut self, calls: &mut Switchboard, slot: usize, depth: Depth, now: Instant) {
        if self.records.len() <= slot {
            self.records.resize_with(slot + 1, || None);
        }
        let news = calls.news(slot);
        let Some(call) = calls.in_slot(slot) else {
            self.is_changed |= self.records[slot].take().is_some();
            calls.forget_news(slot);
            return;
        };
        let kept = self.records[slot].as_ref();
        let is_due = match kept.filter(|kept| kept.key == call.key()) {
            Some(kept) => {
                let age = now.saturating_duration_since(kept.at);
                let is_quiet = kept.is_settled && call.is_settled();
                let is_worth_it = !is_quiet || age >= self.rhythm.quiet;
                news > News::WentOn || (news == News::WentOn && is_worth_it)
            }
            None => true,
        };
        if is_due {
            let buffer = self.records[slot].take().map(|kept| kept.record.state);
            let record = Record::new(call, depth, buffer.unwrap_or_default(), now);
            self.records[slot] = record.map(|record| Kept {
                key: call.key(),
                at: now,
                is_settled: call.is_settled(),
                record,
            });
            self.is_changed = true;
            calls.forget_news(slot);
        }
    }

    fn write_out(&mut self, audio: Vec<(Arc<str>, KeptAudio)>) -> Option<Vec<u8>> {
        let checkpoint = Checkpoint {
            layout: LAYOUT,
            clock: Clock::now(self.boot.clone()),
            calls: self
                .records
                .iter()
                .flatten()
                .map(|kept| &kept.record)
                .collect(),
            audio,
        };
        // Nearly as much as last time.
        let buffer = Vec::with_capacity(self.bytes + self.bytes / 8);
        match postcard::to_extend(&checkpoint, buffer) {
            Ok(bytes) => {
                self.bytes = bytes.len();
                Some(bytes)
            }
            Err(error) => {
                warn!(%error, "the state of the calls cannot be saved");
                None
            }
        }
    }
}

impl Record {
    /// The state is written over what is in `buffer`.
    fn new(call: &Call, depth: Depth, buffer: Vec<u8>, now: Instant) -> Option<Self> {
        match call.save(depth, now).to_bytes(buffer) {
            Ok(state) => Some(Self {
                id: Arc::clone(&call.spec().id),
                is_started: call.phase() != Phase::Expected,
                saved_at: monotonic(),
                state,
            }),
            Err(error) => {
                warn!(%error, call_id = %call.spec().id, "the state of a call cannot be saved");
                None
            }
        }
    }
}

impl Clock {
    fn now(boot: String) -> Self {
        Self {
            boot,
            monotonic: monotonic(),
            wall_ms: Timestamp::now().as_millisecond(),
        }
    }

    /// How long ago its moment is.
    fn age(&self, now: &Self) -> Duration {
        if self.boot == now.boot {
            return now.monotonic.saturating_sub(self.monotonic);
        }
        let elapsed = now.wall_ms.saturating_sub(self.wall_ms);
        Duration::from_millis(u64::try_from(elapsed).unwrap_or(0))
    }
}

/// The calls in what a worker left behind; none if it is damaged.
pub fn read(bytes: &[u8]) -> Vec<FoundCall> {
    let checkpoint: Checkpoint<Record> = match postcard::from_bytes(bytes) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            warn!(%error, "what a worker left behind cannot be read; its calls are not gone on with");
            return Vec::new();
        }
    };
    let clock = &checkpoint.clock;
    let today = Clock::now(boot_id());
    let (now, age) = (Instant::now(), clock.age(&today));
    let is_same_boot = clock.boot == today.boot;
    let of_call = |id: &Arc<str>| {
        let own = checkpoint.audio.iter().filter(|(call, _)| call == id);
        own.map(|(_, audio)| audio.clone()).collect()
    };
    let found = |record: Record| {
        let age = age + clock.monotonic.saturating_sub(record.saved_at);
        let state = (checkpoint.layout == LAYOUT).then(|| SavedCall::from_bytes(&record.state));
        FoundCall {
            state: state.and_then(|state| {
                state
                    .inspect_err(|error| warn!(%error, "the state of a call cannot be read"))
                    .ok()
            }),
            saved_at: now.checked_sub(age).unwrap_or(now),
            saved_at_tick: is_same_boot.then_some(record.saved_at),
            is_started: record.is_started,
            audio: of_call(&record.id),
            spooled: Vec::new(),
            told: Told::default(),
            id: record.id,
        }
    };
    checkpoint.calls.into_iter().map(found).collect()
}

fn millis(time: Duration) -> usize {
    usize::try_from(time.as_millis()).unwrap_or(usize::MAX)
}

/// Names the time since the machine was started.
fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::tape;

    #[test]
    fn tape_goes_back_to_the_oldest_state_with_time_to_write_it() {
        let Rhythm { round, quiet } = Rhythm::WITH_TAPE;
        let oldest = quiet + 2 * round;
        assert!(
            oldest + Duration::from_millis(300) < tape::LEAST,
            "{oldest:?}"
        );
    }
}
