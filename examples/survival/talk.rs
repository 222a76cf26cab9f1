//! The call: two legs that talk for as long as they are let.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use callscribe::media::{Law, g711};
use callscribe::service::tone_code;

/// The ports of the line that the daemon is configured with.
const PORTS: [u16; 2] = [20_000, 20_002];

/// The length of a sentence, in seconds; a second of silence goes before each.
const SENTENCE_S: u64 = 6;

/// Seconds have names up to 63; then another stream goes on.
const SENTENCES_A_STREAM: u64 = 8;

/// What a leg sent.
#[derive(Debug, Default)]
pub struct Sent {
    pub packets: u64,
    /// Stream and second of the whole seconds, as they are named.
    pub seconds: Vec<(u16, u8)>,
}

/// A call that goes on.
pub struct Talk {
    is_over: Arc<AtomicBool>,
    legs: Vec<JoinHandle<Sent>>,
}

impl Talk {
    pub fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let leg = |(number, port): (u16, u16)| {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || talk(number, port, &is_over))
        };
        let legs = (0..).zip(PORTS).map(leg).collect();
        Self { is_over, legs }
    }

    /// Ends it at the end of the sentence.
    pub fn stop(self) -> Vec<Sent> {
        self.is_over.store(true, Ordering::Relaxed);
        self.legs
            .into_iter()
            .map(|leg| leg.join().unwrap())
            .collect()
    }
}

fn talk(leg: u16, port: u16, is_over: &AtomicBool) -> Sent {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ssrc = std::process::id() ^ u32::from(socket.local_addr().unwrap().port()) << 12;
    let mut sent = Sent::default();
    let begun = Instant::now();
    let mut send = |pcm: &[i16], sent: &mut Sent| {
        for chunk in pcm.chunks_exact(160) {
            let packet = packet(sent.packets, ssrc, chunk);
            let due = begun + Duration::from_millis(20 * sent.packets);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // Nobody may listen at the moment: that is the test.
            drop(socket.send_to(&packet, ("127.0.0.1", port)));
            sent.packets += 1;
        }
    };
    for sentence in 0_u64.. {
        send(&[0; 8 * 1_000], &mut sent);
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let stream = 64 * leg + u16::try_from(sentence / SENTENCES_A_STREAM).unwrap();
        let first = sentence % SENTENCES_A_STREAM * SENTENCE_S;
        send(
            &tone_code::encode(stream, first, SENTENCE_S * 1_000),
            &mut sent,
        );
        let seconds = first..first + SENTENCE_S;
        let named = seconds.map(|second| (stream, u8::try_from(second).unwrap()));
        sent.seconds.extend(named);
    }
    sent
}

fn packet(number: u64, ssrc: u32, pcm: &[i16]) -> Vec<u8> {
    let mut payload = vec![0; pcm.len()];
    g711::encode(Law::Pcmu, pcm, &mut payload);
    let mut packet = vec![0x80, 0];
    packet.extend(u16::try_from(number % 65_536).unwrap().to_be_bytes());
    packet.extend(u32::try_from(number * 160).unwrap().to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}
