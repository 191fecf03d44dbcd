//! Whether a radiograph is stored with its grey levels inverted.

use super::GreyImage;

/// Distance of the sampled lines from the edge, as a share of the side: inside the digitiser's strips, outside the
/// hand.
const INSET: f64 = 0.08;
/// Minimum level of a bright background.
const BRIGHT: f64 = 0.6 * 255.0;
/// Minimum step from the middle of the image up to a bright background.
const STEP: f64 = 0.1 * 255.0;
/// Pixels sampled along a line.
const SAMPLES: u32 = 256;

/// Whether the background is bright and the hand darker. Radiographs that are not inverted have a dark background at
/// the top and the sides, where the hand rarely is (the forearm enters from below). Medians are compared, so that a
/// label or a fingertip there has no effect.
pub fn looks_inverted(image: &GreyImage) -> bool {
    let (width, height) = image.dimensions();
    if width < 16 || height < 16 {
        return false;
    }
    let (x, y) = ((f64::from(width) * INSET) as u32, (f64::from(height) * INSET) as u32);
    let mut around = Vec::new();
    let mut middle = Vec::new();
    for i in 0..SAMPLES {
        let along = |side: u32| ((u64::from(side - 1) * u64::from(i)) / u64::from(SAMPLES - 1)) as u32;
        around.extend([image.level_at(along(width), y), image.level_at(x, along(height))]);
        around.push(image.level_at(width - 1 - x, along(height)));
        let inner = |side: u32| side / 4 + along(side / 2);
        for j in 0..8 {
            middle.push(image.level_at(inner(width), height / 4 + height / 2 * j / 8));
        }
    }
    // An image may use few of its 16 bits, whatever the top level of the data set is.
    let top = match image.sixteen_bit_top() {
        Some(_) => own_top(around.iter().chain(&middle)),
        None => image.top(),
    };
    let scale = 255.0 / f64::from(top);
    let (around, middle) = (scale * median(around), scale * median(middle));
    around >= BRIGHT && around - middle >= STEP
}

/// The smallest 2^n - 1 that none of the levels exceeds, at least 255.
fn own_top<'a>(levels: impl Iterator<Item = &'a u16>) -> u16 {
    let highest = levels.copied().max().unwrap_or(0);
    u16::MAX >> highest.leading_zeros().min(8)
}

fn median(mut levels: Vec<u16>) -> f64 {
    levels.sort_unstable();
    f64::from(levels[levels.len() / 2])
}
