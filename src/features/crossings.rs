use crate::geometry::SweepTable;

/// Limit of work: this many steps, and [`STEPS_PER_POINT`] more for each point. An outline of up to 800 points is
/// always counted to the end, and a longer one if on average fewer than about 250 of its edges overlap along the sweep,
/// as in every outline of a bone.
const STEPS: u64 = 1_000_000;
const STEPS_PER_POINT: u64 = 500;

/// How often an outline crosses itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossings {
    /// Pairs of edges that cross each other.
    pub count: u32,
    /// Whether counting stopped at its limit of work, so that there may be more.
    pub is_least: bool,
}

/// Counts the pairs of edges of the closed polygon that cross each other in their interiors. Edges that touch or
/// retrace one another, as in a contour of a line one pixel wide, do not count.
///
/// The method is a sweep along the longer axis that keeps the open edges: dense contours have short edges, so few are
/// open at a time. If many are open, counting stops after work proportional to the number of points.
pub fn crossings(points: &[[i32; 2]]) -> Crossings {
    let n = points.len();
    if n < 4 {
        return Crossings::default();
    }
    let mut steps_left = STEPS + STEPS_PER_POINT * n as u64;
    // Along the longer axis fewer edges are open at a time. Exchanging the axes does not change the crossings.
    let (mut least, mut most) = (points[0], points[0]);
    for point in points {
        least = [least[0].min(point[0]), least[1].min(point[1])];
        most = [most[0].max(point[0]), most[1].max(point[1])];
    }
    let extent = |axis: usize| i64::from(most[axis]) - i64::from(least[axis]);
    let axis = usize::from(extent(1) > extent(0));
    let low = i64::from(least[axis]);
    let point = |i: usize| {
        let point = points[i].map(i64::from);
        [point[axis], point[1 - axis]]
    };
    let edge = |i: usize| (point(i), point(if i + 1 == n { 0 } else { i + 1 }));

    // A line of the sweep is one column, or several if there were more lines than edges otherwise.
    let columns = extent(axis) / n as i64 + 1;
    let line = |x: i64| if columns == 1 { x - low } else { (x - low) / columns } as usize;
    let mut table = SweepTable::new((extent(axis) / columns) as usize + 1, n);
    (0..n).map(edge).for_each(|(a, b)| table.push(line(a[0].min(b[0]))));

    let mut open: Vec<Open> = Vec::new();
    let mut count = 0;
    for line in 0..table.lines() {
        // An edge that ends where this line begins can only touch the edges that begin on it, not cross them.
        let start = low + line as i64 * columns;
        let mut beginning = table.beginning(line).map(edge).peekable();
        if beginning.peek().is_none() {
            continue;
        }
        steps_left = steps_left.saturating_sub(open.len() as u64);
        open.retain(|o| o.end > start);
        for (a, b) in beginning {
            let Some(remaining) = steps_left.checked_sub(open.len() as u64) else {
                return Crossings { count, is_least: true };
            };
            steps_left = remaining;
            let this = Open { edge: (a, b), end: a[0].max(b[0]), low: a[1].min(b[1]), high: a[1].max(b[1]) };
            let near = open.iter().filter(|o| o.high > this.low && o.low < this.high);
            count += near.filter(|o| cross(this.edge, o.edge)).count() as u32;
            open.push(this);
        }
    }
    Crossings { count, is_least: false }
}

/// An edge that the sweep has reached and not left: its last column, its first and its last row.
struct Open {
    edge: Edge,
    end: i64,
    low: i64,
    high: i64,
}

type Edge = ([i64; 2], [i64; 2]);

fn cross((a, b): Edge, (c, d): Edge) -> bool {
    let turn = |p: [i64; 2], q: [i64; 2], r: [i64; 2]| {
        ((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])).signum()
    };
    turn(a, b, c) * turn(a, b, d) < 0 && turn(c, d, a) * turn(c, d, b) < 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(points: &[[i32; 2]]) -> u32 {
        let found = super::crossings(points);
        assert!(!found.is_least);
        found.count
    }

    #[test]
    fn counting_stops_at_the_limit_for_slow_outlines() {
        let radius = 1e6;
        // Each point of the star is joined to the one nearly opposite: all edges cross.
        let star = |n: usize| -> Vec<[i32; 2]> {
            let angle = |i: usize| (i * (n / 2) % n) as f64 * std::f64::consts::TAU / n as f64;
            (0..n).map(|i| [(radius * angle(i).cos()) as i32, (radius * angle(i).sin()) as i32]).collect()
        };
        // The teeth of the comb overlap along its whole length and do not cross.
        let comb = |n: i32| -> Vec<[i32; 2]> { (0..n).map(|i| [if i % 4 < 2 { 0 } else { 1_000_000 }, i]).collect() };
        assert_eq!(super::crossings(&star(801)), Crossings { count: 801 * 798 / 2, is_least: false });
        let many = super::crossings(&star(300_001));
        assert!(many.is_least && many.count > 10_000_000 && u64::from(many.count) < STEPS + 300_001 * STEPS_PER_POINT);
        assert_eq!(super::crossings(&comb(300_001)), Crossings { count: 0, is_least: true });
        // As long, but with short steps like a bone's contour.
        let spiral: Vec<[i32; 2]> = (0..300_000)
            .map(|i| (f64::from(i) * 0.005, 50.0 + f64::from(i) * 0.03))
            .map(|(angle, radius)| [(radius * angle.cos()) as i32, (radius * angle.sin()) as i32])
            .collect();
        assert!(!super::crossings(&spiral).is_least);
    }

    #[test]
    fn simple_shapes_have_none_and_a_bow_tie_one() {
        assert_eq!(count(&[[0, 0], [10, 0], [10, 10], [0, 10]]), 0);
        assert_eq!(count(&[[0, 0], [10, 10], [10, 0], [0, 10]]), 1);
        assert_eq!(count(&[[0, 0], [10, 0]]), 0);
        // Out and back along one line touches itself and does not cross.
        assert_eq!(count(&[[0, 0], [5, 0], [9, 0], [5, 0], [0, 0], [0, 5]]), 0);
        // A five-pointed star drawn in one line.
        assert_eq!(count(&[[0, -100], [59, 81], [-95, -31], [95, -31], [-59, 81]]), 5);
    }

    fn count_all_pairs(points: &[[i32; 2]]) -> u32 {
        let n = points.len();
        let edge = |i: usize| (points[i].map(i64::from), points[(i + 1) % n].map(i64::from));
        let pairs = (0..if n < 4 { 0 } else { n }).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
        pairs.filter(|(i, j)| cross(edge(*i), edge(*j))).count() as u32
    }

    proptest! {
        #[test]
        fn agrees_with_all_pairs(points in prop::collection::vec(prop::array::uniform2(-30i32..30), 0..40)) {
            prop_assert_eq!(count(&points), count_all_pairs(&points));
        }

        #[test]
        fn agrees_on_contours(steps in prop::collection::vec(prop::array::uniform2(-1i32..=1), 0..80)) {
            let mut at = [0, 0];
            let step = |s: [i32; 2]| {
                at = [at[0] + s[0], at[1] + s[1]];
                at
            };
            let points: Vec<[i32; 2]> = steps.into_iter().map(step).collect();
            prop_assert_eq!(count(&points), count_all_pairs(&points));
        }
    }
}
