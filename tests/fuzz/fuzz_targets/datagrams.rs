//! Everything that can arrive on a leg's port.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    callscribe::media::fuzz::datagrams(input, std::time::Instant::now());
});
