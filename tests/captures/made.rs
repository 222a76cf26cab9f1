//! Captures made here, of senders that cannot be had from Debian's packages, as they are known to send;
//! and of captures in which not everything can be used.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use callscribe::capture::Writer;
use tempfile::TempDir;

use super::{Figures, HEAD, Replay, of};

#[test]
fn replay_of_senders_as_they_are_known_to_send_says_what_they_sent() {
    let folder = TempDir::new().unwrap();
    println!("{:32} {HEAD}   {HEAD}", "replayed, then sent");
    for (name, make) in SENDERS {
        let mut sender = Sender::new(0);
        make(&mut sender);
        let (path, sent) = sender.finish(&folder, name);
        let said = Replay::of(&path, &[]).only_leg();
        println!("{name:32} {said}   {sent}");
        // What overlaps is heard whole, and the time is made up for in the next pause.
        let error = said.duration_ms.abs_diff(sent.duration_ms);
        assert!(error <= 20, "{name} is {error} ms longer or shorter");
        let duration_ms = said.duration_ms;
        let sent = Figures {
            duration_ms,
            ..sent
        };
        assert_eq!(said, sent, "{name}");
    }
}

#[test]
fn two_streams_of_a_recording_session_are_two_legs_on_one_clock_if_so_asked_for() {
    let folder = TempDir::new().unwrap();
    let mut caller = Sender::new(0);
    caller.speak(500);
    let mut callee = Sender::new(8);
    callee.now += Duration::from_millis(150);
    callee.destination.set_port(20_002);
    callee.speak(450);
    caller.packets.append(&mut callee.packets);
    let (path, _) = caller.finish(&folder, "siprec");

    let apart = Replay::of(&path, &[]);
    assert_eq!(of(&apart.lines, "call_ended").count(), 2);

    let legs = ["--leg", "20000=CUSTOMER", "--leg", "20002=AGENT"];
    let together = Replay::of(&path, &legs);
    assert_eq!(of(&together.lines, "call_ended").count(), 1);
    let started = of(&together.lines, "channel_started");
    let starts: Vec<_> = started
        .map(|line| (line["role"].clone(), line["start_ms"].clone()))
        .collect();
    let expected = [("CUSTOMER".into(), 0.into()), ("AGENT".into(), 150.into())];
    assert_eq!(starts, expected);
}

#[test]
fn replay_says_what_it_could_not_use() {
    let folder = TempDir::new().unwrap();
    let mut sender = Sender::new(0);
    sender.speak(100);
    let mut wideband = Sender::new(9);
    wideband.destination.set_port(30_000);
    wideband.speak(50);
    sender.packets.append(&mut wideband.packets);
    let invite = b"INVITE sip:desk@example.com SIP/2.0\r\n\r\n".to_vec();
    let (zero, to) = (ZERO, "192.0.2.2:5060".parse().unwrap());
    sender.packets.push((zero, to, invite));
    let (path, _) = sender.finish(&folder, "mixed");

    let said = Replay::of(&path, &["--leg", "20000", "--leg", "999"]).said;
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        "callscribe: --leg 999: nothing was sent to this port",
        "callscribe: not heard: 50 packets from 192.0.2.1:4000 to 192.0.2.2:30000: payload type 9 is no G.711 here \
         (rtp.payload-types)",
        "callscribe: not heard: 1 datagrams that are no RTP",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn capture_with_a_snap_length_tells_everything_but_the_sound() {
    let folder = TempDir::new().unwrap();
    let mut sender = Sender::new(8);
    sender.speak(100);
    sender.lose(3);
    sender.press('7', 8, 3);
    sender.speak(100);
    let (path, sent) = sender.finish(&folder, "whole");
    fs::write(&path, cut(&fs::read(&path).unwrap(), 68)).unwrap();

    let replay = Replay::of(&path, &[]);
    assert_eq!(replay.only_leg(), sent);
    assert!(
        replay.said.contains("stored only in part"),
        "{}",
        replay.said
    );
}

#[test]
fn capture_of_nothing_is_said_to_be_one() {
    let folder = TempDir::new().unwrap();
    let (path, _) = Sender::new(0).finish(&folder, "empty");
    let replay = Replay::of(&path, &[]);
    assert_eq!(replay.lines.len(), 0);
    assert!(replay.said.contains("nothing to hear"), "{}", replay.said);
}

/// A file may say anything of its times.
#[test]
fn capture_from_beyond_the_end_of_time_is_replayed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("times.pcapng");
    let mut sender = Sender::new(0);
    sender.speak(3);
    let block = |kind: u32, body: &[u8]| {
        let length = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
        [&kind.to_le_bytes(), &length[..], body, &length].concat()
    };
    let section = [
        &0x1a2b_3c4d_u32.to_le_bytes()[..],
        &[1, 0, 0, 0],
        &[0xff; 8],
    ]
    .concat();
    // Raw IP, its times in seconds.
    let interface = [101, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut file = [block(0x0a0d_0d0a, &section), block(1, &interface)].concat();
    let (whole, _) = sender.finish(&folder, "three");
    let packets = fs::read(whole).unwrap()[24..].to_vec();
    for (packet, seconds) in packets
        .chunks(16 + 20 + 8 + 172)
        .zip([0, 1 << 62, u64::MAX])
    {
        let (high, low) = ((seconds >> 32) as u32, (seconds & 0xffff_ffff) as u32);
        let length = u32::try_from(packet.len() - 16).unwrap();
        let fields = [0, high, low, length, length]
            .map(u32::to_le_bytes)
            .concat();
        file.extend(block(6, &[&fields, &packet[16..]].concat()));
    }
    fs::write(&path, file).unwrap();
    let heard = of(&Replay::of(&path, &[]).lines, "call_ended").count();
    assert!(heard >= 1);
}

type Make = fn(&mut Sender);

/// Senders that are not installed where the tests run.
const SENDERS: [(&str, Make); 13] = [
    // Keeps the numbers of the keys that it swallows; no marker.
    ("asterisk, keys swallowed", |sender| {
        sender.speak(100);
        for swallowed in [30, 31, 30] {
            sender.number += swallowed;
            sender.figures.lost += u64::from(swallowed);
            sender.pause(270);
            sender.speak(60);
        }
    }),
    ("asterisk, keep-alive", |sender| {
        sender.speak(100);
        for _ in 0..3 {
            for _ in 0..5 {
                sender.now += Duration::from_secs(1);
                sender.send(13, sender.timestamp, &[0x40]);
            }
            sender.now -= Duration::from_secs(5);
            sender.pause(5_000);
            sender.speak(100);
        }
    }),
    ("asterisk, silence not sent", |sender| {
        for _ in 0..3 {
            sender.speak(100);
            sender.pause(5_000);
        }
        sender.speak(1);
    }),
    ("asterisk, prompts overlap", |sender| {
        for _ in 0..3 {
            sender.speak(60);
            sender.say(&[0x55; 80], 40);
        }
        sender.speak(60);
    }),
    ("freeswitch, keys in audio's place", |sender| {
        sender.speak(80);
        for key in "15#A".chars() {
            sender.pause(1_600);
            sender.speak(50);
            sender.press(key, 8, 3);
            sender.speak(25);
        }
    }),
    ("pjsua, keys of type 120", |sender| {
        sender.speak(60);
        sender.key_type = 120;
        for key in "09*".chars() {
            sender.press(key, 10, 3);
            sender.speak(30);
        }
    }),
    ("linphone, ends with one number", |sender| {
        (sender.number, sender.timestamp) = (0, 0);
        sender.speak(60);
        for key in "42#".chars() {
            sender.press(key, 5, 1);
            sender.repeat(2);
            sender.speak(50);
        }
    }),
    ("janus", |sender| {
        (sender.number, sender.timestamp) = (1, 0);
        sender.speak(200);
    }),
    ("restart with another SSRC", |sender| {
        sender.speak(200);
        (sender.ssrc, sender.number, sender.timestamp) = (5, 3, 7_000_000);
        sender.speak(200);
    }),
    ("other law in mid-stream", |sender| {
        sender.speak(100);
        sender.payload_type = 8;
        sender.speak(100);
    }),
    ("both counters wrap, 30 ms", |sender| {
        sender.samples = 240;
        (sender.number, sender.timestamp) = (65_500, u32::MAX - 4_000);
        sender.speak(30);
        sender.lose(10);
        sender.speak(100);
    }),
    ("5 % lost, 10 ms", |sender| {
        sender.samples = 80;
        for _ in 0..100 {
            sender.speak(19);
            sender.lose(1);
        }
        sender.speak(2);
    }),
    ("3 % lost in bursts, packets twice", |sender| {
        for _ in 0..10 {
            sender.speak(97);
            sender.repeat(1);
            sender.lose(3);
        }
        sender.speak(2);
    }),
];

/// Sends RTP into a capture, and counts it.
struct Sender {
    packets: Vec<(Duration, SocketAddr, Vec<u8>)>,
    now: Duration,
    destination: SocketAddr,
    ssrc: u32,
    payload_type: u8,
    key_type: u8,
    number: u16,
    timestamp: u32,
    /// In a packet.
    samples: u32,
    figures: Figures,
}

impl Sender {
    fn new(payload_type: u8) -> Self {
        Self {
            packets: Vec::new(),
            now: ZERO,
            destination: "192.0.2.2:20000".parse().unwrap(),
            ssrc: 4,
            payload_type,
            key_type: 101,
            number: 700,
            timestamp: 90_000,
            samples: 160,
            figures: Figures::default(),
        }
    }

    /// Packets of audio.
    fn speak(&mut self, packets: usize) {
        for _ in 0..packets {
            let audio = vec![0x55; usize::try_from(self.samples).unwrap()];
            self.say(&audio, self.samples);
        }
    }

    /// A packet of audio, after which the clock goes on so far.
    fn say(&mut self, audio: &[u8], samples: u32) {
        self.send(self.payload_type, self.timestamp, audio);
        self.pass(samples);
    }

    /// Packets of audio that are never seen.
    fn lose(&mut self, packets: u16) {
        self.number = self.number.wrapping_add(packets);
        self.figures.lost += u64::from(packets);
        self.pass(u32::from(packets) * self.samples);
    }

    /// A key in place of so many packets of audio, and of those in which its end is repeated.
    fn press(&mut self, key: char, packets: u16, ends: u16) {
        let code = u8::try_from("0123456789*#ABCD".find(key).unwrap()).unwrap();
        let began = self.timestamp;
        for n in 1..=packets + ends {
            let [high, low] = (n.min(packets) * 160).to_be_bytes();
            let flags = if n > packets { 0x8a } else { 0x0a };
            self.send(self.key_type, began, &[code, flags, high, low]);
            self.pass(160);
        }
        self.figures.digits.push(key);
    }

    /// The last packet so many times more.
    fn repeat(&mut self, times: u64) {
        let last = self.packets.last().unwrap().clone();
        for _ in 0..times {
            self.packets.push(last.clone());
        }
        self.figures.packets += times;
        self.figures.duplicates += times;
    }

    /// Sends nothing, and says so by the timestamp.
    fn pause(&mut self, ms: u32) {
        self.pass(ms * 8);
    }

    fn pass(&mut self, samples: u32) {
        self.timestamp = self.timestamp.wrapping_add(samples);
        self.now += Duration::from_micros(u64::from(samples) * 125);
    }

    fn send(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let mut packet = vec![0x80, payload_type];
        packet.extend(self.number.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.packets.push((self.now, self.destination, packet));
        self.number = self.number.wrapping_add(1);
        self.figures.packets += 1;
    }

    /// Writes the capture; gives it with what there is in it.
    fn finish(mut self, folder: &TempDir, name: &str) -> (PathBuf, Figures) {
        let source = "192.0.2.1:4000".parse().unwrap();
        self.packets.sort_by_key(|(at, ..)| *at);
        let mut writer = Writer::new();
        for (at, destination, packet) in &self.packets {
            writer.push(*at, source, *destination, packet);
        }
        let path = folder.path().join(format!("{name}.pcap"));
        fs::write(&path, writer.into_bytes()).unwrap();
        self.figures.duration_ms = u64::try_from((self.now - ZERO).as_millis()).unwrap();
        (path, self.figures)
    }
}

/// What a capture of raw IP has of the same packets with a snap length.
fn cut(file: &[u8], snap_length: usize) -> Vec<u8> {
    let (mut cut, mut rest) = (file[..24].to_vec(), &file[24..]);
    while !rest.is_empty() {
        let (header, packet) = rest.split_at(16);
        let length =
            usize::try_from(u32::from_le_bytes(header[8..12].try_into().unwrap())).unwrap();
        let stored = length.min(snap_length);
        cut.extend(&header[..8]);
        cut.extend(u32::try_from(stored).unwrap().to_le_bytes());
        cut.extend(&header[12..]);
        cut.extend(&packet[..stored]);
        rest = &packet[length..];
    }
    cut
}

/// When captures begin, since the Unix epoch.
const ZERO: Duration = Duration::from_secs(1_795_392_000);
