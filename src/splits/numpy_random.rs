//! The parts of numpy's legacy random generator that scikit-learn's splitters use.

use rand_mt::Mt;

/// `numpy.random.RandomState(seed)` for a whole-number seed: MT19937 (Matsumoto and Nishimura, 1998) seeded by
/// `init_genrand`. numpy's compatibility policy (NEP 19) freezes the stream, so folds stay the same in all versions.
pub struct RandomState {
    twister: Mt,
}

impl RandomState {
    /// The generator `RandomState(seed)`.
    pub fn new(seed: u32) -> Self {
        RandomState { twister: Mt::new(seed) }
    }

    /// Shuffles in place like `RandomState.shuffle` of a one-dimensional array; `RandomState.permutation` is the same shuffle of a
    /// copy.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.interval(i as u64);
            items.swap(i, j as usize);
        }
    }

    /// A random number from 0 to `max`, inclusive, by rejection of masked draws above `max`.
    fn interval(&mut self, max: u64) -> u64 {
        if max == 0 {
            return 0;
        }
        let mask = u64::MAX >> max.leading_zeros();
        loop {
            let draw = if max <= u64::from(u32::MAX) {
                u64::from(self.twister.next_u32())
            } else {
                // The high word is drawn first.
                let high = u64::from(self.twister.next_u32());
                high << 32 | u64::from(self.twister.next_u32())
            };
            if draw & mask <= max {
                return draw & mask;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffles_like_numpy() {
        // numpy.random.RandomState(42).permutation(10) and RandomState(0).permutation(6)
        let mut ten: Vec<u32> = (0..10).collect();
        RandomState::new(42).shuffle(&mut ten);
        assert_eq!(ten, [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]);
        let mut six: Vec<u32> = (0..6).collect();
        RandomState::new(0).shuffle(&mut six);
        assert_eq!(six, [5, 2, 1, 3, 0, 4]);
    }

    #[test]
    fn short_lists_draw_no_random_numbers() {
        let mut state = RandomState::new(1);
        state.shuffle::<u8>(&mut []);
        state.shuffle(&mut [1u8]);
        assert_eq!(state.twister.next_u32(), Mt::new(1).next_u32());
    }
}
