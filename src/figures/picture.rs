use super::font::{fitted, text_width, wrapped};
use super::style::{Ink, LEADING, Weight};

/// Which point of a line of text is at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The start.
    Start,
    /// The middle.
    Middle,
    /// The end.
    End,
}

/// A line of text.
#[derive(Clone, Debug, PartialEq)]
pub struct TextShape {
    /// The text, without control characters.
    pub text: String,
    /// Position of the anchor, px.
    pub x: f64,
    /// Position of the baseline, px.
    pub y: f64,
    /// Font size, px.
    pub size: f64,
    /// Weight.
    pub weight: Weight,
    /// Colour.
    pub ink: Ink,
    /// The point of the text at `x` (upright text: at `y`).
    pub anchor: Anchor,
    /// Whether the text reads from bottom to top, rotated about its position.
    pub upright: bool,
}

impl TextShape {
    /// Left, top, right and bottom of the text, px (ascent .85, descent .22 of the font size).
    pub fn extent(&self) -> [f64; 4] {
        let width = text_width(&self.text, self.size, self.weight);
        let start = match self.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -width / 2.0,
            Anchor::End => -width,
        };
        let (up, down) = (0.85 * self.size, 0.22 * self.size);
        if self.upright {
            [self.x - up, self.y - start - width, self.x + down, self.y - start]
        } else {
            [self.x + start, self.y - up, self.x + start + width, self.y + down]
        }
    }
}

/// A shape. Positions are in px, x right, y down.
#[derive(Clone, Debug, PartialEq)]
pub enum PictureShape {
    /// An open polyline.
    Line {
        /// Points.
        points: Vec<(f64, f64)>,
        /// Colour.
        ink: Ink,
        /// Width, px.
        width: f64,
    },
    /// A filled polygon.
    Area {
        /// Corners.
        points: Vec<(f64, f64)>,
        /// Colour.
        ink: Ink,
        /// Opacity, 0 to 1.
        alpha: f64,
    },
    /// A filled axis-parallel rectangle: left, top, right, bottom.
    Rect {
        /// Left, top, right, bottom.
        bounds: [f64; 4],
        /// Colour.
        ink: Ink,
        /// Opacity, 0 to 1.
        alpha: f64,
    },
    /// A filled circle.
    Disc {
        /// Centre.
        centre: (f64, f64),
        /// Radius, px.
        radius: f64,
        /// Colour.
        ink: Ink,
        /// Opacity, 0 to 1.
        alpha: f64,
    },
    /// A line of text.
    Text(TextShape),
}

/// A drawing: shapes in the order in which they are drawn, and its size.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Width, px.
    pub width: f64,
    /// Height, px.
    pub height: f64,
    /// Description of the content for screen readers.
    pub description: String,
    /// Shapes from bottom to top.
    pub shapes: Vec<PictureShape>,
}

impl Picture {
    /// An empty picture.
    pub fn new(width: f64, height: f64, description: &str) -> Picture {
        Picture { width, height, description: clean(description), shapes: Vec::new() }
    }

    /// Adds a line through points.
    pub fn line(&mut self, points: Vec<(f64, f64)>, ink: Ink, width: f64) {
        self.shapes.push(PictureShape::Line { points, ink, width });
    }

    /// Adds a dashed line between two points.
    pub fn dashed(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, width: f64) {
        const DASH: f64 = 6.0;
        const PERIOD: f64 = 10.0;
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let at = |d: f64| {
            let t = (d / length).min(1.0);
            (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1))
        };
        let dashes = if length > 0.0 { (length / PERIOD).ceil() as usize } else { 0 };
        for i in 0..dashes {
            let start = i as f64 * PERIOD;
            self.line(vec![at(start), at(start + DASH)], ink, width);
        }
    }

    /// Adds a filled polygon.
    pub fn area(&mut self, points: Vec<(f64, f64)>, ink: Ink, alpha: f64) {
        self.shapes.push(PictureShape::Area { points, ink, alpha });
    }

    /// Adds a filled rectangle; `bounds` are left, top, right, bottom.
    pub fn rect(&mut self, bounds: [f64; 4], ink: Ink, alpha: f64) {
        self.shapes.push(PictureShape::Rect { bounds, ink, alpha });
    }

    /// Adds the border of a rectangle (left, top, right, bottom).
    pub fn outline(&mut self, [l, t, r, b]: [f64; 4], ink: Ink, width: f64) {
        for (from, to) in [((l, t), (r, t)), ((r, t), (r, b)), ((r, b), (l, b)), ((l, b), (l, t))] {
            self.line(vec![from, to], ink, width);
        }
    }

    /// Adds a filled circle.
    pub fn disc(&mut self, centre: (f64, f64), radius: f64, ink: Ink, alpha: f64) {
        self.shapes.push(PictureShape::Disc { centre, radius, ink, alpha });
    }

    /// Adds a line of text, without control characters.
    pub fn text(&mut self, text: &str, (x, y): (f64, f64), size: f64, ink: Ink, anchor: Anchor) {
        self.place(TextShape { text: clean(text), x, y, size, weight: Weight::Regular, ink, anchor, upright: false });
    }

    /// Adds a line of bold text that starts at a point.
    pub fn bold(&mut self, text: &str, (x, y): (f64, f64), size: f64) {
        let (ink, anchor) = (Ink::Text, Anchor::Start);
        self.place(TextShape { text: clean(text), x, y, size, weight: Weight::Bold, ink, anchor, upright: false });
    }

    /// Adds text that reads from bottom to top, centred on a point and cut to `length` px.
    pub fn upright(&mut self, text: &str, (x, y): (f64, f64), size: f64, ink: Ink, length: f64) {
        let text = fitted(&clean(text), size, Weight::Regular, length);
        let (weight, anchor) = (Weight::Regular, Anchor::Middle);
        self.place(TextShape { text, x, y, size, weight, ink, anchor, upright: true });
    }

    /// Adds a paragraph of at most `width` px from `top` down and returns the y below it.
    pub fn paragraph(
        &mut self,
        text: &str,
        (x, top): (f64, f64),
        size: f64,
        weight: Weight,
        ink: Ink,
        width: f64,
    ) -> f64 {
        let mut y = top;
        for line in wrapped(&clean(text), size, weight, width) {
            let (anchor, upright) = (Anchor::Start, false);
            self.place(TextShape { text: line, x, y: y + 0.9 * size, size, weight, ink, anchor, upright });
            y += LEADING * size;
        }
        y
    }

    fn place(&mut self, text: TextShape) {
        if !text.text.is_empty() {
            self.shapes.push(PictureShape::Text(text));
        }
    }

    /// The texts of the picture.
    pub fn texts(&self) -> impl Iterator<Item = &TextShape> {
        self.shapes.iter().filter_map(|s| if let PictureShape::Text(t) = s { Some(t) } else { None })
    }

    /// Faults of the layout: pairs of texts that overlap, and texts that extend beyond the picture.
    pub fn collisions(&self) -> Vec<String> {
        let texts: Vec<(&TextShape, [f64; 4])> = self.texts().map(|t| (t, t.extent())).collect();
        let mut found = Vec::new();
        for (i, (text, a)) in texts.iter().enumerate() {
            if a[0] < 0.0 || a[1] < 0.0 || a[2] > self.width || a[3] > self.height {
                found.push(format!("{:?} extends beyond the picture: {a:?}", text.text));
            }
            for (other, b) in &texts[i + 1..] {
                if a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3] {
                    found.push(format!("{:?} overlaps {:?}", text.text, other.text));
                }
            }
        }
        found
    }
}

/// The text without control characters, which are not allowed in XML.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_and_cuts_are_found() {
        let mut picture = Picture::new(100.0, 40.0, "");
        picture.text("one", (10.0, 20.0), 12.0, Ink::Text, Anchor::Start);
        picture.text("two", (60.0, 20.0), 12.0, Ink::Text, Anchor::Start);
        assert!(picture.collisions().is_empty());
        picture.text("over", (15.0, 24.0), 12.0, Ink::Text, Anchor::Start);
        picture.text("\u{8}cut", (95.0, 20.0), 12.0, Ink::Text, Anchor::Start);
        assert_eq!(picture.collisions().len(), 2, "{:?}", picture.collisions());
        assert_eq!(picture.texts().last().unwrap().text, "cut");
    }
}
