use serde::{Deserialize, Serialize};

use crate::geometry::{Affine, CropSpace, Image, PixelBox};

/// The part of an image that a crop shows; may reach beyond the image, where the crop is black.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CropBox {
    /// Column of the image that is the crop's first.
    pub x: i64,
    /// Row of the image that is the crop's first.
    pub y: i64,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl CropBox {
    /// `hand` with a margin, cut to the image of `width` x `height`; made square over its shorter side where asked for.
    pub fn around(hand: PixelBox, margin: u32, square: bool, width: u32, height: u32) -> CropBox {
        // Beyond the image there is nothing to keep; this also keeps the sums in range.
        let grown = hand.grown(margin.min(width.max(height)), width, height);
        let (w, h) = (grown.width(), grown.height());
        if !square {
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

    /// The whole image, or a square with the image in its middle.
    pub fn whole(width: u32, height: u32, square: bool) -> CropBox {
        let all = PixelBox { x_min: 0, y_min: 0, x_max: width - 1, y_max: height - 1 };
        CropBox::around(all, 0, square, width, height)
    }

    /// Coordinates of the image to coordinates of the crop.
    pub fn crop_from_image(&self) -> Affine<Image, CropSpace> {
        Affine::shift(-self.x as f64, -self.y as f64)
    }
}

/// First pixel of a stretch of `length` from `start`, widened to `side` on both sides, shifted into 0..`limit` where
/// it fits, else with that range in its middle.
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
        let square = CropBox::around(hand, 0, true, 100, 80);
        assert_eq!(square, CropBox { x: 0, y: 0, width: 60, height: 60 });
        let plain = CropBox::around(hand, 5, false, 100, 80);
        assert_eq!(plain, CropBox { x: 5, y: 0, width: 20, height: 65 });
        assert_eq!(CropBox::whole(100, 80, true), CropBox { x: 0, y: -10, width: 100, height: 100 });
        assert_eq!(plain.crop_from_image().apply(Point::new(7.0, 1.0)), Point::new(2.0, 1.0));
        assert_eq!(CropBox::around(hand, u32::MAX, false, 100, 80), CropBox::whole(100, 80, false));
    }

    proptest! {
        #[test]
        fn boxes_hold_the_hand(
            w in 1u32..300, h in 1u32..300, a in 0u32..300, b in 0u32..300, c in 0u32..300, d in 0u32..300,
            margin in 0u32..80, square: bool,
        ) {
            let hand = PixelBox {
                x_min: (a % w).min(b % w), x_max: (a % w).max(b % w), y_min: (c % h).min(d % h), y_max: (c % h).max(d % h),
            };
            let found = CropBox::around(hand, margin, square, w, h);
            prop_assert!(found.x <= i64::from(hand.x_min) && found.y <= i64::from(hand.y_min));
            prop_assert!(found.x + i64::from(found.width) > i64::from(hand.x_max));
            prop_assert!(found.y + i64::from(found.height) > i64::from(hand.y_max));
            prop_assert!(!square || found.width == found.height);
        }
    }
}
