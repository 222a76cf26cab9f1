//! Calls in virtual time: a switchboard, senders that make RTP, and a recogniser that answers when the test says so.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "a test harness of which each test binary uses a part"
)]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "any instant will do as zero, and what fails here fails the test"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callscribe::asr::Recognition;
use callscribe::call::conversation::SavedCall;
use callscribe::call::feedback::Report;
use callscribe::call::leg::UnsettledPart;
use callscribe::call::switchboard::{Hindrance, PortIndex, Settings, Switchboard};
use callscribe::call::{Output, PartKey, WallClock};
use callscribe::config::File;
use callscribe::event::GapReason;
use callscribe::media::{Frame, Law, g711};
use callscribe::speech::utterance::Depth;
use serde_json::Value;

/// How the recogniser answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With a text, so long after the part was closed.
    After(Duration),
    /// With a refusal.
    Refuse,
    /// Not until [`VirtualCalls::answer_all`].
    Never,
}

/// How a process ends and the next one begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restart {
    pub(crate) depth: Depth,
    /// For how long nobody listens.
    pub(crate) away: Duration,
    /// Whether the audio of unsettled parts is gone with it.
    pub(crate) is_audio_lost: bool,
}

pub(crate) struct VirtualCalls {
    pub(crate) switchboard: Switchboard,
    pub(crate) now: Instant,
    pub(crate) zero: Instant,
    pub(crate) answer: Answer,
    /// Every line so far.
    pub(crate) lines: Vec<Value>,
    /// The audio of every part so far, as the recogniser got it.
    pub(crate) heard: BTreeMap<PartKey, Vec<u8>>,
    pub(crate) open_parts: usize,
    /// Every receiver report so far.
    pub(crate) reports: Vec<Report>,
    due: Vec<(Instant, PartKey)>,
    unanswered: Vec<PartKey>,
    /// The audio of parts from before a restart.
    archive: BTreeMap<(u8, u64, u32), Vec<u8>>,
}

impl VirtualCalls {
    pub(crate) fn new(settings: Settings) -> Self {
        let zero = Instant::now();
        let wall = WallClock::new(zero, jiff::Timestamp::UNIX_EPOCH);
        Self {
            switchboard: Switchboard::new(Arc::new(settings), wall),
            now: zero,
            zero,
            answer: Answer::After(Duration::from_millis(300)),
            lines: Vec::new(),
            heard: BTreeMap::new(),
            open_parts: 0,
            reports: Vec::new(),
            due: Vec::new(),
            unanswered: Vec::new(),
            archive: BTreeMap::new(),
        }
    }

    /// Settings of the shipped configuration, for senders on loopback.
    pub(crate) fn settings() -> Settings {
        File::default().switchboard().unwrap()
    }

    pub(crate) fn send(&mut self, port: PortIndex, from: SocketAddr, datagram: &[u8]) {
        self.switchboard
            .handle_datagram(port, from, datagram, self.now);
        self.perform();
    }

    /// Lets time pass, with every deadline on its way.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let answer = self.due.iter().map(|(at, _)| *at).min();
            let deadline = self.switchboard.poll_timeout();
            let Some(next) = answer
                .into_iter()
                .chain(deadline)
                .min()
                .filter(|&at| at <= until)
            else {
                break;
            };
            self.now = self.now.max(next);
            self.switchboard.handle_timeout(self.now);
            let now = self.now;
            for (_, key) in self
                .due
                .extract_if(.., |(at, _)| *at <= now)
                .collect::<Vec<_>>()
            {
                self.recognise(key);
            }
            self.perform();
        }
        self.now = until;
    }

    pub(crate) fn answer_all(&mut self) {
        for key in std::mem::take(&mut self.unanswered) {
            self.recognise(key);
        }
        self.perform();
    }

    pub(crate) fn perform(&mut self) {
        while let Some(output) = self.switchboard.poll_output() {
            match output {
                Output::Publish(event) | Output::Settle { event, .. } => {
                    let line = event.to_line("test", self.lines.len() as u64);
                    self.lines.push(serde_json::from_str(&line).unwrap());
                }
                Output::OpenPart { key, .. } => {
                    self.open_parts += 1;
                    assert!(
                        self.heard.insert(key, Vec::new()).is_none(),
                        "{key:?} opened twice"
                    );
                }
                Output::Audio { key, frame, .. } => self.hear(key, &frame),
                Output::ClosePart { key, .. } => self.close(key),
                Output::SendReport { report, .. } => self.reports.push(report),
                Output::Heard { .. } => {}
            }
        }
    }

    /// Saves every call, forgets everything, and goes on in a new switchboard of which `set_up` makes the ports. Gives
    /// what kept each call from going on.
    pub(crate) fn restart(
        &mut self,
        restart: Restart,
        set_up: impl FnOnce(&mut Self),
    ) -> Vec<Option<Hindrance>> {
        let calls = self.switchboard.calls();
        let saved: Vec<_> = calls
            .map(|call| {
                (
                    call.key(),
                    call.save(restart.depth, self.now)
                        .to_bytes(Vec::new())
                        .unwrap(),
                )
            })
            .collect();
        let settings = Arc::new(self.switchboard.settings().clone());
        let wall = WallClock::new(self.zero, jiff::Timestamp::UNIX_EPOCH);
        let saved_at = self.now;
        self.now += restart.away;
        self.switchboard = Switchboard::new(settings, wall);
        set_up(self);
        let before = std::mem::take(&mut self.heard);
        let due: BTreeMap<_, _> = self.due.drain(..).map(|(at, key)| (key, at)).collect();
        self.unanswered.clear();
        self.open_parts = 0;
        let mut hindrances = Vec::new();
        for (old, bytes) in saved {
            let call = SavedCall::from_bytes(&bytes).unwrap();
            let resumed = self.switchboard.resume(call, saved_at, self.now);
            hindrances.push(resumed.hindrance);
            for part in resumed.parts {
                let old = PartKey {
                    call: old,
                    ..part.key
                };
                if restart.is_audio_lost {
                    self.switchboard.handle_audio_lost(part.key, self.now);
                } else {
                    self.reopen(&part, &before[&old], due.get(&old).copied());
                }
            }
        }
        let name = |key: PartKey| (key.channel, key.utterance, key.part);
        let before = before.into_iter();
        self.archive
            .extend(before.map(|(key, audio)| (name(key), audio)));
        self.perform();
        hindrances
    }

    /// Goes on in a new switchboard with what was saved some time before the crash; audio is lost with it.
    pub(crate) fn crash(
        &mut self,
        saved: Vec<SavedCall>,
        saved_at: Instant,
        set_up: impl FnOnce(&mut Self),
    ) {
        let settings = Arc::new(self.switchboard.settings().clone());
        let wall = WallClock::new(self.zero, jiff::Timestamp::UNIX_EPOCH);
        self.switchboard = Switchboard::new(settings, wall);
        self.heard.clear();
        self.due.clear();
        set_up(self);
        for call in saved {
            let resumed = self.switchboard.resume(call, saved_at, self.now);
            for part in resumed.parts {
                self.switchboard.handle_audio_lost(part.key, self.now);
            }
        }
        self.perform();
    }

    fn reopen(&mut self, part: &UnsettledPart, audio: &[u8], due: Option<Instant>) {
        let len = usize::try_from(part.len.0).unwrap();
        self.heard.insert(part.key, audio[..len].to_vec());
        self.open_parts += 1;
        match due {
            Some(at) => {
                self.open_parts -= 1;
                self.due.push((at, part.key));
            }
            None if part.is_closed => self.close(part.key),
            None => {}
        }
    }

    /// The audio of every part so far by channel, utterance and part, over all restarts.
    pub(crate) fn audio(&self) -> BTreeMap<(u8, u64, u32), Vec<u8>> {
        let mut audio = self.archive.clone();
        let heard = self.heard.iter();
        audio.extend(
            heard.map(|(key, audio)| ((key.channel, key.utterance, key.part), audio.clone())),
        );
        audio
    }

    /// The lines of one kind.
    pub(crate) fn events(&self, event: &str) -> Vec<&Value> {
        self.lines
            .iter()
            .filter(|line| line["event"] == event)
            .collect()
    }

    /// The kinds of all lines, in order.
    pub(crate) fn story(&self) -> Vec<&str> {
        self.lines
            .iter()
            .filter_map(|line| line["event"].as_str())
            .collect()
    }

    /// A part that is not there was lost with a restart.
    fn hear(&mut self, key: PartKey, frame: &Frame) {
        if let Some(audio) = self.heard.get_mut(&key) {
            audio.extend(frame.bytes());
        }
    }

    fn close(&mut self, key: PartKey) {
        if !self.heard.contains_key(&key) {
            return;
        }
        self.open_parts -= 1;
        match self.answer {
            Answer::After(delay) => self.due.push((self.now + delay, key)),
            Answer::Never => self.unanswered.push(key),
            Answer::Refuse => {
                let detail = "refused by the test".to_owned();
                let reason = GapReason::AsrRejected;
                self.switchboard
                    .handle_unrecognised(key, reason, detail, self.now);
            }
        }
    }

    fn recognise(&mut self, key: PartKey) {
        let text = format!("utterance {} of leg {}", key.utterance, key.channel);
        let recognition = Recognition {
            text,
            attempts: 1,
            ..Recognition::default()
        };
        self.switchboard
            .handle_recognised(key, recognition, self.now);
    }
}

/// A sender of 20 ms packets.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) address: SocketAddr,
    pub(crate) ssrc: u32,
    pub(crate) seq: u16,
    pub(crate) timestamp: u32,
    pub(crate) law: Law,
}

impl Sender {
    pub(crate) fn new(address: &str, ssrc: u32) -> Self {
        let address = address.parse().unwrap();
        Self {
            address,
            ssrc,
            seq: 65_500,
            timestamp: u32::MAX - 8_000,
            law: Law::Pcmu,
        }
    }

    pub(crate) fn packet(&mut self, pcm: &[i16]) -> Vec<u8> {
        let payload_type = if self.law == Law::Pcmu { 0 } else { 8 };
        let mut packet = vec![0x80, payload_type];
        packet.extend(self.seq.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        let mut payload = vec![0; pcm.len()];
        g711::encode(self.law, pcm, &mut payload);
        packet.extend(payload);
        self.seq = self.seq.wrapping_add(1);
        self.timestamp = self
            .timestamp
            .wrapping_add(u32::try_from(pcm.len()).unwrap());
        packet
    }

    /// An RTCP sender report: the next packet is of this time, in 2^-32 s since 1900 (RFC 3550 §6.4.1).
    pub(crate) fn sender_report(&self, ntp: u64) -> Vec<u8> {
        let mut packet = vec![0x80, 200, 0, 6];
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(ntp.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend([0; 8]);
        packet
    }

    /// An RTCP BYE in a compound packet (RFC 3550 §6.1, §6.6).
    pub(crate) fn bye(&self) -> Vec<u8> {
        let mut packet = vec![0x80, 201, 0, 1];
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend([0x81, 203, 0, 1]);
        packet.extend(self.ssrc.to_be_bytes());
        packet
    }
}

/// One spoken Mandarin sentence, 8 kHz, with a second of silence after it.
pub(crate) fn sentence() -> Vec<i16> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/s01.wav");
    let mut reader = hound::WavReader::open(path).unwrap();
    let speech = reader.samples::<i16>().map(Result::unwrap);
    speech.chain(std::iter::repeat_n(0, 8_000)).collect()
}

pub(crate) const PACKET: Duration = Duration::from_millis(20);

impl VirtualCalls {
    /// Sends audio at its own pace.
    pub(crate) fn play(&mut self, port: PortIndex, sender: &mut Sender, pcm: &[i16]) {
        for chunk in pcm.chunks_exact(160) {
            let packet = sender.packet(chunk);
            self.send(port, sender.address, &packet);
            self.pass(PACKET);
        }
    }
}
