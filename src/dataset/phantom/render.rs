//! Converts attenuation to an 8-bit radiograph: exposure, scatter, blur, grain, collimation.

use super::attenuation::add_bones;
use super::draw::Draw;
use super::hand::{HandGeometry, TABLE_SIZE};
use super::objects::Object;
use super::soft_tissue::{depth, mottle, thickness};
use super::texture::{Grain, Noise};
use image::GrayImage;

/// Maximum grey level of bone; only metal and paper are brighter.
const BONE_LIMIT: f32 = 234.0;
/// Steps per px of depth in the look-up table of soft tissue thickness.
const STEPS: f32 = 4.0;

/// Parameters of the exposure of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposure {
    /// Seed of this image's noise.
    pub seed: u64,
    /// Number of this image in the data set; together with the seed it determines the noise.
    pub index: u64,
    /// Thickness of the cortex relative to a mean hand; thinner in older people.
    pub cortex: f64,
    /// Width of the soft tissue relative to a mean hand.
    pub flesh: f64,
    /// Bright objects to paint.
    pub objects: Vec<Object>,
}

/// Renders `hand` as a grey image, bone bright on black.
pub fn render(hand: &HandGeometry, exposure: &Exposure) -> GrayImage {
    let mut draw = Draw::new(exposure.seed, "exposure", exposure.index);
    let n = hand.size as usize;
    let mut bone = vec![0.0f32; n * n];
    add_bones(&mut bone, hand, exposure.cortex, &mut draw);

    let skin = depth(hand, exposure.flesh * draw.normal(1.0, 0.015));
    let muscle = mottle(hand, [Noise::new(&mut draw), Noise::new(&mut draw)]);
    let scatter = skin.map(thickness).blurred(9);
    let table: Vec<f32> = (0..=(1200.0 * STEPS) as usize).map(|i| thickness(i as f32 / STEPS)).collect();

    let k = (f64::from(hand.size) / TABLE_SIZE) as f32;
    let flesh_gain = draw.normal(0.40, 0.02) as f32;
    let contrast = draw.normal(0.90, 0.035) as f32;
    let brightness = draw.normal(1.0, 0.03) as f32;
    let black = draw.uniform(9.0, 15.0) as f32;
    let tilt = [draw.normal(0.0, 4.0) as f32, draw.normal(0.0, 4.0) as f32];
    let vignette = draw.uniform(1.5, 4.5) as f32;
    let grain_gain = draw.uniform(0.85, 1.15) as f32;
    let shutter = Shutter::draw(hand, &mut draw);
    let seed = draw.bits();

    let mut pixels = vec![0u8; n * n];
    let (mut deep, mut density, mut glow) = (vec![0.0f32; n], vec![0.0f32; n], vec![0.0f32; n]);
    let (mut grain, mut grain_above) = (vec![0.0f32; n + 1], vec![0.0f32; n + 1]);
    let mut fresh = Grain::new(seed, 0);
    grain_above.iter_mut().for_each(|g| *g = fresh.next());
    for y in 0..n {
        skin.row(y as u32, &mut deep);
        muscle.row(y as u32, &mut density);
        scatter.row(y as u32, &mut glow);
        let mut stream = Grain::new(seed, y as u64 + 1);
        grain.iter_mut().for_each(|g| *g = stream.next());
        let (above, below) = (y.saturating_sub(1) * n, (y + 1).min(n - 1) * n);
        let v = 2.0 * y as f32 / n as f32 - 1.0;
        for x in 0..n {
            // The beam's blur: 1-2-1 both ways.
            let (l, r) = (x.saturating_sub(1), (x + 1).min(n - 1));
            let row = |start: usize| bone[start + l] + 2.0 * bone[start + x] + bone[start + r];
            let mut shadow = (row(above) + 2.0 * row(y * n) + row(below)) * (1.0 / 16.0);
            if deep[x] > 0.0 {
                let step = (deep[x] * STEPS) as usize;
                let thick = table[step.min(table.len() - 1)];
                shadow += flesh_gain * thick * (1.0 + density[x]);
            }
            let u = 2.0 * x as f32 / n as f32 - 1.0;
            let air = black + tilt[0] * u + tilt[1] * v - vignette * (u * u + v * v) + 7.0 * glow[x];
            let open = shutter.open(x as f32, y as f32, k);
            let exposed = 236.0 * brightness * (1.0 - (-contrast * shadow).exp());
            let value = air.max(1.5) * open + exposed;
            // Grain is correlated between adjacent pixels and increases where few photons arrive.
            let noise = 0.7 * grain[x] + 0.5 * grain_above[x] + 0.5 * grain[x + 1];
            let noisy = value + noise * grain_gain * (0.9 + 0.0125 * value);
            pixels[y * n + x] = noisy.clamp(0.0, BONE_LIMIT) as u8;
        }
        std::mem::swap(&mut grain, &mut grain_above);
    }
    for object in &exposure.objects {
        object.paint(&mut pixels, hand, &mut draw);
    }
    GrayImage::from_raw(hand.size, hand.size, pixels).expect("one value per pixel")
}

/// The collimator's blades: outside them hardly any radiation arrives.
struct Shutter {
    /// Left, top, right, bottom in px; `None` if the image is not collimated.
    blades: Option<[f32; 4]>,
}

impl Shutter {
    /// A quarter of the images are collimated; the blades never cover the hand.
    fn draw(hand: &HandGeometry, draw: &mut Draw) -> Shutter {
        let collimated = draw.chance(0.25);
        let shares = [(); 4].map(|()| draw.uniform(0.2, 0.75));
        if !collimated {
            return Shutter { blades: None };
        }
        let limit = f64::from(hand.size);
        let margin = 80.0 * hand.unit;
        let all = || hand.outlines.iter().flatten();
        let left = (all().map(|p| p.x).fold(limit, f64::min) - margin).max(0.0) * shares[0];
        let top = (all().map(|p| p.y).fold(limit, f64::min) - margin).max(0.0) * shares[1];
        let right = limit - (limit - all().map(|p| p.x).fold(0.0, f64::max) - margin).max(0.0) * shares[2];
        Shutter { blades: Some([left as f32, top as f32, right as f32, limit as f32]) }
    }

    #[inline]
    fn open(&self, x: f32, y: f32, k: f32) -> f32 {
        let Some([left, top, right, bottom]) = self.blades else { return 1.0 };
        let inside = (x - left).min(y - top).min(right - x).min(bottom - y);
        0.35 + 0.65 * (0.5 + inside / (6.0 * k)).clamp(0.0, 1.0)
    }
}
