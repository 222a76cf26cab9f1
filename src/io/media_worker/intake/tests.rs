#![expect(
    clippy::disallowed_methods,
    reason = "real sockets are read in real time"
)]

use std::cell::RefCell;
use std::thread::sleep;

use super::*;
use crate::io::clock;

const TICK: Duration = Duration::from_millis(20);
const SOON: Demand = Demand::Within(TICK);
const RTP: u8 = 0x80;
/// A BYE of one source.
const BYE: [u8; 8] = [0x81, 203, 0, 1, 0, 0, 0, 7];

/// Two ports, a stream's and that of its RTCP, and who sends to them.
struct Line {
    intake: Intake,
    ports: [u16; 2],
    sender: UdpSocket,
    interval: Interval,
    heard: Heard,
}

#[derive(Default)]
struct Heard {
    demand: Option<Demand>,
    /// How many datagrams of the tick were there when the demand was asked.
    asked_after: RefCell<Vec<usize>>,
    /// Port, second byte and time of each datagram, in the tick that read it.
    datagrams: Vec<(u16, u8, Instant)>,
}

impl Listener for Heard {
    fn anticipate(&self, _: [Option<PortIndex>; GROUP]) {}

    fn demand(&self, _: PortIndex) -> Demand {
        self.asked_after.borrow_mut().push(self.datagrams.len());
        self.demand.unwrap_or(Demand::LEAST)
    }

    fn take(&mut self, datagram: &Datagram<'_>) {
        let Datagram {
            number, bytes, at, ..
        } = *datagram;
        self.datagrams.push((number, bytes[1], at));
    }
}

impl Line {
    fn new(demand: Demand) -> Self {
        let mut intake = Intake::new(TICK).unwrap();
        let (even, odd) = pair();
        let ports = [&even, &odd].map(|socket| socket.local_addr().unwrap().port());
        for (place, socket) in [even, odd].into_iter().enumerate() {
            let index = PortIndex::new(place);
            intake.add(ports[place], index, socket).unwrap();
        }
        let mut line = Self {
            intake,
            ports,
            sender: UdpSocket::bind("127.0.0.1:0").unwrap(),
            interval: Interval::beginning(Instant::now()),
            heard: Heard::default(),
        };
        line.wait_for_stamps();
        line.heard.demand = Some(demand);
        line
    }

    /// The kernel begins to stamp what it gets a moment after the first socket wants it.
    fn wait_for_stamps(&mut self) {
        loop {
            self.send(&[RTP, 0]);
            sleep(TICK);
            let interval = self.interval();
            self.intake.drain(&interval, &mut self.heard).unwrap();
            let datagrams = std::mem::take(&mut self.heard.datagrams);
            if datagrams.iter().any(|&(_, _, at)| at < interval.until) {
                break;
            }
        }
        while self.intake.turns.iter().any(|turn| !turn.is_empty()) {
            self.tick();
        }
        self.intake.ports.iter_mut().for_each(|port| port.turns = 0);
    }

    fn send(&self, bytes: &[u8]) {
        let to = ("127.0.0.1", self.ports[0]);
        self.sender.send_to(bytes, to).unwrap();
    }

    fn send_rtcp(&self, bytes: &[u8]) {
        let to = ("127.0.0.1", self.ports[1]);
        self.sender.send_to(bytes, to).unwrap();
    }

    /// What is read in the next tick: port and second byte of each.
    fn tick(&mut self) -> Vec<(u16, u8)> {
        let interval = self.interval();
        self.tick_of(&interval)
    }

    fn tick_of(&mut self, interval: &Interval) -> Vec<(u16, u8)> {
        self.intake.drain(interval, &mut self.heard).unwrap();
        let datagrams = self.heard.datagrams.drain(..);
        datagrams.map(|(port, byte, _)| (port, byte)).collect()
    }

    /// A tick after the one before, however long the machine took.
    fn interval(&mut self) -> Interval {
        self.interval = self.interval.next(Instant::now(), clock::time_of_day());
        self.interval.ticks[MOST_TICKS] = self.interval.until - TICK;
        self.interval
    }
}

/// Sockets on neighbouring ports, the lower one even.
fn pair() -> (UdpSocket, UdpSocket) {
    loop {
        let even = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = even.local_addr().unwrap().port();
        if port.is_multiple_of(2)
            && let Ok(odd) = UdpSocket::bind(("127.0.0.1", port + 1))
        {
            even.set_nonblocking(true).unwrap();
            odd.set_nonblocking(true).unwrap();
            return (even, odd);
        }
    }
}

#[test]
fn datagram_came_when_the_kernel_got_it() {
    let mut line = Line::new(Demand::LEAST);
    let before = Instant::now();
    line.send(&[RTP, 1]);
    let after = Instant::now();
    sleep(Duration::from_millis(50));
    let interval = line.interval();
    line.intake.drain(&interval, &mut line.heard).unwrap();
    let (_, _, at) = line.heard.datagrams[0];
    let slack = Duration::from_millis(1);
    assert!(
        at + slack >= before && at <= after + slack,
        "{:?}",
        after - at
    );
}

#[test]
fn stamp_outside_the_last_ticks_is_not_believed() {
    let until = Instant::now();
    let interval = Interval {
        ticks: [5, 4, 3, 2, 1].map(|number| until - number * TICK),
        until,
        until_real: Duration::from_secs(1_000),
    };
    let at = |seconds: f64| interval.time_of(Some(Duration::from_secs_f64(seconds)));
    assert_eq!(at(1_005.0), until);
    assert_eq!(at(2.0), until - 5 * TICK);
    assert_eq!(interval.time_of(None), until);
    let ago = until - at(999.97);
    assert!(ago.abs_diff(Duration::from_millis(30)) < Duration::from_micros(1));
}

#[test]
fn port_is_read_again_in_the_tick_in_which_its_leg_wants_it() {
    for (time, ticks) in [(0, 1), (20, 1), (59, 2), (60, 3), (80, 4), (1_000, 4)] {
        let mut line = Line::new(Demand::Within(Duration::from_millis(time)));
        line.send(&[RTP, 0]);
        assert_eq!(line.tick().len(), 1);
        line.send(&[RTP, 1]);
        let empty = (1..=ticks).take_while(|_| line.tick().is_empty());
        assert_eq!(empty.count() + 1, ticks, "{time} ms");
    }
}

#[test]
fn all_ports_are_read_after_the_worker_was_held_up() {
    let mut line = Line::new(Demand::LEAST);
    line.send(&[RTP, 0]);
    assert_eq!(line.tick().len(), 1);
    line.send(&[RTP, 1]);
    let mut interval = line.interval();
    interval.ticks[MOST_TICKS] = interval.until - 3 * TICK;
    assert_eq!(line.tick_of(&interval).len(), 1);
}

#[test]
fn burst_is_read_before_the_leg_is_asked_when_it_wants_the_next() {
    let mut line = Line::new(Demand::LEAST);
    line.send(&[RTP, 0]);
    line.tick();
    (1..9).for_each(|byte| line.send(&[RTP, byte]));
    (0..3).for_each(|_| assert_eq!(line.tick().len(), 0));
    sleep(TICK);
    line.heard.asked_after.borrow_mut().clear();
    assert_eq!(line.tick().len(), 8);
    assert_eq!(line.heard.asked_after.borrow().as_slice(), [8]);
}

#[test]
fn packets_of_four_ticks_are_read_together_in_their_order() {
    let mut line = Line::new(Demand::LEAST);
    let mut read: Vec<Vec<u8>> = Vec::new();
    for byte in 0..9 {
        line.send(&[RTP, byte]);
        sleep(TICK);
        read.push(line.tick().into_iter().map(|(_, byte)| byte).collect());
    }
    let none = || vec![];
    let expected = [
        vec![0],
        none(),
        none(),
        none(),
        vec![1, 2, 3, 4],
        none(),
        none(),
        none(),
        vec![5, 6, 7, 8],
    ];
    assert_eq!(read, expected);
}

#[test]
fn port_that_presses_is_read_every_tick_once() {
    let mut line = Line::new(SOON);
    line.send(&[RTP, 0]);
    assert_eq!(line.tick().len(), 1);
    line.send(&[RTP, 1]);
    line.send(&[RTP, 2]);
    assert_eq!(line.tick().len(), 1, "both have just come");
    sleep(TICK);
    assert_eq!(
        line.tick().len(),
        1,
        "what is as old as a packet's time is read at once"
    );
}

#[test]
fn port_with_a_deadline_is_emptied() {
    let mut line = Line::new(Demand::All);
    line.send(&[RTP, 0]);
    line.tick();
    (1..5).for_each(|byte| line.send(&[RTP, byte]));
    assert_eq!(line.tick().len(), 4);
}

#[test]
fn sender_that_was_silent_is_heard_again_and_no_datagram_is_left_behind() {
    for demand in [Demand::LEAST, SOON, Demand::All] {
        let mut line = Line::new(demand);
        let mut read = 0;
        for byte in 0..4 {
            line.send(&[RTP, byte]);
            for _ in 0..10 {
                sleep(Duration::from_millis(2));
                read += line.tick().len();
            }
        }
        assert_eq!(read, 4, "{demand:?}");
    }
}

#[test]
fn flood_on_one_port_is_heard_in_its_order_and_holds_no_other_up() {
    let mut line = Line::new(Demand::LEAST);
    (0..200).for_each(|byte| line.send(&[RTP, byte]));
    line.send_rtcp(&[RTP, 0]);
    sleep(TICK);
    let read = line.tick();
    let [flooded, other] = line.ports;
    let place = read.iter().position(|&(port, _)| port == other);
    assert!(place.is_some_and(|place| place <= DEPTH), "{place:?}");
    let of_flood = read.iter().filter(|(port, _)| *port == flooded);
    let bytes: Vec<u8> = of_flood.map(|&(_, byte)| byte).collect();
    assert_eq!(bytes, (0..200).collect::<Vec<u8>>());
}

#[test]
fn what_a_stream_sent_before_its_bye_is_heard_before_it() {
    let mut line = Line::new(SOON);
    line.send(&[RTP, 0]);
    line.tick();
    (1..4).for_each(|byte| line.send(&[RTP, byte]));
    line.send_rtcp(&BYE);
    let [stream, rtcp] = line.ports;
    let expected = [(stream, 1), (stream, 2), (stream, 3), (rtcp, 203)];
    assert_eq!(line.tick(), expected);
}

#[test]
fn stream_that_rtcp_has_emptied_is_read_sooner_where_its_leg_wants_that() {
    for (before, after, ticks) in [(Demand::LEAST, SOON, 0), (SOON, Demand::LEAST, 3)] {
        let mut line = Line::new(before);
        line.send(&[RTP, 0]);
        line.tick();
        line.heard.demand = Some(after);
        line.send_rtcp(&BYE);
        let [stream, rtcp] = line.ports;
        line.send(&[RTP, 1]);
        assert_eq!(line.tick(), [(stream, 1), (rtcp, 203)]);
        line.send(&[RTP, 2]);
        let empty = (0..9).take_while(|_| line.tick().is_empty());
        assert_eq!(empty.count(), ticks, "{before:?}");
    }
}

#[test]
fn stream_keeps_its_order_whichever_port_has_something_first() {
    let mut line = Line::new(SOON);
    line.send_rtcp(&BYE);
    (1..4).for_each(|byte| line.send(&[RTP, byte]));
    let [stream, rtcp] = line.ports;
    let expected = [(stream, 1), (stream, 2), (stream, 3), (rtcp, 203)];
    assert_eq!(line.tick(), expected);
}

#[test]
fn port_is_emptied_when_its_call_is_told_to_end() {
    let mut line = Line::new(Demand::LEAST);
    line.send(&[RTP, 0]);
    line.tick();
    (1..4).for_each(|byte| line.send(&[RTP, byte]));
    let interval = line.interval();
    line.intake.empty(line.ports[0], &interval, &mut line.heard);
    assert_eq!(line.heard.datagrams.len(), 3);
}
