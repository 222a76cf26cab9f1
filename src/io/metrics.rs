//! What the daemon counts, as Prometheus reads it (OpenMetrics 1.0). `docs/metrics.md` lists it for people.
//!
//! Nothing is shared while it is counted: workers keep plain numbers and hand out a copy when they are
//! asked, so a packet costs an addition and a scrape costs a tick of waiting. No label names a call.

mod calls;
mod disks;
mod histogram;
mod machine;
mod page;
mod recogniser;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use crate::io::media_worker::WorkerFigures;
use crate::io::provider::Provider;
use crate::io::publisher::Figures as PublisherFigures;
pub use disks::Disks;
pub use histogram::Histogram;
pub use machine::{Machine, ReceivingPorts};
use page::Page;

/// The content type of [`Scrape::to_text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is shown, at one moment.
#[derive(Debug)]
pub struct Scrape {
    /// What each worker counts.
    pub workers: Vec<WorkerFigures>,
    /// How the recogniser fares.
    pub recogniser: Arc<Provider>,
    /// How the readers fare.
    pub publisher: Arc<PublisherFigures>,
    /// What is kept on disk.
    pub disks: Disks,
    /// How the process and the kernel fare.
    pub machine: Machine,
}

impl Scrape {
    /// The text of the answer.
    ///
    /// # Errors
    /// Never: text is written into memory.
    pub fn to_text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::with_capacity(TYPICAL_BYTES);
        text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page::new(encoder);
        let version = [(env!("CARGO_PKG_VERSION"), 1.0)];
        page.gauges(
            "callscribe_build_info",
            "The version that runs",
            "version",
            version,
        )?;
        calls::encode(&self.workers, &mut page)?;
        recogniser::encode(&self.recogniser, &mut page)?;
        self.publisher.encode(&mut page)?;
        self.disks.encode(&mut page)?;
        self.machine.encode(&mut page)
    }
}

impl PublisherFigures {
    fn encode(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counter(
            "callscribe_lines",
            "Lines that were given a number",
            self.lines(),
        )?;
        page.counter(
            "callscribe_lines_lost",
            "Events that never became lines, because the publisher's queue was full",
            self.lost(),
        )?;
        page.gauge(
            "callscribe_lines_withheld",
            "Lines that wait for the journal before readers get them",
            self.withheld(),
        )?;
        page.gauge(
            "callscribe_journal_failed",
            "1 while lines are not journaled that ought to be",
            self.journal_failed(),
        )?;
        page.counter(
            "callscribe_journal_outages",
            "How often the journal failed",
            self.journal_outages(),
        )?;
        page.gauge(
            "callscribe_readers",
            "Readers that are connected",
            self.readers(),
        )?;
        page.counter(
            "callscribe_readers_refused",
            "Readers turned away because there were events.max-readers",
            self.refused(),
        )?;
        page.counter(
            "callscribe_readers_slow",
            "Readers closed because they did not keep up",
            self.slow(),
        )
    }
}

/// So that the text seldom grows while it is written.
const TYPICAL_BYTES: usize = 16 * 1024;
