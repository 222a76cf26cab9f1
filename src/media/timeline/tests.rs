use super::*;

#[test]
fn sequence_gap_without_time_gap_is_no_lost_time() {
    let mut timeline = started();
    let gap = timeline.place(&Audio {
        missing: 91,
        ..audio(160, 160)
    });
    assert_eq!(gap, Gap::default());
}

#[test]
fn missing_packets_become_as_much_lost_time_as_the_timestamp_says() {
    let mut timeline = started();
    let gap = timeline.place(&Audio {
        missing: 3,
        ..audio(4 * 160, 4 * 160)
    });
    assert_eq!((gap.lost, gap.silence), (Samples(480), Samples::ZERO));
}

#[test]
fn timestamp_gap_without_sequence_gap_is_silence() {
    let mut timeline = started();
    let gap = timeline.place(&audio(40_160, 40_160));
    assert_eq!((gap.lost, gap.silence), (Samples::ZERO, Samples(40_000)));
}

#[test]
fn missing_tail_of_a_talkspurt_is_lost_and_the_rest_silence() {
    let mut timeline = started();
    let gap = timeline.place(&Audio {
        missing: 1,
        marker: true,
        ..audio(8_160, 8_160)
    });
    assert_eq!((gap.lost, gap.silence), (Samples(160), Samples(7_840)));
    assert!(gap.lost_first);
}

#[test]
fn timestamp_wraps() {
    let mut timeline = Timeline::new(Samples::ZERO);
    timeline.place(&audio(u32::MAX - 79, 0));
    assert_eq!(timeline.place(&audio(80, 160)), Gap::default());
}

#[test]
fn forward_jump_against_arrival_is_a_new_run_and_no_silence() {
    let mut timeline = started();
    assert_eq!(timeline.place(&audio(900_000, 160)), Gap::default());
    assert_eq!(timeline.place(&audio(900_160, 320)), Gap::default());
    assert_eq!(timeline.end, Samples(480));
}

#[test]
fn backward_jump_is_placed_by_arrival() {
    let mut timeline = Timeline::new(Samples::ZERO);
    timeline.place(&audio(1_000_000, 0));
    let gap = timeline.place(&audio(7, 8_160));
    assert_eq!(gap.silence, Samples(8_000));
}

#[test]
fn short_packet_that_overlaps_the_next_is_kept_and_the_clock_recovers_in_silence() {
    let mut timeline = started();
    timeline.place(&Audio {
        len: 100,
        ..audio(160, 160)
    });
    assert_eq!(timeline.place(&audio(160 + 40, 200)), Gap::default());
    assert_eq!(timeline.error(), -60);
    let gap = timeline.place(&audio(16_000, 16_000));
    assert_eq!(timeline.end, Samples(16_160));
    assert_eq!(gap.silence, Samples(16_000 - 420));
}

#[test]
fn sender_with_frozen_timestamps_loses_no_audio() {
    let mut timeline = started();
    for n in 1..100 {
        assert_eq!(timeline.place(&audio(0, n * 160)), Gap::default());
    }
    assert_eq!(timeline.end, Samples(16_000));
}

#[test]
fn comfort_noise_with_moving_timestamp_ends_a_silence() {
    let mut timeline = started();
    assert_eq!(timeline.comfort_noise(&audio(160, 160)), Gap::default());
    let gap = timeline.comfort_noise(&audio(1_760, 1_760));
    assert_eq!((gap.lost, gap.silence), (Samples::ZERO, Samples(1_600)));
    let gap = timeline.place(&Audio {
        marker: true,
        missing: 2,
        ..audio(3_360, 3_360)
    });
    assert_eq!((gap.lost, gap.silence), (Samples::ZERO, Samples(1_600)));
}

#[test]
fn comfort_noise_with_frozen_timestamp_takes_no_time() {
    let mut timeline = started();
    for n in 1..50 {
        assert_eq!(timeline.comfort_noise(&audio(0, n * 160)), Gap::default());
    }
    let gap = timeline.place(&audio(8_000, 8_000));
    assert_eq!(
        (gap.lost, gap.silence),
        (Samples::ZERO, Samples(8_000 - 160))
    );
}

#[test]
fn packets_missing_within_an_event_in_place_of_audio_are_not_lost_audio() {
    let mut timeline = started();
    let event = Audio {
        missing: 2,
        ..audio(160, 640)
    };
    assert_eq!(timeline.telephone_event(&event, 1_280, true), Samples(160));
    let gap = timeline.place(&audio(160 + 1_280, 160 + 1_280));
    assert_eq!((gap.lost, gap.silence), (Samples::ZERO, Samples(1_280)));
}

#[test]
fn audio_missing_between_interleaved_event_packets_is_lost() {
    let mut timeline = started();
    timeline.telephone_event(&audio(160, 160), 160, false);
    timeline.place(&audio(160, 170));
    timeline.telephone_event(
        &Audio {
            missing: 1,
            ..audio(160, 480)
        },
        480,
        false,
    );
    let gap = timeline.place(&audio(480, 500));
    assert_eq!((gap.lost, gap.silence), (Samples(160), Samples::ZERO));
}

fn started() -> Timeline {
    let mut timeline = Timeline::new(Samples::ZERO);
    timeline.place(&audio(0, 0));
    timeline
}

fn audio(timestamp: u32, arrival: u64) -> Audio {
    Audio {
        timestamp,
        len: 160,
        marker: false,
        missing: 0,
        arrival: Samples(arrival),
    }
}
