#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a socket plays the receiver, and pace is measured by the clock"
)]

use std::fs;
use std::io::Cursor;
use std::net::UdpSocket;

use clap::Parser;
use rtp_rs::RtpReader;

use super::*;
use crate::capture::Writer;
use crate::cli::send::packetizer::Packetizer;
use crate::cli::send::source::profile;
use crate::wav;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    args: SendArgs,
}

#[test]
fn two_channels_go_to_two_receivers() {
    let folder = tempfile::tempdir().unwrap();
    let file = stereo(&folder, &[(1000, -1000); 400]);
    let (left, right) = (Receiver::open(), Receiver::open());
    let report = send(&args(&[
        file.to_str().unwrap(),
        &format!("--to={}", left.address),
        &format!("--to={}", right.address),
        "--law=pcma",
        "--ptime=30",
        "--speed=0",
        "--ssrc=0xff",
        "--seq=65535",
    ]))
    .unwrap();
    assert_eq!(report.len(), 2);
    assert!(report[0].contains("2 packets, 424 bytes"), "{}", report[0]);
    for (receiver, ssrc, sample) in [(left, 0xff, 1000), (right, 0x100, -1000)] {
        let [first, second] = [receiver.take(), receiver.take()];
        let (first, second) = (
            RtpReader::new(&first).unwrap(),
            RtpReader::new(&second).unwrap(),
        );
        assert_eq!((first.ssrc(), first.payload_type()), (ssrc, 8));
        assert_eq!(
            (
                u16::from(first.sequence_number()),
                u16::from(second.sequence_number())
            ),
            (65535, 0)
        );
        assert_eq!((first.payload().len(), second.payload().len()), (240, 160));
        assert!(
            first
                .payload()
                .iter()
                .all(|&byte| byte == audio_codec_algorithms::encode_alaw(sample))
        );
    }
}

#[test]
fn crowd_of_streams_goes_to_even_ports_in_both_laws_and_loops_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = mono(&folder, &[500; 400]);
    let (first, second) = pair_of_receivers();
    let to = format!("--to={}", first.address);
    let arguments = [file.to_str().unwrap(), &to, "--streams=2", "--seconds=1"];
    let report = send(&args(&arguments)).unwrap();
    assert!(
        report[0].contains("2 streams") && report[0].contains(": 100 packets, 17200 bytes"),
        "{report:?}"
    );
    for (receiver, payload_type) in [(first, 0), (second, 8)] {
        let packets: Vec<_> = (0..50).map(|_| receiver.take()).collect();
        let read: Vec<_> = packets.iter().map(|p| RtpReader::new(p).unwrap()).collect();
        let start = read[0].sequence_number();
        for (at, packet) in (0_u16..).zip(&read) {
            assert_eq!(packet.payload_type(), payload_type);
            assert_eq!(
                u16::from(packet.sequence_number()),
                u16::from(start).wrapping_add(at)
            );
            assert_eq!(
                packet.timestamp(),
                read[0].timestamp().wrapping_add(160 * u32::from(at))
            );
            assert_eq!(packet.payload().len(), 160);
        }
    }
}

#[test]
fn capture_is_sent_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new();
    let (from, to) = (
        "192.0.2.1:4000".parse().unwrap(),
        "192.0.2.2:20000".parse().unwrap(),
    );
    let packets: Vec<_> = Packetizer::new(
        profile(&args(&["x", "--to=h:1"]), 0),
        vec![7; 800].into(),
        &[],
    )
    .map(|packet| packet.bytes)
    .collect();
    for (i, bytes) in (0..).zip(&packets) {
        writer.push(Duration::from_millis(i), from, to, bytes);
    }
    let file = folder.path().join("call.pcap");
    fs::write(&file, writer.into_bytes()).unwrap();
    let receiver = Receiver::open();
    send(&args(&[
        file.to_str().unwrap(),
        &format!("--to={}", receiver.address),
    ]))
    .unwrap();
    for packet in packets {
        assert_eq!(receiver.take(), packet);
    }
}

#[test]
fn pace_is_kept_from_the_start_not_from_packet_to_packet() {
    let packets = (0..20).map(|i| Packet {
        due: Duration::from_millis(10 * i),
        bytes: vec![0],
    });
    let receiver = Receiver::open();
    let outlet = Outlet::open(receiver.address, 0, Box::new(packets)).unwrap();
    let started = std::time::Instant::now();
    let sent = pump(vec![outlet], 2.0).unwrap();
    let took = started.elapsed();
    assert_eq!(sent[0].packets, 20);
    assert!(took >= Duration::from_millis(95), "{took:?}");
}

#[test]
fn wrong_number_of_receivers_is_a_mistake_of_use() {
    let folder = tempfile::tempdir().unwrap();
    let file = stereo(&folder, &[(0, 0)]);
    let error = send(&args(&[file.to_str().unwrap(), "--to=127.0.0.1:9"])).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("2 channels but 1 receivers; give one --to for each channel")
    );
    assert_eq!(error.exit_code(), crate::cli::exit::USAGE);
}

#[test]
fn file_of_another_kind_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("song.mp3");
    fs::write(&file, "ID3").unwrap();
    let error = send(&args(&[file.to_str().unwrap(), "--to=127.0.0.1:9"])).unwrap_err();
    assert!(matches!(error, SendError::UnknownKind(_)), "{error}");
    let error = send(&args(&["/nowhere/x.wav", "--to=127.0.0.1:9"])).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/nowhere/x.wav: No such file"),
        "{error}"
    );
}

#[test]
fn closed_port_is_noticed() {
    let packets = (0..3).map(|i| Packet {
        due: Duration::from_millis(20 * i),
        bytes: vec![0],
    });
    let closed = Receiver::open().address;
    let outlet = Outlet::open(closed, 0, Box::new(packets)).unwrap();
    let sent = pump(vec![outlet], 1.0).unwrap();
    assert_eq!(sent[0].packets, 3);
    assert!(sent[0].refused >= 1);
    assert!(report("x", &sent[0]).contains("nobody listens"));
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for words in [
        &[][..],
        &["a.wav"],
        &["a.wav", "--to=host"],
        &["a.wav", "--to=host:0"],
        &["a.wav", "--to=h:1", "--ptime=0"],
        &["a.wav", "--to=h:1", "--ptime=183"],
        &["a.wav", "--to=h:1", "--speed=-1"],
        &["a.wav", "--to=h:1", "--payload-type=128"],
        &["a.wav", "--to=h:1", "--dtmf=1"],
        &["--leg=a.wav"],
        &["--to=h:1", "--leg=a.wav@h:1"],
    ] {
        assert!(parse(words).is_err(), "{words:?}");
    }
    assert!(parse(&["--leg=a@b.wav@[::1]:5004", "--leg=c.wav@h:1"]).is_ok());
}

fn args(words: &[&str]) -> SendArgs {
    parse(words).unwrap()
}

fn parse(words: &[&str]) -> Result<SendArgs, clap::Error> {
    Command::try_parse_from(["send"].iter().chain(words)).map(|command| command.args)
}

fn stereo(folder: &tempfile::TempDir, frames: &[(i16, i16)]) -> PathBuf {
    let mut bytes = Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels: 2,
        ..wav::MONO
    };
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    for &(left, right) in frames {
        writer.write_sample(left).unwrap();
        writer.write_sample(right).unwrap();
    }
    writer.finalize().unwrap();
    let path = folder.path().join("stereo.wav");
    fs::write(&path, bytes.into_inner()).unwrap();
    path
}

fn mono(folder: &tempfile::TempDir, samples: &[i16]) -> PathBuf {
    let mut bytes = Cursor::new(Vec::new());
    wav::write(&mut bytes, samples.iter().copied()).unwrap();
    let path = folder.path().join("mono.wav");
    fs::write(&path, bytes.into_inner()).unwrap();
    path
}

/// Two receivers on neighbouring even ports.
fn pair_of_receivers() -> (Receiver, Receiver) {
    loop {
        let first = Receiver::open();
        let second = first.address.port().checked_add(2);
        let second = second.map(|port| UdpSocket::bind(("127.0.0.1", port)));
        if let Some(Ok(socket)) = second {
            return (first, Receiver::on(socket));
        }
    }
}

struct Receiver {
    socket: UdpSocket,
    address: SocketAddr,
}

impl Receiver {
    fn open() -> Self {
        Self::on(UdpSocket::bind("127.0.0.1:0").unwrap())
    }

    fn on(socket: UdpSocket) -> Self {
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address }
    }

    fn take(&self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let length = self
            .socket
            .recv(&mut buffer)
            .expect("a packet within five seconds");
        buffer[..length].to_vec()
    }
}
