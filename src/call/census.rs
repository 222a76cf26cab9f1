//! What a switchboard has carried so far and carries now, in sums: what the metrics show.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::call::conversation::Call;
use crate::call::ledger::Sums;
use crate::call::leg::Leg;
use crate::call::snapshot::CallState;
use crate::call::stray::{StrayCause, StraySender};
use crate::call::switchboard::Switchboard;
use crate::event::HealthState;
use crate::media::receiver::Counters;

/// A switchboard at one moment.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Calls that are not over, by where they are in their lives.
    pub calls: BTreeMap<CallState, u64>,
    /// Their legs that are not over, by health; those that were never in trouble are `ok`.
    pub legs: BTreeMap<HealthState, u64>,
    /// Parts that wait for their text.
    pub parts_waiting: u64,
    /// Ports that datagrams are received on.
    pub ports: usize,
    /// Ports that could be given to a registered call.
    pub free_ports: usize,
    /// Calls that were refused because there was too much to do.
    pub refused_calls: u64,
    /// Everything that was ever carried.
    pub totals: Totals,
    /// Datagrams that belonged to no call, by cause.
    pub strays: BTreeMap<StrayCause, u64>,
    /// The last senders of such datagrams.
    pub stray_senders: Vec<StraySender>,
}

/// Sums over legs; they only grow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// What became of each datagram.
    pub datagrams: Counters,
    /// Where each sample went.
    pub ledger: Sums,
    /// Utterances begun.
    pub utterances: u64,
    /// Streams heard.
    pub streams: u64,
}

impl Totals {
    /// Adds the legs of a call.
    pub fn add(&mut self, call: &Call) {
        call.legs().iter().for_each(|leg| self.add_leg(leg));
    }

    /// Adds other sums.
    pub const fn merge(&mut self, other: &Self) {
        self.datagrams.add(&other.datagrams);
        self.ledger.add(&other.ledger);
        self.utterances += other.utterances;
        self.streams += other.streams;
    }

    fn add_leg(&mut self, leg: &Leg) {
        let statistics = leg.receiver().statistics();
        self.datagrams.add(&statistics.counters);
        self.ledger.add(&leg.ledger().sums());
        self.utterances += leg.utterances();
        self.streams += statistics.streams;
    }
}

impl Census {
    /// Adds what another switchboard carries.
    pub fn merge(&mut self, other: Self) {
        for (state, count) in other.calls {
            *self.calls.entry(state).or_default() += count;
        }
        for (health, count) in other.legs {
            *self.legs.entry(health).or_default() += count;
        }
        for (cause, count) in other.strays {
            *self.strays.entry(cause).or_default() += count;
        }
        self.parts_waiting += other.parts_waiting;
        self.ports += other.ports;
        self.free_ports += other.free_ports;
        self.refused_calls += other.refused_calls;
        self.totals.merge(&other.totals);
        self.stray_senders.extend(other.stray_senders);
    }

    fn add(&mut self, call: &Call) {
        let state = CallState::of(call);
        *self.calls.entry(state).or_default() += 1;
        for leg in call.legs() {
            self.parts_waiting += leg.parts_waiting();
            if matches!(state, CallState::Expected | CallState::Active) {
                let health = leg.health().unwrap_or(HealthState::Ok);
                *self.legs.entry(health).or_default() += 1;
            }
        }
        self.totals.add(call);
    }
}

impl Switchboard {
    /// Counts what is carried; a call of thousands takes microseconds.
    pub fn census(&self, now: Instant) -> Census {
        let mut census = Census {
            ports: self.ports(),
            free_ports: self.free_ports(now),
            refused_calls: self.refused_calls(),
            totals: *self.totals(),
            strays: self.strays().counts().collect(),
            stray_senders: self.strays().senders(STRAY_WINDOW, now).copied().collect(),
            ..Census::default()
        };
        self.calls().for_each(|call| census.add(call));
        census
    }
}

/// A sender that has been silent for so long is no evidence any more.
const STRAY_WINDOW: Duration = Duration::from_secs(60);
