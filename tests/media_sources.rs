//! Nobody else is heard, and whoever takes over by right is heard from his first packet.

#[path = "support/network.rs"]
mod network;

use std::net::SocketAddr;

use callscribe::event::HealthState;
use callscribe::media::receiver::{ExpectedSource, Output, Settings};
use callscribe::media::{Law, Samples};
use network::{Bench, Chance, Sender, ms, ramp};

#[test]
fn sender_outside_the_allowed_networks_is_never_heard_and_reported_once() {
    let settings = Settings {
        allowed_networks: vec!["10.0.0.0/8".parse().unwrap()],
        ..Settings::default()
    };
    let mut bench = Bench::with(settings, ExpectedSource::Any);
    let mut stranger = Sender::new(1);
    talk(&mut bench, &mut stranger, 0, 100);
    bench.end();
    assert_eq!(bench.health(), [HealthState::SourceRejected]);
    assert_eq!(bench.outputs.len(), 1);
    assert_eq!(bench.receiver.statistics().counters.source_rejected, 100);
    assert_eq!(bench.clock.origin(), None);
}

#[test]
fn registered_host_may_send_from_any_port_and_registered_address_from_its_own() {
    let host = ExpectedSource::Host([127, 0, 0, 1].into());
    let address = ExpectedSource::Address(([127, 0, 0, 1], 9).into());
    for (expected, heard) in [(host, 10), (address, 0)] {
        let mut bench = Bench::with(Settings::default(), expected);
        talk(&mut bench, &mut Sender::new(1), 0, 10);
        bench.end();
        assert_eq!(bench.heard().len(), heard * 160);
    }
}

#[test]
fn stranger_beside_the_pinned_sender_is_counted_not_heard() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let mut stranger = Sender::new(1);
    stranger.source.set_port(0);
    stranger.payload_type = 8;
    for n in 0..500 {
        talk(&mut bench, &mut sender, n * 20, 1);
        talk(&mut bench, &mut stranger, n * 20 + 7, 1);
    }
    bench.end();
    assert!(bench.frames().all(|frame| frame.law == Law::Pcmu));
    assert_eq!(bench.heard().len(), 500 * 160);
    assert_eq!(bench.receiver.statistics().counters.source_rejected, 500);
    assert_eq!(bench.health(), [HealthState::SourceRejected]);
}

#[test]
fn flood_from_strangers_costs_no_packet_of_the_leg() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let mut chance = Chance::new(3);
    for n in 0..102 {
        talk(&mut bench, &mut sender, n * 20, 1);
        // Whoever floods a leg before its first two packets may win it: see `allowed_networks`.
        for _ in 0..if n < 2 { 0 } else { 200 } {
            let mut stranger = Sender::new(u32::try_from(chance.below(3)).unwrap());
            stranger
                .source
                .set_port(u16::try_from(5_000 + chance.below(50)).unwrap());
            stranger.sequence = u16::try_from(chance.below(65_536)).unwrap();
            talk(&mut bench, &mut stranger, n * 20, 1);
        }
    }
    bench.end();
    let counters = bench.receiver.statistics().counters;
    assert_eq!((counters.played, counters.source_rejected), (102, 20_000));
    assert_eq!(bench.heard().len(), 102 * 160);
    assert_eq!(bench.health(), [HealthState::SourceRejected]);
}

#[test]
fn two_streams_of_one_sender_never_alternate() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let mut other = Sender::new(2);
    other.payload_type = 8;
    for burst in 0..100 {
        for packet in 0..13 {
            talk(&mut bench, &mut sender, burst * 260 + packet, 1);
        }
        for packet in 0..13 {
            talk(&mut bench, &mut other, burst * 260 + 130 + packet, 1);
        }
    }
    bench.end();
    assert!(bench.frames().all(|frame| frame.law == Law::Pcmu));
    assert_eq!(bench.receiver.statistics().counters.other_ssrc, 1_300);
    assert_eq!(bench.health(), [HealthState::SsrcChanged]);
}

#[test]
fn stream_that_begins_anew_is_heard_whole_on_the_same_clock() {
    for gap in [20, 300, 5_000] {
        let mut bench = Bench::new();
        let mut sender = Sender::new(1);
        talk(&mut bench, &mut sender, 0, 50);
        let mut again = Sender::new(99);
        (again.sequence, again.timestamp) = (3, 77);
        talk(&mut bench, &mut again, 980 + gap, 100);
        bench.end();
        assert_eq!(bench.heard().len(), 150 * 160, "{gap}");
        assert_eq!(bench.lost(), 0);
        assert_eq!(
            bench.end_of_tiles(),
            Samples::from_ms(980 + gap + 2_000),
            "{gap}"
        );
    }
}

#[test]
fn last_words_of_a_stream_that_just_began_anew_are_heard_at_the_end() {
    let mut bench = Bench::new();
    talk(&mut bench, &mut Sender::new(1), 0, 50);
    talk(&mut bench, &mut Sender::new(2), 1_000, 8);
    bench.end();
    assert_eq!(bench.heard().len(), 58 * 160);
}

#[test]
fn same_stream_may_jump_in_sequence_and_time() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    talk(&mut bench, &mut sender, 0, 50);
    (sender.sequence, sender.timestamp) = (30_000, 1_000_000_000);
    talk(&mut bench, &mut sender, 1_000, 50);
    bench.end();
    assert_eq!(bench.heard().len(), 100 * 160);
    assert_eq!(bench.end_of_tiles(), Samples::from_ms(2_000));
}

#[test]
fn second_sequence_within_the_heard_stream_is_counted_not_heard() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let mut twin = Sender::new(1);
    (twin.sequence, twin.payload_type) = (30_000, 8);
    for n in 0..200 {
        talk(&mut bench, &mut sender, n * 20, 1);
        if n >= 10 {
            talk(&mut bench, &mut twin, n * 20 + 3, 1);
        }
    }
    bench.end();
    assert!(bench.frames().all(|frame| frame.law == Law::Pcmu));
    let counters = bench.receiver.statistics().counters;
    assert_eq!((counters.played, counters.out_of_sequence), (200, 190));
}

#[test]
fn registered_source_shuts_out_the_sender_of_the_call_before() {
    let settings = Settings::default();
    let mut bench = Bench::with(
        settings,
        ExpectedSource::Address(([127, 0, 0, 2], 4_000).into()),
    );
    let mut before = Sender::new(1);
    before.payload_type = 8;
    let mut sender = Sender::new(1);
    sender.source = ([127, 0, 0, 2], 4_000).into();
    for n in 0..100 {
        talk(&mut bench, &mut before, n * 20, 1);
        if n >= 10 {
            talk(&mut bench, &mut sender, n * 20 + 1, 1);
        }
    }
    bench.end();
    assert!(bench.frames().all(|frame| frame.law == Law::Pcmu));
    assert_eq!(bench.heard().len(), 90 * 160);
    assert_eq!(bench.clock.origin(), Some(bench.epoch + ms(201)));
}

#[test]
fn sender_that_plays_its_recording_again_is_heard_again() {
    for packets in [30, 300] {
        let mut bench = Bench::new();
        talk(&mut bench, &mut Sender::new(1), 0, packets);
        talk(
            &mut bench,
            &mut Sender::new(1),
            packets * 20 + 1_500,
            packets,
        );
        bench.end();
        let heard = usize::try_from(packets).unwrap() * 2 * 160;
        assert_eq!(bench.heard().len(), heard, "{packets}");
        assert_eq!(bench.receiver.statistics().counters.duplicate, 0);
    }
}

#[test]
fn stray_packet_of_an_older_call_does_not_poison_the_leg() {
    let mut bench = Bench::new();
    let mut stale = Sender::new(666);
    stale.source.set_port(9_999);
    talk(&mut bench, &mut stale, 0, 1);
    let mut sender = Sender::new(1);
    talk(&mut bench, &mut sender, 10, 200);
    bench.end();
    assert_eq!(bench.heard().len(), 200 * 160);
    let statistics = bench.receiver.statistics();
    assert_eq!((statistics.streams, statistics.counters.played), (1, 200));
    assert_eq!(statistics.counters.source_rejected, 1);
}

#[test]
fn stale_stream_that_ends_leaves_the_leg_to_the_true_one_from_its_first_packet() {
    let mut bench = Bench::new();
    let mut stale = Sender::new(666);
    stale.source.set_port(9_999);
    talk(&mut bench, &mut stale, 0, 10);
    talk(&mut bench, &mut Sender::new(1), 200, 200);
    bench.end();
    assert_eq!(bench.heard().len(), 210 * 160);
    assert_eq!(bench.lost(), 0);
}

#[test]
fn sender_that_moves_to_another_port_with_its_sequence_goes_on() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    talk(&mut bench, &mut sender, 0, 50);
    sender.source = SocketAddr::from(([127, 0, 0, 1], 5_555));
    talk(&mut bench, &mut sender, 1_000, 50);
    assert_eq!(bench.heard().len(), 100 * 160);
    assert_eq!(bench.receiver.remote(), Some(sender.source));
    assert_eq!(bench.receiver.statistics().streams, 1);
}

#[test]
fn goodbye_of_the_heard_stream_ends_it_and_another_does_not() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    talk(&mut bench, &mut sender, 0, 10);
    for (ssrc, byes) in [(2u32, 0), (1, 1), (1, 1)] {
        let mut bye = vec![0x81, 203, 0, 1];
        bye.extend(ssrc.to_be_bytes());
        bench.deliver(ms(300), sender.source, &bye);
        let said = bench
            .outputs
            .iter()
            .filter(|output| **output == Output::Bye)
            .count();
        assert_eq!(said, byes);
    }
}

#[test]
fn reports_from_another_port_of_the_registered_sender_are_no_strangers() {
    let mut sender = Sender::new(1);
    let expected = ExpectedSource::Address(sender.source);
    let mut bench = Bench::with(Settings::default(), expected);
    talk(&mut bench, &mut sender, 0, 10);
    let bye = [0x81, 203, 0, 1, 0, 0, 0, 1];
    bench.deliver(ms(300), ([127, 0, 0, 1], 4_001).into(), &bye);
    assert_eq!(bench.health(), []);
    assert!(bench.outputs.contains(&Output::Bye));
    sender.source.set_port(4_001);
    talk(&mut bench, &mut sender, 400, 1);
    assert_eq!(bench.health(), [HealthState::SourceRejected]);
}

#[test]
fn what_cannot_be_decoded_is_reported_once_and_never_heard() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    sender.payload_type = 9;
    talk(&mut bench, &mut sender, 0, 500);
    sender.payload_type = 96;
    talk(&mut bench, &mut sender, 10_000, 500);
    bench.end();
    assert_eq!(bench.health(), [HealthState::BadPayload]);
    assert!(bench.heard().is_empty());
    assert_eq!(
        bench.receiver.statistics().counters.unknown_payload_type,
        1_000
    );
}

#[test]
fn everything_that_is_not_rtp_is_counted_by_cause() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    talk(&mut bench, &mut sender, 0, 10);
    let stun = [&[0, 1, 0, 0][..], &[7; 16]].concat();
    for junk in [&stun[..], b"", b"hello", &[0x80; 5], &[0x80, 200, 0, 0]] {
        bench.deliver(ms(300), sender.source, junk);
    }
    let counters = bench.receiver.statistics().counters;
    assert_eq!((counters.stun, counters.not_rtp), (1, 2));
    assert_eq!(
        (counters.malformed, counters.rtcp, counters.total()),
        (1, 1, 15)
    );
}

#[test]
fn sender_that_begins_anew_a_little_further_back_is_heard_at_once() {
    for (back, restarts_time, gap) in [
        (50, true, 20),
        (50, false, 20),
        (100, true, 200),
        (100, false, 900),
        (30, true, 20),
        (7, false, 20),
        (2, false, 20),
    ] {
        let mut bench = Bench::new();
        let mut sender = Sender::new(1);
        let mut said = 0;
        for n in 0..100 {
            let packet = sender.audio(&ramp(said, 160));
            bench.deliver(ms(n * 20), sender.source, &packet);
            said += 160;
        }
        sender.sequence = sender.sequence.wrapping_sub(back);
        if restarts_time {
            sender.pause((160 * u32::from(back)).wrapping_neg());
        }
        for n in 0..200 {
            let packet = sender.audio(&ramp(said, 160));
            bench.deliver(ms(1_980 + gap + n * 20), sender.source, &packet);
            said += 160;
        }
        bench.end();
        let case = (back, restarts_time, gap);
        assert!(bench.heard() == ramp(0, said), "{case:?}");
        assert_eq!(bench.lost(), 0, "{case:?}");
        let end = Samples::from_ms(1_980 + gap + 4_000);
        let off = end.0.abs_diff(bench.end_of_tiles().0);
        assert!(off < 480, "{case:?}: {off}");
        assert_eq!(
            bench.receiver.statistics().counters.duplicate,
            0,
            "{case:?}"
        );
    }
}

#[test]
fn recording_that_is_played_again_without_a_pause_is_heard_again() {
    let mut bench = Bench::new();
    for n in 0..5 {
        talk(&mut bench, &mut Sender::new(1), n * 1_000, 50);
    }
    bench.end();
    assert_eq!(bench.heard().len(), 250 * 160);
    assert_eq!((bench.lost(), bench.silence()), (0, 0));
}

#[test]
fn copies_from_a_second_and_slower_path_are_never_heard() {
    for delay in [1, 30, 190] {
        let mut bench = Bench::new();
        let mut sender = Sender::new(1);
        let mut arrivals = Vec::new();
        for n in 0..500u64 {
            let packet = sender.audio(&ramp(usize::try_from(n).unwrap() * 160, 160));
            // The fast path fails for a moment.
            if !(200..=205).contains(&n) {
                arrivals.push((n * 20, packet.clone()));
            }
            arrivals.push((n * 20 + delay, packet));
        }
        arrivals.sort_by_key(|(at, _)| *at);
        for (at, packet) in &arrivals {
            bench.deliver(ms(*at), sender.source, packet);
        }
        bench.end();
        let counters = bench.receiver.statistics().counters;
        assert!(counters.duplicate >= 488, "{delay}: {counters:?}");
        let lost = counters.late * 160;
        assert_eq!(bench.lost(), lost, "{delay}");
        assert!(lost > 0 || bench.heard() == ramp(0, 500 * 160), "{delay}");
        assert_eq!(bench.end_of_tiles(), Samples(500 * 160), "{delay}");
    }
}

#[test]
fn contended_leg_goes_to_the_sender_that_keeps_time() {
    for flood in [1, 20, 200] {
        let mut bench = Bench::new();
        let mut sender = Sender::new(1);
        let mut chance = Chance::new(5);
        let mut stranger = Sender::new(9);
        stranger.source = ([127, 0, 0, 66], 5_000).into();
        stranger.payload_type = 8;
        for n in 0..100 {
            for _ in 0..flood {
                stranger.sequence = stranger.sequence.wrapping_add(1);
                if chance.happens(500) {
                    stranger.ssrc = u32::try_from(chance.below(1_000)).unwrap();
                    stranger
                        .source
                        .set_port(u16::try_from(5_000 + chance.below(50)).unwrap());
                }
                talk(&mut bench, &mut stranger, n * 20, 1);
            }
            talk(&mut bench, &mut sender, n * 20 + 1, 1);
        }
        bench.end();
        assert!(
            bench.frames().all(|frame| frame.law == Law::Pcmu),
            "{flood}"
        );
        assert_eq!(bench.heard().len(), 100 * 160, "{flood}");
        assert_eq!(bench.health(), [HealthState::SourceRejected], "{flood}");
    }
}

/// Sends so many packets of 20 ms, the first at that millisecond.
fn talk(bench: &mut Bench, sender: &mut Sender, from: u64, packets: u64) {
    for n in 0..packets {
        let packet = sender.audio(&ramp(0, 160));
        bench.deliver(ms(from + n * 20), sender.source, &packet);
    }
}
