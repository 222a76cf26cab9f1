//! The receiver against a model of a few lines, packet by packet and position by position, on
//! networks that lose, delay, reorder and duplicate by seed; and senders that begin anew.

#[path = "support/network.rs"]
mod network;

use std::collections::BTreeMap;
use std::time::Duration;

use callscribe::media::g711;
use callscribe::media::receiver::{Counters, Settings};
use network::{Bench, Chance, Network, Sender, Transit, ms};
use proptest::prelude::*;

proptest! {
    /// After every new packet each packet so far has the end that the model gives it, and at the
    /// end each position is received, lost or silent where the model has it.
    #[test]
    fn each_packet_and_position_ends_as_the_model_has_it(
        seed in any::<u64>(),
        loss in 0u64..200,
        burst in 0u64..700,
        duplication in 0u64..100,
        jitter_ms in 0u64..150,
        size in prop::sample::select(vec![80usize, 160, 240, 333]),
        suppression in any::<bool>(),
    ) {
        let network = Network { loss, burst, duplication, jitter: ms(jitter_ms) };
        let mut chance = Chance::new(seed);
        let mut sender = Sender::new(1);
        // How a stream begins is another matter.
        let sent = sender.talk(&mut chance, size, 400, suppression);
        let (beginning, rest) = sent.split_at(BEGINNING);
        let mut carried = Network::default().carry(&mut chance, beginning.to_vec());
        carried.extend(network.carry(&mut chance, rest.to_vec()));
        let mut bench = Bench::with(plain(), Default::default());
        let mut model = Model::default();
        for transit in &carried {
            bench.deliver(transit.arrival, sender.source, &transit.datagram);
            if model.take(transit) == End::Played && model.played.len() > BEGINNING {
                let counters = bench.receiver.statistics().counters;
                prop_assert_eq!(ends(&counters), model.ends, "at {:?}", transit.arrival);
            }
        }
        bench.end();
        prop_assert_eq!(ends(&bench.receiver.statistics().counters), model.ends);
        let (heard, expected) = (stretches(&bench.laid_out(sender.law())), model.stretches());
        prop_assert_eq!(heard.len(), expected.len());
        for (heard, expected) in heard.iter().zip(&expected) {
            prop_assert!(heard.fits(expected), "{:?} instead of {:?}", heard, expected);
        }
        prop_assert_eq!(bench.lost(), model.lost());
    }

    /// A sender that begins anew, wherever its numbers go on, is heard from its first packet to its
    /// last, and what it said before is not heard again.
    #[test]
    fn sender_that_begins_anew_is_heard_whole(
        seed in any::<u64>(),
        anew in prop::sample::select(vec![
            Anew::Ssrc,
            Anew::Back(3),
            Anew::Back(40),
            Anew::Back(300),
            Anew::Back(20_000),
            Anew::Jump,
            Anew::Again,
        ]),
        pause_ms in prop::sample::select(vec![40u64, 700, 3_000]),
        size in prop::sample::select(vec![80usize, 160, 240]),
        before in 60u64..400,
        duplication in 0u64..50,
        jitter_ms in 0u64..40,
    ) {
        // Nobody can tell a step back that is no longer than the network swaps packets.
        prop_assume!(!matches!(anew, Anew::Back(3)) || jitter_ms < 20);
        let network = Network { duplication, jitter: ms(jitter_ms), ..Network::default() };
        let mut chance = Chance::new(seed);
        let mut sender = Sender::new(1);
        let first = sender.talk(&mut chance, size, before, false);
        let began = first.last().unwrap().0 + ms(pause_ms + 20);
        let second = match anew {
            Anew::Again => first.clone(),
            Anew::Ssrc | Anew::Back(_) | Anew::Jump => {
                anew.begin(&mut sender);
                sender.talk(&mut chance, size, 150, false)
            }
        };
        let second = second.into_iter().map(|(at, packet)| (at + began, packet));
        let sent: Vec<_> = first.into_iter().chain(second).collect();
        let truth: Vec<u8> = sent.iter().flat_map(|(_, packet)| packet[12..].to_vec()).collect();
        let carried = network.carry(&mut chance, sent);
        let mut bench = Bench::with(plain(), Default::default());
        for transit in &carried {
            bench.deliver(transit.arrival, sender.source, &transit.datagram);
        }
        bench.end();

        let law = sender.law();
        let is_sound = |code: &u8| *code != g711::silence(law);
        let heard: Vec<u8> = bench.laid_out(law).into_iter().filter(is_sound).collect();
        let counters = bench.receiver.statistics().counters;
        let (samples, sent) = (heard.len(), truth.len());
        prop_assert!(heard == truth, "{samples} of {sent} samples, {counters:?}");
        prop_assert_eq!(counters.total(), u64::try_from(carried.len()).unwrap());
        prop_assert_eq!(counters.late + counters.out_of_sequence + counters.other_ssrc, 0);
    }
}

/// How a sender begins anew.
#[derive(Clone, Copy, Debug)]
enum Anew {
    /// With an SSRC, numbers and timestamps of its own.
    Ssrc,
    /// So many numbers further back, with timestamps of its own.
    Back(u16),
    /// With numbers far ahead and timestamps of its own.
    Jump,
    /// With the very same recording, numbers and all.
    Again,
}

impl Anew {
    fn begin(self, sender: &mut Sender) {
        sender.timestamp = sender.timestamp.wrapping_add(1_234_567_890);
        match self {
            Self::Ssrc => {
                sender.ssrc += 1;
                sender.sequence = 7;
            }
            Self::Back(by) => sender.sequence = sender.sequence.wrapping_sub(by),
            Self::Jump => sender.sequence = sender.sequence.wrapping_add(20_000),
            Self::Again => {}
        }
    }
}

/// Packets that come as they were sent.
const BEGINNING: usize = 8;

/// Lost audio is silent, so that it is told from what was sent.
fn plain() -> Settings {
    Settings {
        concealment: false,
        ..Settings::default()
    }
}

/// Played, duplicate, late, and refused for whatever reason.
fn ends(counters: &Counters) -> [u64; 4] {
    let refused = counters.total() - counters.played - counters.duplicate - counters.late;
    [counters.played, counters.duplicate, counters.late, refused]
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Played = 0,
    Duplicate = 1,
    Late = 2,
}

/// One stream through a buffer that gives a hole up when a packet behind it has waited 100 ms.
#[derive(Default)]
struct Model {
    /// By number, from the first on: arrival, timestamp, payload.
    played: BTreeMap<u16, (Duration, u32, Vec<u8>)>,
    late: Vec<u16>,
    ends: [u64; 4],
}

impl Model {
    fn take(&mut self, transit: &Transit) -> End {
        let word = |at: usize| u16::from_be_bytes([transit.datagram[at], transit.datagram[at + 1]]);
        let number = word(2).wrapping_sub(FIRST);
        let timestamp = u32::from(word(4)) << 16 | u32::from(word(6));
        let wait = Settings::default().reorder_wait;
        let is_given_up = |arrival: Duration| arrival + wait <= transit.arrival;
        let end = if self.played.contains_key(&number) || self.late.contains(&number) {
            End::Duplicate
        } else if self
            .played
            .range(number..)
            .any(|(_, packet)| is_given_up(packet.0))
        {
            self.late.push(number);
            End::Late
        } else {
            let payload = transit.datagram[12..].to_vec();
            self.played
                .insert(number, (transit.arrival, timestamp, payload));
            End::Played
        };
        self.ends[end as usize] += 1;
        end
    }

    /// Sound, and what lies between.
    fn stretches(&self) -> Vec<Stretch> {
        let mut all: Vec<Stretch> = Vec::new();
        let mut expected = None;
        for (number, (_, timestamp, payload)) in &self.played {
            if let Some((next, at)) = expected {
                let gap = timestamp.wrapping_sub(at);
                let lost = u32::from(number - next) * len_of(payload);
                all.extend((gap > 0).then_some(Stretch::Quiet {
                    gap,
                    is_paused: gap > lost,
                }));
            }
            match all.last_mut() {
                Some(Stretch::Sound(sound)) => sound.extend(payload),
                _ => all.push(Stretch::Sound(payload.clone())),
            }
            expected = Some((number + 1, timestamp.wrapping_add(len_of(payload))));
        }
        all
    }

    fn lost(&self) -> u64 {
        let numbers: Vec<u16> = self.played.keys().copied().collect();
        let size = self
            .played
            .values()
            .next()
            .map_or(0, |(_, _, payload)| len_of(payload));
        let missing = numbers
            .windows(2)
            .map(|pair| u64::from(pair[1] - pair[0] - 1));
        missing.sum::<u64>() * u64::from(size)
    }
}

#[expect(clippy::unwrap_used, reason = "what fails here fails the test")]
fn len_of(payload: &[u8]) -> u32 {
    u32::try_from(payload.len()).unwrap()
}

/// The first number that [`Sender`] sends.
const FIRST: u16 = 65_500;

#[derive(Clone, PartialEq, Eq)]
enum Stretch {
    Sound(Vec<u8>),
    Quiet { gap: u32, is_paused: bool },
}

impl Stretch {
    /// A pause may be a little longer or shorter, to follow the sender's clock.
    fn fits(&self, expected: &Self) -> bool {
        match (self, expected) {
            (Self::Sound(heard), Self::Sound(sent)) => heard == sent,
            (Self::Quiet { gap: heard, .. }, Self::Quiet { gap, is_paused }) => {
                heard.abs_diff(*gap) <= if *is_paused { CORRECTION } else { 0 }
            }
            _ => false,
        }
    }
}

impl std::fmt::Debug for Stretch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sound(sound) => write!(f, "{} samples", sound.len()),
            Self::Quiet { gap, .. } => write!(f, "{gap} quiet"),
        }
    }
}

/// 40 ms.
const CORRECTION: u32 = 320;

/// What was heard; [`Sender::talk`] never sends silence.
fn stretches(codes: &[u8]) -> Vec<Stretch> {
    let silence = g711::silence(callscribe::media::Law::Pcmu);
    let is_quiet = |code: &u8| *code == silence;
    codes
        .chunk_by(|a, b| is_quiet(a) == is_quiet(b))
        .map(|chunk| match is_quiet(&chunk[0]) {
            true => Stretch::Quiet {
                gap: len_of(chunk),
                is_paused: false,
            },
            false => Stretch::Sound(chunk.to_vec()),
        })
        .collect()
}
