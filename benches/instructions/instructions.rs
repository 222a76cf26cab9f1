//! What each stage of a packet's path costs, in instructions.
//!
//! Instructions do not depend on how busy the machine is. Each bench works through ten seconds of a stream, 500 packets,
//! but for the ticks, of which there are twenty. `make instructions` runs them under valgrind and compares with the
//! figures that are kept in `kept.json`.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    missing_docs,
    reason = "any instant will do as zero, and a bench that cannot start may say so"
)]

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gungraun::prelude::*;
use rooms::asr::session::{AudioFormat, Fragment};
use rooms::call::WallClock;
use rooms::call::overload;
use rooms::call::speech_settings::SpeechSettings;
use rooms::call::switchboard::{self, PortIndex, Switchboard};
use rooms::io::part_audio::PartAudio;
use rooms::media::receiver::{self, ExpectedSource, Receiver};
use rooms::media::{CallClock, FRAME_SAMPLES, Frame, Law, Samples, g711};
use rooms::speech::utterance::{Segmenter, Settings, Timing};
use rooms::speech::voice::{Kind, Sound, VoiceActivity};
use rtp_rs::{RtpPacketBuilder, RtpReader};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

/// Packets, or frames, of each bench.
const PACKETS: usize = 500;

/// Where the packets come from.
fn source() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4000))
}

/// Ten seconds of a side of a conversation: of the agent, who speaks most of them, or of the customer, who listens and answers. Or of
/// noise, which a detector has to look at, or of nothing.
fn audio(side: &str) -> Vec<u8> {
    const LENGTH: usize = PACKETS * FRAME_SAMPLES;
    match side {
        "silence" => return vec![0xff; LENGTH],
        "noise" => return noise(LENGTH),
        _ => {}
    }
    let path = format!("{}/../../fixtures/{side}.wav", env!("CARGO_MANIFEST_DIR"));
    let samples = hound::WavReader::open(path).unwrap().into_samples::<i16>();
    let pcm: Vec<i16> = samples.take(LENGTH).map(Result::unwrap).collect();
    let mut companded = vec![0; LENGTH];
    g711::encode(Law::Pcmu, &pcm, &mut companded);
    companded
}

/// Noise of -40 dBFS that changes its level by 12 dB every half second.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut sample = |number: usize| {
        // A linear congruential generator (Numerical Recipes).
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let high = i32::try_from(state >> 16).unwrap() - 32_768;
        let divisor = if number / 4000 % 2 == 0 { 57 } else { 228 };
        i16::try_from(high / divisor).unwrap()
    };
    let pcm: Vec<i16> = (0..length).map(&mut sample).collect();
    let mut companded = vec![0; length];
    g711::encode(Law::Pcmu, &pcm, &mut companded);
    companded
}

fn packets(side: &str) -> Vec<Vec<u8>> {
    let audio = audio(side);
    let packet = |(number, payload): (u16, &[u8])| {
        RtpPacketBuilder::new()
            .payload_type(0)
            .sequence(number.into())
            .timestamp(160 * u32::from(number))
            .ssrc(7)
            .payload(payload)
            .build()
            .unwrap()
    };
    (0..).zip(audio.chunks(FRAME_SAMPLES)).map(packet).collect()
}

fn frames(side: &str) -> Vec<Frame> {
    let audio = audio(side);
    let frame = |(number, samples): (u64, &[u8])| Frame {
        start: Samples(number * FRAME_SAMPLES as u64),
        law: Law::Pcmu,
        g711: samples.try_into().unwrap(),
        len: 160,
        lost: 0,
        telephone_event: false,
    };
    (0..).zip(audio.chunks(FRAME_SAMPLES)).map(frame).collect()
}

/// A switchboard with one port, and a clock.
fn switchboard(ports: u16) -> (Switchboard, Vec<PortIndex>, Instant) {
    let zero = Instant::now();
    let speech = Settings::new(Timing::dialogue()).unwrap();
    let settings = switchboard::Settings {
        receiver: Arc::new(receiver::Settings::default()),
        speech: SpeechSettings::new(speech),
        fragment: Samples(3_200),
        detector: Kind::default(),
        provider: "bench".into(),
        idle_timeout: Duration::from_secs(60),
        registered_idle_timeout: Duration::from_secs(14_400),
        unregistered_calls: true,
        receiver_reports: false,
        // As the daemon's defaults.
        overload: overload::Settings {
            refuse_calls_percent: 85,
            defer_speech_percent: 95,
            full_lag: Duration::from_millis(500),
            max_legs: None,
        },
        monitor: false,
    };
    let wall = WallClock::new(zero, jiff::Timestamp::UNIX_EPOCH);
    let mut switchboard = Switchboard::new(Arc::new(settings), wall);
    let ports = (0..ports)
        .map(|port| switchboard.add_port(20_000 + 2 * port))
        .collect();
    (switchboard, ports, zero)
}

fn whole_path(side: &str) -> (Switchboard, PortIndex, Instant, Vec<Vec<u8>>) {
    let (switchboard, ports, zero) = switchboard(1);
    (switchboard, ports[0], zero, packets(side))
}

// From a datagram to everything that a worker is asked to do about it.
#[library_benchmark]
#[bench::speaking(args = ("call_agent"), setup = whole_path)]
#[bench::listening(args = ("call_caller"), setup = whole_path)]
fn packet_path(
    (mut switchboard, port, zero, packets): (Switchboard, PortIndex, Instant, Vec<Vec<u8>>),
) -> usize {
    let mut outputs = 0;
    for (number, packet) in (0..).zip(&packets) {
        let now = zero + Duration::from_millis(20) * number;
        switchboard.handle_datagram(port, source(), packet, now);
        switchboard.handle_timeout(now);
        outputs += drain(&mut switchboard);
    }
    outputs
}

/// A switchboard with its ports, the packets of each of its legs, and the time of the next one.
type Thousand = (Switchboard, Vec<PortIndex>, Vec<Vec<u8>>, Instant);

/// Packets that every leg of the thousand has had: a second.
const HEARD: usize = 50;

fn a_thousand_legs() -> Thousand {
    let (mut switchboard, ports, zero) = switchboard(1000);
    let packets = packets("call_caller");
    let mut now = zero;
    for packet in &packets[..HEARD] {
        for &port in &ports {
            switchboard.handle_datagram(port, source(), packet, now);
        }
        switchboard.handle_timeout(now);
        drain(&mut switchboard);
        now += Duration::from_millis(20);
    }
    (switchboard, ports, packets, now)
}

// Ticks in which nothing has come for any of a thousand legs.
#[library_benchmark]
#[bench::quiet(setup = a_thousand_legs)]
fn ticks_over_1000_legs((mut switchboard, _, _, zero): Thousand) -> usize {
    let mut outputs = 0;
    for tick in 0..20 {
        switchboard.handle_timeout(zero + Duration::from_millis(5) * tick);
        outputs += drain(&mut switchboard);
    }
    outputs
}

// Ticks in each of which a quarter of a thousand legs have their next packet.
#[library_benchmark]
#[bench::listening(setup = a_thousand_legs)]
fn ticks_with_250_packets((mut switchboard, ports, packets, zero): Thousand) -> usize {
    let mut outputs = 0;
    for tick in 0..20 {
        let now = zero + Duration::from_millis(5) * tick;
        let quarter = usize::try_from(tick % 4).unwrap();
        let packet = &packets[HEARD + usize::try_from(tick / 4).unwrap()];
        for &port in ports.iter().skip(quarter).step_by(4) {
            switchboard.handle_datagram(port, source(), packet, now);
        }
        switchboard.handle_timeout(now);
        outputs += drain(&mut switchboard);
    }
    outputs
}

fn drain(switchboard: &mut Switchboard) -> usize {
    std::iter::from_fn(|| switchboard.poll_output())
        .map(black_box)
        .count()
}

#[library_benchmark]
#[bench::speaking(args = ("call_agent"), setup = packets)]
fn rtp_header(packets: Vec<Vec<u8>>) -> u32 {
    let read = |packet: &Vec<u8>| {
        RtpReader::new(black_box(packet)).map_or(0, |rtp| {
            rtp.ssrc()
                ^ rtp.timestamp()
                ^ u32::from(rtp.payload_type())
                ^ u32::from(rtp.payload()[0])
        })
    };
    packets.iter().map(read).fold(0, |all, one| all ^ one)
}

fn receiving(side: &str) -> (Receiver, Instant, Vec<Vec<u8>>) {
    let settings = Arc::new(receiver::Settings::default());
    (
        Receiver::new(settings, ExpectedSource::Any),
        Instant::now(),
        packets(side),
    )
}

// Source, order, time and loss: from datagrams to frames.
#[library_benchmark]
#[bench::speaking(args = ("call_agent"), setup = receiving)]
fn receive((mut receiver, zero, packets): (Receiver, Instant, Vec<Vec<u8>>)) -> usize {
    let mut clock = CallClock::default();
    let mut outputs = 0;
    for (number, packet) in (0..).zip(&packets) {
        let now = zero + Duration::from_millis(20) * number;
        receiver.handle_datagram(source(), packet, &mut clock, now);
        while let Some(output) = receiver.poll_output() {
            black_box(output);
            outputs += 1;
        }
    }
    outputs
}

// From the codes of a frame to samples and their level.
#[library_benchmark]
#[bench::speaking(args = ("call_agent"), setup = frames)]
fn decoding(frames: Vec<Frame>) -> usize {
    frames.iter().map(Sound::from).map(black_box).count()
}

fn detecting((kind, side): (Kind, &str)) -> (Box<dyn VoiceActivity>, Vec<Frame>) {
    (kind.detector(), frames(side))
}

// Voice activity alone.
#[library_benchmark]
#[bench::network_speech(args = ((Kind::Network, "call_agent")), setup = detecting)]
#[bench::network_noise(args = ((Kind::Network, "noise")), setup = detecting)]
#[bench::network_silence(args = ((Kind::Network, "silence")), setup = detecting)]
#[bench::webrtc_speech(args = ((Kind::Webrtc, "call_agent")), setup = detecting)]
fn voice_activity((mut detector, frames): (Box<dyn VoiceActivity>, Vec<Frame>)) -> usize {
    frames
        .iter()
        .filter(|frame| black_box(detector.is_speech(&Sound::from(*frame))))
        .count()
}

/// Judges nothing: two seconds are speech, the next two are none.
struct Turns(usize);

impl VoiceActivity for Turns {
    fn is_speech(&mut self, _: &Sound) -> bool {
        self.0 += 1;
        self.0 % 200 < 100
    }

    fn reset(&mut self) {}
}

fn segmenting(side: &str) -> (Segmenter, Vec<Frame>) {
    let settings = Arc::new(Settings::new(Timing::dialogue()).unwrap());
    (Segmenter::new(settings, Box::new(Turns(0))), frames(side))
}

// From frames to the audio of parts, without voice activity.
#[library_benchmark]
#[bench::speaking(args = ("call_agent"), setup = segmenting)]
fn find_utterances((mut segmenter, frames): (Segmenter, Vec<Frame>)) -> usize {
    let mut outputs = 0;
    for frame in &frames {
        segmenter.handle_frame(frame);
        outputs += std::iter::from_fn(|| segmenter.poll_output())
            .map(black_box)
            .count();
    }
    outputs
}

// Keeping the audio of a part and reading it as messages of 400 ms.
#[library_benchmark]
#[bench::speaking(args = ("call_agent"), setup = frames)]
fn keep_and_read(frames: Vec<Frame>) -> usize {
    let (audio, now) = (PartAudio::new(Law::Pcmu), Instant::now());
    let mut bytes = 0;
    let mut read = 0;
    for frame in &frames {
        audio.append_frame(frame, now);
        if audio.len() >= read + 3200 {
            let fragment = Fragment {
                samples: read..read + 3200,
                padding: 0,
            };
            bytes += black_box(audio.read(&fragment, AudioFormat::Pcm8k16bit)).len();
            read += 3200;
        }
    }
    bytes
}

fn talking(side: &str) -> (WebSocket<Sink>, Vec<Vec<u8>>) {
    let mut pcm = vec![0; PACKETS * FRAME_SAMPLES];
    g711::decode(Law::Pcmu, &audio(side), &mut pcm);
    let pcm: Vec<u8> = pcm.into_iter().flat_map(i16::to_le_bytes).collect();
    (
        WebSocket::from_raw_socket(Sink, Role::Client, None),
        pcm.chunks(6400).map(<[u8]>::to_vec).collect(),
    )
}

/// A connection that takes everything.
struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(black_box(bytes).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Sink {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

// Messages of 400 ms as WebSocket frames, masked; encryption not included.
#[library_benchmark]
#[bench::speaking(args = ("call_agent"), setup = talking)]
fn frame_messages((mut socket, messages): (WebSocket<Sink>, Vec<Vec<u8>>)) -> usize {
    let count = messages.len();
    for message in messages {
        socket.send(Message::binary(message)).unwrap();
    }
    count
}

library_benchmark_group!(
    name = path,
    benchmarks = [
        packet_path,
        ticks_over_1000_legs,
        ticks_with_250_packets,
        rtp_header,
        receive,
        decoding,
        voice_activity,
        find_utterances,
        keep_and_read,
        frame_messages
    ]
);

main!(library_benchmark_groups = path);
