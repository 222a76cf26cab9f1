//! What the daemon keeps on disk, as it says itself (`GET /v1/status`).

use serde_json::Value;

use super::finding::{Finding, Grade};

/// Looks at the journal and at the spool, where there are any.
pub fn examine(status: &Value) -> Vec<Finding> {
    let journal = status["journal"].is_object().then(|| &status["journal"]);
    let spool = status["spool"].is_object().then(|| &status["spool"]);
    let findings = journal.map(lines).into_iter().chain(spool.map(audio));
    findings.flatten().collect()
}

fn lines(journal: &Value) -> Vec<Finding> {
    let path = journal["path"].as_str().unwrap_or_default();
    let state =
        if journal["failed"] == true {
            Finding::warning("journal", "Lines go out without being journaled.")
            .because(format!("{path}; the log and the last `journal_failed` line say why"))
            .so("Readers that are away cannot catch up with them: make room, or mend journal.path.")
        } else {
            let megabytes = number(&journal["bytes"]) / 1_000_000;
            Finding::ok("journal", format!("{path} holds {megabytes} MB of lines."))
        };
    let doubt = (journal["clock_doubted"] == true).then(|| {
        Finding::warning(
            "clock",
            "The clock has jumped; no line is forgotten for its age.",
        )
        .because("the clock was more than a day away from where it had been seen before")
        .so("Set it if it is wrong. If it is right, this ends by itself after a day.")
    });
    std::iter::once(state).chain(doubt).collect()
}

fn audio(spool: &Value) -> Vec<Finding> {
    let directory = spool["directory"].as_str().unwrap_or_default();
    if spool["failed"] == true {
        let says = "Audio cannot be kept on disk: speech that the recogniser does not take in time has no text.";
        return vec![
            Finding::fault("spool", says)
                .because(format!("{directory}; the log says why"))
                .so("Make room, or mend spool.directory."),
        ];
    }
    let (parts, lost) = (number(&spool["parts"]), number(&spool["given_up"]));
    let waiting =
        match (parts, number(&spool["oldest_ms"]) / 1000) {
            (0, _) => Finding::ok("spool", "No speech waits on disk for the recogniser."),
            (parts, seconds) => {
                let says = format!("Parts that wait on disk for the recogniser: {parts}.");
                Finding::new("spool", Grade::Note, says)
                .because(format!("{directory}; the oldest was spoken {seconds} s ago"))
                .so("They are recognised when the recogniser takes them; their texts say `late`.")
            }
        };
    let given_up = (lost > 0).then(|| {
        Finding::warning("spool", format!("Parts that were given up on disk: {lost}."))
            .because("callscribe_spool_parts_given_up_total says for which cause")
            .so("Each is a gap. Raise spool.max-bytes or spool.max-age-hours if the recogniser stays away for long.")
    });
    std::iter::once(waiting).chain(given_up).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn grades(status: &Value) -> Vec<(&'static str, Grade)> {
        let findings = examine(status);
        findings.iter().map(|one| (one.check, one.grade)).collect()
    }

    #[test]
    fn what_is_kept_is_well_until_it_fails_or_waits() {
        let well = json!({
            "journal": {"path": "/j", "bytes": 5_000_000, "failed": false, "clock_doubted": false},
            "spool": {"directory": "/s", "parts": 0, "bytes": 0, "given_up": 0, "failed": false},
        });
        assert_eq!(
            grades(&well),
            [("journal", Grade::Ok), ("spool", Grade::Ok)]
        );
        let ill = json!({
            "journal": {"path": "/j", "bytes": 0, "failed": true, "clock_doubted": true},
            "spool": {"directory": "/s", "parts": 7, "oldest_ms": 90_000, "given_up": 2, "failed": false},
        });
        let expected = [
            ("journal", Grade::Warning),
            ("clock", Grade::Warning),
            ("spool", Grade::Note),
            ("spool", Grade::Warning),
        ];
        assert_eq!(grades(&ill), expected);
        assert!(examine(&ill)[2].evidence.contains("90 s ago"));
        let broken = json!({"spool": {"directory": "/s", "failed": true}});
        assert_eq!(grades(&broken), [("spool", Grade::Fault)]);
        assert_eq!(grades(&json!({})), []);
    }
}
