//! Placing the bones' names so that they do not overlap.

use image::{Rgb, RgbImage};
use imageproc::drawing::draw_line_segment_mut;

use super::text;

/// A name and the point that it labels.
pub(super) struct Name<'a> {
    pub text: &'a str,
    pub x: f64,
    pub y: f64,
    pub colour: [u8; 3],
}

/// The rectangle of a name, in px.
#[derive(Clone, Copy)]
struct Frame {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Frame {
    fn overlap(&self, other: &Frame) -> f64 {
        let w = (self.x + self.width).min(other.x + other.width) - self.x.max(other.x);
        let h = (self.y + self.height).min(other.y + other.height) - self.y.max(other.y);
        w.max(0.0) * h.max(0.0)
    }
}

/// Directions from the point that are tried, in order of preference.
const DIRECTIONS: [(f64, f64); 8] =
    [(1.0, 0.0), (-1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (0.8, -0.7), (-0.8, -0.7), (0.8, 0.7), (-0.8, 0.7)];

/// Writes each name on its point if there is room, else at the nearest free place around it with a line to the point.
pub(super) fn draw(picture: &mut RgbImage, names: &[Name], px: f32) {
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    let mut taken: Vec<Frame> = Vec::new();
    let mut placed = Vec::new();
    for name in names {
        let (w, h) = (f64::from(text::width(name.text, px)) + 4.0, f64::from(px) + 2.0);
        let frame = |cx: f64, cy: f64| Frame {
            x: (cx - w / 2.0).clamp(0.0, (width - w).max(0.0)),
            y: (cy - h / 2.0).clamp(0.0, (height - h).max(0.0)),
            width: w,
            height: h,
        };
        let crowding = |f: &Frame| taken.iter().map(|t| t.overlap(f)).sum::<f64>();
        let mut best = frame(name.x, name.y);
        let mut least = crowding(&best);
        'search: for ring in 1..=8 {
            if least == 0.0 {
                break;
            }
            for (dx, dy) in DIRECTIONS {
                let reach = f64::from(ring) * 0.75;
                let candidate = frame(name.x + dx * reach * w.min(5.0 * h), name.y + dy * reach * h * 1.4);
                let crowd = crowding(&candidate);
                if crowd < least {
                    (best, least) = (candidate, crowd);
                }
                if least == 0.0 {
                    break 'search;
                }
            }
        }
        taken.push(best);
        placed.push((name, best));
    }
    for (name, frame) in &placed {
        let inside =
            (frame.x..frame.x + frame.width).contains(&name.x) && (frame.y..frame.y + frame.height).contains(&name.y);
        if !inside {
            let end = (
                name.x.clamp(frame.x, frame.x + frame.width) as f32,
                name.y.clamp(frame.y, frame.y + frame.height) as f32,
            );
            draw_line_segment_mut(picture, (name.x as f32, name.y as f32), end, Rgb(name.colour));
        }
    }
    for (name, frame) in &placed {
        text::draw_haloed(picture, frame.x as f32 + 2.0, frame.y as f32 + 1.0, name.text, px, lightened(name.colour));
    }
}

/// The colour mixed with much white, so that it is legible on a dark halo.
fn lightened(colour: [u8; 3]) -> [u8; 3] {
    colour.map(|c| 178 + (u16::from(c) * 77 / 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_overlap_by_area() {
        let a = Frame { x: 0.0, y: 0.0, width: 10.0, height: 10.0 };
        assert_eq!(a.overlap(&Frame { x: 5.0, y: 5.0, ..a }), 25.0);
        assert_eq!(a.overlap(&Frame { x: 10.0, y: 0.0, ..a }), 0.0);
    }

    #[test]
    fn crowded_names_do_not_hide_each_other() {
        let names = ["Scaphoid", "Lunate", "Triquetrum", "Pisiform"];
        let solo: usize = names.iter().map(|n| lit(&[(n, 100.0, 100.0)])).sum();
        let all: Vec<_> = names.iter().map(|n| (n, 100.0, 100.0)).collect();
        let together = lit(&all);
        assert!(together as f64 > 0.95 * solo as f64, "{together} bright pixels together, {solo} alone");
    }

    fn lit(names: &[(&&str, f64, f64)]) -> usize {
        let mut picture = RgbImage::new(220, 220);
        let names: Vec<Name> = names.iter().map(|(text, x, y)| Name { text, x: *x, y: *y, colour: [255; 3] }).collect();
        draw(&mut picture, &names, 13.0);
        picture.pixels().filter(|p| p.0[0] > 100).count()
    }

    #[test]
    fn a_name_wider_than_the_picture_does_not_panic() {
        let mut picture = RgbImage::new(12, 6);
        draw(&mut picture, &[Name { text: "Triquetrum", x: 3.0, y: 3.0, colour: [255; 3] }], 13.0);
        assert!(picture.pixels().any(|p| p.0 != [0; 3]));
    }
}
