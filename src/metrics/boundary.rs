use serde::Serialize;

use crate::closed_enum::closed_enum;
use crate::mask::{MaskError, RunMask};

closed_enum! {
    /// What the boundary of a mask is, and how distances from it are summarised.
    pub enum BoundaryConvention ("convention") {
        /// MONAI: the boundary are the pixels of the mask with a 4-neighbour outside it (the mask minus its erosion); each
        /// counts the same. HD95 is the larger of the two directed 95th percentiles, each interpolated linearly in single
        /// precision (`torch.quantile`). ASSD is the mean over the pixels of both boundaries, NSD the share of them.
        Monai = "monai",
        /// DeepMind's surface-distance (S. Nikolov et al., 2018): the boundary are the corners of pixels whose four pixels
        /// are partly in the mask, weighted by the length of the contour through them. HD95 is the larger of the two
        /// directed distances at which 95 % of the length is reached. ASSD and NSD are weighted by length over both
        /// boundaries.
        SurfaceDistance = "surface-distance",
        /// MedPy: the boundary is that of MONAI. HD95 is the 95th percentile of the distances of both directions together,
        /// interpolated linearly (`numpy.percentile`). ASSD is the mean over the pixels of both boundaries. Undefined if a
        /// mask is empty, where MedPy raises an error. MedPy has no NSD; here it is the share of both boundaries.
        MedPy = "medpy",
    }
}

/// Distance between the centres of neighbouring pixels, mm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PixelSpacing {
    /// Between columns.
    pub x: f64,
    /// Between rows.
    pub y: f64,
}

/// Distances between the boundaries of two masks.
///
/// ```
/// use carpus::mask::RunMask;
/// use carpus::metrics::{BoundaryConvention, BoundaryDistances};
/// let truth = RunMask::from_dense(&[1, 0, 0, 0], 4, 1);
/// let prediction = RunMask::from_dense(&[0, 0, 0, 1], 4, 1);
/// let distances = BoundaryDistances::new(&truth, &prediction, BoundaryConvention::Monai, None)?;
/// assert_eq!((distances.hausdorff(), distances.mean(), distances.surface_dice(2.0)), (3.0, 3.0, 0.0));
/// # Ok::<(), carpus::mask::MaskError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BoundaryDistances {
    convention: BoundaryConvention,
    /// From each element of the annotated boundary to the predicted boundary, and the reverse.
    directed: [Directed; 2],
}

/// The elements of one boundary by their distance to the other one, nearest first.
#[derive(Clone, Debug)]
struct Directed {
    /// Infinite if the other boundary is empty.
    distances: Vec<f64>,
    /// Length of the contour at each element.
    lengths: Vec<f64>,
}

impl BoundaryDistances {
    /// Computes the distances within the bounding box of both masks, exactly (Euclidean), in px or with `spacing` in mm.
    ///
    /// # Errors
    /// The masks differ in size.
    pub fn new(
        truth: &RunMask,
        prediction: &RunMask,
        convention: BoundaryConvention,
        spacing: Option<PixelSpacing>,
    ) -> Result<BoundaryDistances, MaskError> {
        let size = |mask: &RunMask| (mask.width(), mask.height());
        if size(truth) != size(prediction) {
            return Err(MaskError::Size(size(truth), size(prediction)));
        }
        let spacing = spacing.unwrap_or(PixelSpacing { x: 1.0, y: 1.0 });
        let boxes = [truth, prediction].map(RunMask::bounding_box);
        let area = boxes.into_iter().flatten().reduce(|a, b| a.union(&b));
        let boundaries = [truth, prediction].map(|mask| match area {
            None => Boundary::default(),
            Some(area) => {
                let dense = Dense::new(&mask.crop(area));
                match convention {
                    BoundaryConvention::Monai | BoundaryConvention::MedPy => dense.edge_pixels(),
                    BoundaryConvention::SurfaceDistance => dense.contour_corners(spacing),
                }
            }
        });
        let [annotated, predicted] = &boundaries;
        let directed = [annotated.to(predicted, spacing), predicted.to(annotated, spacing)];
        Ok(BoundaryDistances { convention, directed })
    }

    /// The Hausdorff distance: the largest distance of both directions.
    pub fn hausdorff(&self) -> f64 {
        self.larger(|directed, convention| match convention {
            BoundaryConvention::SurfaceDistance => directed.reached(1.0),
            BoundaryConvention::Monai | BoundaryConvention::MedPy => {
                directed.distances.last().copied().unwrap_or(f64::NAN)
            }
        })
    }

    /// The 95th percentile of the distances: the larger of both directions, in MedPy's convention that of both together.
    pub fn hausdorff_95(&self) -> f64 {
        if self.convention == BoundaryConvention::MedPy {
            return self.pooled(0.95);
        }
        self.larger(|directed, convention| match convention {
            BoundaryConvention::SurfaceDistance => directed.reached(0.95),
            BoundaryConvention::Monai | BoundaryConvention::MedPy => directed.interpolated(0.95),
        })
    }

    /// The quantile of the distances of both directions as `numpy.percentile` computes it; NaN if a mask is empty.
    fn pooled(&self, share: f64) -> f64 {
        if self.lacks_a_boundary() {
            return f64::NAN;
        }
        let mut all: Vec<f64> = self.directed.iter().flat_map(|d| d.distances.iter().copied()).collect();
        all.sort_unstable_by(f64::total_cmp);
        let last = all.len() - 1;
        let rank = share * last as f64;
        let (below, weight) = (rank as usize, rank.fract());
        let (low, high) = (all[below], all[(below + 1).min(last)]);
        if weight < 0.5 { low + (high - low) * weight } else { high - (high - low) * (1.0 - weight) }
    }

    /// Whether one of the masks is empty.
    fn lacks_a_boundary(&self) -> bool {
        self.directed.iter().any(|directed| directed.distances.is_empty())
    }

    /// The larger value of both directions. MONAI gives an empty boundary the infinite distances of the other one, so that
    /// only the other one counts.
    fn larger(&self, of: impl Fn(&Directed, BoundaryConvention) -> f64) -> f64 {
        if self.convention == BoundaryConvention::MedPy && self.lacks_a_boundary() {
            return f64::NAN;
        }
        let counts = |d: &&Directed| self.convention != BoundaryConvention::Monai || !d.distances.is_empty();
        let values = self.directed.iter().filter(counts).map(|directed| of(directed, self.convention));
        // `f64::max` ignores NaN.
        let larger = values.reduce(|a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) });
        larger.unwrap_or(f64::NAN)
    }

    /// The mean distance over both boundaries (ASSD).
    pub fn mean(&self) -> f64 {
        if self.convention == BoundaryConvention::MedPy && self.lacks_a_boundary() {
            return f64::NAN;
        }
        let sum = |of: &dyn Fn((&f64, &f64)) -> f64| -> f64 {
            self.directed.iter().flat_map(|d| d.distances.iter().zip(&d.lengths)).map(of).sum()
        };
        sum(&|(distance, length)| distance * length) / sum(&|(_, length)| *length)
    }

    /// The share of both boundaries that is at most `tolerance` away from the other one (normalised surface Dice).
    pub fn surface_dice(&self, tolerance: f64) -> f64 {
        // MONAI compares in single precision.
        let is_near = |distance: f64| match self.convention {
            BoundaryConvention::Monai => distance as f32 <= tolerance as f32,
            BoundaryConvention::SurfaceDistance | BoundaryConvention::MedPy => distance <= tolerance,
        };
        let (mut near, mut all) = (0.0, 0.0);
        for (distance, length) in self.directed.iter().flat_map(|d| d.distances.iter().zip(&d.lengths)) {
            all += length;
            near += if is_near(*distance) { *length } else { 0.0 };
        }
        near / all
    }
}

impl Directed {
    /// The quantile as `torch.quantile` computes it in single precision; NaN without elements.
    fn interpolated(&self, share: f32) -> f64 {
        let Some(last) = self.distances.len().checked_sub(1) else { return f64::NAN };
        let rank = share * last as f32;
        let (below, weight) = (rank as usize, rank - rank.floor());
        let [low, high] = [below, (rank.ceil() as usize).min(last)].map(|at| self.distances[at] as f32);
        let value = if weight < 0.5 { low + weight * (high - low) } else { high - (high - low) * (1.0 - weight) };
        value.into()
    }

    /// The first distance up to which this share of the length lies; infinite without elements.
    fn reached(&self, share: f64) -> f64 {
        let Some(last) = self.distances.last() else { return f64::INFINITY };
        let total = pairwise_sum(&self.lengths);
        let mut sum = 0.0;
        let reached = self.lengths.iter().position(|length| {
            sum += length;
            sum / total >= share
        });
        reached.map_or(*last, |at| self.distances[at])
    }
}

/// The sum in numpy's order. Equal lengths often reach exactly 95 %, where the last bit decides.
fn pairwise_sum(values: &[f64]) -> f64 {
    const LANES: usize = 8;
    const BLOCK: usize = 128;
    match values.len() {
        n if n < LANES => values.iter().sum(),
        n if n <= BLOCK => {
            let mut sums: [f64; LANES] = values[..LANES].try_into().expect("eight values");
            let rest = values[LANES..].chunks_exact(LANES);
            let single = rest.remainder();
            rest.for_each(|chunk| sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += value));
            let [a, b, c, d, e, f, g, h] = sums;
            single.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, value| sum + value)
        }
        n => {
            let (first, second) = values.split_at(n / 2 / LANES * LANES);
            pairwise_sum(first) + pairwise_sum(second)
        }
    }
}

/// The elements of a boundary in a grid.
#[derive(Default)]
struct Boundary {
    columns: usize,
    rows: usize,
    /// Column and row of each.
    points: Vec<[usize; 2]>,
    lengths: Vec<f64>,
}

/// No element of the boundary is in the column.
const FAR: u32 = u32::MAX / 2;

impl Boundary {
    /// The distance of each element to the nearest one of `other`, a boundary in the same grid; sorted by distance and
    /// length.
    fn to(&self, other: &Boundary, spacing: PixelSpacing) -> Directed {
        let vertical = other.rows_to_nearest();
        let nearest = |[x, y]: [usize; 2]| {
            let row = &vertical[y * other.columns..][..other.columns];
            let squared = |dx: usize, at: usize| match row[at] {
                FAR.. => f64::INFINITY,
                dy => (f64::from(dy) * spacing.y).powi(2) + (dx as f64 * spacing.x).powi(2),
            };
            let mut best = squared(0, x);
            for dx in 1..x.max(other.columns - 1 - x) + 1 {
                if (dx as f64 * spacing.x).powi(2) >= best {
                    break;
                }
                if dx <= x {
                    best = best.min(squared(dx, x - dx));
                }
                if x + dx < other.columns {
                    best = best.min(squared(dx, x + dx));
                }
            }
            best.sqrt()
        };
        let distance = |point: &[usize; 2]| if other.points.is_empty() { f64::INFINITY } else { nearest(*point) };
        let mut elements: Vec<(f64, f64)> =
            self.points.iter().map(distance).zip(self.lengths.iter().copied()).collect();
        elements.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let (distances, lengths) = elements.into_iter().unzip();
        Directed { distances, lengths }
    }

    /// For each place of the grid, the number of rows to the nearest element in the same column; [`FAR`] or more if there is
    /// none.
    fn rows_to_nearest(&self) -> Vec<u32> {
        let columns = self.columns;
        let mut nearest = vec![FAR; columns * self.rows];
        self.points.iter().for_each(|[x, y]| nearest[y * columns + x] = 0);
        for y in 1..self.rows {
            let (before, row) = nearest.split_at_mut(y * columns);
            let before = &before[(y - 1) * columns..];
            row[..columns].iter_mut().zip(before).for_each(|(to, from)| *to = (*to).min(from + 1));
        }
        for y in (1..self.rows).rev() {
            let (before, row) = nearest.split_at_mut(y * columns);
            let before = &mut before[(y - 1) * columns..];
            before.iter_mut().zip(&row[..columns]).for_each(|(to, from)| *to = (*to).min(from + 1));
        }
        nearest
    }
}

/// A mask with a frame of one unset pixel.
struct Dense {
    columns: usize,
    rows: usize,
    bits: Vec<u8>,
}

impl Dense {
    fn new(mask: &RunMask) -> Dense {
        let (columns, rows) = (mask.width() as usize + 2, mask.height() as usize + 2);
        let mut bits = vec![0; columns * rows];
        for (y, from, to) in mask.rows() {
            let row = (y as usize + 1) * columns + 1;
            bits[row + from as usize..row + to as usize].fill(1);
        }
        Dense { columns, rows, bits }
    }

    /// The set pixels with an unset neighbour at the left, right, upper or lower side; each has length 1.
    fn edge_pixels(&self) -> Boundary {
        let (columns, bits) = (self.columns, &self.bits);
        let is_edge =
            |i: &usize| bits[*i] == 1 && bits[i - 1] & bits[i + 1] & bits[i - columns] & bits[i + columns] == 0;
        let points: Vec<[usize; 2]> =
            (columns..columns * (self.rows - 1)).filter(is_edge).map(|i| [i % columns, i / columns]).collect();
        Boundary { columns, rows: self.rows, lengths: vec![1.0; points.len()], points }
    }

    /// The corners of pixels whose four pixels are neither all set nor all unset, with the length of the contour there: a
    /// side of a pixel for two neighbours, half a diagonal for one pixel or three, a diagonal for two opposite ones.
    fn contour_corners(&self, spacing: PixelSpacing) -> Boundary {
        let diagonal = 0.5 * (spacing.y.powi(2) + spacing.x.powi(2)).sqrt();
        let (columns, rows) = (self.columns - 1, self.rows - 1);
        let mut boundary = Boundary { columns, rows, ..Boundary::default() };
        for (y, two) in self.bits.windows(2 * self.columns).step_by(self.columns).enumerate() {
            let (above, below) = two.split_at(self.columns);
            for (x, (a, b)) in above.windows(2).zip(below.windows(2)).enumerate() {
                let length = match (a, b) {
                    ([0, 0], [0, 0]) | ([1, 1], [1, 1]) => continue,
                    ([0, 0], [1, 1]) | ([1, 1], [0, 0]) => spacing.x,
                    ([0, 1], [0, 1]) | ([1, 0], [1, 0]) => spacing.y,
                    ([0, 1], [1, 0]) | ([1, 0], [0, 1]) => 2.0 * diagonal,
                    _ => diagonal,
                };
                boundary.points.push([x, y]);
                boundary.lengths.push(length);
            }
        }
        boundary
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The two that have rules for empty masks.
    const BOTH: [BoundaryConvention; 2] = [BoundaryConvention::Monai, BoundaryConvention::SurfaceDistance];

    fn mask(rows: &[&str]) -> RunMask {
        let dense: Vec<u8> = rows.iter().flat_map(|row| row.bytes().map(|b| u8::from(b == b'#'))).collect();
        RunMask::from_dense(&dense, rows[0].len() as u32, rows.len() as u32)
    }

    fn between(truth: &RunMask, prediction: &RunMask, convention: BoundaryConvention) -> BoundaryDistances {
        BoundaryDistances::new(truth, prediction, convention, None).unwrap()
    }

    #[test]
    fn a_moved_square_by_hand() {
        let truth = mask(&["###...", "###...", "###..."]);
        let prediction = mask(&[".###..", ".###..", ".###.."]);
        // Eight edge pixels each. The left column is 1 away from the prediction, the centre column's two pixels are on
        // its edge, the right column's middle pixel is 1 away (the centre is no edge), the others are on it.
        let monai = between(&truth, &prediction, BoundaryConvention::Monai);
        assert_eq!((monai.hausdorff(), monai.hausdorff_95(), monai.surface_dice(1.0)), (1.0, 1.0, 1.0));
        assert_eq!(monai.mean(), 8.0 / 16.0);
        assert_eq!(monai.surface_dice(0.5), 0.5);
        // Corners: 4 x 4 less the inner four. The left column (half diagonals at its ends, two sides of 1) and the middle
        // two of the right column (1 each) are 1 away.
        let corners = between(&truth, &prediction, BoundaryConvention::SurfaceDistance);
        let half = 0.5f64.sqrt();
        let all = 2.0 * (4.0 * half + 8.0);
        let away = 2.0 * (2.0 * half + 2.0 + 2.0);
        assert!((corners.mean() - away / all).abs() < 1e-12);
        assert!((corners.surface_dice(0.5) - (1.0 - away / all)).abs() < 1e-12);
    }

    #[test]
    fn spacing_scales_each_axis() {
        let truth = mask(&["#...", "....", "...."]);
        let [right, below] = [mask(&["..#.", "....", "...."]), mask(&["....", "....", "#..."])];
        let spacing = Some(PixelSpacing { x: 0.5, y: 3.0 });
        for convention in BOTH {
            let of = |other| BoundaryDistances::new(&truth, other, convention, spacing).unwrap().hausdorff();
            assert_eq!((of(&right), of(&below)), (1.0, 6.0));
        }
    }

    #[test]
    fn empty_masks_follow_the_libraries() {
        let (empty, full) = (RunMask::empty(4, 3), RunMask::full(4, 3));
        for convention in BOTH {
            let neither = between(&empty, &empty, convention);
            assert!(neither.surface_dice(2.0).is_nan() && neither.mean().is_nan());
            let is_monai = convention == BoundaryConvention::Monai;
            assert_eq!(neither.hausdorff().is_nan(), is_monai);
            assert_eq!(neither.hausdorff_95() == f64::INFINITY, !is_monai);
            for one in [between(&empty, &full, convention), between(&full, &empty, convention)] {
                assert_eq!((one.surface_dice(2.0), one.mean()), (0.0, f64::INFINITY));
                assert_eq!(one.hausdorff(), f64::INFINITY);
                assert_eq!(one.hausdorff_95().is_nan(), is_monai);
            }
        }
        assert!(BoundaryDistances::new(&empty, &RunMask::empty(3, 4), BoundaryConvention::Monai, None).is_err());
    }

    #[test]
    fn medpy_pools_both_directions_and_has_no_value_for_empty_masks() {
        // Distances 0, 0 (the shared pixels) and 1, 2 from the prediction's end; none from the annotation.
        let (truth, prediction) = (mask(&["##.."]), mask(&["####"]));
        let medpy = between(&truth, &prediction, BoundaryConvention::MedPy);
        assert_eq!((medpy.hausdorff(), medpy.mean()), (2.0, 3.0 / 6.0));
        // Sorted 0 0 0 0 1 2: rank 4.75.
        assert!((medpy.hausdorff_95() - 1.75).abs() < 1e-12);
        let (empty, full) = (RunMask::empty(4, 3), RunMask::full(4, 3));
        for found in
            [between(&empty, &full, BoundaryConvention::MedPy), between(&empty, &empty, BoundaryConvention::MedPy)]
        {
            assert!(found.hausdorff().is_nan() && found.hausdorff_95().is_nan() && found.mean().is_nan());
        }
    }

    proptest! {
        #[test]
        fn distances_are_those_of_all_pairs(
            (width, height, a, b) in (1u32..12, 1u32..12).prop_flat_map(|(w, h)| {
                let bits = || prop::collection::vec(prop::bool::weighted(0.3), (w * h) as usize);
                (Just(w), Just(h), bits(), bits())
            }),
            x in 0.1f64..3.0,
            y in 0.1f64..3.0,
        ) {
            let of = |bits: &[bool]| RunMask::from_dense(&bits.iter().map(|b| u8::from(*b)).collect::<Vec<_>>(), width, height);
            let (truth, prediction) = (of(&a), of(&b));
            prop_assume!(!truth.is_empty() && !prediction.is_empty());
            let spacing = PixelSpacing { x, y };
            for convention in BoundaryConvention::ALL.iter().copied() {
                let edges = [&truth, &prediction].map(|mask| {
                    let dense = Dense::new(mask);
                    if convention == BoundaryConvention::SurfaceDistance { dense.contour_corners(spacing) } else { dense.edge_pixels() }
                });
                let found = BoundaryDistances::new(&truth, &prediction, convention, Some(spacing)).unwrap();
                for (i, directed) in found.directed.iter().enumerate() {
                    let (from, to) = (&edges[i].points, &edges[1 - i].points);
                    let nearest = |p: &[usize; 2]| {
                        let pairs = to.iter().map(|q| {
                            ((p[0].abs_diff(q[0]) as f64 * x).powi(2) + (p[1].abs_diff(q[1]) as f64 * y).powi(2)).sqrt()
                        });
                        pairs.fold(f64::INFINITY, f64::min)
                    };
                    let mut expected: Vec<f64> = from.iter().map(nearest).collect();
                    expected.sort_by(f64::total_cmp);
                    prop_assert_eq!(&directed.distances, &expected);
                }
                // Symmetric in the two masks, and 0 for equal ones.
                let reverse = BoundaryDistances::new(&prediction, &truth, convention, Some(spacing)).unwrap();
                prop_assert_eq!(found.hausdorff_95(), reverse.hausdorff_95());
                // One is rounded to single precision.
                prop_assert!(found.hausdorff_95() <= found.hausdorff() * (1.0 + 1e-6));
                let same = BoundaryDistances::new(&truth, &truth, convention, Some(spacing)).unwrap();
                prop_assert_eq!((same.hausdorff(), same.mean(), same.surface_dice(0.0)), (0.0, 0.0, 1.0));
            }
        }
    }
}
