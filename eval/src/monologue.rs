//! Speech that never pauses: what is lost where it must be cut.

use std::time::Duration;

use callscribe::eval::score::score;
use callscribe::media::Law;
use callscribe::speech::Output;
use callscribe::speech::utterance::Timing;
use callscribe::speech::voice::Kind;

use crate::leg::Leg;
use crate::network::Loss;
use crate::recogniser::{Recogniser, g711};
use crate::recognition::Understood;
use crate::seams::Seam;
use crate::segment;

/// Cuts a monologue with and without overlap, and prints every seam.
pub(crate) fn run(leg: &Leg, timing: Timing, recogniser: &Recogniser) {
    let frames = leg.frames(Law::Pcma, Loss::default(), 0);
    let (whole, _) = recogniser.recognise(Law::Pcma, g711(&frames));
    let judged = score(&leg.said, &whole);
    println!(
        "{:.0} s without a pause, {} characters; the engine fed all of it: CER {:.1} %",
        leg.seconds(),
        judged.characters,
        judged.rate_percent(),
    );
    for overlap in [0, 2_000, 3_000].map(Duration::from_millis) {
        let timing = Timing { overlap, ..timing };
        let (outputs, _) = segment(&frames, timing, Kind::default().detector());
        show(&outputs, overlap, leg, &whole, recogniser);
    }
}

fn show(outputs: &[Output], overlap: Duration, leg: &Leg, uncut: &str, recogniser: &Recogniser) {
    let understood = Understood::of(outputs, Law::Pcma, recogniser);
    println!("\noverlap {} ms:", overlap.as_millis());
    let seams = Seam::all(&understood, &leg.said, uncut);
    for seam in &seams {
        println!(
            "  {:>6.2} s  {} | {}   said: {}   errors {}, uncut {}",
            seam.at.as_duration().as_secs_f32(),
            seam.before,
            seam.after,
            seam.said,
            seam.errors,
            seam.errors_uncut,
        );
    }
    println!(
        "  sessions {}, sent {:.1} s of {:.1} s, CER {:.1} %, characters lost at a seam {:.2}",
        understood.parts.len(),
        understood.sent.as_duration().as_secs_f32(),
        leg.seconds(),
        score(&leg.said, &understood.text()).rate_percent(),
        Seam::lost_at_each(&seams).unwrap_or_default(),
    );
}
