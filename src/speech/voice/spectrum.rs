//! The discrete Fourier transform of 256 real samples.
//!
//! Real and imaginary parts lie apart and every inner loop runs over neighbours, so that the
//! compiler can work on four or eight at once: this is half the cost of a frame's verdict.

use std::sync::LazyLock;

/// Real samples of a transform.
pub(super) const LEN: usize = 256;
/// Bins from 0 to half the sample rate, both included.
pub(super) const BINS: usize = LEN / 2 + 1;

/// Complex numbers of the bins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spectrum {
    pub(super) re: [f32; BINS],
    pub(super) im: [f32; BINS],
}

impl Spectrum {
    /// Transforms real samples, by a complex transform of half as many pairs.
    pub(super) fn of(samples: &[f32; LEN]) -> Self {
        let mut pairs = Complex::ZERO;
        let (both, _) = samples.as_chunks::<2>();
        for (n, [even, odd]) in both.iter().enumerate() {
            pairs.re[n] = *even;
            pairs.im[n] = *odd;
        }
        let tables = &*TABLES;
        Self::unravel(tables, &transform(tables, pairs))
    }

    /// Parts the transforms of even and odd samples, and joins them to that of all.
    fn unravel(tables: &Tables, pairs: &Complex) -> Self {
        let (mut re, mut im) = ([0.0; BINS], [0.0; BINS]);
        let (mut back_re, mut back_im) = (pairs.re, pairs.im);
        back_re[1..].reverse();
        back_im[1..].reverse();
        for k in 0..HALF {
            let (even_re, even_im) = (pairs.re[k] + back_re[k], pairs.im[k] - back_im[k]);
            let (odd_re, odd_im) = (pairs.im[k] + back_im[k], back_re[k] - pairs.re[k]);
            let (turn_re, turn_im) = (tables.half_turn.re[k], tables.half_turn.im[k]);
            re[k] = 0.5 * (even_re + odd_re * turn_re - odd_im * turn_im);
            im[k] = 0.5 * (even_im + odd_re * turn_im + odd_im * turn_re);
        }
        re[HALF] = pairs.re[0] - pairs.im[0];
        Self { re, im }
    }
}

#[derive(Clone, Copy, Debug)]
struct Complex {
    re: [f32; HALF],
    im: [f32; HALF],
}

impl Complex {
    const ZERO: Self = Self {
        re: [0.0; HALF],
        im: [0.0; HALF],
    };
}

/// Transforms 128 = 16 · 8 complex numbers: eight interleaved transforms of 16, a twist, sixteen
/// interleaved transforms of 8.
fn transform(tables: &Tables, mut a: Complex) -> Complex {
    let mut b = Complex::ZERO;
    stage::<8>(tables, &a, &mut b);
    stage::<16>(tables, &b, &mut a);
    stage::<32>(tables, &a, &mut b);
    stage::<64>(tables, &b, &mut a);
    twist(tables, &a, &mut b);
    stage::<16>(tables, &b, &mut a);
    stage::<32>(tables, &a, &mut b);
    stage::<64>(tables, &b, &mut a);
    a
}

/// One stage of Stockham's transform of radix 2: halves the length of what is left to transform,
/// 128 divided by `LANES`, and doubles the number of interleaved sequences, `LANES`.
fn stage<const LANES: usize>(tables: &Tables, from: &Complex, to: &mut Complex) {
    let (from_re, from_im) = (from.re.as_chunks().0, from.im.as_chunks().0);
    let (a_re, b_re) = from_re.split_at(from_re.len() / 2);
    let (a_im, b_im) = from_im.split_at(from_im.len() / 2);
    let to_re = to.re.as_chunks_mut().0.as_chunks_mut().0;
    let to_im = to.im.as_chunks_mut().0.as_chunks_mut().0;
    let turns = tables
        .twiddles
        .re
        .iter()
        .zip(&tables.twiddles.im)
        .step_by(LANES);
    let a = a_re.iter().zip(a_im);
    let b = b_re.iter().zip(b_im);
    for (((a, b), to), turn) in a.zip(b).zip(to_re.iter_mut().zip(to_im)).zip(turns) {
        butterfly::<LANES>(a, b, to, turn);
    }
}

type Lanes<'a, const LANES: usize> = (&'a [f32; LANES], &'a [f32; LANES]);
type Pairs<'a, const LANES: usize> = (&'a mut [[f32; LANES]; 2], &'a mut [[f32; LANES]; 2]);

/// The sum, and the difference turned.
#[inline]
fn butterfly<const LANES: usize>(
    a: Lanes<'_, LANES>,
    b: Lanes<'_, LANES>,
    to: Pairs<'_, LANES>,
    turn: (&f32, &f32),
) {
    let ([sum_re, turned_re], [sum_im, turned_im]) = to;
    for lane in 0..LANES {
        let (re, im) = (a.0[lane] - b.0[lane], a.1[lane] - b.1[lane]);
        sum_re[lane] = a.0[lane] + b.0[lane];
        sum_im[lane] = a.1[lane] + b.1[lane];
        turned_re[lane] = re * turn.0 - im * turn.1;
        turned_im[lane] = re * turn.1 + im * turn.0;
    }
}

/// Turns each number by its place in both transforms, and lays the results of one sequence apart.
fn twist(tables: &Tables, from: &Complex, to: &mut Complex) {
    let twist = &tables.twist;
    let (from_re, from_im) = (from.re.as_chunks::<8>().0, from.im.as_chunks::<8>().0);
    for sequence in 0..8 {
        for bin in 0..16 {
            let at = bin + 16 * sequence;
            let (re, im) = (from_re[bin][sequence], from_im[bin][sequence]);
            to.re[at] = re * twist.re[at] - im * twist.im[at];
            to.im[at] = re * twist.im[at] + im * twist.re[at];
        }
    }
}

struct Tables {
    /// The n-th of 128 parts of a full turn, clockwise.
    twiddles: Complex,
    twist: Complex,
    /// The n-th of 256 parts.
    half_turn: Complex,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
    twiddles: turns(|n| n * 2),
    twist: turns(|n| (n % 16) * (n / 16) * 2),
    half_turn: turns(|n| n),
});

/// Points on the unit circle, at so many 256ths of a turn, clockwise.
fn turns(parts: impl Fn(usize) -> usize) -> Complex {
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let angle = |n| -std::f64::consts::TAU * parts(n) as f64 / LEN as f64;
    #[expect(clippy::cast_possible_truncation, reason = "24 bits are enough")]
    let narrow = |value: f64| value as f32;
    Complex {
        re: std::array::from_fn(|n| narrow(angle(n).cos())),
        im: std::array::from_fn(|n| narrow(angle(n).sin())),
    }
}

const HALF: usize = LEN / 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_is_the_sum_of_its_definition() {
        let samples: [f32; LEN] = std::array::from_fn(|n| {
            #[expect(clippy::cast_precision_loss, reason = "small counts")]
            let n = n as f32;
            (n * 0.37).sin() + 0.3 * (n * n * 0.011).cos() - 0.1
        });
        let spectrum = Spectrum::of(&samples);
        for bin in 0..BINS {
            let (mut re, mut im) = (0.0, 0.0);
            for (n, sample) in samples.iter().enumerate() {
                let turn = turns(|_| n * bin % LEN);
                re += sample * turn.re[0];
                im += sample * turn.im[0];
            }
            assert!((spectrum.re[bin] - re).abs() < 1e-3, "bin {bin}");
            assert!((spectrum.im[bin] - im).abs() < 1e-3, "bin {bin}");
        }
    }
}
