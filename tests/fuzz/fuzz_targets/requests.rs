//! Bodies of the control API.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| callscribe::io::control::fuzz::requests(input));
