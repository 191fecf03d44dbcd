use image::{Rgb, RgbImage};

/// Colour of the most negative distances, of 0 and of the most positive ones.
const INSIDE: [f32; 3] = [33.0, 102.0, 172.0];
const EDGE: [f32; 3] = [255.0, 255.0, 255.0];
const OUTSIDE: [f32; 3] = [178.0, 24.0, 43.0];
/// Distance between two contour lines is a round number of px that gives about this many on the larger side.
const LINES: f32 = 8.0;

/// A picture of signed distances, `width` per row: blue inside, white at the edge, red outside, with contour lines. The
/// inside and the outside have a scale of their own, up to their largest distance.
///
/// # Panics
/// If `distances` is not a multiple of `width`.
pub fn distance_map(distances: &[f32], width: u32) -> RgbImage {
    let height = distances.len() as u32 / width;
    assert_eq!(distances.len(), width as usize * height as usize, "whole rows");
    let (least, most) = distances.iter().fold((0.0f32, 0.0f32), |(a, b), d| (a.min(*d), b.max(*d)));
    let step = contour_step(most.max(-least));
    let line = |d: f32| (d / step).floor();
    RgbImage::from_fn(width, height, |x, y| {
        let at = (y * width + x) as usize;
        let d = distances[at];
        let (colour, share) = if d < 0.0 { (INSIDE, d / least) } else { (OUTSIDE, d / most.max(f32::MIN_POSITIVE)) };
        let next = |to: usize, is_there: bool| is_there && line(distances[to]) != line(d);
        let is_line = next(at + 1, x + 1 < width) || next(at + width as usize, y + 1 < height);
        let shade = if is_line { 0.75 } else { 1.0 };
        let mix = |c: usize| (shade * (EDGE[c] + share.clamp(0.0, 1.0) * (colour[c] - EDGE[c]))).round() as u8;
        Rgb([mix(0), mix(1), mix(2)])
    })
}

/// The distance between contour lines: 1, 2 or 5 times a power of ten.
fn contour_step(most: f32) -> f32 {
    let rough = (most / LINES).max(1.0);
    let power = 10f32.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_is_blue_outside_red_and_the_edge_white() {
        let picture = distance_map(&[-4.0, -4.0, 0.0, 0.0, 4.0, 4.0], 6);
        let at = |x| picture.get_pixel(x, 0).0;
        assert_eq!((at(0), at(2), at(5)), ([33, 102, 172], [255, 255, 255], [178, 24, 43]));
        // Levels change between columns 1 and 2 and between 3 and 4: contour lines, darker.
        assert_eq!((at(1), at(3)), ([25, 77, 129], [191, 191, 191]));
        assert_eq!(distance_map(&[0.0; 4], 2).get_pixel(1, 1).0, [255; 3]);
    }

    #[test]
    fn contour_lines_have_round_distances() {
        assert_eq!([3.0, 40.0, 100.0, 700.0].map(contour_step), [1.0, 5.0, 20.0, 100.0]);
    }
}
