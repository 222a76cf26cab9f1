//! Networks that lose, delay, reorder and duplicate, in virtual time and by seed: the books always
//! balance.

#[path = "support/network.rs"]
mod network;

use std::time::Duration;

use callscribe::media::receiver::Settings;
use callscribe::media::{Samples, g711};
use network::{Bench, Chance, Network, Sender, ms};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every packet ends as played, late or duplicate; every position as received, lost or silence,
    /// where it belongs.
    #[test]
    fn every_packet_and_every_position_is_accounted_for(
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
        let sent = sender.talk(&mut chance, size, 400, suppression);
        let carried = network.carry(&mut chance, sent);
        prop_assume!(carried.len() > 2);
        let mut bench = Bench::new();
        for transit in &carried {
            bench.deliver(transit.arrival, sender.source, &transit.datagram);
        }
        bench.end();

        let statistics = bench.receiver.statistics();
        let counters = statistics.counters;
        let delivered = u64::try_from(carried.len()).unwrap();
        prop_assert_eq!(counters.total(), delivered);
        prop_assert_eq!(counters.played + counters.late + counters.duplicate, delivered);
        let heard = bench.laid_out(sender.law());
        let len = u64::try_from(heard.len()).unwrap();
        prop_assert_eq!(bench.end_of_tiles() - bench.started(), Samples(len));
        prop_assert_eq!(statistics.lost_samples, bench.lost());
        let played = counters.played * u64::try_from(size).unwrap();
        let received = bench.received() + bench.silence();
        prop_assert!(received >= played, "{} of {}", received, played);
    }

    /// What arrives within the wait is heard as if the network had done nothing.
    #[test]
    fn reordering_within_the_wait_is_not_heard(seed in any::<u64>(), jitter_ms in 0u64..95) {
        let network = Network { jitter: ms(jitter_ms), duplication: 50, ..Network::default() };
        let mut chance = Chance::new(seed);
        let mut sender = Sender::new(1);
        let sent = sender.talk(&mut chance, 160, 300, false);
        let truth: Vec<u8> = sent.iter().flat_map(|(_, packet)| packet[12..].to_vec()).collect();
        let mut bench = Bench::new();
        for transit in network.carry(&mut chance, sent) {
            bench.deliver(transit.arrival, sender.source, &transit.datagram);
        }
        bench.end();
        prop_assert!(bench.heard() == truth);
        prop_assert_eq!((bench.lost(), bench.silence()), (0, 0));
    }

    /// Whatever comes, nothing panics, outputs tile, and each datagram is counted once.
    #[test]
    fn any_datagrams_are_survived(
        junk in prop::collection::vec(
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40), 0u64..700),
            1..200,
        ),
    ) {
        let mut bench = Bench::new();
        let mut time = Duration::ZERO;
        let mut sender = Sender::new(1);
        for (kind, bytes, after) in &junk {
            time += ms(*after);
            // Nearly sound packets reach further than noise does.
            let datagram = match kind % 6 {
                0 => bytes.clone(),
                1 => [&[0x80, 200 + kind % 5][..], bytes].concat(),
                2 => {
                    let duration = u16::from(*kind) << 4;
                    sender.event(kind % 18, u32::from(*kind), duration, kind % 3 == 0)
                }
                3 => {
                    let timestamp = sender.timestamp ^ 1 << (kind % 32);
                    sender.packet(kind % 16, timestamp, false, bytes)
                }
                4 => {
                    sender.sequence ^= 1 << (kind % 16);
                    sender.ssrc = u32::from(kind % 3);
                    sender.audio(bytes)
                }
                _ => sender.audio(bytes),
            };
            bench.deliver(time, sender.source, &datagram);
        }
        bench.end();
        bench.end_of_tiles();
        let counted = bench.receiver.statistics().counters.total();
        prop_assert_eq!(counted, u64::try_from(junk.len()).unwrap());
    }
}

#[test]
fn loss_becomes_as_much_time_as_was_lost() {
    let mut chance = Chance::new(7);
    let mut sender = Sender::new(1);
    let network = Network {
        loss: 50,
        burst: 500,
        ..Network::default()
    };
    let sent = sender.talk(&mut chance, 160, 3_000, false);
    let carried = network.carry(&mut chance, sent);
    let mut bench = Bench::new();
    for transit in &carried {
        bench.deliver(transit.arrival, sender.source, &transit.datagram);
    }
    bench.end();
    let statistics = bench.receiver.statistics();
    let arrived = u64::try_from(carried.len()).unwrap();
    assert_eq!(statistics.received, arrived);
    assert_eq!(
        statistics.lost.unsigned_abs(),
        statistics.expected - arrived
    );
    assert!(statistics.lost > 100, "{}", statistics.lost);
    assert_eq!(bench.lost(), statistics.lost.unsigned_abs() * 160);
    assert_eq!(bench.silence(), 0);
}

#[test]
fn without_concealment_lost_time_is_silent() {
    let settings = Settings {
        concealment: false,
        ..Settings::default()
    };
    let mut bench = Bench::with(settings, Default::default());
    let mut sender = Sender::new(1);
    for n in 0..20 {
        let packet = sender.audio(&[0x20; 160]);
        if n != 10 {
            bench.deliver(ms(n * 20), sender.source, &packet);
        }
    }
    bench.end();
    let lost = bench.frames().find(|frame| frame.lost > 0).unwrap();
    assert_eq!(
        (lost.lost, lost.g711),
        (160, [g711::silence(lost.law); 160])
    );
}
