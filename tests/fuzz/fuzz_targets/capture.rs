//! Capture files.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| callscribe::capture::fuzz::capture(input));
