#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "adhoc"
)]
use callscribe::media::{CallClock, receiver::*};
use std::sync::Arc;
use std::time::{Duration, Instant};
#[test]
fn live() {
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let s = std::net::UdpSocket::bind(("127.0.0.1", port)).unwrap();
    s.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let mut r = Receiver::new(Arc::new(Settings::default()), ExpectedSource::Any);
    let mut clock = CallClock::default();
    let mut buf = [0; 65536];
    let end = Instant::now() + Duration::from_secs(std::env::var("SECS").unwrap().parse().unwrap());
    let (mut samples, mut sil, mut lost, mut digits) = (0u64, 0u64, 0u64, String::new());
    let mut show = |o: Output| match o {
        Output::Frame(f) => {
            samples += u64::from(f.len);
            lost += u64::from(f.lost);
        }
        Output::Silence { start, len } => {
            println!("silence {start:?} {len:?}");
            sil += len.0
        }
        Output::Dtmf {
            digit,
            start,
            duration,
        } => {
            println!("dtmf {digit} {start:?} {duration:?}");
            digits.push(digit)
        }
        o => println!("{o:?}"),
    };
    while Instant::now() < end {
        if let Ok((n, from)) = s.recv_from(&mut buf) {
            r.handle_datagram(from, &buf[..n], &mut clock, Instant::now());
        }
        let now = Instant::now();
        if r.poll_timeout().is_some_and(|t| t <= now) {
            r.handle_timeout(now);
        }
        while let Some(o) = r.poll_output() {
            show(o);
        }
    }
    r.handle_end(Instant::now());
    while let Some(o) = r.poll_output() {
        show(o);
    }
    println!("{:?}", r.statistics());
    println!("samples {samples} lost {lost} silence {sil} digits {digits}");
}
