//! The table: a line per condition and detector.

use std::fmt::{self, Display};

use crate::cost;
use crate::detectors::Name;
use crate::recognition::Comparison;
use crate::score::{Frames, Utterances};

/// A line of it; what was not asked for is a dash.
pub(crate) struct Row {
    pub(crate) condition: String,
    pub(crate) detector: Name,
    pub(crate) frames: Frames,
    pub(crate) utterances: Utterances,
    pub(crate) understood: Option<Comparison>,
    /// For each frame.
    pub(crate) instructions: Option<u64>,
}

impl Display for Row {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            condition,
            detector,
            frames,
            utterances: said,
            understood,
            instructions,
        } = self;
        write!(to, "{condition:<23} {:<8}", detector.as_str())?;
        for share in [frames.error, frames.miss, frames.false_alarm] {
            write!(to, " {:>5.1}", share * 100.0)?;
        }
        for percentiles in [&said.onset, &said.end] {
            let [p10, p50, p90] = [percentiles.p10, percentiles.p50, percentiles.p90];
            write!(to, "  {p10:>6} {p50:>5} {p90:>5}")?;
        }
        write!(to, "  {:>5} {:>5}", said.closed.p50, said.closed.p90)?;
        write!(to, "  {:>5} {:>5.1}", said.truth, said.lost_speech * 100.0)?;
        let [sent, speech] = [said.sent, said.speech].map(|time| time.as_duration().as_secs_f32());
        write!(to, "  {:>5} {sent:>6.1} {speech:>6.1}", said.sessions)?;
        let lost = understood.as_ref().and_then(|it| it.lost_at_seams);
        write!(to, "  {:>4} {:>5}", said.cuts, shown(lost))?;
        let rates = understood.as_ref().map(|it| [it.through, it.whole]);
        for rate in [0, 1].map(|at| rates.map(|rates| rates[at].rate_percent())) {
            write!(to, " {:>7}", shown(rate))?;
        }
        write!(to, "  {:>8}", cost::shown(*instructions))
    }
}

/// One decimal, or a dash for what is not known.
fn shown(number: Option<impl Display>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.1}"))
}

/// Two lines above the table.
pub(crate) const HEADING: &str = "\
condition               detector error  miss false  onset error, ms      end error, ms        closed, ms    said  lost  \
  sess-   sent speech  cuts  lost   CER %   CER %  instruc-
                                     %     %     %     p10   p50   p90     p10   p50   p90    p50   p90  utts.     %  \
  ions      s      s        each through   whole     tions";
