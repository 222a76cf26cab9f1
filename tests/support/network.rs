//! A sender, a network that misbehaves by a seed, and a receiver, in virtual time.
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test harness of which each test binary uses a part"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callscribe::media::receiver::{ExpectedSource, Output, Receiver, Settings};
use callscribe::media::{CallClock, Frame, Law, Samples, g711};

/// A sender's state; its methods build datagrams.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) source: SocketAddr,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) payload_type: u8,
}

impl Sender {
    /// Sends PCMU from some port of the loopback host.
    pub(crate) fn new(ssrc: u32) -> Self {
        Self {
            source: ([127, 0, 0, 1], 4_000).into(),
            ssrc,
            sequence: 65_500,
            timestamp: u32::MAX - 4_000,
            payload_type: 0,
        }
    }

    /// The law of what it sends.
    pub(crate) fn law(&self) -> Law {
        if self.payload_type == 8 {
            Law::Pcma
        } else {
            Law::Pcmu
        }
    }

    /// The next audio packet.
    pub(crate) fn audio(&mut self, payload: &[u8]) -> Vec<u8> {
        let packet = self.packet(self.payload_type, self.timestamp, false, payload);
        self.timestamp = self
            .timestamp
            .wrapping_add(u32::try_from(payload.len()).unwrap());
        packet
    }

    /// Lets time pass in which nothing is sent.
    pub(crate) fn pause(&mut self, samples: u32) {
        self.timestamp = self.timestamp.wrapping_add(samples);
    }

    /// The next packet, whatever it carries; time does not move.
    pub(crate) fn packet(
        &mut self,
        payload_type: u8,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type | u8::from(marker) << 7];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }

    /// Noise of so many packets with their sending times, with pauses if silence is suppressed.
    pub(crate) fn talk(
        &mut self,
        chance: &mut Chance,
        size: usize,
        packets: u64,
        suppression: bool,
    ) -> Vec<(Duration, Vec<u8>)> {
        let mut samples = 0;
        let mut sent = Vec::new();
        for _ in 0..packets {
            let code = |_| u8::try_from(chance.below(255)).unwrap();
            let payload: Vec<u8> = (0..size).map(code).collect();
            sent.push((Samples(samples).as_duration(), self.audio(&payload)));
            samples += u64::try_from(size).unwrap();
            if suppression && chance.happens(20) {
                let pause = 800 + chance.below(40_000);
                self.pause(u32::try_from(pause).unwrap());
                samples += pause;
            }
        }
        sent
    }

    /// A telephone-event packet.
    pub(crate) fn event(&mut self, code: u8, start: u32, duration: u16, is_end: bool) -> Vec<u8> {
        let [high, low] = duration.to_be_bytes();
        let payload = [code, u8::from(is_end) << 7 | 10, high, low];
        self.packet(101, start, false, &payload)
    }
}

/// A receiver with its call's clock, fed in virtual time.
pub(crate) struct Bench {
    pub(crate) epoch: Instant,
    pub(crate) clock: CallClock,
    pub(crate) receiver: Receiver,
    pub(crate) outputs: Vec<Output>,
    now: Instant,
}

impl Bench {
    /// A leg with default settings that expects anybody.
    pub(crate) fn new() -> Self {
        Self::with(Settings::default(), ExpectedSource::Any)
    }

    /// A leg with these settings.
    #[expect(clippy::disallowed_methods, reason = "any instant will do as epoch")]
    pub(crate) fn with(settings: Settings, expected: ExpectedSource) -> Self {
        let epoch = Instant::now();
        Self {
            epoch,
            clock: CallClock::default(),
            receiver: Receiver::new(Arc::new(settings), expected),
            outputs: Vec::new(),
            now: epoch,
        }
    }

    /// Lets time pass, timers firing when they are due, and delivers a datagram.
    pub(crate) fn deliver(&mut self, at: Duration, source: SocketAddr, datagram: &[u8]) {
        self.advance(at);
        self.receiver
            .handle_datagram(source, datagram, &mut self.clock, self.now);
        self.drain();
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, to: Duration) {
        let to = self.epoch + to;
        while let Some(due) = self.receiver.poll_timeout().filter(|due| *due <= to) {
            assert!(due >= self.now || self.receiver.poll_timeout() == Some(due));
            self.now = self.now.max(due);
            self.receiver.handle_timeout(self.now);
            self.drain();
            assert_ne!(
                self.receiver.poll_timeout(),
                Some(due),
                "the timer does not settle"
            );
        }
        self.now = self.now.max(to);
    }

    /// Ends the leg.
    pub(crate) fn end(&mut self) {
        self.receiver.handle_end(self.now);
        self.drain();
    }

    /// The frames so far.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.outputs.iter().filter_map(|output| {
            let Output::Frame(frame) = output else {
                return None;
            };
            Some(frame)
        })
    }

    /// All samples of all frames, lost ones included.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.frames()
            .flat_map(|frame| frame.bytes().to_vec())
            .collect()
    }

    /// The leg as it lies on the call clock, silences included, as codes of one law.
    pub(crate) fn laid_out(&self, law: Law) -> Vec<u8> {
        let mut all = Vec::new();
        for output in &self.outputs {
            match output {
                Output::Frame(frame) => {
                    let from = all.len();
                    all.extend(frame.bytes());
                    g711::convert(frame.law, law, &mut all[from..]);
                }
                Output::Silence { len, .. } => {
                    let len = all.len() + usize::try_from(len.0).unwrap();
                    all.resize(len, g711::silence(law));
                }
                _ => {}
            }
        }
        all
    }

    /// Samples in silences.
    pub(crate) fn silence(&self) -> u64 {
        let len = |output: &Output| match output {
            Output::Silence { len, .. } => len.0,
            _ => 0,
        };
        self.outputs.iter().map(len).sum()
    }

    /// Lost samples in frames.
    pub(crate) fn lost(&self) -> u64 {
        self.frames().map(|frame| u64::from(frame.lost)).sum()
    }

    /// Samples in frames that did arrive.
    pub(crate) fn received(&self) -> u64 {
        self.frames().map(|frame| frame.received().0).sum()
    }

    /// Where the leg started.
    pub(crate) fn started(&self) -> Samples {
        let start = |output: &Output| match output {
            Output::Started { start, .. } => Some(*start),
            _ => None,
        };
        self.outputs.iter().find_map(start).unwrap_or_default()
    }

    /// The keys that were pressed.
    pub(crate) fn digits(&self) -> String {
        let digit = |output: &Output| match output {
            Output::Dtmf { digit, .. } => Some(*digit),
            _ => None,
        };
        self.outputs.iter().filter_map(digit).collect()
    }

    /// How many outputs say something of the leg's health.
    pub(crate) fn health(&self) -> Vec<callscribe::event::HealthState> {
        let state = |output: &Output| match output {
            Output::Health { state, .. } => Some(*state),
            _ => None,
        };
        self.outputs.iter().filter_map(state).collect()
    }

    /// Where the leg ends on the call clock; checks that its outputs tile it.
    pub(crate) fn end_of_tiles(&self) -> Samples {
        let mut end = None;
        for output in &self.outputs {
            let (start, after) = match output {
                Output::Started { start, .. } => (*start, *start),
                Output::Frame(frame) => (frame.start, frame.end()),
                Output::Silence { start, len } => (*start, *start + *len),
                _ => continue,
            };
            assert!(end.is_none_or(|end| end == start), "{end:?} then {start:?}");
            end = Some(after);
        }
        end.unwrap_or_default()
    }

    fn drain(&mut self) {
        while let Some(output) = self.receiver.poll_output() {
            self.outputs.push(output);
        }
    }
}

/// A repeatable source of chance (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// Begins a sequence; the seed is part of a failing test's message.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below the limit.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit.max(1)
    }

    /// Whether something happens that happens so many times in a thousand.
    pub(crate) fn happens(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }
}

/// What a network does to packets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Network {
    /// Packets lost, per mille.
    pub(crate) loss: u64,
    /// Packets lost after one that was lost, per mille; makes loss come in bursts.
    pub(crate) burst: u64,
    /// Packets that come twice, per mille.
    pub(crate) duplication: u64,
    /// Largest random delay.
    pub(crate) jitter: Duration,
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(crate) struct Transit {
    pub(crate) arrival: Duration,
    pub(crate) datagram: Vec<u8>,
}

impl Network {
    /// Carries datagrams with their sending times; gives them in order of arrival.
    pub(crate) fn carry(
        &self,
        chance: &mut Chance,
        sent: impl IntoIterator<Item = (Duration, Vec<u8>)>,
    ) -> Vec<Transit> {
        let mut carried = Vec::new();
        let mut is_lost = false;
        for (at, datagram) in sent {
            let odds = if is_lost {
                self.burst.max(self.loss)
            } else {
                self.loss
            };
            is_lost = chance.happens(odds);
            let copies =
                usize::from(!is_lost) + usize::from(!is_lost && chance.happens(self.duplication));
            for _ in 0..copies {
                let delay = chance.below(u64::try_from(self.jitter.as_micros()).unwrap() + 1);
                let arrival = at + Duration::from_micros(delay);
                carried.push(Transit {
                    arrival,
                    datagram: datagram.clone(),
                });
            }
        }
        carried.sort_by_key(|transit| transit.arrival);
        carried
    }
}

/// So many milliseconds.
pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Payload that tells which sample it is, without long runs of one code.
pub(crate) fn ramp(from: usize, len: usize) -> Vec<u8> {
    (from..from + len)
        .map(|n| u8::try_from(n * 7 % 253).unwrap())
        .collect()
}
