use serde::{Deserialize, Serialize};

use crate::geometry::{Affine, CropSpace, Image, PixelBox};

/// The part of an image that a crop shows. It may extend beyond the image; the crop is black there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CropBox {
    /// Column of the image that is the first column of the crop.
    pub x: i64,
    /// Row of the image that is the first row of the crop.
    pub y: i64,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Whether a crop is made square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CropShape {
    /// As wide and as high as the hand.
    Tight,
    /// The shorter side is widened to the longer one.
    Square,
}

impl CropBox {
    /// The bounding box `hand`, grown by `margin` pixels on each side and cut to the image of `width` x `height`
    /// pixels.
    pub fn around(hand: PixelBox, margin: u32, shape: CropShape, width: u32, height: u32) -> CropBox {
        // A larger margin would add nothing; the limit also keeps the sums in range.
        let grown = hand.grown(margin.min(width.max(height)), width, height);
        let (w, h) = (grown.width(), grown.height());
        if shape == CropShape::Tight {
            return CropBox { x: grown.x_min.into(), y: grown.y_min.into(), width: w, height: h };
        }
        let side = w.max(h);
        CropBox {
            x: widened(grown.x_min, w, side, width),
            y: widened(grown.y_min, h, side, height),
            width: side,
            height: side,
        }
    }

    /// The whole image of `width` x `height` pixels; the square has the image in its middle.
    pub fn whole(width: u32, height: u32, shape: CropShape) -> CropBox {
        let all = PixelBox { x_min: 0, y_min: 0, x_max: width - 1, y_max: height - 1 };
        CropBox::around(all, 0, shape, width, height)
    }

    /// Maps coordinates of the image to coordinates of the crop.
    pub fn crop_from_image(&self) -> Affine<Image, CropSpace> {
        Affine::shift(-self.x as f64, -self.y as f64)
    }
}

/// First pixel of a range of `length` pixels from `start` after it is widened on both sides to `side` pixels and
/// shifted into 0..`limit`. A wider range than the limit is centred on it.
fn widened(start: u32, length: u32, side: u32, limit: u32) -> i64 {
    let (start, length, side, limit) = (i64::from(start), i64::from(length), i64::from(side), i64::from(limit));
    if side >= limit {
        return -(side - limit) / 2;
    }
    (start - (side - length) / 2).clamp(0, limit - side)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::Point;

    #[test]
    fn square_boxes_stay_in_the_image_where_they_fit() {
        let hand = PixelBox { x_min: 10, y_min: 0, x_max: 19, y_max: 59 };
        let square = CropBox::around(hand, 0, CropShape::Square, 100, 80);
        assert_eq!(square, CropBox { x: 0, y: 0, width: 60, height: 60 });
        let plain = CropBox::around(hand, 5, CropShape::Tight, 100, 80);
        assert_eq!(plain, CropBox { x: 5, y: 0, width: 20, height: 65 });
        assert_eq!(CropBox::whole(100, 80, CropShape::Square), CropBox { x: 0, y: -10, width: 100, height: 100 });
        assert_eq!(plain.crop_from_image().apply(Point::new(7.0, 1.0)), Point::new(2.0, 1.0));
        assert_eq!(
            CropBox::around(hand, u32::MAX, CropShape::Tight, 100, 80),
            CropBox::whole(100, 80, CropShape::Tight)
        );
    }

    proptest! {
        #[test]
        fn boxes_contain_the_hand(
            w in 1u32..300, h in 1u32..300, a in 0u32..300, b in 0u32..300, c in 0u32..300, d in 0u32..300,
            margin in 0u32..80, square: bool,
        ) {
            let hand = PixelBox {
                x_min: (a % w).min(b % w), x_max: (a % w).max(b % w), y_min: (c % h).min(d % h), y_max: (c % h).max(d % h),
            };
            let shape = if square { CropShape::Square } else { CropShape::Tight };
            let found = CropBox::around(hand, margin, shape, w, h);
            prop_assert!(found.x <= i64::from(hand.x_min) && found.y <= i64::from(hand.y_min));
            prop_assert!(found.x + i64::from(found.width) > i64::from(hand.x_max));
            prop_assert!(found.y + i64::from(found.height) > i64::from(hand.y_max));
            prop_assert!(!square || found.width == found.height);
        }
    }
}
