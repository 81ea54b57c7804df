//! Multiply chains in each width of register that the CPU has. Called by `work::alu`.

use std::arch::x86_64 as x86;
use std::hint::black_box;

/// Chains that do not wait for each other: enough to fill the multiplier while each waits for
/// its own product, few enough to stay in registers.
const CHAINS: usize = 8;
/// Odd, so that a product keeps the low half of its factor apart from all others.
const FACTOR: u64 = 0xD1B5_4A33;
/// Mixed in between two products, so that no compiler can fold them into one.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// Registers to multiply in, narrowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lanes {
    /// One 64-bit product an instruction.
    Scalar,
    /// Two, of 32 bits by 32.
    Vec128,
    /// Four.
    Vec256,
    /// Eight.
    Vec512,
}

/// A kernel that this CPU can execute: the field is private so that there is no other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel(Lanes);

impl Kernel {
    /// The widest kernel that the CPU has, but none wider than `limit`.
    pub(crate) fn widest_up_to(limit: Lanes) -> Self {
        Self(widest(limit, |lanes| match lanes {
            // The baseline of x86-64 has SSE2.
            Lanes::Scalar | Lanes::Vec128 => true,
            Lanes::Vec256 => is_x86_feature_detected!("avx2"),
            Lanes::Vec512 => is_x86_feature_detected!("avx512f"),
        }))
    }

    pub(crate) fn lanes(self) -> Lanes {
        self.0
    }

    /// Multiplies `steps` times in each chain. The result depends on every product; `seed`
    /// chooses the first factors.
    pub(crate) fn run(self, steps: u64, seed: u64) -> u64 {
        match self.0 {
            Lanes::Scalar => scalar(steps, seed),
            // SAFETY: every x86-64 CPU has SSE2.
            Lanes::Vec128 => unsafe { vec128(steps, seed) },
            // SAFETY: only `widest_up_to` makes a kernel, and this one only where AVX2 is.
            Lanes::Vec256 => unsafe { vec256(steps, seed) },
            // SAFETY: only `widest_up_to` makes a kernel, and this one only where AVX-512F is.
            Lanes::Vec512 => unsafe { vec512(steps, seed) },
        }
    }
}

/// The last of the lanes up to `limit` that the CPU `has`.
fn widest(limit: Lanes, has: impl Fn(Lanes) -> bool) -> Lanes {
    let all = [Lanes::Vec512, Lanes::Vec256, Lanes::Vec128];
    all.into_iter().find(|lanes| *lanes <= limit && has(*lanes)).unwrap_or(Lanes::Scalar)
}

/// What chain `index` begins with.
fn first(seed: u64, index: usize) -> u64 {
    seed ^ (index as u64 + 1).wrapping_mul(MIX)
}

fn scalar(steps: u64, seed: u64) -> u64 {
    let factor = black_box(FACTOR);
    let mut chains: [u64; CHAINS] = std::array::from_fn(|index| first(seed, index));
    for _ in 0..steps {
        for chain in &mut chains {
            *chain = chain.wrapping_mul(factor) ^ MIX;
        }
    }
    chains.into_iter().fold(0, |sum, chain| sum ^ chain)
}

/// A vector kernel: each lane multiplies the low halves of factor and chain. All lanes of a
/// chain hold the same.
macro_rules! vector_kernel {
    ($name:ident, $feature:literal, $set1:ident, $mul:ident, $xor:ident, $low:expr) => {
        #[target_feature(enable = $feature)]
        fn $name(steps: u64, seed: u64) -> u64 {
            // Known to fit 32 bits: a hidden one is multiplied in two halves.
            let factor = x86::$set1(FACTOR.cast_signed());
            let mix = x86::$set1(black_box(MIX).cast_signed());
            let mut chains = [factor; CHAINS];
            for (index, chain) in chains.iter_mut().enumerate() {
                *chain = x86::$set1(first(seed, index).cast_signed());
            }
            for _ in 0..steps {
                for chain in &mut chains {
                    *chain = x86::$xor(x86::$mul(*chain, factor), mix);
                }
            }
            let mut sum = black_box(chains[0]);
            for chain in &chains[1..] {
                sum = x86::$xor(sum, black_box(*chain));
            }
            x86::_mm_cvtsi128_si64($low(sum)).cast_unsigned()
        }
    };
}

vector_kernel!(vec128, "sse2", _mm_set1_epi64x, _mm_mul_epu32, _mm_xor_si128, |sum| sum);
vector_kernel!(vec256, "avx2", _mm256_set1_epi64x, _mm256_mul_epu32, _mm256_xor_si256, |sum| {
    x86::_mm256_castsi256_si128(sum)
});
vector_kernel!(vec512, "avx512f", _mm512_set1_epi64, _mm512_mul_epu32, _mm512_xor_si512, |sum| {
    x86::_mm512_castsi512_si128(sum)
});

#[cfg(test)]
mod tests {
    use super::*;

    /// What every lane of a vector kernel computes.
    fn expected(steps: u64, seed: u64) -> u64 {
        let low = |word: u64| word & u64::from(u32::MAX);
        (0..CHAINS).fold(0, |sum, index| {
            sum ^ (0..steps).fold(first(seed, index), |chain, _| (low(chain) * FACTOR) ^ MIX)
        })
    }

    #[test]
    fn every_width_that_is_here_multiplies() {
        for lanes in [Lanes::Vec128, Lanes::Vec256, Lanes::Vec512] {
            let kernel = Kernel::widest_up_to(lanes);
            for (steps, seed) in [(0, 1), (1, 2), (1000, 3)] {
                let text = format!("{:?}: {steps} steps from {seed}", kernel.lanes());
                assert_eq!(kernel.run(steps, seed), expected(steps, seed), "{text}");
            }
        }
        let scalar = Kernel::widest_up_to(Lanes::Scalar);
        assert_eq!(scalar.lanes(), Lanes::Scalar);
        let once = (0..CHAINS).fold(0, |s, i| s ^ (first(5, i).wrapping_mul(FACTOR) ^ MIX));
        assert_eq!(scalar.run(1, 5), once);
    }

    #[test]
    fn the_widest_within_the_limit_is_taken() {
        let has_avx2 = |lanes| lanes <= Lanes::Vec256;
        assert_eq!(widest(Lanes::Vec512, has_avx2), Lanes::Vec256);
        assert_eq!(widest(Lanes::Vec128, has_avx2), Lanes::Vec128);
        assert_eq!(widest(Lanes::Scalar, has_avx2), Lanes::Scalar);
        assert_eq!(widest(Lanes::Vec512, |_| false), Lanes::Scalar);
    }
}
