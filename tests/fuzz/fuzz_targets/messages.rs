//! Text messages of the recogniser, and of its clients.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| callscribe::asr::fuzz::messages(input));
