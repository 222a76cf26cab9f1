//! Compound RTCP packets.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| callscribe::media::fuzz::compound(input));
