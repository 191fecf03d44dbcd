/// Number of pairs of edges of the closed polygon that cross each other in their interiors. Edges that touch
/// or retrace one another, as a contour does along a line one pixel wide, do not count.
///
/// A sweep over x with the edges now open: dense contours have short edges, so few are open at a time.
pub fn crossings(points: &[[i32; 2]]) -> u32 {
    let n = points.len();
    if n < 4 {
        return 0;
    }
    let edge = |i: usize| (points[i].map(i64::from), points[(i + 1) % n].map(i64::from));
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|i| {
        let (a, b) = edge(*i);
        (a[0].min(b[0]), *i)
    });
    let mut open: Vec<usize> = Vec::new();
    let mut count = 0;
    for i in order {
        let (a, b) = edge(i);
        let x = a[0].min(b[0]);
        open.retain(|j| {
            let (c, d) = edge(*j);
            c[0].max(d[0]) >= x
        });
        count += open.iter().filter(|j| cross((a, b), edge(**j))).count() as u32;
        open.push(i);
    }
    count
}

type Edge = ([i64; 2], [i64; 2]);

fn cross((a, b): Edge, (c, d): Edge) -> bool {
    let (y_min, y_max) = (a[1].min(b[1]), a[1].max(b[1]));
    if c[1].max(d[1]) < y_min || c[1].min(d[1]) > y_max {
        return false;
    }
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
