use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The use of a random generator. Two uses never have the same random numbers.
#[derive(Clone, Copy)]
pub(super) enum Use {
    Order = 1,
    Augment = 2,
    Step = 3,
    UnlabelledOrder = 4,
    UnlabelledAugment = 5,
}

/// The random generator of (seed, use, a, b). The same arguments always give the same generator.
pub(super) fn generator(seed: u64, of: Use, a: u64, b: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (place, word) in key.chunks_exact_mut(8).zip([seed, of as u64, a, b]) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// Seeds libtorch's global generator, which dropout and stochastic depth use, for one step.
pub(super) fn seed_step(seed: u64, step: u64) {
    use rand::RngExt;
    let value: i64 = generator(seed, Use::Step, step, 0).random_range(0..=i64::MAX);
    tch::manual_seed(value);
}
