use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Pixels that share one stream of random numbers.
const CHUNK: usize = 4096;

/// Changes each level with random numbers. Each part of the image has its own stream of `seed`'s generator, so that the
/// result does not depend on the number of threads.
pub fn change_randomly(levels: &mut [f32], seed: u64, change: impl Fn(&mut f32, &mut ChaCha8Rng) + Sync) {
    levels.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, levels)| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(chunk as u64);
        levels.iter_mut().for_each(|level| change(level, &mut rng));
    });
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn the_number_of_threads_changes_nothing_and_no_part_is_repeated() {
        let drawn = || {
            let mut levels = vec![0.0; 3 * CHUNK];
            change_randomly(&mut levels, 7, |v, rng| *v = rng.random());
            levels
        };
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let levels = drawn();
        assert_eq!(one.install(drawn), levels);
        assert_ne!(levels[..CHUNK], levels[CHUNK..2 * CHUNK]);
    }
}
