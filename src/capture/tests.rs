use etherparse::{PacketBuilder, VlanId};
use proptest::prelude::*;

use super::*;

const AT: Duration = Duration::new(1_700_000_000, 123_456_789);
const AT_MICROS: Duration = Duration::new(1_700_000_000, 123_456_000);

#[test]
fn what_the_writer_writes_is_read_back() {
    let mut writer = Writer::new();
    let (a, b) = (address("192.0.2.1:4000"), address("192.0.2.2:20000"));
    let (c, d) = (
        address("[2001:db8::1]:4000"),
        address("[2001:db8::2]:20002"),
    );
    writer.push(AT, a, b, b"one");
    writer.push(AT + Duration::from_millis(20), c, d, b"");
    let file = writer.into_bytes();
    let (read, counters) = read(&file);
    assert_eq!(read.len(), 2);
    assert_eq!(
        read[0],
        Ok(Datagram {
            time: AT,
            source: a,
            destination: b,
            payload: Cow::Borrowed(b"one")
        })
    );
    let second = read[1].as_ref().unwrap();
    assert_eq!((second.source, second.destination), (c, d));
    assert_eq!((counters.records, counters.datagrams), (2, 2));
}

#[test]
fn every_link_type_leads_to_the_same_datagram() {
    let ip = udp_packet();
    let mut sll = vec![0; 14];
    sll.extend([0x08, 0x00]);
    let mut sll2 = vec![0x08, 0x00];
    sll2.extend([0; 18]);
    let ethernet = [&[0; 12][..], &[0x08, 0x00]].concat();
    let tagged = [&[0; 12][..], &[0x81, 0x00, 0x00, 0x05, 0x08, 0x00]].concat();
    let double = [&[0; 12][..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0x08, 0]].concat();
    for (link_type, header) in [
        (1, ethernet),
        (1, tagged),
        (1, double),
        (0, vec![2, 0, 0, 0]),
        (108, vec![0, 0, 0, 2]),
        (101, vec![]),
        (228, vec![]),
        (113, sll),
        (276, sll2),
    ] {
        let file = pcap_le(0xa1b2_c3d4, link_type, &[header, ip.clone()].concat());
        let (read, counters) = read(&file);
        assert_eq!(read, [Ok(expected(AT_MICROS))], "link type {link_type}");
        assert_eq!(counters.malformed, 0);
    }
}

#[test]
fn ethernet_padding_is_no_payload() {
    let frame = [&[0; 12][..], &[0x08, 0x00], &udp_packet(), &[0; 14]].concat();
    let file = pcap_le(0xa1b2_c3d4, 1, &frame);
    assert_eq!(read(&file).0, [Ok(expected(AT_MICROS))]);
}

#[test]
fn both_byte_orders_and_both_precisions_are_read() {
    let ip = udp_packet();
    let fields = |magic: u32, fraction: u32| {
        let length = u32::try_from(ip.len()).unwrap();
        let seconds = u32::try_from(AT.as_secs()).unwrap();
        [
            magic,
            0x0002_0004,
            0,
            0,
            65_535,
            101,
            seconds,
            fraction,
            length,
            length,
        ]
    };
    for (magic, fraction, time) in [
        (0xa1b2_c3d4, 123_456, AT_MICROS),
        (0xa1b2_3c4d, 123_456_789, AT),
    ] {
        let file: Vec<u8> = fields(magic, fraction)
            .iter()
            .flat_map(|f| f.to_be_bytes())
            .collect();
        assert_eq!(
            read(&[file, ip.clone()].concat()).0,
            [Ok(expected(time))],
            "{magic:x}"
        );
    }
    let nanoseconds = pcap_le_at(0xa1b2_3c4d, 101, 123_456_789, &ip);
    assert_eq!(read(&nanoseconds).0, [Ok(expected(AT))]);
}

#[test]
fn pcapng_is_read_with_each_interfaces_own_clock() {
    let ip = udp_packet();
    let ethernet = [&[0; 12][..], &[0x08, 0x00], &ip].concat();
    let nanos = u64::try_from(AT.as_nanos()).unwrap();
    let file = [
        block(
            0x0a0d_0d0a,
            &[
                &0x1a2b_3c4d_u32.to_le_bytes()[..],
                &[1, 0, 0, 0],
                &[0xff; 8],
            ],
        ),
        interface(1, &[]),
        // if_tsresol (9): 10^-9.
        interface(101, &[9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]),
        // An interface statistics block, which carries no packet.
        block(5, &[&[0; 12]]),
        enhanced(0, nanos / 1000, &ethernet),
        enhanced(1, nanos, &ip),
        enhanced(7, nanos, &ip),
    ]
    .concat();
    let (read, counters) = read(&file);
    assert_eq!(read, [Ok(expected(AT_MICROS)), Ok(expected(AT))]);
    assert_eq!(
        counters.unsupported_link, 1,
        "interface 7 was never described"
    );
}

#[test]
fn blocks_that_are_not_read_are_passed_over_whatever_they_hold() {
    let (header, packet) = (
        [
            &0x1a2b_3c4d_u32.to_le_bytes()[..],
            &[1, 0, 0, 0],
            &[0xff; 8],
        ]
        .concat(),
        udp_packet(),
    );
    for kind in [2, 4, 5, 7, 9, 10, 0x0bad, 0x8000_0001] {
        for length in [0_u32, 4, 11, 12] {
            let mut empty = block(kind, &[]);
            empty[4..8].copy_from_slice(&length.to_le_bytes());
            let head = block(0x0a0d_0d0a, &[&header]);
            let file = [head, interface(101, &[]), empty, enhanced(0, 77, &packet)].concat();
            let (read, _) = read(&file);
            assert!(matches!(read[..], [Ok(_)]), "{kind:x}, {length}");
        }
    }
}

#[test]
fn fragments_make_their_datagram_whole_in_any_order() {
    let payload: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let fragments = fragments(&payload);
    assert_eq!(fragments.len(), 3);
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut writer = Writer::new();
        order
            .iter()
            .for_each(|&i| writer.push_packet(AT, &fragments[i]));
        let file = writer.into_bytes();
        let (read, counters) = read(&file);
        assert_eq!(read.len(), 1, "{order:?}");
        let datagram = read[0].as_ref().unwrap();
        assert_eq!(*datagram.payload, payload);
        assert_eq!(datagram.destination, address("192.0.2.2:20000"));
        assert_eq!(
            (counters.fragments, counters.reassembled, counters.datagrams),
            (3, 1, 1)
        );
    }
}

#[test]
fn fragment_that_waited_too_long_joins_no_other_datagram() {
    let fragments = fragments(&[7; 3000]);
    let mut writer = Writer::new();
    writer.push_packet(AT, &fragments[0]);
    writer.push_packet(AT + Duration::from_secs(31), &fragments[1]);
    writer.push_packet(AT + Duration::from_secs(31), &fragments[2]);
    let file = writer.into_bytes();
    let (read, counters) = read(&file);
    assert_eq!(
        (read.len(), counters.fragments, counters.reassembled),
        (0, 3, 0)
    );
}

#[test]
fn truncated_file_gives_what_is_whole_then_says_where_it_broke() {
    let mut writer = Writer::new();
    let (a, b) = (address("192.0.2.1:4000"), address("192.0.2.2:20000"));
    writer.push(AT, a, b, b"whole");
    let whole = writer.clone().into_bytes().len();
    writer.push(AT, a, b, b"broken");
    let mut file = writer.into_bytes();
    file.pop();
    let (read, _) = read(&file);
    assert_eq!(&*read[0].as_ref().unwrap().payload, b"whole");
    assert_eq!(read[1..], [Err(CaptureError::Truncated { offset: whole })]);
}

#[test]
fn file_of_another_kind_is_refused_by_name() {
    assert_eq!(
        datagrams(b"RIFF....WAVE").unwrap_err(),
        CaptureError::NotACapture
    );
    assert_eq!(datagrams(b"").unwrap_err(), CaptureError::NotACapture);
    let cut = CaptureError::Truncated { offset: 0 };
    assert_eq!(datagrams(&[0xd4, 0xc3, 0xb2, 0xa1, 2]).unwrap_err(), cut);
    let wireless = pcap_le(0xa1b2_c3d4, 105, &[]);
    let error = datagrams(&wireless).unwrap_err();
    assert_eq!(error, CaptureError::UnsupportedLinkType { link_type: 105 });
}

#[test]
fn packet_cut_by_the_snap_length_is_given_and_silent_where_it_was_cut() {
    let (a, b) = (address("192.0.2.1:4000"), address("192.0.2.2:20000"));
    let rtp = [&[0x80, 8][..], &[1; 10], &[7; 160]].concat();
    let mut writer = Writer::new();
    writer.push(AT, a, b, &rtp);
    let file = writer.into_bytes();
    let headers = 24 + 16 + 20 + 8;
    for stored in [171, 20, 12, 11, 0] {
        let mut cut = file[..headers + stored].to_vec();
        let length = u32::try_from(20 + 8 + stored).unwrap();
        cut[32..36].copy_from_slice(&length.to_le_bytes());
        let (read, counters) = read(&cut);
        assert_eq!(counters.cut_short, 1);
        let said = counters.shortcomings();
        assert!(said.len() == 1 && said[0].starts_with("1 packets were stored only in part"));
        if stored < 12 {
            assert_eq!(read, [], "{stored}");
            continue;
        }
        let datagram = read[0].as_ref().unwrap();
        assert_eq!((datagram.source, datagram.destination), (a, b));
        assert_eq!(datagram.payload[..stored], rtp[..stored]);
        assert_eq!(datagram.payload[stored..], vec![0xd5; 172 - stored]);
    }
}

#[test]
fn what_is_not_udp_is_counted_by_cause() {
    let tcp = ip_packet(|builder, out| builder.tcp(1, 2, 3, 4).write(out, b"x").unwrap());
    let mut wrong = udp_packet();
    wrong[24] = 0xff; // the UDP length: far more than there is
    let arp = [
        &[0; 12][..],
        &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1],
        &[0; 20],
    ]
    .concat();
    for (link_type, packet, not_udp, malformed) in [
        (101, tcp, 1, 0),
        (1, arp, 1, 0),
        (101, wrong, 0, 1),
        (101, vec![], 0, 1),
    ] {
        let file = pcap_le(0xa1b2_c3d4, link_type, &packet);
        let (read, counters) = read(&file);
        assert_eq!(read, []);
        assert_eq!(
            (counters.not_udp, counters.malformed),
            (not_udp, malformed),
            "{packet:?}"
        );
    }
}

#[test]
fn vlan_tagged_by_the_library_is_read() {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .single_vlan(VlanId::try_new(100).unwrap())
        .ipv6([1; 16], [2; 16], 64)
        .udp(5, 6)
        .write(&mut packet, b"six")
        .unwrap();
    let file = pcap_le(0xa1b2_c3d4, 1, &packet);
    let (read, _) = read(&file);
    assert_eq!(&*read[0].as_ref().unwrap().payload, b"six");
}

proptest! {
    #[test]
    fn damaged_capture_ends_with_an_error_or_an_end_never_a_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
        is_pcapng in any::<bool>(),
    ) {
        let ethernet = [&[0; 12][..], &[0x08, 0x00], &udp_packet()].concat();
        let mut file = if is_pcapng {
            [
                block(0x0a0d_0d0a, &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]]),
                interface(1, &[9, 0, 1, 0, 9, 0, 0, 0]),
                enhanced(0, 77, &ethernet),
                block(3, &[&44_u32.to_le_bytes()[..], &ethernet, &[0, 0]]),
                enhanced(0, 78, &ethernet),
            ].concat()
        } else {
            let mut writer = Writer::new();
            for fragment in fragments(&[3; 3000]) {
                writer.push_packet(AT, &fragment);
            }
            writer.into_bytes()
        };
        for (place, value) in damage {
            let place = place.index(file.len());
            file[place] = value;
        }
        file.truncate(cut.index(file.len()) + 1);
        let Ok(datagrams) = datagrams(&file) else { return Ok(()) };
        let read: Vec<_> = datagrams.collect();
        prop_assert!(read.len() <= 4);
        prop_assert!(read.iter().rev().skip(1).all(Result::is_ok), "an error is the last item");
    }
}

fn read(file: &[u8]) -> (Vec<Result<Datagram<'_>, CaptureError>>, Counters) {
    let mut datagrams = datagrams(file).unwrap();
    let read = datagrams.by_ref().collect();
    (read, *datagrams.counters())
}

fn expected(time: Duration) -> Datagram<'static> {
    Datagram {
        time,
        source: address("192.0.2.1:4000"),
        destination: address("192.0.2.2:20000"),
        payload: Cow::Borrowed(b"payload"),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn udp_packet() -> Vec<u8> {
    ip_packet(|builder, out| builder.udp(4000, 20000).write(out, b"payload").unwrap())
}

fn ip_packet(
    finish: impl FnOnce(etherparse::PacketBuilderStep<etherparse::IpHeaders>, &mut Vec<u8>),
) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
    finish(builder, &mut packet);
    packet
}

/// A UDP datagram over IPv4 in pieces of at most 1480 bytes.
fn fragments(payload: &[u8]) -> Vec<Vec<u8>> {
    let whole = ip_packet(|builder, out| builder.udp(4000, 20000).write(out, payload).unwrap());
    let (header, body) = whole.split_at(20);
    let pieces = body.chunks(1480).enumerate();
    let last = body.len().div_ceil(1480) - 1;
    pieces
        .map(|(i, piece)| {
            let mut header = header.to_vec();
            let length = u16::try_from(20 + piece.len()).unwrap();
            let more = if i < last { 0x2000 } else { 0 };
            let offset = u16::try_from(i * 1480 / 8).unwrap() | more;
            header[2..4].copy_from_slice(&length.to_be_bytes());
            header[6..8].copy_from_slice(&offset.to_be_bytes());
            [header, piece.to_vec()].concat()
        })
        .collect()
}

fn pcap_le(magic: u32, link_type: u32, packet: &[u8]) -> Vec<u8> {
    pcap_le_at(magic, link_type, 123_456, packet)
}

fn pcap_le_at(magic: u32, link_type: u32, fraction: u32, packet: &[u8]) -> Vec<u8> {
    let length = u32::try_from(packet.len()).unwrap();
    let seconds = u32::try_from(AT.as_secs()).unwrap();
    let fields = [
        magic,
        0x0004_0002,
        0,
        0,
        65_535,
        link_type,
        seconds,
        fraction,
        length,
        length,
    ];
    let header = fields.iter().flat_map(|field| field.to_le_bytes());
    header.chain(packet.iter().copied()).collect()
}

fn block(kind: u32, body: &[&[u8]]) -> Vec<u8> {
    let mut body = body.concat();
    body.resize(body.len().next_multiple_of(4), 0);
    let length = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
    [&kind.to_le_bytes()[..], &length, &body, &length].concat()
}

fn interface(link_type: u16, options: &[u8]) -> Vec<u8> {
    block(1, &[&link_type.to_le_bytes(), &[0, 0], &[0; 4], options])
}

fn enhanced(interface: u32, ticks: u64, packet: &[u8]) -> Vec<u8> {
    let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
    let high = u32::try_from(ticks >> 32).unwrap().to_le_bytes();
    let low = u32::try_from(ticks & 0xffff_ffff).unwrap().to_le_bytes();
    block(
        6,
        &[
            &interface.to_le_bytes(),
            &high,
            &low,
            &length,
            &length,
            packet,
        ],
    )
}
