//! Silence on purpose, comfort noise, hold and jams: time neither stretches nor shrinks, and no
//! word is lost.

#[path = "support/network.rs"]
mod network;

use callscribe::media::Samples;
use network::{Bench, Sender, ms, ramp};

#[test]
fn suppressed_silence_is_silence_of_its_length_and_no_loss() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    send(&mut bench, &mut sender, 0, 50);
    sender.pause(40_000);
    send(&mut bench, &mut sender, 6_000, 50);
    bench.end();
    assert_eq!((bench.lost(), bench.silence()), (0, 40_000));
    assert_eq!(bench.end_of_tiles(), Samples(8_000 + 40_000 + 8_000));
}

#[test]
fn keep_alive_comfort_noise_with_frozen_timestamp_takes_no_time() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    send(&mut bench, &mut sender, 0, 50);
    for n in 0..5 {
        let noise = sender.packet(13, sender.timestamp, false, &[60]);
        bench.deliver(ms(1_000 + n * 1_000), sender.source, &noise);
    }
    sender.pause(40_000);
    send(&mut bench, &mut sender, 6_000, 50);
    bench.end();
    assert_eq!((bench.lost(), bench.silence()), (0, 40_000));
}

#[test]
fn comfort_noise_with_moving_timestamp_gives_its_silence_at_once() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    send(&mut bench, &mut sender, 0, 50);
    sender.pause(1_600);
    let noise = sender.packet(13, sender.timestamp, false, &[60]);
    bench.deliver(ms(1_200), sender.source, &noise);
    assert_eq!(bench.silence(), 1_600);
}

#[test]
fn hold_of_ten_minutes_with_standing_timestamps_is_ten_minutes_of_silence() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    send(&mut bench, &mut sender, 0, 50);
    send(&mut bench, &mut sender, 601_000, 50);
    bench.end();
    assert_eq!(bench.lost(), 0);
    assert_eq!(bench.end_of_tiles(), Samples::from_ms(602_000));
    assert_eq!(bench.heard().len(), 16_000);
}

#[test]
fn hold_after_which_the_timestamps_begin_anew_is_placed_by_arrival() {
    for jump in [0x8000_0000u32, 0x1000_0000, 3_000_000, 30_000] {
        for back in [false, true] {
            let mut bench = Bench::new();
            let mut sender = Sender::new(1);
            send(&mut bench, &mut sender, 0, 50);
            sender.pause(if back { jump.wrapping_neg() } else { jump });
            send(&mut bench, &mut sender, 31_000, 50);
            bench.end();
            assert_eq!(bench.heard().len(), 16_000, "{jump} {back}");
            assert_eq!(
                bench.end_of_tiles(),
                Samples::from_ms(32_000),
                "{jump} {back}"
            );
        }
    }
}

#[test]
fn jam_in_the_network_is_no_pause() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    send(&mut bench, &mut sender, 0, 50);
    for n in 0..150 {
        let packet = sender.audio(&ramp(n * 160, 160));
        bench.deliver(ms(4_000), sender.source, &packet);
    }
    send(&mut bench, &mut sender, 4_000, 50);
    bench.end();
    assert_eq!((bench.lost(), bench.silence()), (0, 0));
    assert_eq!(bench.end_of_tiles(), Samples::from_ms(5_000));
}

#[test]
fn bursts_of_256_ms_are_heard_as_they_are() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let sent = ramp(0, 160 * 13 * 40);
    for (n, payload) in sent.chunks(160).enumerate() {
        let burst = u64::try_from(n / 13).unwrap();
        let packet = sender.audio(payload);
        bench.deliver(ms(burst * 260), sender.source, &packet);
    }
    bench.end();
    assert!(bench.heard() == sent);
    assert_eq!(bench.silence(), 0);
}

#[test]
fn short_packets_that_overlap_the_next_are_all_heard() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let mut sent = Vec::new();
    for n in 0..50u64 {
        let payload = ramp(sent.len(), if n % 10 == 9 { 100 } else { 160 });
        let packet = sender.audio(&payload);
        if n % 10 == 9 {
            sender.timestamp = sender.timestamp.wrapping_sub(40);
        }
        sent.extend(payload);
        bench.deliver(ms(n * 20), sender.source, &packet);
    }
    bench.end();
    assert!(bench.heard() == sent);
}

#[test]
fn last_packet_is_heard_to_its_last_sample() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    send(&mut bench, &mut sender, 0, 10);
    let packet = sender.audio(&ramp(0, 33));
    bench.deliver(ms(200), sender.source, &packet);
    bench.end();
    assert_eq!(bench.frames().last().map(|frame| frame.len), Some(33));
    assert_eq!(bench.end_of_tiles(), Samples(1_633));
}

#[test]
fn only_packet_of_a_leg_is_heard_at_its_end() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    send(&mut bench, &mut sender, 0, 1);
    assert_eq!(bench.outputs.len(), 0);
    bench.end();
    assert_eq!(bench.heard(), ramp(0, 160));
}

#[test]
fn packet_that_overtakes_others_in_a_jam_moves_nothing() {
    for (jam, overtaking) in [(110, 109), (150, 149), (150, 70), (300, 299)] {
        let mut bench = Bench::new();
        let mut sender = Sender::new(1);
        send(&mut bench, &mut sender, 0, 50);
        let end = 1_000 + u64::try_from(jam).unwrap() * 20;
        let mut jammed: Vec<_> = (0..jam)
            .map(|n| sender.audio(&ramp(n * 160, 160)))
            .collect();
        let first = jammed.remove(overtaking);
        bench.deliver(ms(end), sender.source, &first);
        for packet in jammed {
            bench.deliver(ms(end + 5), sender.source, &packet);
        }
        send(&mut bench, &mut sender, end, 50);
        bench.end();
        assert_eq!(
            (bench.lost(), bench.silence()),
            (0, 0),
            "{jam} {overtaking}"
        );
        assert_eq!(
            bench.end_of_tiles(),
            Samples::from_ms(end + 1_000),
            "{jam} {overtaking}"
        );
    }
}

#[test]
fn jam_behind_a_packet_that_came_in_time_is_late_and_moves_nothing() {
    for jam in [60, 150, 300] {
        let mut bench = Bench::new();
        let mut sender = Sender::new(1);
        send(&mut bench, &mut sender, 0, 50);
        let end = 1_000 + jam * 20;
        let mut jammed: Vec<_> = (0..jam).map(|_| sender.audio(&ramp(0, 160))).collect();
        let first = jammed.pop().unwrap();
        bench.deliver(ms(end), sender.source, &first);
        for packet in jammed {
            bench.deliver(ms(end + 400), sender.source, &packet);
        }
        for _ in 0..20 {
            send(&mut bench, &mut sender, end + 400, 1);
        }
        send(&mut bench, &mut sender, end + 400, 30);
        bench.end();
        assert_eq!(bench.lost(), (jam - 1) * 160, "{jam}");
        assert_eq!(bench.receiver.statistics().counters.late, jam - 1, "{jam}");
        let off = bench
            .end_of_tiles()
            .0
            .abs_diff(Samples::from_ms(end + 1_000).0);
        assert!(off < 480, "{jam}: {off}");
    }
}

/// Sends so many packets of 20 ms, the first at that millisecond.
fn send(bench: &mut Bench, sender: &mut Sender, from: u64, packets: u64) {
    for n in 0..packets {
        let packet = sender.audio(&ramp(0, 160));
        bench.deliver(ms(from + n * 20), sender.source, &packet);
    }
}
