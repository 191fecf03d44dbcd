/// A mask in pixels of a picture: for each row, sorted disjoint half-open ranges of columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    width: u32,
    rows: Vec<Vec<(u32, u32)>>,
}

impl Spans {
    /// From rows of sorted disjoint ranges of columns `(first, one past the last)`, all within `width`.
    pub fn from_rows(width: u32, rows: Vec<Vec<(u32, u32)>>) -> Self {
        Spans { width, rows }
    }

    /// `(row, first column, one past the last column)`, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
        self.rows.iter().enumerate().flat_map(|(y, row)| row.iter().map(move |&(a, b)| (y as u32, a, b)))
    }

    /// Number of pixels.
    pub fn area(&self) -> u64 {
        self.iter().map(|(_, a, b)| u64::from(b - a)).sum()
    }

    /// Mean (column, row); `None` for no pixels.
    pub fn centroid(&self) -> Option<(f64, f64)> {
        let (mut n, mut x, mut y) = (0.0, 0.0, 0.0);
        for (row, a, b) in self.iter() {
            let len = f64::from(b - a);
            n += len;
            x += len * (f64::from(a) + f64::from(b) - 1.0) / 2.0;
            y += len * f64::from(row);
        }
        (n > 0.0).then(|| (x / n, y / n))
    }

    /// Pixels in both masks.
    pub fn intersection(&self, other: &Spans) -> Spans {
        let rows = self.rows.iter().zip(&other.rows).map(|(a, b)| intersect(a, b)).collect();
        Spans { width: self.width, rows }
    }

    /// Pixels of this mask that are not in the other.
    pub fn difference(&self, other: &Spans) -> Spans {
        let rows = self.rows.iter().zip(&other.rows).map(|(a, b)| subtract(a, b)).collect();
        Spans { width: self.width, rows }
    }

    /// The set pixels whose four neighbours are all set. Positions outside the picture count as set, so that a bone cut
    /// off by the picture's edge has no border there.
    pub fn eroded(&self) -> Spans {
        let last = self.rows.len().saturating_sub(1);
        let rows = self
            .rows
            .iter()
            .enumerate()
            .map(|(y, row)| {
                let shrunk: Vec<_> = row
                    .iter()
                    .map(|&(a, b)| (if a > 0 { a + 1 } else { 0 }, if b < self.width { b - 1 } else { b }))
                    .filter(|(a, b)| a < b)
                    .collect();
                let above = if y > 0 { intersect(&shrunk, &self.rows[y - 1]) } else { shrunk };
                if y < last { intersect(&above, &self.rows[y + 1]) } else { above }
            })
            .collect();
        Spans { width: self.width, rows }
    }

    /// The border inside the mask, `thickness` pixels wide.
    pub fn border(&self, thickness: u32) -> Spans {
        let mut inside = self.clone();
        for _ in 0..thickness {
            inside = inside.eroded();
        }
        self.difference(&inside)
    }
}

fn intersect(a: &[(u32, u32)], b: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        let (start, end) = (a[i].0.max(b[j].0), a[i].1.min(b[j].1));
        if start < end {
            out.push((start, end));
        }
        if a[i].1 < b[j].1 {
            i += 1;
        } else {
            j += 1;
        }
    }
    out
}

fn subtract(a: &[(u32, u32)], b: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut out = Vec::new();
    let mut j = 0;
    for &(mut start, end) in a {
        while j < b.len() && b[j].1 <= start {
            j += 1;
        }
        let mut k = j;
        while k < b.len() && b[k].0 < end {
            if b[k].0 > start {
                out.push((start, b[k].0));
            }
            start = start.max(b[k].1);
            k += 1;
        }
        if start < end {
            out.push((start, end));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTH: usize = 12;

    fn spans(bits: &[Vec<bool>]) -> Spans {
        let rows = bits
            .iter()
            .map(|row| {
                let mut out: Vec<(u32, u32)> = Vec::new();
                for (x, _) in row.iter().enumerate().filter(|(_, set)| **set) {
                    match out.last_mut() {
                        Some(last) if last.1 == x as u32 => last.1 += 1,
                        _ => out.push((x as u32, x as u32 + 1)),
                    }
                }
                out
            })
            .collect();
        Spans::from_rows(WIDTH as u32, rows)
    }

    fn bits(spans: &Spans) -> Vec<Vec<bool>> {
        let mut out = vec![vec![false; WIDTH]; spans.rows.len()];
        for (y, a, b) in spans.iter() {
            for x in a..b {
                assert!(!out[y as usize][x as usize], "spans overlap");
                out[y as usize][x as usize] = true;
            }
        }
        out
    }

    fn grid() -> impl Strategy<Value = Vec<Vec<bool>>> {
        prop::collection::vec(prop::collection::vec(prop::bool::weighted(0.7), WIDTH), 6)
    }

    proptest! {
        #[test]
        fn algebra_agrees_with_bits(a in grid(), b in grid()) {
            let (sa, sb) = (spans(&a), spans(&b));
            let both = bits(&sa.intersection(&sb));
            let less = bits(&sa.difference(&sb));
            for y in 0..a.len() {
                for x in 0..WIDTH {
                    prop_assert_eq!(both[y][x], a[y][x] && b[y][x]);
                    prop_assert_eq!(less[y][x], a[y][x] && !b[y][x]);
                }
            }
        }

        #[test]
        fn border_pixels_have_a_neighbour_outside(a in grid()) {
            let border = bits(&spans(&a).border(1));
            let at = |x: i32, y: i32| {
                if x < 0 || y < 0 || x >= WIDTH as i32 || y >= a.len() as i32 { true } else { a[y as usize][x as usize] }
            };
            for y in 0..a.len() as i32 {
                for x in 0..WIDTH as i32 {
                    let inner = at(x - 1, y) && at(x + 1, y) && at(x, y - 1) && at(x, y + 1);
                    prop_assert_eq!(border[y as usize][x as usize], at(x, y) && !inner);
                }
            }
        }
    }
}
