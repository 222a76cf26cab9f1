//! What one key alone cannot show: keys that contradict each other, and what is legal but foolish.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::config::file::{Asr, File, Journal, Line, Overload, PayloadTypes, Rtp};

/// A key and what is wrong with it.
pub(super) type Fault = (&'static str, String);

impl File {
    /// Checks what the types of single keys cannot.
    ///
    /// # Errors
    /// The first key that contradicts another, or has no meaning.
    pub fn check(&self) -> Result<(), Fault> {
        self.rtp.check()?;
        self.speech.check()?;
        self.asr.check()?;
        check_lines(&self.line, &self.rtp)?;
        self.check_control()?;
        self.check_spool()?;
        self.overload.check()?;
        self.journal.check()?;
        if self.events.backlog_lines < 100 {
            return Err(("events.backlog-lines", "expected at least 100".to_owned()));
        }
        self.log
            .level
            .parse::<tracing_subscriber::EnvFilter>()
            .map(|_| ())
            .map_err(|error| ("log.level", format!("{:?}: {error}", self.log.level)))
    }

    fn check_spool(&self) -> Result<(), Fault> {
        let spool = &self.spool;
        if spool.max_bytes < 10_000_000 {
            return Err(("spool.max-bytes", "expected at least 10000000".to_owned()));
        }
        if !(1..=720).contains(&spool.max_age_hours) {
            return Err(("spool.max-age-hours", "expected 1 to 720".to_owned()));
        }
        if !(1..=1_000).contains(&spool.max_sessions) {
            return Err(("spool.max-sessions", "expected 1 to 1000".to_owned()));
        }
        Ok(())
    }

    fn check_control(&self) -> Result<(), Fault> {
        if self.control_socket() == self.events.socket {
            let message = "is events.socket too; each needs a socket of its own";
            return Err(("control.socket", message.to_owned()));
        }
        let has_passwords = self.control.password_file.is_some();
        match self.control.listen {
            None if has_passwords => {
                let message = "goes with control.listen, which is not given";
                Err(("control.password-file", message.to_owned()))
            }
            Some(address) if !address.ip().to_canonical().is_loopback() && !has_passwords => {
                let expected = "expected a loopback address such as 127.0.0.1:8089, or \
                                control.password-file besides: whoever can reach the control API \
                                can end every call";
                Err(("control.listen", format!("{address}: {expected}")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the control API has a port to give out: an even one that no line owns.
    fn has_free_port(&self) -> bool {
        let legs = self.line.iter().flat_map(|line| &line.legs);
        let taken: BTreeSet<u16> = legs.map(|leg| leg.port).collect();
        let mut ports = self.rtp.port_range.ports();
        ports.any(|port| port % 2 == 0 && !taken.contains(&port))
    }

    /// What is legal but foolish, as sentences.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self
            .rtp
            .allowed_sources
            .iter()
            .any(|network| network.prefix_len() == 0)
        {
            let advice = "name the networks of your PBX";
            warnings.push(format!(
                "rtp.allowed-sources lets the whole world send audio; {advice}"
            ));
        }
        if self.line.is_empty() && !self.rtp.unregistered_calls && !self.has_free_port() {
            warnings.push(
                "rtp.port-range has no even port, no [[line]] is configured and \
                 rtp.unregistered-calls is off: no call can begin"
                    .to_owned(),
            );
        }
        if let Some(address) = self
            .control
            .listen
            .filter(|address| !address.ip().is_loopback())
        {
            warnings.push(format!(
                "control.listen {address} sends passwords and transcripts over the network in clear; \
                 put a proxy with TLS before it"
            ));
        }
        if self.overload.refuse_calls_percent == 0 {
            warnings.push("overload.refuse-calls-percent = 0: no call can begin".to_owned());
        }
        if self.asr.endpoint.starts_with("ws://") && !self.asr.is_loopback() {
            let endpoint = &self.asr.endpoint;
            warnings.push(format!(
                "asr.endpoint {endpoint} sends calls over the network in clear"
            ));
        }
        warnings
    }
}

impl Rtp {
    fn check(&self) -> Result<(), Fault> {
        self.payload_types.check()?;
        if self.advertise_address.is_some_and(|ip| ip.is_unspecified()) {
            let message = "nobody can send to the unspecified address; name one of this host";
            return Err(("rtp.advertise-address", message.to_owned()));
        }
        if self.allowed_sources.is_empty() {
            let message = "is empty: nobody would be heard; name the networks of your PBX";
            return Err(("rtp.allowed-sources", message.to_owned()));
        }
        let mut seen = BTreeSet::new();
        match self
            .allowed_sources
            .iter()
            .find(|network| !seen.insert(IpNet::trunc(network)))
        {
            Some(twice) => Err(("rtp.allowed-sources", format!("{twice} is listed twice"))),
            None => Ok(()),
        }
    }
}

impl PayloadTypes {
    /// RTCP on the same port is told from RTP by the range 64 to 95 (RFC 5761 §4).
    fn check(&self) -> Result<(), Fault> {
        let key = "rtp.payload-types";
        let mut seen = BTreeSet::new();
        let lists = [
            &self.pcmu,
            &self.pcma,
            &self.telephone_event,
            &self.comfort_noise,
        ];
        for &payload_type in lists.into_iter().flatten() {
            if payload_type > 127 || (64..96).contains(&payload_type) {
                let expected = "expected 0 to 63 or 96 to 127";
                return Err((
                    key,
                    format!("{payload_type} is no RTP payload type; {expected}"),
                ));
            }
            if !seen.insert(payload_type) {
                return Err((key, format!("{payload_type} is given two meanings")));
            }
        }
        if self.pcmu.is_empty() && self.pcma.is_empty() {
            return Err((key, "neither pcmu nor pcma has a payload type".to_owned()));
        }
        Ok(())
    }
}

impl Asr {
    fn check(&self) -> Result<(), Fault> {
        let expected = "expected ws://HOST:PORT or wss://HOST, without a path";
        let host = self.endpoint.split_once("://").filter(|(scheme, host)| {
            ["ws", "wss"].contains(scheme) && !host.is_empty() && !host.contains(['/', '?', '@'])
        });
        if host.is_none() {
            return Err(("asr.endpoint", format!("{:?}: {expected}", self.endpoint)));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.project_id.is_empty() || !self.project_id.chars().all(is_plain) {
            let expected = "expected letters, digits, - and _";
            return Err((
                "asr.project-id",
                format!("{:?}: {expected}", self.project_id),
            ));
        }
        self.check_credentials()?;
        if !(1..=10).contains(&self.attempts) {
            return Err((
                "asr.attempts",
                format!("{}: expected 1 to 10", self.attempts),
            ));
        }
        Ok(())
    }

    fn check_credentials(&self) -> Result<(), Fault> {
        let ways = [
            ("asr.token", self.token.is_some()),
            ("asr.token-file", self.token_file.is_some()),
            ("asr.access-key", self.access_key.is_some()),
            ("asr.iam", self.iam.is_some()),
        ];
        let mut given = ways
            .into_iter()
            .filter(|(_, is_given)| *is_given)
            .map(|(key, _)| key);
        if let (Some(one), Some(other)) = (given.next(), given.next()) {
            return Err((other, format!("{one} is given too; keep one of them")));
        }
        if self.access_key.is_some() != self.secret_key_file.is_some() {
            let message = "goes with asr.access-key: give both or neither";
            return Err(("asr.secret-key-file", message.to_owned()));
        }
        if self.security_token_file.is_some() && self.access_key.is_none() {
            let message = "goes with asr.access-key, which is not given";
            return Err(("asr.security-token-file", message.to_owned()));
        }
        Ok(())
    }

    fn is_loopback(&self) -> bool {
        let host = self.endpoint.split_once("://").map_or("", |(_, host)| host);
        ["127.", "localhost", "[::1]"]
            .iter()
            .any(|prefix| host.starts_with(prefix))
    }
}

impl Overload {
    fn check(&self) -> Result<(), Fault> {
        let limits = [
            ("overload.refuse-calls-percent", self.refuse_calls_percent),
            ("overload.defer-speech-percent", self.defer_speech_percent),
        ];
        if let Some((key, percent)) = limits.into_iter().find(|&(_, percent)| percent > 100) {
            return Err((key, format!("{percent}: expected 0 to 100")));
        }
        if self.defer_speech_percent < self.refuse_calls_percent {
            let expected =
                "expected overload.refuse-calls-percent or more: calls are refused first";
            let message = format!("{}: {expected}", self.defer_speech_percent);
            return Err(("overload.defer-speech-percent", message));
        }
        Ok(())
    }
}

impl Journal {
    fn check(&self) -> Result<(), Fault> {
        if !(1..=36_500).contains(&self.max_age_days) {
            let message = format!("{}: expected 1 to 36500 days", self.max_age_days);
            return Err(("journal.max-age-days", message));
        }
        if !(1 << 20..=1 << 50).contains(&self.max_bytes) {
            let message = format!("{}: expected at least 1048576 bytes", self.max_bytes);
            return Err(("journal.max-bytes", message));
        }
        match &self.path {
            Some(path) if path.file_name().is_none() => {
                let message = format!("{} names no file", path.display());
                Err(("journal.path", message))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn check_lines(lines: &[Line], rtp: &Rtp) -> Result<(), Fault> {
    let (mut names, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for line in lines {
        if line.legs.is_empty() {
            return Err(("line.legs", format!("line {:?} has no leg", line.name)));
        }
        if line.name.is_empty() || line.name.chars().any(|c| c == '/' || c.is_control()) {
            let expected = "expected a name without / or control characters";
            return Err(("line.name", format!("{:?}: {expected}", line.name)));
        }
        if !names.insert(&line.name) {
            return Err(("line.name", format!("two lines are called {:?}", line.name)));
        }
        for leg in &line.legs {
            if !rtp.port_range.contains(leg.port) {
                let range = &rtp.port_range;
                let message = format!("{} is not in rtp.port-range {range}", leg.port);
                return Err(("line.legs.port", message));
            }
            if rtp.rtcp_mux && leg.port % 2 == 1 {
                let message = format!(
                    "{} is odd; with rtp.rtcp-mux only even ports are received on",
                    leg.port
                );
                return Err(("line.legs.port", message));
            }
            if !ports.insert(leg.port) {
                return Err((
                    "line.legs.port",
                    format!("{} is given to two legs", leg.port),
                ));
            }
        }
    }
    Ok(())
}
