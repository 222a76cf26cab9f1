//! Arithmetic for as many lanes as the processor has.
//!
//! The crate is built for any x86-64; `pulp` runs what is inlined into [`Arch::dispatch`] with AVX2
//! and FMA where the processor has them.

pub(super) use pulp::{Arch, Scalar, Simd, WithSimd};

/// `a * b + c`, in one rounding where that is one instruction.
#[inline(always)]
pub(super) fn mul_add<S: Simd>(a: f32, b: f32, c: f32) -> f32 {
    if S::IS_SCALAR {
        a * b + c
    } else {
        a.mul_add(b, c)
    }
}

/// The product of two complex numbers.
#[inline(always)]
pub(super) fn product<S: Simd>(a: (f32, f32), b: (f32, f32)) -> (f32, f32) {
    (
        mul_add::<S>(a.0, b.0, -(a.1 * b.1)),
        mul_add::<S>(a.0, b.1, a.1 * b.0),
    )
}

/// The natural logarithm of a positive normal number, within 1e-6 of it or of its value: a
/// polynomial, for many lanes at once.
#[inline(always)]
pub(super) fn ln<S: Simd>(x: f32) -> f32 {
    // The exponent that brings the mantissa to 2/3 … 4/3.
    let exponent = x.to_bits().wrapping_sub(0x3F2A_AAAB).cast_signed() >> 23;
    let mantissa = x.to_bits().wrapping_sub((exponent << 23).cast_unsigned());
    let r = f32::from_bits(mantissa) - 1.0;
    let series = LN_SERIES
        .iter()
        .fold(0.0, |sum, factor| mul_add::<S>(sum, r, *factor));
    #[expect(clippy::cast_precision_loss, reason = "less than 128")]
    let exponent = exponent as f32;
    mul_add::<S>(
        exponent,
        std::f32::consts::LN_2,
        mul_add::<S>(series * r, r, r),
    )
}

/// Within 0.0001 of the hyperbolic tangent: a continued fraction.
#[inline(always)]
pub(super) fn tanh<S: Simd>(x: f32) -> f32 {
    let x = x.clamp(-4.97, 4.97);
    let square = x * x;
    let above = mul_add::<S>(square, 378.0 + square, 17_325.0);
    let above = x * mul_add::<S>(square, above, 135_135.0);
    let below = mul_add::<S>(square, 28.0, 3_150.0);
    let below = mul_add::<S>(square, below, 62_370.0);
    above / mul_add::<S>(square, below, 135_135.0)
}

/// The logistic function.
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(x: f32) -> f32 {
    mul_add::<S>(tanh::<S>(0.5 * x), 0.5, 0.5)
}

/// Factors of ln(1 + r) from the eighth power of r down to the second.
const LN_SERIES: [f32; 7] = [
    -0.155_493_7,
    0.169_240_25,
    -0.163_866_43,
    0.198_278_96,
    -0.250_093_4,
    0.333_364_43,
    -0.499_999_17,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_near_enough() {
        let mut x = 1e-6_f32;
        while x < 1e6 {
            let error = ln::<Scalar>(x) - x.ln();
            assert!(error.abs() <= 1e-6 * x.ln().abs().max(1.0), "at {x}");
            x *= 1.013;
        }
    }

    #[test]
    fn the_tangent_is_near_enough() {
        for tenth in -80..=80_i8 {
            let x = f32::from(tenth) / 10.0;
            assert!((tanh::<Scalar>(x) - x.tanh()).abs() < 2e-4, "at {x}");
        }
    }
}
