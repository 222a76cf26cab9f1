//! What callscribe is measured by: receivers that do less, and bridges as they are often written.

mod counting;
mod naive;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Outcome;
use crate::contestant::{Contestant, Load, Result, measure, scratch};
use crate::daemon::sink;

/// The first of the even ports of the yardsticks.
const FIRST_PORT: u16 = 20_000;

/// What a yardstick process is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Task {
    contestant: Contestant,
    legs: u16,
    /// Where the recogniser is
    endpoint: String,
}

/// The life of a yardstick process: it says when it is ready, and what it received when its
/// standard input ends.
pub(crate) fn run(task: &Task) -> Outcome<()> {
    let ports = (0..task.legs).map(|leg| FIRST_PORT + 2 * leg);
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
    let (mut sink, endpoint) = sink(&scratch()?, false)?;
    let mut process = start(contestant, load, &endpoint)?;
    let mut output = BufReader::new(process.stdout.take().ok_or("a yardstick has no output")?);
    let mut ready = String::new();
    output.read_line(&mut ready)?;
    if ready.is_empty() {
        return Err(format!("{} does not start", contestant.name()).into());
    }
    let mut result = measure(&process, Some(&sink), FIRST_PORT, load)?;
    if contestant == Contestant::Gstreamer {
        process.kill()?;
        process.wait()?;
        result.received = result.sent;
    } else {
        drop(process.stdin.take());
        let mut report = String::new();
        output.read_to_string(&mut report)?;
        let count = report.trim().strip_prefix("received ").map(str::parse);
        process.wait()?;
        result.received = count.ok_or_else(|| format!("a yardstick says {report:?}"))??;
    }
    sink.kill()?;
    sink.wait()?;
    Ok(result)
}

fn start(contestant: Contestant, load: Load, endpoint: &str) -> Outcome<Child> {
    let mut command = match contestant {
        Contestant::Gstreamer => gstreamer(load)?,
        Contestant::Node => node(load, endpoint)?,
        Contestant::Callscribe
        | Contestant::CountTick
        | Contestant::CountEpoll
        | Contestant::NaiveTokio => {
            let mut own = Command::new(std::env::current_exe()?);
            let legs = load.legs.to_string();
            own.args(["yardstick", &contestant.name(), &legs, endpoint]);
            own
        }
    };
    Ok(command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?)
}

/// Every other stream is A-law.
fn gstreamer(load: Load) -> Outcome<Command> {
    let chain = |leg: u16| {
        let (name, depay, decode) = match leg % 2 {
            0 => ("PCMU", "rtppcmudepay", "mulawdec"),
            _ => ("PCMA", "rtppcmadepay", "alawdec"),
        };
        let port = FIRST_PORT + 2 * leg;
        format!(
            "udpsrc port={port} caps=\"application/x-rtp,media=audio,clock-rate=8000,encoding-name={name}\" \
             ! rtpjitterbuffer ! {depay} ! {decode} ! fakesink sync=false\n"
        )
    };
    let path = scratch()?.join("pipeline");
    fs::write(&path, (0..load.legs).map(chain).collect::<String>())?;
    let mut shell = Command::new("sh");
    // The pipeline is longer than a command line may be; gst-launch takes it as words.
    shell
        .arg("-c")
        .arg(r#"eval "exec gst-launch-1.0 $(tr '\n' ' ' < "$0")""#)
        .arg(path);
    Ok(shell)
}

fn node(load: Load, endpoint: &str) -> Outcome<Command> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("load/node");
    if !folder.join("node_modules/ws").exists() {
        let status = Command::new("npm")
            .args(["ci", "--silent"])
            .current_dir(&folder)
            .status()?;
        if !status.success() {
            return Err("npm cannot install the ws package".into());
        }
    }
    let mut node = Command::new("node");
    let (first, legs) = (FIRST_PORT.to_string(), load.legs.to_string());
    node.arg(folder.join("bridge.js"))
        .args([&first, &legs, endpoint]);
    Ok(node)
}
