//! What RTCP tells the leg.

use std::time::Instant;

use super::{Output, Receiver, RtcpPath, WallClock};
use crate::media::rtcp::{self, Report, SenderInfo};

impl Receiver {
    /// Takes RTCP from a permitted address; reports of anybody but the heard sender are ignored.
    pub(super) fn handle_permitted_rtcp(&mut self, path: RtcpPath, bytes: &[u8], now: Instant) {
        self.counters.rtcp += 1;
        let Some(heard) = &mut self.heard else {
            // Whoever is heard first may have said before where he wants his reports.
            self.rtcp_path = Some(path);
            return;
        };
        if heard.id.source.ip() != path.address().ip() {
            return;
        }
        self.rtcp_path = Some(path);
        let ssrc = heard.id.ssrc;
        for report in rtcp::reports(bytes) {
            match report {
                Report::Sender(info) if info.ssrc == ssrc => self.note_sender(&info, now),
                Report::Bye(sources) if rtcp::bye_names(sources, ssrc) => self.note_bye(),
                Report::Sender(_) | Report::Bye(_) | Report::Other => {}
            }
        }
    }

    fn note_sender(&mut self, info: &SenderInfo, now: Instant) {
        self.last_report = Some((info.ntp, now));
        let heard = self.heard.as_ref();
        let position = heard.and_then(|heard| heard.stream.position_of(info.timestamp));
        if let (Some(position), true) = (position, info.ntp != 0) {
            self.wall_clock = Some(WallClock {
                ntp: info.ntp,
                position,
            });
        }
    }

    fn note_bye(&mut self) {
        if let Some(heard) = &mut self.heard
            && !heard.said_bye
        {
            heard.said_bye = true;
            self.notices.push_back(Output::Bye);
        }
    }
}
