//! Telephone events of every sender we know: one digit a press, never loss, never silence where
//! audio goes on.

#[path = "support/network.rs"]
mod network;

use callscribe::media::Samples;
use callscribe::media::receiver::Output;
use network::{Bench, Sender, ms, ramp};

#[test]
fn events_in_place_of_audio_are_digits_and_no_loss() {
    for repeats_number in [false, true] {
        let mut bench = Bench::new();
        let mut sender = Sender::new(1);
        let mut time = talk(&mut bench, &mut sender, 0, 10);
        for code in [1, 9, 11] {
            time = press(&mut bench, &mut sender, time, code, repeats_number);
            time = talk(&mut bench, &mut sender, time, 10);
        }
        bench.end();
        assert_eq!(bench.digits(), "19#", "{repeats_number}");
        assert_eq!((bench.lost(), bench.silence()), (0, 3 * 1_280));
        assert_eq!(bench.end_of_tiles(), Samples(40 * 160 + 3 * 1_280));
        let statistics = bench.receiver.statistics();
        assert_eq!(
            statistics.counters.duplicate,
            if repeats_number { 6 } else { 0 }
        );
    }
}

#[test]
fn digit_says_where_and_how_long_the_key_was_pressed() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let time = talk(&mut bench, &mut sender, 0, 10);
    press(&mut bench, &mut sender, time, 5, false);
    let dtmf = Output::Dtmf {
        digit: '5',
        start: Samples(1_600),
        duration: Samples(1_280),
    };
    assert!(bench.outputs.contains(&dtmf));
}

#[test]
fn audio_that_goes_on_between_event_packets_is_heard_and_marked() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let mut time = talk(&mut bench, &mut sender, 0, 10);
    let start = sender.timestamp;
    for n in 1..=8u16 {
        let event = sender.event(7, start, n.min(6) * 160, n >= 6);
        bench.deliver(ms(time), sender.source, &event);
        time = talk(&mut bench, &mut sender, time, 1);
    }
    talk(&mut bench, &mut sender, time, 10);
    bench.end();
    assert_eq!(bench.digits(), "7");
    assert_eq!((bench.lost(), bench.silence()), (0, 0));
    assert_eq!(bench.heard().len(), 28 * 160);
    let marked: Vec<bool> = bench.frames().map(|frame| frame.telephone_event).collect();
    assert_eq!(marked.iter().filter(|marked| **marked).count(), 6);
    assert!(marked[10..16].iter().all(|marked| *marked));
}

#[test]
fn event_whose_every_end_is_lost_is_still_one_digit() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let time = talk(&mut bench, &mut sender, 0, 10);
    let start = sender.timestamp;
    for n in 1..=4u16 {
        let event = sender.event(3, start, n * 160, false);
        bench.deliver(ms(time + u64::from(n) * 20), sender.source, &event);
    }
    sender.sequence += 3;
    sender.pause(1_280);
    talk(&mut bench, &mut sender, time + 160, 50);
    assert_eq!(bench.digits(), "3");
    assert_eq!((bench.lost(), bench.silence()), (0, 1_280));
    assert!(bench.frames().all(|frame| !frame.telephone_event));
}

#[test]
fn swallowed_event_packets_are_no_lost_time_where_the_audio_goes_on() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let time = talk(&mut bench, &mut sender, 0, 10);
    sender.sequence = sender.sequence.wrapping_add(50);
    talk(&mut bench, &mut sender, time, 20);
    bench.end();
    assert_eq!((bench.lost(), bench.silence()), (0, 0));
    assert_eq!(bench.heard().len(), 30 * 160);
}

#[test]
fn events_in_a_stream_of_their_own_are_digits_and_the_audio_goes_on() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let mut keys = Sender::new(2);
    keys.timestamp = 5;
    let mut time = talk(&mut bench, &mut sender, 0, 10);
    for n in 1..=6u16 {
        let event = keys.event(10, 5, n * 160, n >= 4);
        bench.deliver(ms(time), keys.source, &event);
        time = talk(&mut bench, &mut sender, time, 1);
    }
    bench.end();
    assert_eq!(bench.digits(), "*");
    assert_eq!(bench.heard().len(), 16 * 160);
    assert_eq!(bench.health(), []);
}

#[test]
fn sender_that_only_signals_keys_is_understood() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let mut time = 0;
    for code in [1, 2, 3] {
        time = press(&mut bench, &mut sender, time, code, false);
        sender.pause(800);
        time += 100;
    }
    bench.end();
    assert_eq!(bench.digits(), "123");
    assert!(matches!(bench.outputs[0], Output::Started { .. }));
}

#[test]
fn audio_after_keys_of_another_stream_is_heard_from_its_first_packet() {
    let mut bench = Bench::new();
    let mut keys = Sender::new(2);
    let time = press(&mut bench, &mut keys, 0, 4, false);
    let mut sender = Sender::new(1);
    talk(&mut bench, &mut sender, time, 50);
    bench.end();
    assert_eq!(bench.digits(), "4");
    assert_eq!(bench.heard().len(), 50 * 160);
}

#[test]
fn keys_under_a_type_that_nobody_announced_are_digits() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let mut time = talk(&mut bench, &mut sender, 0, 10);
    for code in [4, 2] {
        let start = sender.timestamp;
        for n in 1..=10u16 {
            let [high, low] = (n.min(8) * 160).to_be_bytes();
            let end = if n >= 8 { 0x8A } else { 0x0A };
            let event = sender.packet(120, start, n == 1, &[code, end, high, low]);
            bench.deliver(ms(time + u64::from(n) * 20), sender.source, &event);
        }
        sender.pause(1_280);
        time = talk(&mut bench, &mut sender, time + 220, 10);
    }
    bench.end();
    assert_eq!(bench.digits(), "42");
    assert_eq!((bench.lost(), bench.health()), (0, vec![]));
}

#[test]
fn key_that_is_played_from_the_same_recording_twice_is_two_digits() {
    for has_audio in [false, true] {
        let mut bench = Bench::new();
        let mut sender = Sender::new(1);
        talk(&mut bench, &mut sender, 0, if has_audio { 50 } else { 0 });
        for (n, code) in [1, 1, 2, 1].into_iter().enumerate() {
            let mut keys = Sender::new(2);
            let offset = u16::from(code) * 58;
            (keys.sequence, keys.timestamp) = (7_900 + offset, 3_000 + u32::from(offset) * 171);
            let from = 1_000 + u64::try_from(n).unwrap() * 700;
            press(&mut bench, &mut keys, from, code, true);
        }
        bench.end();
        assert_eq!(bench.digits(), "1121", "{has_audio}");
    }
}

#[test]
fn events_with_numbers_of_their_own_under_the_ssrc_of_the_audio_are_digits_and_the_audio_goes_on() {
    for (offset, own_time) in [(20_000, false), (20_000, true), (1_500, true), (200, false)] {
        for interleaved in [false, true] {
            let mut bench = Bench::new();
            let mut sender = Sender::new(1);
            let mut time = talk(&mut bench, &mut sender, 0, 50);
            let mut keys = sender.clone();
            keys.sequence = keys.sequence.wrapping_add(offset);
            let mut pressed = Vec::new();
            for code in [3, 7, 7] {
                let start = if own_time {
                    keys.timestamp ^ 0x4000_0000
                } else {
                    sender.timestamp
                };
                pressed.push(time);
                for n in 1..=9u16 {
                    let event = keys.event(code, start, n.min(7) * 160, n >= 7);
                    bench.deliver(ms(time), keys.source, &event);
                    if interleaved {
                        talk(&mut bench, &mut sender, time, 1);
                    } else {
                        sender.pause(160);
                    }
                    time += 20;
                }
                keys.timestamp = keys.timestamp.wrapping_add(40 * 160);
                time = talk(&mut bench, &mut sender, time, 31);
            }
            bench.end();
            let case = (offset, own_time, interleaved);
            assert_eq!(bench.digits(), "377", "{case:?}");
            assert_eq!(bench.lost(), 0, "{case:?}");
            let heard = if interleaved { 170 } else { 143 };
            assert_eq!(bench.heard().len(), heard * 160, "{case:?}");
            assert_eq!(bench.end_of_tiles(), Samples::from_ms(3_400), "{case:?}");
            let starts = bench.outputs.iter().filter_map(|output| {
                if let Output::Dtmf { start, .. } = output {
                    Some(start.as_ms())
                } else {
                    None
                }
            });
            for (start, pressed) in starts.zip(pressed) {
                assert!(
                    start.abs_diff(pressed) <= 20,
                    "{case:?}: {start} for {pressed}"
                );
            }
        }
    }
}

#[test]
fn key_packets_that_a_pbx_swallows_leave_silence_and_no_loss() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    let mut time = talk(&mut bench, &mut sender, 0, 50);
    // 8 packets of the key and its end three times, in the place of 8 packets of audio.
    for _ in 0..3 {
        sender.sequence = sender.sequence.wrapping_add(10);
        sender.pause(8 * 160);
        time = talk(&mut bench, &mut sender, time + 160, 25);
    }
    bench.end();
    assert_eq!((bench.lost(), bench.silence()), (0, 3 * 1_280));
    assert_eq!(bench.end_of_tiles(), Samples::from_ms(time));
}

#[test]
fn keys_in_a_stream_from_another_port_of_the_host_are_keys_of_the_leg_and_no_loss() {
    for (host, heard, refused) in [([127, 0, 0, 1], "44", 0), ([127, 0, 0, 9], "", 20)] {
        let mut bench = Bench::new();
        let mut sender = Sender::new(1);
        let mut keys = Sender::new(2);
        keys.source = (host, 0).into();
        let mut time = talk(&mut bench, &mut sender, 0, 50);
        for start in [7, 70_007] {
            for n in 1..=10u16 {
                // Its last packet comes three times with one number, as in the captures that SIPp plays.
                keys.sequence -= u16::from(n >= 9);
                let event = keys.event(4, start, n.min(8) * 160, n >= 8);
                bench.deliver(ms(time), keys.source, &event);
                time = talk(&mut bench, &mut sender, time, 1);
            }
            time = talk(&mut bench, &mut sender, time, 40);
        }
        bench.end();
        assert_eq!(bench.digits(), heard);
        let statistics = bench.receiver.statistics();
        assert_eq!(statistics.counters.source_rejected, refused);
        assert_eq!(
            (statistics.never_seen, statistics.lost),
            (0, if refused == 0 { -4 } else { 0 })
        );
        assert_eq!(statistics.received, 170 - refused);
        assert_eq!(bench.health().len(), usize::from(refused > 0));
    }
}

/// Sends so many packets of 20 ms of audio and gives the time after them.
fn talk(bench: &mut Bench, sender: &mut Sender, from: u64, packets: u64) -> u64 {
    for n in 0..packets {
        let packet = sender.audio(&ramp(0, 160));
        bench.deliver(ms(from + n * 20), sender.source, &packet);
    }
    from + packets * 20
}

/// Sends a key of 160 ms in place of audio, its end three times, and gives the time after it.
fn press(bench: &mut Bench, sender: &mut Sender, from: u64, code: u8, repeats_number: bool) -> u64 {
    let start = sender.timestamp;
    for n in 1..=7u16 {
        let event = sender.event(code, start, n * 160, false);
        bench.deliver(ms(from + u64::from(n) * 20), sender.source, &event);
    }
    for n in 0..3 {
        let event = sender.event(code, start, 1_280, true);
        bench.deliver(ms(from + 160), sender.source, &event);
        if repeats_number && n < 2 {
            sender.sequence = sender.sequence.wrapping_sub(1);
        }
    }
    sender.pause(1_280);
    from + 160
}
