//! The discrete Fourier transform of 256 real samples, as powers.
//!
//! Real and imaginary parts lie apart and every inner loop runs over eight neighbours or more, so
//! that the compiler works on as many at once as the processor can.

use std::sync::LazyLock;

use crate::speech::voice::vector::{Simd, mul_add, product};

/// Real samples of a transform.
pub(super) const LEN: usize = 256;
/// Bins from 0 to half the sample rate, both included.
pub(super) const BINS: usize = HALF + 1;

/// Even and odd samples apart.
#[derive(Clone, Copy)]
pub(super) struct Pairs {
    pub(super) even: [f32; HALF],
    pub(super) odd: [f32; HALF],
}

impl Pairs {
    pub(super) const ZERO: Self = Self {
        even: [0.0; HALF],
        odd: [0.0; HALF],
    };
}

/// Room for transforms.
pub(super) struct Workspace<'a> {
    a: &'a mut Complex,
    b: &'a mut Complex,
}

impl<'a> Workspace<'a> {
    #[inline(always)]
    pub(super) const fn new(a: &'a mut Complex, b: &'a mut Complex) -> Self {
        Self { a, b }
    }

    /// The power of each bin.
    #[inline(always)]
    pub(super) fn power<S: Simd>(&mut self, pairs: &Pairs, power: &mut [f32; BINS]) {
        let bins = self.transform::<S>(pairs);
        bins.unravel::<S>(power, |(re, im)| mul_add::<S>(re, re, im * im));
    }

    /// The real part of each bin.
    #[inline(always)]
    pub(super) fn real<S: Simd>(&mut self, pairs: &Pairs, real: &mut [f32; BINS]) {
        let bins = self.transform::<S>(pairs);
        bins.unravel::<S>(real, |(re, _)| re);
    }

    /// Transforms 128 = 16 · 8 complex numbers: eight interleaved transforms of 16, a twist,
    /// sixteen interleaved transforms of 8.
    #[inline(always)]
    fn transform<S: Simd>(&mut self, pairs: &Pairs) -> &Bins {
        let Self { a, b } = self;
        let tables = &*TABLES;
        quarters::<S, 8>(tables, (&pairs.even, &pairs.odd), a);
        quarters::<S, 32>(tables, (head(&a.re), head(&a.im)), b);
        twist::<S>(tables, b, a);
        quarters::<S, 16>(tables, (head(&a.re), head(&a.im)), b);
        halves(b, a);
        a
    }
}

/// The transform of the pairs as complex numbers, its first bin once more at the end.
type Bins = Complex;

impl Bins {
    /// Joins what comes from the even samples and what from the odd ones: their sum is a bin of the
    /// lower half, the conjugate of their difference is its mirror in the upper half.
    #[inline(always)]
    fn unravel<S: Simd>(&self, to: &mut [f32; BINS], wanted: impl Fn((f32, f32)) -> f32) {
        let turns = &TABLES.half_turn;
        let up = self.re.iter().zip(&self.im);
        let down = self.re.iter().zip(&self.im).rev();
        let turns = turns.re.iter().zip(&turns.im);
        let (low, high) = to.split_at_mut(HALF / 2);
        let (middle, high) = high.split_at_mut(1);
        let to = low.iter_mut().zip(high.iter_mut().rev());
        for (((low, high), turn), (up, down)) in to.zip(turns).zip(up.zip(down)) {
            let even = (0.5 * (up.0 + down.0), 0.5 * (up.1 - down.1));
            let odd = (0.5 * (up.1 + down.1), 0.5 * (down.0 - up.0));
            let odd = product::<S>(odd, (*turn.0, *turn.1));
            *low = wanted(plus(even, odd));
            *high = wanted(minus(even, odd));
        }
        middle[0] = wanted((self.re[HALF / 2], -self.im[HALF / 2]));
    }
}

#[inline(always)]
fn head(numbers: &[f32; BINS]) -> &[f32; HALF] {
    numbers.first_chunk().expect("a bin is more than half")
}

/// Complex numbers; the last one is only used for bins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Complex {
    re: [f32; BINS],
    im: [f32; BINS],
}

impl Complex {
    pub(super) const ZERO: Self = Self {
        re: [0.0; BINS],
        im: [0.0; BINS],
    };
}

/// One stage of Stockham's transform of radix 4: a quarter of the length is left to transform, which
/// was 128 divided by `LANES`, and four times as many interleaved sequences, `LANES`.
#[inline(always)]
fn quarters<S: Simd, const LANES: usize>(
    tables: &Tables,
    from: (&[f32; HALF], &[f32; HALF]),
    to: &mut Complex,
) {
    let (from_re, from_im) = (from.0.as_chunks::<LANES>().0, from.1.as_chunks::<LANES>().0);
    let to_re = to.re.as_chunks_mut::<LANES>().0.as_chunks_mut::<4>().0;
    let to_im = to.im.as_chunks_mut::<LANES>().0.as_chunks_mut::<4>().0;
    let step = from_re.len() / 4;
    for (at, (to_re, to_im)) in to_re.iter_mut().zip(to_im).enumerate() {
        let turn = [1, 2, 3].map(|n| tables.turn(at * n * LANES));
        let from = [0, 1, 2, 3].map(|n| (&from_re[at + n * step], &from_im[at + n * step]));
        for lane in 0..LANES {
            let [a, b, c, d] = from.map(|(re, im)| (re[lane], im[lane]));
            let (sum_ac, sum_bd) = (plus(a, c), plus(b, d));
            let (difference_ac, difference_bd) = (minus(a, c), minus(b, d));
            let turned_bd = (-difference_bd.1, difference_bd.0);
            let results = [
                plus(sum_ac, sum_bd),
                turned::<S, LANES>(minus(difference_ac, turned_bd), turn[0]),
                turned::<S, LANES>(minus(sum_ac, sum_bd), turn[1]),
                turned::<S, LANES>(plus(difference_ac, turned_bd), turn[2]),
            ];
            for ((re, im), result) in to_re.iter_mut().zip(to_im.iter_mut()).zip(results) {
                (re[lane], im[lane]) = result;
            }
        }
    }
}

/// The last stage has but one turn, a full one.
#[inline(always)]
fn turned<S: Simd, const LANES: usize>(value: (f32, f32), turn: (f32, f32)) -> (f32, f32) {
    if LANES * 4 == HALF {
        value
    } else {
        product::<S>(value, turn)
    }
}

/// The last stage, of radix 2.
#[inline(always)]
fn halves(from: &Complex, to: &mut Complex) {
    for first in (0..HALF / 2).step_by(LANES) {
        for at in first..first + LANES {
            let [a, b] = [at, at + HALF / 2].map(|at| (from.re[at], from.im[at]));
            (to.re[at], to.im[at]) = plus(a, b);
        }
        for at in first..first + LANES {
            let [a, b] = [at, at + HALF / 2].map(|at| (from.re[at], from.im[at]));
            (to.re[at + HALF / 2], to.im[at + HALF / 2]) = minus(a, b);
        }
    }
    (to.re[HALF], to.im[HALF]) = (to.re[0], to.im[0]);
}

/// Turns each number by its place in both transforms, and lays the results of one sequence apart.
#[inline(always)]
fn twist<S: Simd>(tables: &Tables, from: &mut Complex, to: &mut Complex) {
    let twist = &tables.twist;
    for at in 0..HALF {
        let number = (from.re[at], from.im[at]);
        (from.re[at], from.im[at]) = product::<S>(number, (twist.re[at], twist.im[at]));
    }
    transpose(&from.re, &mut to.re);
    transpose(&from.im, &mut to.im);
}

#[inline(always)]
fn transpose(from: &[f32; BINS], to: &mut [f32; BINS]) {
    let from = from.as_chunks::<8>().0;
    for (sequence, to) in to.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        *to = std::array::from_fn(|bin| from[bin][sequence]);
    }
}

#[inline(always)]
fn plus(a: (f32, f32), b: (f32, f32)) -> (f32, f32) {
    (a.0 + b.0, a.1 + b.1)
}

#[inline(always)]
fn minus(a: (f32, f32), b: (f32, f32)) -> (f32, f32) {
    (a.0 - b.0, a.1 - b.1)
}

struct Tables {
    /// The n-th of 128 parts of a full turn, clockwise.
    turns: Complex,
    twist: Complex,
    /// The n-th of 256 parts.
    half_turn: Complex,
}

impl Tables {
    #[inline(always)]
    fn turn(&self, parts: usize) -> (f32, f32) {
        (self.turns.re[parts % HALF], self.turns.im[parts % HALF])
    }
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
    turns: turns(|n| n * 2),
    twist: turns(|n| (n % 8) * (n / 8) * 2),
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

pub(super) const HALF: usize = LEN / 2;
/// Numbers that are worked on at once.
const LANES: usize = 8;

#[cfg(test)]
mod tests {
    use pulp::Scalar;

    use super::*;

    #[test]
    fn a_transform_is_the_sum_of_its_definition() {
        let samples: [f32; LEN] = std::array::from_fn(|n| {
            #[expect(clippy::cast_precision_loss, reason = "small counts")]
            let n = n as f32;
            (n * 0.37).sin() + 0.3 * (n * n * 0.011).cos() - 0.1
        });
        let pairs = Pairs {
            even: std::array::from_fn(|n| samples[2 * n]),
            odd: std::array::from_fn(|n| samples[2 * n + 1]),
        };
        let (mut power, mut real) = ([0.0; BINS], [0.0; BINS]);
        let (mut a, mut b) = (Complex::ZERO, Complex::ZERO);
        let mut workspace = Workspace::new(&mut a, &mut b);
        workspace.power::<Scalar>(&pairs, &mut power);
        workspace.real::<Scalar>(&pairs, &mut real);
        for bin in 0..BINS {
            let (mut re, mut im) = (0.0, 0.0);
            for (n, sample) in samples.iter().enumerate() {
                let turn = turns(|_| n * bin % LEN);
                re += sample * turn.re[0];
                im += sample * turn.im[0];
            }
            assert!((real[bin] - re).abs() < 1e-3, "bin {bin}");
            let exact = re * re + im * im;
            assert!(
                (power[bin] - exact).abs() < 1e-3 + 1e-3 * exact,
                "bin {bin}"
            );
        }
    }
}
