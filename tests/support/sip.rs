//! SIPp on both sides of a SIP call, whose answer directs the audio to a port of the daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use super::{free_ports, run_sender, spawn_sender};

/// A SIPp that answers one call and says that it listens at a port of the daemon.
pub struct Callee {
    sipp: Child,
    /// Where it waits for the call.
    pub sip: u16,
}

impl Callee {
    /// Starts it.
    pub fn at(media: u16, folder: &Path) -> Self {
        let sip = free_ports(2);
        let answer = ANSWER.replace("PORT", &media.to_string());
        let scenario = write(folder, &format!("answer{media}.xml"), &answer);
        let (port, own_media) = (sip.to_string(), free_ports(4).to_string());
        let own = ["-sf", &scenario, "-p", &port, "-mp", &own_media];
        let sipp = spawn_sender("sipp", &[&COMMON[..], &own].concat());
        Self { sipp, sip }
    }

    /// Waits until the call is over.
    #[track_caller]
    pub fn wait(mut self) {
        assert!(self.sipp.wait().unwrap().success(), "the call was answered");
    }
}

/// Has a SIPp call another that answers with a port of the daemon, do something, and hang up.
#[track_caller]
pub fn call(media: u16, folder: &Path, actions: &[Action<'_>]) {
    let callee = Callee::at(media, folder);
    let actions: String = actions.iter().map(Action::to_xml).collect();
    let scenario = CALL.replace("ACTIONS", &actions).replace("DURATION", "500");
    let scenario = write(folder, &format!("call{media}.xml"), &scenario);
    let (sip, own_media) = (free_ports(2).to_string(), free_ports(4).to_string());
    let target = format!("127.0.0.1:{}", callee.sip);
    let own = ["-sf", &scenario, "-p", &sip, "-mp", &own_media, &target];
    run_sender("sipp", &[&COMMON[..], &own].concat(), PATIENCE);
    callee.wait();
}

/// What the caller does.
pub enum Action<'a> {
    /// Sends a file of A-law, without waiting for its end.
    Speak(&'a Path),
    /// Presses keys, without waiting for the last.
    Press(&'a str),
    /// Waits for so many milliseconds.
    Wait(u64),
}

impl Action<'_> {
    fn to_xml(&self) -> String {
        let exec = |what: String| format!("<nop><action><exec {what}/></action></nop>");
        match self {
            Self::Speak(file) => exec(format!("rtp_stream=\"{},1,8,PCMA/8000\"", file.display())),
            Self::Press(keys) => exec(format!("play_dtmf=\"{keys}\"")),
            Self::Wait(ms) => format!("<pause milliseconds=\"{ms}\"/>"),
        }
    }
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path: PathBuf = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const COMMON: [&str; 7] = ["-i", "127.0.0.1", "-m", "1", "-nostdin", "-timeout", "40"];
const PATIENCE: Duration = Duration::from_secs(40);
/// The caller: invites, does what it is told to, hangs up.
const CALL: &str = include_str!("sipp_call.xml");
/// The called side: answers with the daemon's port.
const ANSWER: &str = include_str!("sipp_answer.xml");
