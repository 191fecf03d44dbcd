use super::font::{fitted, text_width, wrapped};
use super::style::{Ink, LEADING};

/// Which point of a line of text its position names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its start.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
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
    /// Type size, px.
    pub size: f64,
    /// Weight.
    pub bold: bool,
    /// Colour.
    pub ink: Ink,
    /// What `x` (upright text: `y`) is.
    pub anchor: Anchor,
    /// Read from bottom to top, turned about its position.
    pub upright: bool,
}

impl TextShape {
    /// Left, top, right, bottom of the text's extent (ascent .85, descent .22 of the type size).
    pub fn extent(&self) -> [f64; 4] {
        let width = text_width(&self.text, self.size, self.bold);
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

/// Something drawn. Positions in px, x right, y down.
#[derive(Clone, Debug, PartialEq)]
pub enum PictureShape {
    /// An open line through points.
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

/// Shapes in the order in which they are drawn, on paper of a size.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Width, px.
    pub width: f64,
    /// Height, px.
    pub height: f64,
    /// What it shows, for those who cannot see it.
    pub description: String,
    /// Shapes, the first at the bottom.
    pub shapes: Vec<PictureShape>,
}

impl Picture {
    /// Empty paper.
    pub fn new(width: f64, height: f64, description: &str) -> Picture {
        Picture { width, height, description: clean(description), shapes: Vec::new() }
    }

    /// A line from point to point.
    pub fn line(&mut self, points: Vec<(f64, f64)>, ink: Ink, width: f64) {
        self.shapes.push(PictureShape::Line { points, ink, width });
    }

    /// A dashed line between two points.
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

    /// A filled polygon.
    pub fn area(&mut self, points: Vec<(f64, f64)>, ink: Ink, alpha: f64) {
        self.shapes.push(PictureShape::Area { points, ink, alpha });
    }

    /// A filled rectangle: left, top, right, bottom.
    pub fn rect(&mut self, bounds: [f64; 4], ink: Ink, alpha: f64) {
        self.shapes.push(PictureShape::Rect { bounds, ink, alpha });
    }

    /// The border of a rectangle.
    pub fn outline(&mut self, [l, t, r, b]: [f64; 4], ink: Ink, width: f64) {
        for (from, to) in [((l, t), (r, t)), ((r, t), (r, b)), ((r, b), (l, b)), ((l, b), (l, t))] {
            self.line(vec![from, to], ink, width);
        }
    }

    /// A filled circle.
    pub fn disc(&mut self, centre: (f64, f64), radius: f64, ink: Ink, alpha: f64) {
        self.shapes.push(PictureShape::Disc { centre, radius, ink, alpha });
    }

    /// A line of text; control characters are left out.
    pub fn text(&mut self, text: &str, (x, y): (f64, f64), size: f64, ink: Ink, anchor: Anchor) {
        self.place(TextShape { text: clean(text), x, y, size, bold: false, ink, anchor, upright: false });
    }

    /// A line of bold text that starts at a point.
    pub fn bold(&mut self, text: &str, (x, y): (f64, f64), size: f64) {
        let (ink, anchor) = (Ink::Text, Anchor::Start);
        self.place(TextShape { text: clean(text), x, y, size, bold: true, ink, anchor, upright: false });
    }

    /// Text centred on a point, read from bottom to top, cut to `length`.
    pub fn upright(&mut self, text: &str, (x, y): (f64, f64), size: f64, ink: Ink, length: f64) {
        let text = fitted(&clean(text), size, false, length);
        self.place(TextShape { text, x, y, size, bold: false, ink, anchor: Anchor::Middle, upright: true });
    }

    /// A paragraph from `top` down within `width`; returns the y below it.
    pub fn paragraph(&mut self, text: &str, (x, top): (f64, f64), size: f64, bold: bool, ink: Ink, width: f64) -> f64 {
        let mut y = top;
        for line in wrapped(&clean(text), size, bold, width) {
            let (anchor, upright) = (Anchor::Start, false);
            self.place(TextShape { text: line, x, y: y + 0.9 * size, size, bold, ink, anchor, upright });
            y += LEADING * size;
        }
        y
    }

    fn place(&mut self, text: TextShape) {
        if !text.text.is_empty() {
            self.shapes.push(PictureShape::Text(text));
        }
    }

    /// Texts of the picture.
    pub fn texts(&self) -> impl Iterator<Item = &TextShape> {
        self.shapes.iter().filter_map(|s| if let PictureShape::Text(t) = s { Some(t) } else { None })
    }

    /// What a reader would stumble over: pairs of texts that overlap, and texts that leave the paper.
    pub fn collisions(&self) -> Vec<String> {
        let texts: Vec<(&TextShape, [f64; 4])> = self.texts().map(|t| (t, t.extent())).collect();
        let mut found = Vec::new();
        for (i, (text, a)) in texts.iter().enumerate() {
            if a[0] < 0.0 || a[1] < 0.0 || a[2] > self.width || a[3] > self.height {
                found.push(format!("{:?} leaves the paper: {a:?}", text.text));
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

/// Without control characters, which XML cannot hold.
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
