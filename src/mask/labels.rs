use super::runs::{PixelRun, scan};
use super::transform::for_each_resized;
use super::{HandMasks, MAX_PIXELS, RunMask};

/// A multi-label image: one `u32` per pixel, row-major; bit c is set if the pixel belongs to class c.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelImage {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height` words.
    pub words: Vec<u32>,
}

impl LabelImage {
    /// An image without any class.
    ///
    /// # Panics
    /// If `width * height` exceeds [`MAX_PIXELS`].
    pub fn empty(width: u32, height: u32) -> Self {
        assert!(
            u64::from(width) * u64::from(height) <= MAX_PIXELS,
            "{width}x{height} is more than {MAX_PIXELS} pixels"
        );
        LabelImage { width, height, words: vec![0; width as usize * height as usize] }
    }

    /// The label image of the masks of an image.
    pub fn from_masks(masks: &HandMasks) -> Self {
        let mut image = Self::empty(masks.width(), masks.height());
        for (bone, mask) in masks.iter() {
            for run in mask.runs() {
                image.paint(bone.index(), run.start as usize, run.end() as usize);
            }
        }
        image
    }

    /// The label image at another size, without resized masks in between. Pixels are chosen as in [`RunMask::resized`].
    pub fn from_masks_resized(masks: &HandMasks, width: u32, height: u32) -> Self {
        let mut image = Self::empty(width, height);
        for (bone, mask) in masks.iter() {
            for_each_resized(mask, width, height, |(top, bottom), (x_start, x_end)| {
                for y in top as usize..bottom as usize {
                    let row = y * width as usize;
                    image.paint(bone.index(), row + x_start as usize, row + x_end as usize);
                }
            });
        }
        image
    }

    /// The mask of one class.
    ///
    /// # Panics
    /// If there are not `width * height` words.
    pub fn mask(&self, class: usize) -> RunMask {
        assert_eq!(self.words.len() as u64, u64::from(self.width) * u64::from(self.height), "one word per pixel");
        let bit = 1u32 << class;
        RunMask::from_maximal_runs(self.width, self.height, scan(&self.words, |word| word & bit != 0))
    }

    /// The masks of the first `classes` classes; see [`masks_of_words`].
    ///
    /// # Panics
    /// If there are not `width * height` words.
    pub fn masks(&self, classes: usize) -> Vec<RunMask> {
        masks_of_words(&self.words, self.width, self.height, classes)
    }

    fn paint(&mut self, class: usize, from: usize, to: usize) {
        let bit = 1u32 << class;
        for word in &mut self.words[from..to] {
            *word |= bit;
        }
    }
}

/// The masks of the first `classes` classes (at most 32) of row-major label words, in one pass.
///
/// # Panics
/// If there are not `width * height` words.
pub fn masks_of_words(words: &[u32], width: u32, height: u32, classes: usize) -> Vec<RunMask> {
    /// Number of words compared together: in most blocks all words are equal.
    const BLOCK: usize = 64;
    assert_eq!(words.len() as u64, u64::from(width) * u64::from(height), "one word per pixel");
    let mut runs: Vec<Vec<PixelRun>> = vec![Vec::new(); classes];
    let mut starts = vec![0u32; classes];
    let wanted = u32::MAX.checked_shl(classes as u32).map_or(u32::MAX, |above| !above);
    let mut current = 0;
    let mut change = |at: usize, word: u32, current: u32| {
        let mut changed = (word ^ current) & wanted;
        while changed != 0 {
            let class = changed.trailing_zeros() as usize;
            if word >> class & 1 == 1 {
                starts[class] = at as u32;
            } else {
                runs[class].push(PixelRun { start: starts[class], len: at as u32 - starts[class] });
            }
            changed &= changed - 1;
        }
    };
    for (block, some) in words.chunks(BLOCK).enumerate() {
        if some.iter().fold(false, |differs, word| differs | (*word != current)) {
            for (i, word) in some.iter().enumerate() {
                if *word != current {
                    change(block * BLOCK + i, *word, current);
                    current = *word;
                }
            }
        }
    }
    change(words.len(), 0, current);
    runs.into_iter().map(|runs| RunMask::from_maximal_runs(width, height, runs)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_finds_the_masks_of_all_classes() {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let words: Vec<u32> = (0..37 * 23)
            .scan(0u32, |word, _| {
                if rng.random_bool(0.1) {
                    *word = rng.random();
                }
                Some(*word)
            })
            .collect();
        let image = LabelImage { width: 37, height: 23, words };
        for classes in [0, 1, 29, 32] {
            let one_by_one: Vec<RunMask> = (0..classes).map(|class| image.mask(class)).collect();
            assert_eq!(image.masks(classes), one_by_one);
        }
    }
}
