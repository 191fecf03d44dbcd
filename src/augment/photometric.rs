/// `v * (1 + contrast) + 255 * brightness`, kept within 0 to 255.
pub fn brightness_contrast(pixels: &mut [f32], brightness: f64, contrast: f64) {
    if brightness == 0.0 && contrast == 0.0 {
        return;
    }
    let (alpha, beta) = ((1.0 + contrast) as f32, (255.0 * brightness) as f32);
    pixels.iter_mut().for_each(|v| *v = v.mul_add(alpha, beta).clamp(0.0, 255.0));
}

/// `(v / 255 - mean) / sd`.
pub fn normalise(pixels: &mut [f32], mean: f32, sd: f32) {
    let (scale, offset) = (1.0 / (255.0 * sd), -mean / sd);
    pixels.iter_mut().for_each(|v| *v = v.mul_add(scale, offset));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut pixels = [0.0, 100.0, 250.0];
        brightness_contrast(&mut pixels, 0.1, 0.2);
        assert_eq!(pixels, [25.5, 145.5, 255.0]);
        normalise(&mut pixels, 0.5, 0.25);
        assert!((pixels[0] + 1.6).abs() < 1e-6 && (pixels[2] - 2.0).abs() < 1e-6);
    }
}
