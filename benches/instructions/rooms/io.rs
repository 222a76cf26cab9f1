//! Where audio waits for the recogniser.

pub mod part_audio;
