//! The journal under the readers: resuming over restarts and kills, a hundred readers, disks that are full or damaged.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of the whole program live in real time, with real sockets"
)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Recogniser, free_ports, wait_for};
use callscribe::config::file::Events;
use callscribe::event::{Body, Event};
use callscribe::io::journal::history::History;
use callscribe::io::journal::{Journal, Settings};
use callscribe::io::publisher::{self, Publisher, PublisherThread};
use callscribe::service::engine::scripted::Says;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// A publisher with its journal, in this process.
struct Fixture {
    publisher: Publisher,
    thread: PublisherThread,
    socket: PathBuf,
}

impl Fixture {
    fn start(folder: &Path, journal: &Path, backlog_lines: usize) -> Self {
        let socket = folder.join("events.sock");
        let config = Events {
            socket: socket.clone(),
            backlog_lines,
            ..Events::default()
        };
        let (publisher, thread) = publisher::start(
            &config,
            Some(Journal::open(settings(journal)).unwrap()),
            None,
        )
        .unwrap();
        Self {
            publisher,
            thread,
            socket,
        }
    }

    fn publish(&self, numbers: std::ops::Range<u64>) {
        numbers.for_each(|number| self.publisher.publish(dtmf(number)));
    }

    fn stop(self) {
        drop(self.publisher);
        self.thread.join();
    }
}

fn settings(path: &Path) -> Settings {
    Settings {
        path: path.to_owned(),
        max_age: Duration::from_secs(3600 * 24 * 365 * 100),
        max_bytes: 1 << 40,
    }
}

fn dtmf(number: u64) -> Event {
    let body = Body::Dtmf {
        channel: 0,
        digit: '5',
        start_ms: number,
        duration_ms: 100,
    };
    Event {
        at: jiff::Timestamp::now(),
        call_id: Some("c".into()),
        body,
    }
}

/// A connection that has asked for something.
struct Reader(BufReader<UnixStream>);

impl Reader {
    fn connect(socket: &Path, request: &Value) -> Self {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        writeln!(stream, "{request}").unwrap();
        Self(BufReader::new(stream))
    }

    fn oldest(socket: &Path) -> Self {
        Self::connect(socket, &json!({ "resume_from": "oldest" }))
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// The next line of this kind.
    fn wait_for(&mut self, event: &str) -> Value {
        std::iter::repeat_with(|| self.line())
            .find(|line| line["event"] == event)
            .unwrap()
    }

    /// The numbers of the next so many lines that have one.
    fn numbers(&mut self, count: usize) -> Vec<u64> {
        let numbers = std::iter::repeat_with(|| self.line()["seq"].as_u64());
        numbers.flatten().take(count).collect()
    }
}

#[test]
fn reader_resumes_over_a_restart_in_the_same_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("state/journal.db");
    let first = Fixture::start(folder.path(), &journal, 1000);
    first.publish(0..50);
    let mut reader = Reader::oldest(&first.socket);
    let epoch = reader.line()["epoch"].clone();
    assert_eq!(reader.numbers(50).len(), 50);
    first.stop();

    let second = Fixture::start(folder.path(), &journal, 1000);
    second.publish(50..60);
    let place = json!({ "resume_from": 20, "epoch": epoch });
    let mut reader = Reader::connect(&second.socket, &place);
    let hello = reader.line();
    assert_eq!((&hello["epoch"], &hello["oldest_seq"]), (&epoch, &json!(0)));
    assert_eq!(reader.numbers(40), (20..60).collect::<Vec<_>>());
    second.stop();
}

#[test]
fn reader_far_behind_gets_every_line_from_the_journal_and_goes_on_live() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path(), &folder.path().join("j.db"), 600);
    fixture.publish(0..20_000);
    let mut reader = Reader::oldest(&fixture.socket);
    assert_eq!(reader.numbers(20_000), (0..20_000).collect::<Vec<_>>());
    fixture.publish(20_000..20_010);
    assert_eq!(reader.numbers(10), (20_000..20_010).collect::<Vec<_>>());
    fixture.stop();
}

#[test]
fn numbers_of_another_epoch_are_refused_and_the_oldest_line_follows() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path(), &folder.path().join("j.db"), 600);
    fixture.publish(0..10);
    assert_eq!(Reader::oldest(&fixture.socket).numbers(10).len(), 10);
    for place in [
        json!({ "resume_from": 5, "epoch": "another" }),
        json!({ "resume_from": 5000 }),
    ] {
        let mut reader = Reader::connect(&fixture.socket, &place);
        let error = reader.wait_for("error");
        assert_eq!(error["code"], "truncated", "{error}");
        assert_eq!(reader.numbers(1), [0]);
    }
    fixture.stop();
}

#[test]
fn what_follows_a_line_is_done_when_the_journal_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("j.db");
    let fixture = Fixture::start(folder.path(), &journal, 600);
    let (done, is_done) = mpsc::channel();
    let path = journal.clone();
    fixture.publisher.publish_and_then(dtmf(7), move || {
        let history = History::open(&path).unwrap();
        done.send(history.lines_of_call("c").unwrap()).unwrap();
    });
    let lines = is_done.recv_timeout(PATIENCE).unwrap();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("\"start_ms\":7"), "{lines:?}");
    fixture.stop();
}

#[test]
fn journal_that_is_damaged_while_it_is_used_is_replaced_and_no_reader_loses_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("j.db");
    let first = Fixture::start(folder.path(), &journal, 5000);
    first.publish(0..3000);
    assert_eq!(Reader::oldest(&first.socket).numbers(3000).len(), 3000);
    first.stop();
    // The first page still says that it is a database; the rest is noise.
    let length = fs::metadata(&journal).unwrap().len();
    let mut file = fs::OpenOptions::new().write(true).open(&journal).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xa5; usize::try_from(length - 4096).unwrap()])
        .unwrap();
    drop(file);

    let second = Fixture::start(folder.path(), &journal, 5000);
    let mut reader = Reader::connect(&second.socket, &json!({ "resume_from": "oldest" }));
    second.publish(0..100);
    let mut digits = 0;
    while digits < 100 {
        let line = reader.line();
        digits += u64::from(line["event"] == "dtmf");
    }
    second.stop();
    let third = Fixture::start(folder.path(), &journal, 5000);
    third.publish(100..101);
    let mut reader = Reader::oldest(&third.socket);
    let last = std::iter::repeat_with(|| reader.line()).find(|line| line["start_ms"] == 100);
    assert!(last.is_some());
    third.stop();
    assert!(folder.path().join("j.db.damaged-1").exists());
}

#[test]
fn full_disk_is_told_and_costs_readers_nothing_and_mending_it_is_told_too() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let Some(_mounted) = Mounted::small(&disk) else {
        eprintln!("skipped: only root may mount a small file system");
        return;
    };
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![0; 3 << 20]).unwrap();
    let fixture = Fixture::start(folder.path(), &disk.join("j.db"), 10_000);
    let mut reader = Reader::oldest(&fixture.socket);
    fixture.publish(0..6000);
    let mut told = Vec::new();
    let mut numbers = Vec::new();
    let mut read = |reader: &mut Reader, told: &mut Vec<String>| {
        let line = reader.line();
        numbers.extend(line["seq"].as_u64());
        if line["event"] == "error" {
            told.push(line["code"].as_str().unwrap().to_owned());
        }
    };
    while told.is_empty() {
        read(&mut reader, &mut told);
    }
    assert_eq!(told, ["journal_failed"]);
    fs::remove_file(&ballast).unwrap();
    fs::write(disk.join("free"), b"x").unwrap();
    while told.len() < 2 {
        read(&mut reader, &mut told);
    }
    assert_eq!(told[1], "journal_restored");
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    fixture.stop();

    // Everything is in the journal after all, and the epoch goes on.
    let again = Fixture::start(folder.path(), &disk.join("j.db"), 1000);
    let mut reader = Reader::oldest(&again.socket);
    assert_eq!(reader.numbers(6002), (0..6002).collect::<Vec<_>>());
    again.stop();
}

/// A file system of 4 MiB, until it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn small(place: &Path) -> Option<Self> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(place)
            .stderr(Stdio::null())
            .status();
        mount
            .is_ok_and(|status| status.success())
            .then(|| Self(place.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount")
            .args(["-l".as_ref(), self.0.as_os_str()])
            .status()
            .ok();
    }
}

#[test]
fn hundred_readers_get_every_line_while_one_of_them_reads_nothing() {
    let scene = Scene::prepare();
    let mut daemon = scene.start_daemon();
    wait_for(PATIENCE, || UnixStream::connect(&scene.socket).ok()).unwrap();
    let stopped = Reader::oldest(&scene.socket);
    let before = peak_kib(&daemon);
    let stop = Arc::new(AtomicBool::new(false));
    let sender = scene.send_keys(Arc::clone(&stop));
    let readers: Vec<_> = (0..99)
        .map(|_| {
            let mut reader = Reader::oldest(&scene.socket);
            thread::spawn(move || {
                let mut delays = Vec::new();
                for seq in 0..3000 {
                    let line = std::iter::repeat_with(|| reader.line());
                    let line = line.into_iter().find(|line| line["seq"].is_u64()).unwrap();
                    assert_eq!(line["seq"], seq);
                    let made: jiff::Timestamp = line["ts"].as_str().unwrap().parse().unwrap();
                    delays.push(jiff::Timestamp::now().duration_since(made).as_millis());
                }
                delays
            })
        })
        .collect();
    let mut delays: Vec<i128> = readers
        .into_iter()
        .flat_map(|reader| reader.join().unwrap())
        .collect();
    stop.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    delays.sort_unstable();
    let at = |share: usize| delays[(delays.len() - 1) * share / 100];
    let grown = peak_kib(&daemon) - before;
    eprintln!(
        "99 readers of 3000 lines at {} lines/s, and one that stopped: delay {} ms median, {} ms at 99 %, \
         {} ms at most; the daemon's peak memory grew by {grown} KiB",
        LEGS * 50,
        at(50),
        at(99),
        at(100)
    );
    assert!(grown < 40 * 1024, "{grown} KiB more");
    drop(stopped);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// The most memory that a process ever held.
fn peak_kib(process: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn second_daemon_on_one_journal_is_refused_at_its_start_and_the_first_goes_on() {
    let scene = Scene::prepare();
    let mut daemon = scene.start_daemon();
    wait_for(PATIENCE, || UnixStream::connect(&scene.socket).ok()).unwrap();
    let mut reader = Reader::oldest(&scene.socket);
    assert_eq!(reader.line()["event"], "hello");

    // Another everything, but the journal.
    let other = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(scene.folder.path().join("callscribe.toml")).unwrap();
    let range = |first: u16| format!("{first}-{}", first + 2 * LEGS - 1);
    let socket = other.path().join("events.sock");
    let text = text
        .replace(&range(scene.first_port), &range(free_ports(2 * LEGS)))
        .replace(scene.socket.to_str().unwrap(), socket.to_str().unwrap());
    fs::write(other.path().join("callscribe.toml"), text).unwrap();
    let refused = Command::new(env!("CARGO_BIN_EXE_callscribe"))
        .args(["run", "-c"])
        .arg(other.path().join("callscribe.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(71), "{said}");
    let sentence = "is used by another daemon; stop that one, or give each its own journal.path";
    assert!(said.contains(sentence), "{said}");
    assert!(!socket.exists(), "it came to nothing");

    daemon.kill().unwrap();
    daemon.wait().unwrap();
    // One that was killed leaves no lock behind.
    let mut next = scene.start_daemon();
    wait_for(PATIENCE, || UnixStream::connect(&scene.socket).ok()).unwrap();
    assert_eq!(Reader::oldest(&scene.socket).line()["event"], "hello");
    next.kill().unwrap();
    next.wait().unwrap();
}

#[test]
fn sockets_of_the_service_manager_are_served_and_left_to_it() {
    let scene = Scene::prepare();
    let control = scene.folder.path().join("control.sock");
    let mut manager = Command::new("systemd-socket-activate")
        .arg("--listen")
        .arg(&scene.socket)
        .arg("--listen")
        .arg(&control)
        .arg("--setenv=STATE_DIRECTORY")
        .arg(env!("CARGO_BIN_EXE_callscribe"))
        .args(["run", "-c"])
        .arg(scene.folder.path().join("callscribe.toml"))
        .env("STATE_DIRECTORY", scene.folder.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The first connection starts the daemon, and waits for it.
    wait_for(PATIENCE, || UnixStream::connect(&scene.socket).ok()).unwrap();
    let mut reader = Reader::oldest(&scene.socket);
    assert_eq!(reader.line()["event"], "hello");
    let mut api = UnixStream::connect(&control).unwrap();
    write!(
        api,
        "GET /v1/calls HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    BufReader::new(api).read_line(&mut answer).unwrap();
    assert!(answer.contains("200"), "{answer}");
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&manager),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    let ended = wait_for(PATIENCE, || manager.try_wait().unwrap());
    assert!(ended.is_some_and(|status| status.success()));
    assert!(scene.socket.exists() && control.exists());
}

#[test]
fn twenty_kills_lose_no_line_that_a_reader_has_seen() {
    let scene = Scene::prepare();
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (socket, stop, seen) = (scene.socket.clone(), Arc::clone(&stop), Arc::clone(&seen));
            thread::spawn(move || follow_over_kills(&socket, &stop, &seen))
        })
        .collect();
    let mut tail = scene.start_tail();
    let sender = scene.send_keys(Arc::clone(&stop));
    let mut random = 0x5eed_u64;
    let mut daemon = scene.start_daemon();
    for _ in 0..20 {
        let before = seen.load(Ordering::Relaxed);
        let lines = wait_for(PATIENCE, || {
            (seen.load(Ordering::Relaxed) > before + 20).then_some(())
        });
        assert!(lines.is_some(), "no lines: {}", scene.log());
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        thread::sleep(Duration::from_millis(random >> 33 & 0xff));
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        daemon = scene.start_daemon();
    }
    wait_for(PATIENCE, || UnixStream::connect(&scene.socket).ok()).unwrap();
    thread::sleep(Duration::from_millis(500));
    stop.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();

    let journal = scene.journaled();
    let printed = || {
        let printed = scene.tailed();
        (printed.len() + 100 > journal.len()).then_some(printed)
    };
    let printed = wait_for(PATIENCE, printed).expect("tail keeps up");
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert_eq!(
        printed,
        journal[..printed.len()],
        "tail prints every line once"
    );
    eprintln!("20 kills: tail printed {} lines, each once", printed.len());
    let (mut holes, mut repeats) = (0, 0);
    for reader in readers {
        let lines = reader.join().unwrap();
        let mut expected = None;
        for (seq, line) in &lines {
            let expected = expected.replace(seq + 1).unwrap_or(*seq);
            holes += u64::from(*seq > expected);
            repeats += u64::from(*seq < expected);
            let journaled = journal.get(usize::try_from(*seq).unwrap());
            assert_eq!(
                journaled,
                Some(line),
                "line {seq} was seen and is journaled"
            );
        }
        eprintln!(
            "20 kills: a reader saw {} lines of {} in the journal",
            lines.len(),
            journal.len()
        );
        assert!(lines.len() > 400, "{}", lines.len());
    }
    eprintln!("20 kills: {holes} holes, {repeats} repeats");
    assert_eq!((holes, repeats), (0, 0));
    let epochs: std::collections::BTreeSet<_> = journal
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["epoch"].to_string())
        .collect();
    assert_eq!(epochs.len(), 1, "{epochs:?}");
}

/// Reads on from its place whenever the daemon is there; gives every numbered line.
fn follow_over_kills(socket: &Path, stop: &AtomicBool, seen: &AtomicU64) -> Vec<(u64, String)> {
    let mut lines: Vec<(u64, String)> = Vec::new();
    let mut place = json!({ "resume_from": "oldest" });
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = UnixStream::connect(socket) else {
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        if writeln!(stream, "{place}").is_err() {
            continue;
        }
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok() && line.ends_with('\n') {
            let event: Value = serde_json::from_str(&line).unwrap();
            assert_ne!(event["code"], "truncated", "{line}");
            if let Some(seq) = event["seq"].as_u64() {
                place = json!({ "resume_from": seq + 1, "epoch": event["epoch"] });
                lines.push((seq, line.trim_end().to_owned()));
                seen.fetch_max(seq, Ordering::Relaxed);
            }
            line.clear();
        }
    }
    lines
}

/// A daemon that is started again and again, in one place.
struct Scene {
    folder: tempfile::TempDir,
    socket: PathBuf,
    first_port: u16,
    _recogniser: Recogniser,
}

const LEGS: u16 = 8;

impl Scene {
    fn prepare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let recogniser = Recogniser::start(Says::default());
        let first_port = free_ports(2 * LEGS);
        let last_port = first_port + 2 * LEGS - 1;
        let socket = folder.path().join("events.sock");
        let config = format!(
            "[rtp]\nbind-address = \"127.0.0.1\"\nport-range = \"{first_port}-{last_port}\"\n\
             unregistered-calls = true\nidle-timeout-ms = 2000\n\
             [asr]\nendpoint = {:?}\n\
             [events]\nsocket = {socket:?}\n\
             [journal]\npath = {:?}\n",
            recogniser.endpoint(),
            folder.path().join("journal.db"),
        );
        fs::write(folder.path().join("callscribe.toml"), config).unwrap();
        Self {
            folder,
            socket,
            first_port,
            _recogniser: recogniser,
        }
    }

    fn start_daemon(&self) -> Child {
        let log = self.folder.path().join("daemon.log");
        Command::new(env!("CARGO_BIN_EXE_callscribe"))
            .arg("run")
            .arg("-c")
            .arg(self.folder.path().join("callscribe.toml"))
            .env("STATE_DIRECTORY", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(log).unwrap())
            .spawn()
            .unwrap()
    }

    /// `callscribe tail` with a cursor, which waits for the daemon and comes back to it.
    fn start_tail(&self) -> Child {
        let printed = File::create(self.folder.path().join("tail.jsonl")).unwrap();
        Command::new(env!("CARGO_BIN_EXE_callscribe"))
            .args(["tail", "--from", "oldest", "--socket"])
            .arg(&self.socket)
            .arg("--cursor")
            .arg(self.folder.path().join("cursor"))
            .stdout(printed)
            .spawn()
            .unwrap()
    }

    /// The numbered lines that it has printed.
    fn tailed(&self) -> Vec<String> {
        let printed = fs::read_to_string(self.folder.path().join("tail.jsonl")).unwrap();
        let whole = printed.rsplit_once('\n').unwrap_or_default().0;
        let numbered = whole.lines().filter(|line| line.contains("\"seq\":"));
        numbered.map(str::to_owned).collect()
    }

    /// Presses keys on every leg, fifty a second on each: a line a key.
    fn send_keys(&self, stop: Arc<AtomicBool>) -> thread::JoinHandle<()> {
        let first_port = self.first_port;
        thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut next = Instant::now();
            let mut sequence = 0_u16;
            for tick in 0_u32.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                for leg in 0..LEGS {
                    let port = first_port + 2 * leg;
                    let audio = [0xff; 160];
                    let key = [u8::try_from(tick % 10).unwrap(), 0x8a, 0, 160];
                    for (offset, payload_type, payload) in [(0, 0, &audio[..]), (1, 101, &key[..])]
                    {
                        let mut packet = vec![0x80, payload_type];
                        packet.extend(sequence.wrapping_add(offset).to_be_bytes());
                        packet.extend((tick * 160).to_be_bytes());
                        packet.extend(u32::from(leg).to_be_bytes());
                        packet.extend(payload);
                        // Nobody listens while the daemon is away.
                        socket.send_to(&packet, ("127.0.0.1", port)).ok();
                    }
                }
                sequence = sequence.wrapping_add(2);
                next += Duration::from_millis(20);
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        })
    }

    /// Every line of the journal, by number.
    fn journaled(&self) -> Vec<String> {
        let history = History::open(&self.folder.path().join("journal.db")).unwrap();
        let mut lines = Vec::new();
        while let Some(stretch) = history
            .stretch(lines.len() as u64, u64::MAX >> 1, 1 << 20)
            .unwrap()
        {
            assert_eq!(
                stretch.first_seq,
                lines.len() as u64,
                "a hole in the journal"
            );
            lines.extend(stretch.text.lines().map(str::to_owned));
        }
        lines
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default()
    }
}
