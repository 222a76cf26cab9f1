//! More parts than sessions, and peers that are slow: bounded, in order, nobody else delayed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callscribe::event::GapReason;
use callscribe::io::part_audio::PartAudio;
use callscribe::io::provider::Provider;
use callscribe::io::recogniser::Recogniser;
use callscribe::media::Law;
use futures_util::future::join_all;
use tokio::net::TcpStream;

use super::support::{accept, complete, judge, speech, with_server};

#[tokio::test]
async fn parts_beyond_the_quota_wait_in_order_of_age() {
    let script = |_, stream, log| async move {
        accept(stream, log).await.serve("好").await;
    };
    with_server(script, async |mut settings, _| {
        settings.quota.max_sessions = 1;
        let provider = Provider::new(settings).unwrap();
        let recogniser = Recogniser::new(provider.clone());
        let order = RefCell::new(vec![]);
        let backlog = async {
            recogniser
                .recognise_backlog(complete(&speech(1)))
                .await
                .unwrap();
            order.borrow_mut().push("backlog");
        };
        let live = async |name| {
            // Behind the backlog in time, before it in the queue.
            tokio::task::yield_now().await;
            recogniser
                .recognise(complete(&speech(1)), |_| {})
                .await
                .unwrap();
            order.borrow_mut().push(name);
        };
        let first = async {
            recogniser
                .recognise(complete(&speech(1)), |_| {})
                .await
                .unwrap();
            order.borrow_mut().push("first");
        };
        tokio::join!(first, backlog, live("second"), live("third"));
        assert_eq!(*order.borrow(), ["first", "second", "third", "backlog"]);
        let usage = provider.status().quota;
        assert_eq!((usage.in_use, usage.waiting), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn part_that_waits_for_too_long_is_kept_for_later() {
    let script = |_, stream, log| async move { accept(stream, log).await.drain().await };
    with_server(script, async |mut settings, _| {
        settings.quota.max_sessions = 1;
        settings.quota.max_wait = Duration::from_millis(100);
        let recogniser = Recogniser::new(Provider::new(settings).unwrap());
        let never = recogniser.recognise(PartAudio::new(Law::Pcmu), |_| {});
        let waits = recogniser.recognise(complete(&speech(1)), |_| {});
        tokio::select! {
            biased;
            done = never => panic!("{done:?}"),
            failed = waits => {
                let failed = failed.unwrap_err();
                assert_eq!((failed.reason, failed.can_wait), (GapReason::Quota, true));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn concurrency_that_the_service_refuses_is_not_asked_for_again_at_once() {
    let open = Rc::new(RefCell::new(0));
    let script = move |_, stream, log| {
        let open = Rc::clone(&open);
        async move {
            let mut peer = accept(stream, log).await;
            if *open.borrow() >= 3 {
                let error = r#"{"resp_type":"ERROR","trace_id":"t","error_code":"SIS.0312"}"#;
                peer.say(error).await;
                return peer.drain().await;
            }
            *open.borrow_mut() += 1;
            // Long enough for all to have asked.
            tokio::time::sleep(Duration::from_millis(200)).await;
            peer.serve("好").await;
            *open.borrow_mut() -= 1;
        }
    };
    with_server(script, async |settings, _| {
        let provider = Provider::new(settings).unwrap();
        let recogniser = Recogniser::new(provider.clone());
        let parts = (0..8).map(|_| recogniser.recognise(complete(&speech(1)), |_| {}));
        assert!(join_all(parts).await.iter().all(Result::is_ok));
        let usage = provider.status().quota;
        assert_eq!(usage.refusals, 5);
        assert!((3..=4).contains(&usage.limit), "{usage:?}");
    })
    .await;
}

#[tokio::test]
async fn slow_reader_costs_no_memory_and_no_other_part_its_time() {
    let script = |n, stream: TcpStream, log| async move {
        if !(1..=20).contains(&n) {
            accept(stream, log).await.serve("快").await;
            return;
        }
        // The kernel may hold little for a peer that reads a tenth of what comes.
        socket2::SockRef::from(&stream)
            .set_recv_buffer_size(4096)
            .unwrap();
        let peer = judge(stream, log, |_| Ok(())).await;
        let mut peer = peer.unwrap();
        peer.say(r#"{"resp_type":"START","trace_id":"t"}"#).await;
        std::future::pending::<()>().await;
    };
    with_server(script, async |settings, log| {
        let recogniser = Recogniser::new(Provider::new(settings).unwrap());
        // Before the service has accepted anybody, handshakes are made one by one.
        let first = recogniser.recognise(complete(&speech(1)), |_| {});
        first.await.unwrap();
        let slow: Vec<_> = (0..20)
            .map(|_| {
                let recogniser = recogniser.clone();
                let part = complete(&speech(58));
                tokio::task::spawn_local(async move { recogniser.recognise(part, |_| {}).await })
            })
            .collect();
        while log.0.borrow().connections < 21 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let before = resident_kib();
        let mut worst = Duration::ZERO;
        for _ in 0..200 {
            let begun = Instant::now();
            recogniser
                .recognise(complete(&speech(1)), |_| {})
                .await
                .unwrap();
            worst = worst.max(begun.elapsed());
            log.0.borrow_mut().audio.clear();
        }
        // A machine that builds meanwhile is slow; to wait for a slow peer would take ten seconds.
        assert!(
            worst < Duration::from_secs(5),
            "another part took {worst:?}"
        );
        let grown = resident_kib().saturating_sub(before);
        // Twenty sessions of 928,000 bytes wait; what they could hold unsent is 18 MB.
        println!("worst {worst:?}, grown by {grown} KiB");
        assert!(grown < 6_000, "{grown} KiB");
        slow.iter().for_each(tokio::task::JoinHandle::abort);
    })
    .await;
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
