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
    Statistics = 6,
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
    seed_libtorch(generator(seed, Use::Step, step, 0));
}

/// The same for a batch from which the statistics of batch norms are estimated after `epoch` epochs.
pub(super) fn seed_statistics(seed: u64, epoch: u64, batch: u64) {
    seed_libtorch(generator(seed, Use::Statistics, epoch, batch));
}

fn seed_libtorch(mut from: ChaCha8Rng) {
    use rand::RngExt;
    let value: i64 = from.random_range(0..=i64::MAX);
    tch::manual_seed(value);
}
