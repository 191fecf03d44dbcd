//! Dilation and erosion of masks by a disc, on runs.

use super::runs::{RunBuilder, RunMask};

impl RunMask {
    /// The dilated mask: all pixels within `radius` px (Euclidean, between pixel centres) of a pixel of the mask.
    pub fn dilated(&self, radius: u32) -> RunMask {
        let rows: Vec<(u32, u32, u32)> = self.rows().collect();
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return self.clone() };
        // Half the disc's width in each row, by distance from its middle row.
        let half: Vec<u32> =
            (0..=u64::from(radius)).map(|d| (u64::from(radius).pow(2) - d * d).isqrt() as u32).collect();
        let bottom = last.0.saturating_add(radius).min(self.height() - 1);
        let mut out = RunBuilder::with_capacity(rows.len());
        let mut spans = Vec::new();
        for y in first.0.saturating_sub(radius)..=bottom {
            let from = rows.partition_point(|r| r.0.saturating_add(radius) < y);
            let near = rows[from..].iter().take_while(|r| r.0 <= y.saturating_add(radius));
            spans.extend(near.map(|&(row, a, b)| {
                let w = half[row.abs_diff(y) as usize];
                (a.saturating_sub(w), b.saturating_add(w).min(self.width()))
            }));
            spans.sort_unstable();
            spans.drain(..).for_each(|(a, b)| out.push(y * self.width() + a, y * self.width() + b));
        }
        RunMask::from_maximal_runs(self.width(), self.height(), out.finish())
    }

    /// The eroded mask: its pixels that are more than `radius` px (Euclidean, between pixel centres) away from every
    /// pixel outside the mask. Positions beyond the image do not count: a mask cut off by the image's edge does not
    /// shrink there.
    pub fn eroded(&self, radius: u32) -> RunMask {
        let Some(bounds) = self.bounding_box() else { return self.clone() };
        let area = bounds.grown(radius, self.width(), self.height());
        let near = self.crop(area);
        let outside = RunMask::full(near.width(), near.height()).difference(&near);
        let kept = outside.and_then(|o| near.difference(&o.dilated(radius))).expect("all masks have the crop's size");
        kept.place(i64::from(area.x_min), i64::from(area.y_min), self.width(), self.height())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether a pixel of the wanted kind is near, by testing all pixels.
    fn near(mask: &RunMask, wanted: bool, radius: u32, x: u32, y: u32) -> bool {
        let all = (0..mask.height()).flat_map(|v| (0..mask.width()).map(move |u| (u, v)));
        all.filter(|(u, v)| mask.contains(*u, *v) == wanted)
            .any(|(u, v)| u.abs_diff(x).pow(2) + v.abs_diff(y).pow(2) <= radius * radius)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn dilation_and_erosion_agree_with_their_definition(
            (width, height, dense) in (1u32..14, 1u32..14).prop_flat_map(|(w, h)| {
                (Just(w), Just(h), prop::collection::vec(prop::bool::weighted(0.6), (w * h) as usize))
            }),
            radius in 0u32..6,
        ) {
            let dense: Vec<u8> = dense.into_iter().map(u8::from).collect();
            let mask = RunMask::from_dense(&dense, width, height);
            let (grown, shrunk) = (mask.dilated(radius), mask.eroded(radius));
            for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
                prop_assert_eq!(grown.contains(x, y), near(&mask, true, radius, x, y), "grown at {} {}", x, y);
                let kept = mask.contains(x, y) && !near(&mask, false, radius, x, y);
                prop_assert_eq!(shrunk.contains(x, y), kept, "shrunk at {} {}", x, y);
            }
        }
    }
}
