//! The clocks of the system, in numbers.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The clock of [`std::time::Instant`]; it goes on over the process, until the machine is booted again.
pub fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

/// Since 1970; somebody may set it.
pub fn time_of_day() -> Duration {
    read(ClockId::Realtime)
}

/// What this thread has used of a core so far.
pub fn thread_time() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
