//! Set algebra, agreement and votes of masks, by merging sorted runs.

use super::runs::{MaskError, PixelRun, RunBuilder, RunMask};

/// The area that several masks of one image cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Number of pixels in one mask or more.
    pub union_px: u64,
    /// Pixels in two masks or more.
    pub overlap: RunMask,
}

impl RunMask {
    /// Pixels in one mask or in both.
    ///
    /// # Errors
    /// The masks differ in size.
    pub fn union(&self, other: &RunMask) -> Result<RunMask, MaskError> {
        self.same_size(other)?;
        let (mut a, mut b) = (self.runs(), other.runs());
        let mut out = RunBuilder::with_capacity(a.len() + b.len());
        loop {
            let rest = match (a, b) {
                ([first, ..], [second, ..]) if first.start <= second.start => &mut a,
                (_, [_, ..]) => &mut b,
                ([_, ..], []) => &mut a,
                ([], []) => break,
            };
            out.push(rest[0].start, rest[0].end());
            *rest = &rest[1..];
        }
        Ok(Self::from_maximal_runs(self.width(), self.height(), out.finish()))
    }

    /// Pixels in both masks.
    ///
    /// # Errors
    /// The masks differ in size.
    pub fn intersection(&self, other: &RunMask) -> Result<RunMask, MaskError> {
        self.same_size(other)?;
        let mut out = RunBuilder::default();
        for_each_common(self.runs(), other.runs(), |start, end| out.push(start, end));
        Ok(Self::from_maximal_runs(self.width(), self.height(), out.finish()))
    }

    /// Pixels of this mask that are not in `other`.
    ///
    /// # Errors
    /// The masks differ in size.
    pub fn difference(&self, other: &RunMask) -> Result<RunMask, MaskError> {
        self.same_size(other)?;
        let mut out = RunBuilder::with_capacity(self.runs().len());
        let mut cuts = other.runs();
        for run in self.runs() {
            let mut from = run.start;
            while let [cut, rest @ ..] = cuts {
                if cut.start >= run.end() {
                    break;
                }
                if cut.start > from {
                    out.push(from, cut.start);
                }
                from = from.max(cut.end());
                if cut.end() > run.end() {
                    break;
                }
                cuts = rest;
            }
            if from < run.end() {
                out.push(from, run.end());
            }
        }
        Ok(Self::from_maximal_runs(self.width(), self.height(), out.finish()))
    }

    /// Area of the intersection in pixels, without building it.
    ///
    /// # Errors
    /// The masks differ in size.
    pub fn overlap(&self, other: &RunMask) -> Result<u64, MaskError> {
        self.same_size(other)?;
        let mut area = 0;
        for_each_common(self.runs(), other.runs(), |start, end| area += u64::from(end - start));
        Ok(area)
    }

    /// The Dice score 2|A∩B| / (|A|+|B|); 1 if both are empty.
    ///
    /// # Errors
    /// The masks differ in size.
    pub fn dice(&self, other: &RunMask) -> Result<f64, MaskError> {
        let overlap = self.overlap(other)?;
        let both = self.area() + other.area();
        Ok(if both == 0 { 1.0 } else { 2.0 * overlap as f64 / both as f64 })
    }

    /// The intersection over union |A∩B| / |A∪B|; 1 if both are empty.
    ///
    /// # Errors
    /// The masks differ in size.
    pub fn iou(&self, other: &RunMask) -> Result<f64, MaskError> {
        let overlap = self.overlap(other)?;
        let union = self.area() + other.area() - overlap;
        Ok(if union == 0 { 1.0 } else { overlap as f64 / union as f64 })
    }

    /// Pixels set in more than half of the masks; see [`RunMask::vote`].
    ///
    /// # Errors
    /// There are no masks, or they differ in size.
    pub fn majority(masks: &[&RunMask]) -> Result<RunMask, MaskError> {
        Self::vote(masks, masks.len() / 2 + 1)
    }

    /// Pixels set in `at_least` masks or more.
    ///
    /// # Errors
    /// There are no masks, or they differ in size.
    pub fn vote(masks: &[&RunMask], at_least: usize) -> Result<RunMask, MaskError> {
        let (width, height) = common_size(masks)?;
        if at_least == 0 {
            return Ok(Self::full(width, height));
        }
        let mut out = RunBuilder::default();
        for_each_level(masks, |start, end, level| {
            if level >= at_least {
                out.push(start, end);
            }
        });
        Ok(Self::from_maximal_runs(width, height, out.finish()))
    }

    fn same_size(&self, other: &RunMask) -> Result<(), MaskError> {
        let (a, b) = ((self.width(), self.height()), (other.width(), other.height()));
        if a == b { Ok(()) } else { Err(MaskError::Size(a, b)) }
    }
}

/// The pixels that the masks cover at least once, and at least twice.
///
/// # Errors
/// There are no masks, or they differ in size.
pub fn coverage<'a>(masks: impl IntoIterator<Item = &'a RunMask>) -> Result<Coverage, MaskError> {
    let masks: Vec<&RunMask> = masks.into_iter().collect();
    let (width, height) = common_size(&masks)?;
    let (mut union_px, mut overlap) = (0, RunBuilder::default());
    for_each_level(&masks, |start, end, level| {
        union_px += u64::from(end - start);
        if level >= 2 {
            overlap.push(start, end);
        }
    });
    Ok(Coverage { union_px, overlap: RunMask::from_maximal_runs(width, height, overlap.finish()) })
}

fn common_size(masks: &[&RunMask]) -> Result<(u32, u32), MaskError> {
    let (first, others) = masks.split_first().ok_or(MaskError::NoMasks)?;
    others.iter().try_for_each(|other| first.same_size(other))?;
    Ok((first.width(), first.height()))
}

/// Calls `common` with the start and end of each span that is in a run of both, in order.
fn for_each_common(mut a: &[PixelRun], mut b: &[PixelRun], mut common: impl FnMut(u32, u32)) {
    while let ([first, a_rest @ ..], [second, b_rest @ ..]) = (a, b) {
        let (start, end) = (first.start.max(second.start), first.end().min(second.end()));
        if start < end {
            common(start, end);
        }
        if first.end() <= second.end() {
            a = a_rest;
        } else {
            b = b_rest;
        }
    }
}

/// Calls `span` with the start and end of each span that one mask or more cover, and the number of these masks, in
/// order.
fn for_each_level(masks: &[&RunMask], mut span: impl FnMut(u32, u32, usize)) {
    // Positions at which a run ends (lowest bit 0) or starts (1). Those of each mask are sorted already; the stable
    // sort of the standard library merges such sorted parts.
    let mut changes = Vec::with_capacity(2 * masks.iter().map(|m| m.runs().len()).sum::<usize>());
    for mask in masks {
        for run in mask.runs() {
            changes.push(u64::from(run.start) << 1 | 1);
            changes.push(u64::from(run.end()) << 1);
        }
    }
    changes.sort();
    let (mut level, mut from) = (0usize, 0u32);
    for change in changes {
        let at = (change >> 1) as u32;
        if level > 0 && at > from {
            span(from, at, level);
        }
        from = at;
        if change & 1 == 1 {
            level += 1;
        } else {
            level -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_must_agree() {
        let (a, b) = (RunMask::empty(3, 4), RunMask::empty(4, 3));
        let size = MaskError::Size((3, 4), (4, 3));
        assert_eq!(a.union(&b), Err(size.clone()));
        assert_eq!(a.dice(&b), Err(size.clone()));
        assert_eq!(RunMask::majority(&[&a, &a, &b]), Err(size));
        assert_eq!(RunMask::majority(&[]), Err(MaskError::NoMasks));
    }

    #[test]
    fn empty_masks_agree() {
        let (empty, full) = (RunMask::empty(3, 4), RunMask::full(3, 4));
        assert_eq!((empty.dice(&empty).unwrap(), empty.iou(&empty).unwrap()), (1.0, 1.0));
        assert_eq!((empty.dice(&full).unwrap(), empty.iou(&full).unwrap()), (0.0, 0.0));
    }

    #[test]
    fn half_is_not_a_majority() {
        let (empty, full) = (RunMask::empty(3, 4), RunMask::full(3, 4));
        assert!(RunMask::majority(&[&full, &empty]).unwrap().is_empty());
        assert_eq!(RunMask::majority(&[&full, &empty, &full]).unwrap(), full);
    }
}
