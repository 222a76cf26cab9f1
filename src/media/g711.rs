//! ITU-T G.711 on slices: decoding, encoding, and one law as the other.

use std::sync::LazyLock;

use audio_codec_algorithms::{
    convert_alaw_to_ulaw, convert_ulaw_to_alaw, decode_alaw, decode_ulaw, encode_alaw, encode_ulaw,
};

use crate::media::Law;

/// The code of no sound at all: positive zero of µ-law, the smallest positive step of A-law.
pub const fn silence(law: Law) -> u8 {
    match law {
        Law::Pcmu => 0xFF,
        Law::Pcma => 0xD5,
    }
}

/// What each code of a law stands for, in 16-bit linear PCM.
pub fn linear(law: Law) -> &'static [i16; 256] {
    static MU_LAW: LazyLock<[i16; 256]> = LazyLock::new(|| table(decode_ulaw));
    static A_LAW: LazyLock<[i16; 256]> = LazyLock::new(|| table(decode_alaw));
    match law {
        Law::Pcmu => &MU_LAW,
        Law::Pcma => &A_LAW,
    }
}

fn table(decode: impl Fn(u8) -> i16) -> [i16; 256] {
    let mut table = [0; 256];
    for (linear, code) in table.iter_mut().zip(0..=u8::MAX) {
        *linear = decode(code);
    }
    table
}

/// Decodes as many samples as both slices hold, to 16-bit linear PCM.
pub fn decode(law: Law, g711: &[u8], pcm: &mut [i16]) {
    let linear = linear(law);
    for (sample, &code) in pcm.iter_mut().zip(g711) {
        *sample = linear[usize::from(code)];
    }
}

/// Encodes as many samples as both slices hold.
pub fn encode(law: Law, pcm: &[i16], g711: &mut [u8]) {
    let encode_sample = match law {
        Law::Pcmu => encode_ulaw,
        Law::Pcma => encode_alaw,
    };
    for (code, &sample) in g711.iter_mut().zip(pcm) {
        *code = encode_sample(sample);
    }
}

/// Turns codes of one law into codes of the other, in place (G.711 §3.4).
pub fn convert(from: Law, to: Law, g711: &mut [u8]) {
    let convert_code = match (from, to) {
        (Law::Pcmu, Law::Pcma) => convert_ulaw_to_alaw,
        (Law::Pcma, Law::Pcmu) => convert_alaw_to_ulaw,
        (Law::Pcmu, Law::Pcmu) | (Law::Pcma, Law::Pcma) => return,
    };
    for code in g711 {
        *code = convert_code(*code);
    }
}

/// The mean magnitude of the samples, 0 to 32,124: a cheap measure of how loud they are.
pub fn mean_magnitude(law: Law, g711: &[u8]) -> u32 {
    let linear = linear(law);
    let magnitude = |&code: &u8| u64::from(linear[usize::from(code)].unsigned_abs());
    let sum: u64 = g711.iter().map(magnitude).sum();
    let count = u64::try_from(g711.len()).unwrap_or(u64::MAX).max(1);
    u32::try_from(sum / count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_decodes_to_almost_nothing() {
        for law in [Law::Pcmu, Law::Pcma] {
            let mut pcm = [i16::MAX];
            decode(law, &[silence(law)], &mut pcm);
            assert!(pcm[0].abs() <= 8, "{law}: {}", pcm[0]);
        }
    }

    #[test]
    fn every_code_survives_decoding_and_encoding_but_negative_zero() {
        for law in [Law::Pcmu, Law::Pcma] {
            for code in 0..=u8::MAX {
                let (mut pcm, mut again) = ([0], [0]);
                decode(law, &[code], &mut pcm);
                encode(law, &pcm, &mut again);
                let negative_zero = law == Law::Pcmu && code == 0x7F;
                assert!(again[0] == code || negative_zero, "{law} {code:#x}");
            }
        }
    }

    #[test]
    fn law_conversion_keeps_the_loudness() {
        let mut codes: Vec<u8> = (0..=u8::MAX).collect();
        let before = mean_magnitude(Law::Pcmu, &codes);
        convert(Law::Pcmu, Law::Pcma, &mut codes);
        let after = mean_magnitude(Law::Pcma, &codes);
        assert!(before.abs_diff(after) * 50 < before, "{before} {after}");
    }
}
