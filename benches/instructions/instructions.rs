//! What each stage of a packet's path costs, in instructions.
//!
//! Instructions do not depend on how busy the machine is. Each bench works through the ten seconds of a stream, 500
//! packets, but for the tick, which is done twenty times. It runs with `gungraun-runner` and valgrind:
//! `cargo bench --manifest-path benches/Cargo.toml --bench instructions`.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    missing_docs,
    reason = "any instant will do as zero, and a bench that cannot start may say so"
)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callscribe::asr::session::{AudioFormat, Fragment};
use callscribe::call::WallClock;
use callscribe::call::switchboard::{PortIndex, Switchboard};
use callscribe::config::File;
use callscribe::io::part_audio::PartAudio;
use callscribe::media::receiver::{self, ExpectedSource, Receiver};
use callscribe::media::{CallClock, FRAME_SAMPLES, Frame, Law, Samples, g711};
use callscribe::speech::utterance::{Segmenter, Settings, Timing};
use callscribe::speech::voice::{Kind, VoiceActivity, decode};
use gungraun::prelude::*;
use rtp_rs::{RtpPacketBuilder, RtpReader};

/// Packets, or frames, of each bench.
const PACKETS: usize = 500;

/// Where the packets come from.
fn source() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4000))
}

/// Ten seconds of a side of a conversation: of the agent, who speaks most of them, or of the
/// customer, who listens.
fn audio(side: &str) -> Vec<u8> {
    let path = format!("{}/../fixtures/{side}.wav", env!("CARGO_MANIFEST_DIR"));
    let pcm = callscribe::wav::read(std::fs::File::open(path).unwrap())
        .unwrap()
        .concat();
    let mut companded = vec![0; PACKETS * FRAME_SAMPLES];
    g711::encode(Law::Pcmu, &pcm[..PACKETS * FRAME_SAMPLES], &mut companded);
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
    let mut settings = File::default().switchboard().unwrap();
    settings.unregistered_calls = true;
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
        while let Some(output) = switchboard.poll_output() {
            black_box(output);
            outputs += 1;
        }
    }
    outputs
}

fn a_thousand_legs() -> (Switchboard, Instant) {
    let (mut switchboard, ports, zero) = switchboard(1000);
    let packets = packets("call_caller");
    for (number, packet) in (0..).zip(&packets[..50]) {
        for &port in &ports {
            switchboard.handle_datagram(
                port,
                source(),
                packet,
                zero + Duration::from_millis(20) * number,
            );
        }
        while switchboard.poll_output().is_some() {}
    }
    (switchboard, zero + Duration::from_secs(1))
}

// Ticks in which nothing has come for any of a thousand legs.
#[library_benchmark]
#[bench::quiet(setup = a_thousand_legs)]
fn tick_over_1000_legs((mut switchboard, zero): (Switchboard, Instant)) -> usize {
    let mut outputs = 0;
    for tick in 0..20 {
        switchboard.handle_timeout(zero + Duration::from_millis(5) * tick);
        while let Some(output) = switchboard.poll_output() {
            black_box(output);
            outputs += 1;
        }
    }
    outputs
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

fn detecting((kind, side): (Kind, &str)) -> (Box<dyn VoiceActivity>, Vec<Frame>) {
    (kind.detector(), frames(side))
}

// Voice activity alone.
#[library_benchmark]
#[bench::network_speaking(args = ((Kind::Network, "call_agent")), setup = detecting)]
#[bench::network_listening(args = ((Kind::Network, "call_caller")), setup = detecting)]
#[bench::webrtc_speaking(args = ((Kind::Webrtc, "call_agent")), setup = detecting)]
fn voice_activity((mut detector, frames): (Box<dyn VoiceActivity>, Vec<Frame>)) -> usize {
    frames
        .iter()
        .filter(|frame| black_box(detector.is_speech(&decode(frame))))
        .count()
}

fn segmenting(side: &str) -> (Segmenter, Vec<Frame>) {
    let settings = Arc::new(Settings::new(Timing::dialogue()).unwrap());
    (
        Segmenter::new(settings, Kind::default().detector()),
        frames(side),
    )
}

// From frames to the audio of parts, voice activity included.
#[library_benchmark]
#[bench::speaking(args = ("call_agent"), setup = segmenting)]
fn find_utterances((mut segmenter, frames): (Segmenter, Vec<Frame>)) -> usize {
    let mut outputs = 0;
    for frame in &frames {
        segmenter.handle_frame(frame);
        while let Some(output) = segmenter.poll_output() {
            black_box(output);
            outputs += 1;
        }
    }
    outputs
}

// Keeping the audio of a part and reading it as messages of 400 ms.
#[library_benchmark]
#[bench::speaking(args = ("call_agent"), setup = frames)]
fn keep_and_read(frames: Vec<Frame>) -> usize {
    let audio = PartAudio::new(Law::Pcmu);
    let mut bytes = 0;
    let mut read = 0;
    for frame in &frames {
        audio.append_frame(frame);
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

library_benchmark_group!(
    name = path,
    benchmarks = [
        packet_path,
        tick_over_1000_legs,
        rtp_header,
        receive,
        voice_activity,
        find_utterances,
        keep_and_read
    ]
);

main!(library_benchmark_groups = path);
