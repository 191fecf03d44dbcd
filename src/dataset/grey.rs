use std::borrow::Cow;

use image::GrayImage;

/// Grey levels as stored, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Levels {
    /// 0 to 255.
    Eight(Vec<u8>),
    /// 0 to 65,535, of which an image may use a part.
    Sixteen(Vec<u16>),
}

/// Whether level 0 is black or white.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Polarity {
    /// 0 is black and bone is bright, as in nearly all files.
    #[default]
    BlackIsZero,
    /// 0 is white and bone is dark.
    WhiteIsZero,
}

/// A radiograph's grey levels as stored, without loss, with their scale and polarity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GreyImage {
    width: u32,
    height: u32,
    levels: Levels,
    top: u16,
    polarity: Polarity,
}

impl GreyImage {
    /// An image of `width` x `height` px whose levels use the whole range of their type, with 0 as black; `None` unless
    /// there is one level per pixel.
    pub fn new(width: u32, height: u32, levels: Levels) -> Option<GreyImage> {
        let (count, top) = match &levels {
            Levels::Eight(levels) => (levels.len(), u8::MAX.into()),
            Levels::Sixteen(levels) => (levels.len(), u16::MAX),
        };
        let pixels = u64::from(width) * u64::from(height);
        (count as u64 == pixels).then_some(GreyImage { width, height, levels, top, polarity: Polarity::default() })
    }

    /// The same image with another highest level of the device, at least 1. It is white, or black if white is zero.
    pub fn with_top(self, top: u16) -> GreyImage {
        GreyImage { top: top.max(1), ..self }
    }

    /// The same image with another polarity.
    pub fn with_polarity(self, polarity: Polarity) -> GreyImage {
        GreyImage { polarity, ..self }
    }

    /// The same image with 0 as black: of an image whose 0 is white, the levels are subtracted from the highest one.
    pub fn black_is_zero(mut self) -> GreyImage {
        if self.polarity == Polarity::WhiteIsZero {
            let top = self.top;
            match &mut self.levels {
                Levels::Eight(levels) => levels.iter_mut().for_each(|v| *v = (top - u16::from(*v).min(top)) as u8),
                Levels::Sixteen(levels) => levels.iter_mut().for_each(|v| *v = top - (*v).min(top)),
            }
        }
        GreyImage { polarity: Polarity::BlackIsZero, ..self }
    }

    /// An image of another size with the same scale and polarity; `None` unless there is one level per pixel.
    pub fn with_levels(&self, width: u32, height: u32, levels: Levels) -> Option<GreyImage> {
        let image = GreyImage::new(width, height, levels)?;
        Some(GreyImage { top: self.top, polarity: self.polarity, ..image })
    }

    /// Width in px.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in px.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Width and height in px.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The levels as stored.
    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// The levels as stored, to change them.
    pub fn levels_mut(&mut self) -> &mut Levels {
        &mut self.levels
    }

    /// The levels as stored, without the rest of the image.
    pub fn into_levels(self) -> Levels {
        self.levels
    }

    /// The highest level of the scale. Pixels above it are treated as equal to it.
    pub fn top(&self) -> u16 {
        self.top
    }

    /// The highest level of the scale of a 16-bit image; `None` for 8 bits.
    pub fn sixteen_bit_top(&self) -> Option<u16> {
        matches!(self.levels, Levels::Sixteen(_)).then_some(self.top)
    }

    /// Whether level 0 is black or white.
    pub fn polarity(&self) -> Polarity {
        self.polarity
    }

    /// The level of a pixel as stored. Panics outside the image.
    pub fn level_at(&self, x: u32, y: u32) -> u16 {
        let at = y as usize * self.width as usize + x as usize;
        match &self.levels {
            Levels::Eight(levels) => levels[at].into(),
            Levels::Sixteen(levels) => levels[at],
        }
    }

    /// The levels on a scale from 0 (black) to 255 (white); of 16 bits with the full range, the high byte.
    pub fn to_eight_bit(&self) -> Cow<'_, [u8]> {
        let plain = self.top == u16::from(u8::MAX) && self.polarity == Polarity::BlackIsZero;
        match &self.levels {
            Levels::Eight(levels) if plain => Cow::Borrowed(levels),
            Levels::Eight(levels) => levels.iter().map(|v| self.eight_bit((*v).into())).collect::<Vec<u8>>().into(),
            Levels::Sixteen(levels) => levels.iter().map(|v| self.eight_bit(*v)).collect::<Vec<u8>>().into(),
        }
    }

    /// As [`GreyImage::to_eight_bit`], but reuses the memory if the levels do not change.
    pub fn into_eight_bit(self) -> GrayImage {
        let (width, height) = self.dimensions();
        let levels = match self.to_eight_bit() {
            Cow::Owned(levels) => levels,
            Cow::Borrowed(_) => match self.levels {
                Levels::Eight(levels) => levels,
                Levels::Sixteen(_) => unreachable!("16 bits are always converted"),
            },
        };
        GrayImage::from_raw(width, height, levels).expect("one level per pixel")
    }

    /// The levels on a scale from 0 (black) to 255 (white), with fractions where the image has more levels.
    pub fn to_scaled(&self) -> Vec<f32> {
        let top = u32::from(self.top);
        let scaled = |level: u16| {
            let level = u32::from(level.min(self.top));
            let level = if self.polarity == Polarity::WhiteIsZero { top - level } else { level };
            if top == 255 { level as f32 } else { level as f32 * 255.0 / top as f32 }
        };
        match &self.levels {
            Levels::Eight(levels) => levels.iter().map(|v| scaled((*v).into())).collect(),
            Levels::Sixteen(levels) => levels.iter().map(|v| scaled(*v)).collect(),
        }
    }

    fn eight_bit(&self, level: u16) -> u8 {
        let (level, top) = (u32::from(level.min(self.top)), u32::from(self.top));
        // A scale up to 2^n - 1 is reduced to its upper eight bits; a shorter scale is stretched.
        let eight: u32 = if top >= 255 { level * 256 / (top + 1) } else { level * 255 / top };
        let eight = eight as u8;
        match self.polarity {
            Polarity::BlackIsZero => eight,
            Polarity::WhiteIsZero => u8::MAX - eight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eight(levels: Levels, change: impl Fn(GreyImage) -> GreyImage) -> Vec<u8> {
        let image = change(GreyImage::new(3, 1, levels).unwrap());
        let converted = image.to_eight_bit().into_owned();
        assert_eq!(image.into_eight_bit().into_raw(), converted);
        converted
    }

    #[test]
    fn eight_bits_of_any_scale() {
        assert_eq!(eight(Levels::Eight(vec![0, 7, 255]), |i| i), [0, 7, 255]);
        assert_eq!(eight(Levels::Sixteen(vec![255, 256, 65_535]), |i| i), [0, 1, 255]);
        assert_eq!(eight(Levels::Sixteen(vec![15, 16, 4095]), |i| i.with_top(4095)), [0, 1, 255]);
        assert_eq!(eight(Levels::Sixteen(vec![0, 4095, 5000]), |i| i.with_top(4095)), [0, 255, 255]);
        assert_eq!(eight(Levels::Sixteen(vec![0, 1, 1]), |i| i.with_top(1)), [0, 255, 255]);
        let inverted = |i: GreyImage| i.with_polarity(Polarity::WhiteIsZero);
        assert_eq!(eight(Levels::Eight(vec![0, 7, 255]), inverted), [255, 248, 0]);
        assert!(GreyImage::new(2, 2, Levels::Eight(vec![0; 3])).is_none());
    }

    #[test]
    fn levels_keep_their_fractions_and_black_becomes_zero() {
        let scaled = |levels: Levels, change: &dyn Fn(GreyImage) -> GreyImage| {
            let image = change(GreyImage::new(3, 1, levels).unwrap());
            let scaled = image.to_scaled();
            assert_eq!(image.black_is_zero().to_scaled(), scaled);
            scaled
        };
        assert_eq!(scaled(Levels::Eight(vec![0, 7, 255]), &|i| i), [0.0, 7.0, 255.0]);
        let of_twelve = |i: GreyImage| i.with_top(4080);
        assert_eq!(scaled(Levels::Sixteen(vec![8, 1000, 5000]), &of_twelve), [0.5, 62.5, 255.0]);
        let inverted = |i: GreyImage| of_twelve(i).with_polarity(Polarity::WhiteIsZero);
        assert_eq!(scaled(Levels::Sixteen(vec![8, 1000, 5000]), &inverted), [254.5, 192.5, 0.0]);
        let inverted = |i: GreyImage| i.with_polarity(Polarity::WhiteIsZero);
        assert_eq!(scaled(Levels::Eight(vec![0, 7, 255]), &inverted), [255.0, 248.0, 0.0]);
    }
}
