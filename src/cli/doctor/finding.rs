//! What was found: a grade, a sentence, the evidence, and what to do.

use std::fmt;

use serde::Serialize;

/// How bad it is; the worst of all findings is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// It is well.
    Ok,
    /// Worth knowing.
    Note,
    /// Worth a look: something is not as it should be, or soon will not be.
    Warning,
    /// It keeps speech from becoming text.
    Fault,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, for programs: `leg`, `recogniser.tls`, ….
    pub check: &'static str,
    /// How bad it is.
    pub grade: Grade,
    /// What was found.
    pub says: String,
    /// What it was concluded from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

impl Finding {
    /// A finding that needs no more words.
    pub fn new(check: &'static str, grade: Grade, says: impl Into<String>) -> Self {
        Self {
            check,
            grade,
            says: says.into(),
            evidence: String::new(),
            advice: String::new(),
        }
    }

    /// All is well with it.
    pub fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Grade::Ok, says)
    }

    /// It keeps speech from becoming text.
    pub fn fault(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Grade::Fault, says)
    }

    /// It is worth a look.
    pub fn warning(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Grade::Warning, says)
    }

    /// What it was concluded from.
    pub fn because(self, evidence: impl Into<String>) -> Self {
        let evidence = evidence.into();
        Self { evidence, ..self }
    }

    /// What to do about it.
    pub fn so(self, advice: impl Into<String>) -> Self {
        let advice = advice.into();
        Self { advice, ..self }
    }
}

impl Grade {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "WARNING",
            Self::Fault => "FAULT",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:8} {:20} {}", self.grade.word(), self.check, self.says)?;
        if !self.evidence.is_empty() {
            writeln!(f, "{:29} seen: {}", "", self.evidence)?;
        }
        if !self.advice.is_empty() {
            writeln!(f, "{:29} do:   {}", "", self.advice)?;
        }
        Ok(())
    }
}

/// The last line: how it is, all in all.
pub fn verdict(findings: &[Finding]) -> String {
    let count = |grade| findings.iter().filter(|one| one.grade == grade).count();
    match (count(Grade::Fault), count(Grade::Warning)) {
        (0, 0) => "All is well.".to_owned(),
        (0, warnings) => format!("Speech can become text; {} to look at.", things(warnings)),
        (faults, 0) => format!(
            "Speech does not become text as it should: {}.",
            things(faults)
        ),
        (faults, warnings) => format!(
            "Speech does not become text as it should: {}, and {} more to look at.",
            things(faults),
            things(warnings)
        ),
    }
}

fn things(count: usize) -> String {
    match count {
        1 => "one thing".to_owned(),
        count => format!("{count} things"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_shows_what_was_seen_and_what_to_do() {
        let finding = Finding::fault("leg", "Nothing arrives.")
            .because("no packet for 6 s")
            .so("Send some.");
        let text = finding.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert!(lines[0].starts_with("FAULT    leg"), "{text}");
        assert_eq!(lines[1..], ["seen: no packet for 6 s", "do:   Send some."]);
    }

    #[test]
    fn verdict_counts_the_faults_before_the_warnings() {
        let fault = Finding::fault("a", "");
        let warning = Finding::warning("b", "");
        assert_eq!(verdict(&[Finding::ok("c", "")]), "All is well.");
        assert!(verdict(std::slice::from_ref(&warning)).contains("one thing to look at"));
        assert!(verdict(&[fault, warning]).contains("one thing, and one thing more"));
    }
}
