//! A session with a recogniser that says anything.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    callscribe::asr::fuzz::session(input, std::time::Instant::now());
});
