//! Senders that do what the standards say are heard sample for sample.

#[path = "support/network.rs"]
mod network;

use callscribe::media::receiver::Output;
use callscribe::media::{Law, Samples, Ssrc};
use network::{Bench, Sender, ms, ramp};

#[test]
fn every_packet_size_is_heard_sample_for_sample() {
    for size in [26, 80, 160, 240, 588, 1_388, 1_460] {
        let sent = ramp(0, 16_000);
        let mut bench = Bench::new();
        let mut sender = Sender::new(1);
        let mut time = 0;
        for payload in sent.chunks(size) {
            let packet = sender.audio(payload);
            bench.deliver(ms(time / 8), sender.source, &packet);
            time += u64::try_from(payload.len()).unwrap();
        }
        bench.end();
        assert!(bench.heard() == sent, "{size}");
        assert_eq!(bench.end_of_tiles(), Samples(16_000));
        assert_eq!((bench.lost(), bench.silence()), (0, 0));
    }
}

#[test]
fn leg_starts_where_its_first_packet_arrived() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(7);
    sender.payload_type = 8;
    bench.clock.start(bench.epoch);
    for n in 0..10 {
        let packet = sender.audio(&ramp(0, 160));
        bench.deliver(ms(3_000 + n * 20), sender.source, &packet);
    }
    let started = Output::Started {
        ssrc: Ssrc(7),
        law: Law::Pcma,
        remote: sender.source,
        start: Samples::from_ms(3_000),
    };
    assert_eq!(bench.outputs[0], started);
}

#[test]
fn packet_in_order_becomes_a_frame_at_once() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    for n in 0..50 {
        let packet = sender.audio(&ramp(0, 160));
        bench.deliver(ms(n * 20), sender.source, &packet);
        if n >= 5 {
            assert_eq!(bench.frames().count(), usize::try_from(n).unwrap() + 1);
        }
    }
}

#[test]
fn law_may_change_in_mid_stream() {
    let mut bench = Bench::new();
    let mut sender = Sender::new(1);
    for n in 0..20 {
        sender.payload_type = if n < 10 { 0 } else { 8 };
        let packet = sender.audio(&ramp(0, 160));
        bench.deliver(ms(n * 20), sender.source, &packet);
    }
    let laws: Vec<Law> = bench.frames().map(|frame| frame.law).collect();
    assert_eq!(laws[9..11], [Law::Pcmu, Law::Pcma]);
    assert_eq!(bench.heard().len(), 3_200);
}
