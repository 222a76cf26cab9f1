//! One leg of a call: the circuit from a datagram to the parts of its utterances, and from their texts to lines.

mod demand;
mod lines;
mod saved;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::asr::Recognition;
use crate::call::feedback::Feedback;
use crate::call::health::{Health, Sighting};
use crate::call::ledger::Ledger;
use crate::call::loss::LossRun;
use crate::call::part::{Closed, Outcome, Parts};
use crate::call::port::OldStream;
use crate::call::switchboard::{PortIndex, Settings};
use crate::call::{CallKey, Outbox, Output, PartKey};
use crate::event::{Body, HealthState, Role, RoleSource};
use crate::media::receiver::{self, Receiver};
use crate::media::{CallClock, Frame, Law, Samples, Ssrc};
use crate::speech::{self, utterance::Segmenter};
pub use demand::Demand;
use lines::Finality;
pub use saved::{SavedLeg, UnsettledPart};

/// What is known of a leg before its first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegSpec {
    /// The port it is received on.
    pub port: PortIndex,
    /// Whose voice it carries, if known.
    pub role: Option<Role>,
    /// How the role is known.
    pub role_source: RoleSource,
    /// The law, if known; payload types decide what is decoded.
    pub law: Option<Law>,
    /// Who may send it.
    pub expected_source: receiver::ExpectedSource,
}

/// A leg. Its call feeds it and gives it the outbox of the worker. It begins with a line of the cache, so that
/// [`Leg::touch`] reads the same lines of each.
#[repr(align(64))]
pub struct Leg {
    context: Context,
    spec: LegSpec,
    settings: Arc<Settings>,
    receiver: Receiver,
    segmenter: Segmenter,
    parts: Parts,
    ledger: Ledger,
    loss: LossRun,
    /// Packets that could not be decoded, as far as a line told of them.
    told_undecodable: u64,
    health: Health,
    feedback: Feedback,
    heard: Option<Heard>,
    open_part: Option<PartKey>,
    left_at: Option<Instant>,
    last_key_end: Samples,
}

/// Names the leg in keys and in lines.
pub struct Context {
    /// The call, to the worker.
    pub call: CallKey,
    /// The call, to readers.
    pub call_id: Arc<str>,
    /// The leg's number in the call.
    pub channel: u8,
    /// The UDP port it is received on.
    pub port: u16,
}

/// The stream that a leg hears.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct Heard {
    ssrc: Ssrc,
    law: Law,
    remote: SocketAddr,
    start: Samples,
}

impl Leg {
    /// A leg that waits for its first packet.
    pub fn new(context: Context, spec: LegSpec, settings: &Arc<Settings>, now: Instant) -> Self {
        let feedback = Feedback::new(&context.call_id, context.channel);
        Self {
            receiver: Receiver::new(Arc::clone(&settings.receiver), spec.expected_source),
            segmenter: Segmenter::new(
                Arc::clone(settings.speech.of(spec.role)),
                settings.detector.detector(),
            ),
            context,
            spec,
            settings: Arc::clone(settings),
            parts: Parts::default(),
            ledger: Ledger::default(),
            loss: LossRun::default(),
            told_undecodable: 0,
            health: Health::new(now),
            feedback,
            heard: None,
            open_part: None,
            left_at: None,
            last_key_end: Samples::ZERO,
        }
    }

    /// Reads a little of what the next datagram will need; the sum means nothing.
    pub fn touch(&self) -> u64 {
        let health = u64::from(self.health.told().is_some());
        let feedback = u64::from(self.feedback.poll_timeout().is_some());
        let waiting = u64::from(self.parts.is_empty()) + u64::from(self.open_part.is_some());
        let losing = u64::from(self.loss.is_going_on());
        let own = health + feedback + waiting + losing + self.ledger.duration().0;
        own ^ self.receiver.touch() ^ self.segmenter.touch()
    }

    /// The same of what lies in memory of its own, when what refers to it is there.
    pub fn touch_beyond(&self) -> u64 {
        self.receiver.touch_beyond() ^ self.segmenter.touch_beyond()
    }

    /// A datagram arrived on the leg's port.
    pub fn handle_datagram(
        &mut self,
        source: SocketAddr,
        bytes: &[u8],
        clock: &mut CallClock,
        outbox: &mut Outbox,
        now: Instant,
    ) {
        self.receiver.handle_datagram(source, bytes, clock, now);
        self.note_return(now);
        self.drain(outbox, now);
    }

    /// A datagram arrived on the port after the leg's: RTCP, if anything (RFC 3550 §11).
    pub fn handle_rtcp(
        &mut self,
        source: SocketAddr,
        bytes: &[u8],
        outbox: &mut Outbox,
        now: Instant,
    ) {
        self.receiver.handle_rtcp(source, bytes, now);
        self.drain(outbox, now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, outbox: &mut Outbox, now: Instant) {
        self.receiver.handle_timeout(now);
        if self
            .stall_deadline()
            .is_some_and(|deadline| now >= deadline)
        {
            self.segmenter.handle_end();
        }
        if let Some(report) = self.feedback.handle_timeout(&mut self.receiver, now) {
            let port = self.context.port;
            outbox.push(Output::SendReport { port, report });
        }
        self.drain(outbox, now);
    }

    /// Nothing more will be heard: what is held is given out and what is open is closed.
    pub fn handle_end(&mut self, outbox: &mut Outbox, now: Instant) {
        self.receiver.handle_end(now);
        self.drain(outbox, now);
        self.segmenter.handle_end();
        self.drain(outbox, now);
        if let Some(loss) = self.loss.finish() {
            let why = self.explain_loss();
            self.publish_loss(loss, why, outbox, now);
        }
    }

    /// A part has its outcome.
    pub fn handle_outcome(
        &mut self,
        (utterance, part): (u64, u32),
        outcome: Outcome,
        outbox: &mut Outbox,
        now: Instant,
    ) {
        self.parts.settle(utterance, part, outcome);
        self.publish_settled(outbox, now);
    }

    /// The audio of a part waits on disk, for the recogniser is away.
    pub fn handle_postponed(&mut self, (utterance, part): (u64, u32)) {
        if let Some(part) = self.parts.find(utterance, part) {
            part.is_late = true;
        }
    }

    /// The recogniser has a first guess at an open part.
    pub fn handle_interim(
        &mut self,
        (utterance, part): (u64, u32),
        text: String,
        outbox: &mut Outbox,
        now: Instant,
    ) {
        let end = self.end();
        let Some(waiting) = self.parts.find(utterance, part) else {
            return;
        };
        waiting.revision += 1;
        let end = waiting.closed.map_or(end, |closed| closed.end);
        let waiting = waiting.clone();
        let recognition = Recognition {
            text: waiting.without_lead_in(text),
            ..Recognition::default()
        };
        let line = self.transcript(&waiting, end, Finality::Interim, recognition);
        outbox.publish(&self.context.call_id, Body::Transcript(Box::new(line)), now);
    }

    /// Looks after the leg's health, once a second or so; `is_other_heard` tells whether another leg of the call is.
    pub fn check_health(&mut self, is_other_heard: bool, outbox: &mut Outbox, now: Instant) {
        if self.has_sender_left() {
            return;
        }
        if let Some((state, detail)) = self.health.assess(is_other_heard, now) {
            let channel = self.context.channel;
            let body = Body::ChannelHealth {
                channel,
                state,
                detail,
            };
            outbox.publish(&self.context.call_id, body, now);
        }
    }

    /// The role was learned late.
    pub fn set_role(&mut self, role: Option<Role>, role_source: RoleSource) {
        self.spec.role = role;
        self.spec.role_source = role_source;
        self.adopt_speech_settings();
    }

    /// Who may send the leg was learned late.
    pub const fn set_expected_source(&mut self, expected: receiver::ExpectedSource) {
        self.spec.expected_source = expected;
        self.receiver.set_expected_source(expected);
    }

    /// Goes on with other settings: allowed networks and payload types hold at once, the rest for the
    /// next stream and the next utterance.
    pub fn adopt(&mut self, settings: &Arc<Settings>) {
        self.receiver.adopt(Arc::clone(&settings.receiver));
        self.settings = Arc::clone(settings);
        self.adopt_speech_settings();
    }

    fn adopt_speech_settings(&mut self) {
        let settings = self.settings.speech.of(self.spec.role);
        self.segmenter.adopt(Arc::clone(settings));
    }

    /// When [`Leg::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [
            self.receiver.poll_timeout(),
            self.stall_deadline(),
            self.feedback.poll_timeout(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// When the last packet of the leg was accepted.
    pub fn last_heard(&self) -> Option<Instant> {
        self.receiver.last_packet()
    }

    /// Whether the sender has said BYE, and nobody has come after it.
    pub const fn has_sender_left(&self) -> bool {
        self.left_at.is_some()
    }

    /// The stream that was heard last, for the port to refuse when the call is over.
    pub fn last_stream(&self) -> Option<OldStream> {
        Some(OldStream {
            source: self.receiver.remote()?,
            ssrc: self.receiver.statistics().ssrc?,
            last_packet: self.receiver.last_packet()?,
        })
    }

    /// Whether every part has been settled.
    pub fn is_settled(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether it is settled but for parts that wait on disk.
    pub fn is_waiting(&self) -> bool {
        self.parts.are_late()
    }

    /// Where the audio of the leg ends on the call clock, so far.
    pub fn end(&self) -> Samples {
        self.heard.map_or(Samples::ZERO, |heard| heard.start) + self.ledger.duration()
    }

    /// Where the leg ends, its keys included: a caller may press one and say nothing after it.
    pub fn end_with_keys(&self) -> Samples {
        self.end().max(self.last_key_end)
    }

    /// What was said last of the leg's health; `None` while it was well from the start.
    pub const fn health(&self) -> Option<HealthState> {
        self.health.told()
    }

    /// The evidence for it; empty while nothing was said.
    pub fn health_detail(&self) -> &str {
        self.health.detail()
    }

    /// Where every sample went so far.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Utterances begun.
    pub const fn utterances(&self) -> u64 {
        self.segmenter.utterances()
    }

    /// Parts that wait for their text, the one that is being spoken included.
    pub fn parts_waiting(&self) -> u64 {
        self.parts.len() as u64
    }

    /// Whether somebody speaks.
    pub fn is_speech(&self) -> bool {
        self.segmenter.is_speech()
    }

    /// How loud the leg is, in dBFS; a meter that falls back slowly.
    pub const fn level_dbfs(&self) -> f32 {
        self.segmenter.level_dbfs()
    }

    /// The receiver, for its figures.
    pub const fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// What is known of the leg from its registration.
    pub const fn spec(&self) -> &LegSpec {
        &self.spec
    }

    /// When a sender that stopped in mid-speech has been silent for so long that the utterance is over: a stream
    /// without packets gives no frames, so the hangover cannot run out by itself.
    fn stall_deadline(&self) -> Option<Instant> {
        let is_open = self.segmenter.is_speech();
        self.last_heard()
            .filter(|_| is_open)
            .map(|at| at + self.settings.speech.of(self.spec.role).hangover())
    }

    /// After a BYE somebody may send again: the other end of a transfer, a call taken off hold.
    fn note_return(&mut self, now: Instant) {
        if self
            .left_at
            .is_some_and(|left_at| self.last_heard() > Some(left_at))
        {
            self.left_at = None;
            if self.settings.receiver_reports {
                self.feedback.begin(now);
            }
        }
    }

    fn drain(&mut self, outbox: &mut Outbox, now: Instant) {
        self.drain_speech(outbox, now);
        self.segmenter.exchange_room(&mut outbox.speech);
        while let Some(output) = self.receiver.poll_output() {
            self.handle_media(output, outbox, now);
        }
        self.drain_speech(outbox, now);
        self.segmenter.exchange_room(&mut outbox.speech);
    }

    fn handle_media(&mut self, output: receiver::Output, outbox: &mut Outbox, now: Instant) {
        match output {
            receiver::Output::Started {
                ssrc,
                law,
                remote,
                start,
            } => {
                self.heard = Some(Heard {
                    ssrc,
                    law,
                    remote,
                    start,
                });
                if self.settings.receiver_reports {
                    self.feedback.begin(now);
                }
                self.publish_started(outbox, now);
            }
            receiver::Output::Frame(frame) => self.handle_frame(&frame, outbox, now),
            receiver::Output::Silence { start, len } => {
                self.ledger.count_silence(len);
                self.segmenter.handle_silence(start, len);
            }
            receiver::Output::Dtmf {
                digit,
                start,
                duration,
            } => {
                self.last_key_end = self.last_key_end.max(start + duration);
                self.publish_digit(digit, (start, duration), outbox, now);
            }
            receiver::Output::Health { state, detail } => self.health.note_fault(state, detail),
            receiver::Output::Bye => {
                self.left_at = Some(now);
                self.feedback.end();
            }
        }
    }

    fn handle_frame(&mut self, frame: &Frame, outbox: &mut Outbox, now: Instant) {
        if self.settings.monitor {
            let Context { call, channel, .. } = self.context;
            outbox.push(Output::Heard {
                call,
                channel,
                frame: *frame,
            });
        }
        self.ledger.count_frame(frame);
        if let Some(loss) = self.loss.note(frame) {
            let why = self.explain_loss();
            self.publish_loss(loss, why, outbox, now);
        }
        self.health.note_frame(Sighting::of(frame), now);
        self.segmenter.handle_frame(frame);
        self.receiver.set_speech(self.segmenter.is_speech());
        self.drain_speech(outbox, now);
    }

    /// Why audio is lost, if it is not the network's fault.
    fn explain_loss(&mut self) -> Option<String> {
        let undecodable = self.receiver.statistics().counters.unknown_payload_type;
        let came = undecodable - std::mem::replace(&mut self.told_undecodable, undecodable);
        (came > 0).then(|| format!("{came} packets came that are no G.711 here"))
    }

    fn drain_speech(&mut self, outbox: &mut Outbox, now: Instant) {
        let mut has_closed = false;
        while let Some(output) = self.segmenter.poll_output() {
            has_closed |= matches!(output, speech::Output::PartClosed { .. });
            self.handle_speech(output, outbox, now);
        }
        // Its outcome may have been there first.
        if has_closed {
            self.publish_settled(outbox, now);
        }
    }

    fn handle_speech(&mut self, output: speech::Output, outbox: &mut Outbox, now: Instant) {
        match output {
            speech::Output::Started { utterance, start } => {
                self.publish_onset(utterance, start, outbox, now);
            }
            speech::Output::PartOpened {
                utterance,
                part,
                start,
                lead_in,
            } => {
                let key = self.context.part_key(utterance, part);
                self.open_part = Some(key);
                self.parts.open(utterance, part, start, lead_in);
                let at = outbox.wall.at(now);
                let label = Box::new(self.label((utterance, part), start, lead_in, at));
                outbox.push(Output::OpenPart { key, label });
            }
            speech::Output::LeadIn(frame) | speech::Output::Audio(frame) => {
                if let Some(key) = self.open_part {
                    outbox.push(Output::Audio {
                        key,
                        frame,
                        at: now,
                    });
                }
            }
            speech::Output::PartClosed { end, speech, last } => {
                self.ledger.count_speech(speech);
                let closed = Closed { end, speech, last };
                self.parts.close(closed);
                if let Some(key) = self.open_part.take() {
                    outbox.push(Output::ClosePart {
                        key,
                        closed,
                        at: now,
                    });
                }
            }
            speech::Output::Ended {
                utterance,
                start,
                end,
            } => self.publish_end_of_speech(utterance, (start, end), outbox, now),
        }
    }
}

impl Context {
    const fn part_key(&self, utterance: u64, part: u32) -> PartKey {
        PartKey {
            call: self.call,
            channel: self.channel,
            utterance,
            part,
        }
    }
}
