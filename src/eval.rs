//! How well speech was recognised: what was said against what was written down.
//!
//! [`score::score`] compares a reference with a recognised text, character by character, after
//! [`lattice::Lattice`] has dropped what is not said (punctuation, spaces) and opened every number
//! into the ways in which it may be read.

pub mod lattice;
mod number;
pub mod score;
