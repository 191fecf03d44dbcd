//! Bright objects that are no bones: rings, nail art, implants, and white strips at the image's border.

use serde::{Deserialize, Serialize};

use super::draw::Draw;
use super::hand::{HandGeometry, TABLE_SIZE};
use super::pose::FINGERS;
use crate::geometry::Point;
use crate::wording::counted;

/// A bright object; lengths in px at 2048.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// A ring on the proximal phalanx of a finger (0 is the thumb).
    Ring {
        /// Thumb 0 to little finger 4.
        finger: usize,
    },
    /// Painted or artificial nails on the first `fingers` fingers from the index finger on.
    NailArt {
        /// Number of nails.
        fingers: usize,
    },
    /// A plate with screws on a metacarpal's shaft.
    Implant {
        /// Thumb 0 to little finger 4.
        finger: usize,
    },
    /// White rows at the top.
    StripTop {
        /// Number of rows.
        width: u32,
    },
    /// White columns at the left.
    StripLeft {
        /// Number of columns.
        width: u32,
    },
}

impl Object {
    /// The fault's kind in `truth.json`.
    pub fn kind(&self) -> &'static str {
        match self {
            Object::Ring { .. } => "ring",
            Object::NailArt { .. } => "nail_art",
            Object::Implant { .. } => "implant",
            Object::StripTop { .. } => "strip_top",
            Object::StripLeft { .. } => "strip_left",
        }
    }

    /// Description of the object and its place, for people.
    pub fn describe(&self) -> String {
        match self {
            Object::Ring { finger } => format!("a ring on finger {finger} (0 is the thumb)"),
            Object::NailArt { fingers } => {
                format!("nail art from the index finger on, on {}", counted(*fingers, "finger", "fingers"))
            }
            Object::Implant { finger } => format!("a plate on the metacarpal of finger {finger} (0 is the thumb)"),
            Object::StripTop { width } => format!("a white strip at the top, {width} px wide at 2048 px"),
            Object::StripLeft { width } => format!("a white strip at the left, {width} px wide at 2048 px"),
        }
    }

    /// Draws it on an exposed image of `hand`.
    pub fn paint(&self, pixels: &mut [u8], hand: &HandGeometry, draw: &mut Draw) {
        let k = f64::from(hand.size) / TABLE_SIZE;
        let mut brush = Brush { pixels, size: hand.size, draw };
        let along = |b: usize, t: f64| {
            let (d, p) = hand.axes[b];
            Point::new(p.x + (d.x - p.x) * t, p.y + (d.y - p.y) * t)
        };
        match *self {
            Object::Ring { finger } => {
                let bone = FINGERS[finger.min(4)][1];
                let (low, high) = (along(bone, 0.40), along(bone, 0.40 + 26.0 * k / length(hand, bone)));
                let (ax, ay) = (high.x - low.x, high.y - low.y);
                let step = 58.0 * hand.unit / ax.hypot(ay).max(1e-9);
                let (sx, sy) = (-ay * step, ax * step);
                // The band is curved, as it is seen slightly from the side.
                let corner =
                    |p: Point, side: f64, bow: f64| Point::new(p.x + side * sx + bow * ax, p.y + side * sy + bow * ay);
                let band: Vec<Point> = (-8..=8)
                    .map(|i| corner(low, f64::from(i) / 8.0, -0.5 * (1.0 - f64::from(i * i) / 64.0)))
                    .chain(
                        (-8..=8)
                            .rev()
                            .map(|i| corner(high, f64::from(i) / 8.0, -0.5 * (1.0 - f64::from(i * i) / 64.0))),
                    )
                    .collect();
                brush.polygon(&band, 249.0);
            }
            Object::NailArt { fingers } => {
                for chain in FINGERS[1..].iter().take(fingers.clamp(1, 4)) {
                    let bone = chain[3];
                    brush.ellipse(along(bone, 0.80), along(bone, 1.22), 0.62, 246.0);
                    brush.ellipse(along(bone, 0.92), along(bone, 1.08), 0.9, 253.0);
                }
            }
            Object::Implant { finger } => {
                let bone = FINGERS[finger.min(4)][0];
                let (a, b) = (along(bone, 0.22), along(bone, 0.80));
                let (ux, uy) = ((b.x - a.x) / a.distance(b), (b.y - a.y) / a.distance(b));
                let half = 11.0 * k;
                let plate = [(a, -1.0), (b, -1.0), (b, 1.0), (a, 1.0)]
                    .map(|(p, s)| Point::new(p.x - s * half * uy, p.y + s * half * ux));
                brush.polygon(&plate, 248.0);
                for i in 0..5 {
                    let c = along(bone, 0.26 + 0.125 * f64::from(i));
                    let reach = 34.0 * hand.unit;
                    let (h, w) = (3.5 * k, reach);
                    let screw = [(-w, -h), (w, -h), (w, h), (-w, h)]
                        .map(|(across, up)| Point::new(c.x - across * uy + up * ux, c.y + across * ux + up * uy));
                    brush.polygon(&screw, 251.0);
                }
            }
            Object::StripTop { width } => brush.strip(width, k, true),
            Object::StripLeft { width } => brush.strip(width, k, false),
        }
    }
}

fn length(hand: &HandGeometry, bone: usize) -> f64 {
    let (d, p) = hand.axes[bone];
    d.distance(p).max(1e-9)
}

struct Brush<'a> {
    pixels: &'a mut [u8],
    size: u32,
    draw: &'a mut Draw,
}

impl Brush<'_> {
    /// Fills an outline with `value` and some noise, with darker pixels at the edge.
    fn polygon(&mut self, outline: &[Point], value: f64) {
        let Some(mask) = super::raster::fill(outline, self.size, 0.0) else { return };
        let deep = super::raster::depth(&mask);
        for (i, &inside) in mask.values.iter().enumerate() {
            let (x, y) = (mask.x + (i % mask.width) as i32, mask.y + (i / mask.width) as i32);
            if !inside || x < 0 || y < 0 || x >= self.size as i32 || y >= self.size as i32 {
                continue;
            }
            let at = &mut self.pixels[y as usize * self.size as usize + x as usize];
            let rim = if deep.values[i] < 1.0 && self.size >= 1024 { 0.8 } else { 1.0 };
            let bright = (value + self.draw.normal(0.0, 1.5)).clamp(241.0, 255.0) * rim;
            *at = (*at).max(bright as u8);
        }
    }

    /// Fills an ellipse with the axis from `a` to `b`; its width is a share of its length.
    fn ellipse(&mut self, a: Point, b: Point, share: f64, value: f64) {
        let c = Point::new((a.x + b.x) / 2.0, (a.y + b.y) / 2.0);
        let (ux, uy) = ((b.x - a.x) / 2.0, (b.y - a.y) / 2.0);
        let outline: Vec<Point> = (0..28)
            .map(|i| (f64::from(i) * std::f64::consts::TAU / 28.0).sin_cos())
            .map(|(s, o)| Point::new(c.x + o * ux - share * s * uy, c.y + o * uy + share * s * ux))
            .collect();
        self.polygon(&outline, value);
    }

    fn strip(&mut self, width: u32, k: f64, top: bool) {
        let n = self.size as usize;
        let width = ((f64::from(width) * k).round() as usize).clamp(1, n);
        for i in 0..n {
            for j in 0..width {
                let at = if top { j * n + i } else { i * n + j };
                self.pixels[at] = 255;
            }
        }
    }
}
