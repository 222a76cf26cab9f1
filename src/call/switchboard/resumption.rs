//! Calls that go on after a restart.

use std::time::{Duration, Instant};

use super::{PortIndex, Switchboard};
use crate::call::conversation::{Call, SavedCall};
use crate::call::label::PartLabel;
use crate::call::leg::UnsettledPart;
use crate::call::port::PortUse;
use crate::call::{CallKey, PartKey};
use crate::event::EndReason;
use crate::moment::Absence;

/// A call of which nothing was heard for so long because nobody listened is over: its PBX has had
/// to end it somehow, and could not tell.
const RESUMED_WITHIN: Duration = Duration::from_secs(300);

/// The port of a leg that is not to be heard any more.
const NOWHERE: PortIndex = PortIndex(usize::MAX);

/// A call that goes on, or is over for good reason.
#[derive(Debug)]
pub struct Resumed {
    /// The call, to this process.
    pub key: CallKey,
    /// Its parts that have no outcome: each is owed the audio that it had, before the next output is
    /// performed, and its text; or [`Switchboard::handle_audio_lost`].
    pub parts: Vec<UnsettledPart>,
    /// Why it was ended, if it was.
    pub hindrance: Option<Hindrance>,
}

/// What happened to a call since it was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// Nothing.
    None,
    /// It went on.
    WentOn,
    /// It came, began or ended, or somebody told of it: a restart now had better know.
    Pressing,
}

impl News {
    pub(super) const fn of(is_other_phase: bool) -> Self {
        if is_other_phase {
            Self::Pressing
        } else {
            Self::WentOn
        }
    }
}

/// Why a call cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hindrance {
    /// One of its ports is not received on any more, or not by this worker, or by another call.
    #[error("its port {0} is not to be had again")]
    PortGone(u16),
    /// Nobody listened for too long.
    #[error("nobody listened for {} s", .0.as_secs())]
    TooLate(Duration),
}

impl Switchboard {
    /// Goes on with a call that another process saved at `saved_at`; one that cannot go on is ended
    /// here, with the text of its last words.
    pub fn resume(&mut self, saved: SavedCall, saved_at: Instant, now: Instant) -> Resumed {
        let absence = Absence {
            since: saved_at,
            until: now,
        };
        let away = absence.duration();
        let ports: Vec<_> = saved.ports().map(|port| self.find_free(port)).collect();
        let gone = ports.iter().find_map(|found| found.err());
        let too_late = (away > RESUMED_WITHIN).then_some(Hindrance::TooLate(away));
        let hindrance = gone.or(too_late).filter(|_| saved.is_heard());
        let key = self.free_slot();
        let ports: Vec<_> = ports
            .into_iter()
            .map(|found| found.unwrap_or(NOWHERE))
            .collect();
        if saved.is_heard() && hindrance.is_none() {
            for (channel, port) in (0_u8..).zip(&ports) {
                self.ports[port.0].taken_by = Some(PortUse::Leg { call: key, channel });
                self.legs += 1;
            }
        }
        let call = Call::restore(key, saved, &ports, &self.settings, absence);
        let parts = call.unsettled_parts().collect();
        self.insert(call);
        if hindrance.is_some() {
            self.handle_end(key, EndReason::Interrupted, now);
        }
        Resumed {
            key,
            parts,
            hindrance,
        }
    }

    /// The audio of an unsettled part of a resumed call is gone; what there was of it is a gap.
    pub fn handle_audio_lost(&mut self, key: PartKey, now: Instant) {
        self.with_call(key.call, now, |call, outbox| {
            call.handle_audio_lost(key, outbox, now);
        });
    }

    /// What a part without an outcome is called outside its call.
    pub fn label(&self, key: PartKey, now: Instant) -> Option<PartLabel> {
        let leg = self.call(key.call)?.legs().get(usize::from(key.channel))?;
        leg.part_label((key.utterance, key.part), self.outbox.wall.at(now))
    }

    /// Places for calls; each has one or none.
    pub const fn slots(&self) -> usize {
        self.calls.len()
    }

    /// The call in a slot.
    pub fn in_slot(&self, slot: usize) -> Option<&Call> {
        self.calls.get(slot)?.as_ref()
    }

    /// What happened in a slot since the call in it was saved.
    pub fn news(&self, slot: usize) -> News {
        self.news.get(slot).copied().unwrap_or(News::None)
    }

    /// The call in a slot was saved.
    pub fn forget_news(&mut self, slot: usize) {
        if let Some(news) = self.news.get_mut(slot) {
            self.pressing -= usize::from(*news == News::Pressing);
            *news = News::None;
        }
    }

    /// The slots with [`News::Pressing`].
    pub fn pressing_slots(&self) -> impl Iterator<Item = usize> + '_ {
        let slots = (0..).zip(&self.news);
        slots
            .filter_map(|(slot, &news)| (news == News::Pressing).then_some(slot))
            .take(self.pressing)
    }

    pub(super) fn note_news(&mut self, slot: usize, news: News) {
        let known = &mut self.news[slot];
        self.pressing += usize::from(news > *known && news == News::Pressing);
        *known = news.max(*known);
    }

    fn find_free(&self, number: u16) -> Result<PortIndex, Hindrance> {
        let is_free = |port: &crate::call::port::Port| port.taken_by.is_none();
        let found = self.ports.iter().position(|port| port.number == number);
        found
            .filter(|&index| is_free(&self.ports[index]))
            .map(PortIndex)
            .ok_or(Hindrance::PortGone(number))
    }
}
