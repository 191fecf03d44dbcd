/// Number of pairs of edges of the closed polygon that cross each other in their interiors. Edges that touch
/// or retrace one another, as a contour does along a line one pixel wide, do not count.
///
/// A sweep over the longer axis with the edges now open: dense contours have short edges, so few are open at a time.
pub fn crossings(points: &[[i32; 2]]) -> u32 {
    let n = points.len();
    if n < 4 {
        return 0;
    }
    // Along the longer axis fewer edges are open at a time; which axis is called x changes no crossing.
    let extent = |axis: usize| {
        let values = || points.iter().map(|p| i64::from(p[axis]));
        values().max().unwrap_or(0) - values().min().unwrap_or(0)
    };
    let turned = extent(1) > extent(0);
    let point = |i: usize| if turned { [points[i][1], points[i][0]] } else { points[i] };
    let mut edges: Vec<([i32; 2], [i32; 2])> = (1..n).map(|i| (point(i - 1), point(i))).collect();
    edges.push((point(n - 1), point(0)));
    edges.sort_unstable_by_key(|(a, b)| a[0].min(b[0]));
    let mut open: Vec<([i32; 2], [i32; 2])> = Vec::new();
    let mut count = 0;
    for edge in edges {
        let x = edge.0[0].min(edge.1[0]);
        let (low, high) = (edge.0[1].min(edge.1[1]), edge.0[1].max(edge.1[1]));
        open.retain(|(c, d)| c[0].max(d[0]) >= x);
        let near = open.iter().filter(|(c, d)| c[1].max(d[1]) >= low && c[1].min(d[1]) <= high);
        count += near.filter(|other| cross(wide(edge), wide(**other))).count() as u32;
        open.push(edge);
    }
    count
}

fn wide((a, b): ([i32; 2], [i32; 2])) -> Edge {
    (a.map(i64::from), b.map(i64::from))
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

    #[test]
    fn simple_shapes_have_none_and_a_bow_tie_one() {
        assert_eq!(crossings(&[[0, 0], [10, 0], [10, 10], [0, 10]]), 0);
        assert_eq!(crossings(&[[0, 0], [10, 10], [10, 0], [0, 10]]), 1);
        assert_eq!(crossings(&[[0, 0], [10, 0]]), 0);
        // Out and back along one line touches itself and does not cross.
        assert_eq!(crossings(&[[0, 0], [5, 0], [9, 0], [5, 0], [0, 0], [0, 5]]), 0);
        // A five-pointed star drawn in one line.
        assert_eq!(crossings(&[[0, -100], [59, 81], [-95, -31], [95, -31], [-59, 81]]), 5);
    }

    proptest! {
        #[test]
        fn agrees_with_all_pairs(points in prop::collection::vec(prop::array::uniform2(-30i32..30), 0..40)) {
            let n = points.len();
            let edge = |i: usize| (points[i].map(i64::from), points[(i + 1) % n].map(i64::from));
            let mut expected = 0;
            if n >= 4 {
                for i in 0..n {
                    for j in i + 1..n {
                        expected += u32::from(cross(edge(i), edge(j)));
                    }
                }
            }
            prop_assert_eq!(crossings(&points), expected);
        }
    }
}
