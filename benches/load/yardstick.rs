//! What callscribe is measured by: receivers that do less, and bridges as they are often written.

mod counting;
mod naive;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::contestant::{Contestant, Load, Result, measure};
use crate::process::Process;
use crate::{Outcome, fresh_folder, ports, scratch, sink};

/// What a yardstick process is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Task {
    contestant: Contestant,
    legs: u16,
    /// Where the recogniser is
    endpoint: String,
}

/// The life of a yardstick process: it says what it received when its standard input ends.
pub(crate) fn run(task: &Task) -> Outcome<()> {
    let ports = ports::of(task.legs).step_by(2);
    let received = match task.contestant {
        Contestant::CountTick => counting::run(ports, Some(Duration::from_millis(5)))?,
        Contestant::CountEpoll => counting::run(ports, None)?,
        Contestant::NaiveTokio => naive::run(ports, &task.endpoint)?,
        Contestant::Callscribe | Contestant::Node | Contestant::Gstreamer => {
            return Err("no process of the bench's own".into());
        }
    };
    println!("received {received}");
    Ok(())
}

/// Runs a yardstick under the load.
pub(crate) fn measure_under_load(contestant: Contestant, load: Load) -> Outcome<Result> {
    let (sink, endpoint) = sink::start(&fresh_folder()?, load.cores, false)?;
    let mut process = start(contestant, load, &endpoint)?;
    wait_until_bound(contestant, load)?;
    let mut result = measure(&process, Some(&sink), load, || Ok(String::new()))?;
    if contestant == Contestant::Gstreamer {
        // It does not count; what the kernel has not dropped it has fetched.
        result.received = None;
    } else {
        result.received = Some(ask_count(&mut process)?);
    }
    Ok(result)
}

fn ask_count(process: &mut Process) -> Outcome<u64> {
    drop(process.stdin.take());
    let output = process.stdout.take().ok_or("a yardstick has no output")?;
    let mut lines = BufReader::new(output).lines();
    let count = lines.find_map(|line| line.ok()?.strip_prefix("received ")?.parse().ok());
    process.wait()?;
    count.ok_or_else(|| "a yardstick does not say what it received".into())
}

fn wait_until_bound(contestant: Contestant, load: Load) -> Outcome<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while ports::look(&ports::of(load.legs))?.legs < usize::from(load.legs) {
        if Instant::now() > deadline {
            return Err(format!("{} does not start", contestant.name()).into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn start(contestant: Contestant, load: Load, endpoint: &str) -> Outcome<Process> {
    let on = |program: &Path| load.cores.for_contestant(program);
    let legs = load.legs.to_string();
    let mut command = match contestant {
        Contestant::Gstreamer => {
            let mut shell = on(Path::new("sh"));
            shell.args(["-c", GSTREAMER]).arg(pipeline(load)?);
            shell
        }
        Contestant::Node => {
            let mut node = on(Path::new("node"));
            let first = ports::FIRST.to_string();
            node.arg(bridge()?).args([&first, &legs, endpoint]);
            node
        }
        Contestant::Callscribe
        | Contestant::CountTick
        | Contestant::CountEpoll
        | Contestant::NaiveTokio => {
            let mut own = on(&std::env::current_exe()?);
            own.args(["yardstick", &contestant.name(), &legs, endpoint]);
            own
        }
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(Process::start(&mut command)?)
}

/// The pipeline is longer than one argument may be; gst-launch takes it as words. Its output is of no interest.
const GSTREAMER: &str =
    r#"eval "exec gst-launch-1.0 --quiet $(tr '\n' ' ' < "$0")" > /dev/null 2>&1"#;

/// A chain for each stream in one process. Every other stream is A-law.
fn pipeline(load: Load) -> Outcome<std::path::PathBuf> {
    let chain = |leg: u16| {
        let (name, depay, decode) = match leg % 2 {
            0 => ("PCMU", "rtppcmudepay", "mulawdec"),
            _ => ("PCMA", "rtppcmadepay", "alawdec"),
        };
        let port = ports::FIRST + 2 * leg;
        format!(
            "udpsrc address=127.0.0.1 port={port} caps=\"application/x-rtp,media=audio,clock-rate=8000,encoding-name={name}\" \
             ! rtpjitterbuffer ! {depay} ! {decode} ! fakesink sync=false\n"
        )
    };
    let path = scratch()?.join("pipeline");
    fs::write(&path, (0..load.legs).map(chain).collect::<String>())?;
    Ok(path)
}

/// The bridge in Node.js, with the package that it needs.
fn bridge() -> Outcome<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("load/node");
    if !folder.join("node_modules/ws").exists() {
        let npm = Command::new("npm")
            .args(["ci", "--silent"])
            .current_dir(&folder)
            .status()?;
        if !npm.success() {
            return Err("npm cannot install the ws package".into());
        }
    }
    Ok(folder.join("bridge.js"))
}
