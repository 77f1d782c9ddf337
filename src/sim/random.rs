//! Seeded randomness in integers only: the same draws in debug and release builds and on every machine.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// One stream of random numbers: PCG XSL RR 128/64 (O'Neill 2014), which is specified bit for bit.
#[derive(Debug)]
pub(super) struct Random(Pcg64);

impl Random {
    /// The stream of that number under that seed. Both pass through SplitMix64 (Steele, Lea, Flood 2014), since
    /// generators with neighbouring states or increments would be correlated.
    pub(super) fn new(seed: u64, stream: u64) -> Random {
        let mut state = mix(seed) ^ mix(!stream);
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            state = state.wrapping_add(GOLDEN_GAMMA);
            chunk.copy_from_slice(&mix(state).to_le_bytes());
        }
        Random(Pcg64::from_seed(bytes))
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..bound` (0 where the bound is 0), by multiplication instead of division. The bias is below
    /// `bound / 2^64`: bounds here stay under 2^40.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        scale(self.bits(), bound)
    }

    /// True once in `n` times.
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Exponentially distributed with that mean, rounded down: the waiting time of a Poisson process.
    pub(super) fn exponential(&mut self, mean: u64) -> u64 {
        let uniform = self.bits() | 1;
        let nats_q32 = (u128::from((64 << 32) - log2_q32(uniform)) * LN_2_Q32) >> 32;
        ((u128::from(mean) * nats_q32) >> 32) as u64
    }
}

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64: spreads every bit of the input over all of the output.
pub(super) const fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(GOLDEN_GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Maps 64 random bits to `0..bound`, by their highest bits.
pub(super) const fn scale(bits: u64, bound: u64) -> u64 {
    ((bits as u128 * bound as u128) >> 64) as u64
}

/// ln 2 as a fixed-point number of 32 fractional bits.
const LN_2_Q32: u128 = 0xB172_17F7;

/// `log2(1 + i/256)` with 32 fractional bits.
const LOG2_Q32: [u64; 257] = log2_table();

/// Binary logarithm of a value of at least 1, with 32 fractional bits, to about 2^-18: a table and a straight line.
fn log2_q32(value: u64) -> u64 {
    let whole = u64::from(value.ilog2());
    let fraction = (value << (63 - whole)) << 1;
    let (row, rest) = ((fraction >> 56) as usize, fraction << 8 >> 32);
    let (low, high) = (LOG2_Q32[row], LOG2_Q32[row + 1]);
    (whole << 32) + low + (((high - low) * rest) >> 32)
}

/// Digit by digit: squaring a number doubles its logarithm, whose next bit is set where the square reaches 2.
const fn log2_table() -> [u64; 257] {
    let mut table = [0; 257];
    let mut row = 0;
    while row < 256 {
        let mut square: u128 = (256 + row as u128) << 54; // 62 fractional bits
        let mut logarithm = 0;
        let mut bit = 0;
        while bit < 32 {
            square = (square * square) >> 62;
            logarithm <<= 1;
            if square >> 63 != 0 {
                square >>= 1;
                logarithm |= 1;
            }
            bit += 1;
        }
        table[row] = logarithm;
        row += 1;
    }
    table[256] = 1 << 32;
    table
}

/// Draws `i` with probability `weights[i] / sum` in constant time: the alias method (Walker 1977, built as by Vose
/// 1991), exact in integers.
#[derive(Debug)]
pub(super) struct Alias {
    /// Of each column: what the coin must stay below for the column's own number, and whose number it is otherwise.
    columns: Vec<(u64, u32)>,
    /// What the coin runs to: the sum of the weights.
    total: u64,
}

impl Alias {
    /// At least one weight above 0; the sum times the count must fit in 64 bits.
    pub(super) fn new(weights: &[u64]) -> Alias {
        let count = weights.len() as u64;
        let total: u64 = weights.iter().sum();
        let mut columns: Vec<(u64, u32)> =
            weights.iter().enumerate().map(|(i, weight)| (weight * count, i as u32)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..columns.len()).partition(|&i| columns[i].0 < total);
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            columns[poor].1 = rich as u32;
            columns[rich].0 -= total - columns[poor].0;
            if columns[rich].0 < total {
                large.pop();
                small.push(rich);
            }
        }
        Alias { columns, total }
    }

    /// One draw, of one random number: its product with the number of columns is the column above and, below the
    /// binary point, a coin that is as good as independent of it.
    pub(super) fn draw(&self, random: &mut Random) -> usize {
        let product = u128::from(random.bits()) * self.columns.len() as u128;
        let column = (product >> 64) as usize;
        let (own, alias) = self.columns[column];
        // Indexed instead of branched on: nobody could predict it.
        [alias as usize, column][usize::from(scale(product as u64, self.total) < own)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let first = |seed, stream| -> Vec<u64> {
            let mut random = Random::new(seed, stream);
            (0..4).map(|_| random.bits()).collect()
        };
        assert_eq!(first(1, 0), first(1, 0));
        assert_ne!(first(1, 0), first(1, 1));
        assert_ne!(first(1, 0), first(2, 0));
        assert_ne!(first(0, 1), first(1, 0));
    }

    #[test]
    fn logarithms_are_right_at_known_points() {
        for (value, want) in
            [(1, 0), (2, 1 << 32), (1 << 63, 63 << 32), (3, 6_807_362_105), (10, 14_267_572_527)]
        {
            let got = log2_q32(value);
            assert!(got.abs_diff(want) < 1 << 15, "log2({value}): {got}, want {want}");
        }
        assert!(log2_q32(u64::MAX) <= 64 << 32);
    }

    #[test]
    fn waiting_times_have_their_mean_and_their_shape() {
        let mut random = Random::new(7, 0);
        let draws: Vec<u64> = (0..200_000).map(|_| random.exponential(50_000)).collect();
        let mean = draws.iter().sum::<u64>() / draws.len() as u64;
        assert!((49_500..50_500).contains(&mean), "{mean}");
        let longer = draws.iter().filter(|&&draw| draw > 50_000).count();
        assert!((72_500..74_600).contains(&longer), "1/e of them exceed the mean: {longer}");
    }

    #[test]
    fn an_alias_table_draws_by_weight() {
        let weights = [10, 0, 30, 60];
        let alias = Alias::new(&weights);
        let mut random = Random::new(3, 9);
        let mut counts = [0_u64; 4];
        for _ in 0..100_000 {
            counts[alias.draw(&mut random)] += 1;
        }
        for (count, weight) in counts.into_iter().zip(weights) {
            assert!(count.abs_diff(weight * 1_000) < 700, "{counts:?}");
        }
    }
}
