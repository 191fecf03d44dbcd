use tch::{Kind, TchError, Tensor};

use super::warp::FAR;
use super::{Border, DeviceImage, Displacement, Geometry, Warp};

impl Warp {
    /// Applies the maps to an image on its device, as [`Warp::sample`] does: places in double precision, grey levels
    /// bilinear, label words nearest. Equal to it up to rounding: grey levels to far below one level, labels except
    /// where a place is halfway between two pixels.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn sample_on_device(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        if self.is_empty() {
            return Ok(());
        }
        let places = DevicePlaces::new(self, &image.levels)?;
        image.levels = places.bilinear(&image.levels)?;
        image.words = places.nearest(&image.words)?;
        if let Some((words, _)) = &mut image.mixed {
            *words = places.nearest(words)?;
        }
        Ok(())
    }
}

/// The places from which the pixels of an image are read, `[H, W]` each, double precision.
struct DevicePlaces {
    xs: Tensor,
    ys: Tensor,
    border: Border,
    /// Width and height of the image in px.
    size: [i64; 2],
}

impl DevicePlaces {
    fn new(warp: &Warp, levels: &Tensor) -> Result<DevicePlaces, TchError> {
        let (height, width) = levels.size2()?;
        let options = (Kind::Double, levels.device());
        let mut xs = Tensor::f_arange(width, options)?.f_unsqueeze(0)?.f_expand([height, width], false)?;
        let mut ys = Tensor::f_arange(height, options)?.f_unsqueeze(1)?.f_expand([height, width], false)?;
        for map in warp.maps.iter().rev() {
            (xs, ys) = moved(map, &xs, &ys)?;
        }
        let within = |v: Tensor| v.f_nan_to_num(-FAR, FAR, -FAR)?.f_clamp(-FAR, FAR);
        let (xs, ys) = (within(xs)?, within(ys)?);
        Ok(DevicePlaces { xs, ys, border: warp.border.unwrap_or_default(), size: [width, height] })
    }

    fn bilinear(&self, levels: &Tensor) -> Result<Tensor, TchError> {
        let (x0, y0) = (self.xs.f_floor()?, self.ys.f_floor()?);
        let share = |place: &Tensor, first: &Tensor| place.f_sub(first)?.f_to_kind(Kind::Float);
        let (fx, fy) = (share(&self.xs, &x0)?, share(&self.ys, &y0)?);
        let next = |first: &Tensor| first.f_add_scalar(1.0);
        let (x1, y1) = (next(&x0)?, next(&y0)?);
        let read = |x: &Tensor, y: &Tensor| self.read(levels, x, y);
        let top = read(&x0, &y0)?.f_lerp_tensor(&read(&x1, &y0)?, &fx)?;
        let bottom = read(&x0, &y1)?.f_lerp_tensor(&read(&x1, &y1)?, &fx)?;
        top.f_lerp_tensor(&bottom, &fy)
    }

    fn nearest(&self, words: &Tensor) -> Result<Tensor, TchError> {
        let closest = |place: &Tensor| place.f_add_scalar(0.5)?.f_floor();
        self.read(words, &closest(&self.xs)?, &closest(&self.ys)?)
    }

    /// The pixels at whole places.
    fn read(&self, pixels: &Tensor, x: &Tensor, y: &Tensor) -> Result<Tensor, TchError> {
        let [width, height] = self.size;
        let (x, is_column) = self.index(x, width)?;
        let (y, is_row) = self.index(y, height)?;
        let index = y.f_mul_scalar(width)?.f_add(&x)?.f_flatten(0, 1)?;
        let read = pixels.f_reshape([-1])?.f_index_select(0, &index)?.f_view([height, width])?;
        match (is_column, is_row) {
            (Some(column), Some(row)) => read.f_mul(&column.f_logical_and(&row)?.f_to_kind(pixels.kind())?),
            _ => Ok(read),
        }
    }

    /// The index to read for each whole number, and with a black border whether there is such a pixel.
    fn index(&self, place: &Tensor, size: i64) -> Result<(Tensor, Option<Tensor>), TchError> {
        let i = place.f_to_kind(Kind::Int64)?;
        match self.border {
            Border::Black => {
                let exists = i.f_ge(0)?.f_logical_and(&i.f_lt(size)?)?;
                Ok((i.f_clamp(0, size - 1)?, Some(exists)))
            }
            Border::Reflect if size == 1 => Ok((i.f_zeros_like()?, None)),
            Border::Reflect => {
                let period = 2 * (size - 1);
                let place = i.f_remainder(period)?;
                Ok((place.f_minimum(&place.f_neg()?.f_add_scalar(period)?)?, None))
            }
        }
    }
}

/// The places from which a map reads `xs` and `ys`.
fn moved(map: &Geometry, xs: &Tensor, ys: &Tensor) -> Result<(Tensor, Tensor), TchError> {
    let linear = |a: f64, b: f64, c: f64| xs.f_mul_scalar(a)?.f_add(&ys.f_mul_scalar(b)?)?.f_add_scalar(c);
    match map {
        Geometry::Affine(map) => {
            let [a, b, tx, c, d, ty] = map.coefficients();
            Ok((linear(a, b, tx)?, linear(c, d, ty)?))
        }
        Geometry::Projective(map) => {
            let [a, b, c, d, e, f, g, h, i] = map.rows();
            let w = linear(g, h, i)?;
            Ok((linear(a, b, c)?.f_div(&w)?, linear(d, e, f)?.f_div(&w)?))
        }
        Geometry::Displacement(displacement) => displaced(displacement, xs, ys),
    }
}

fn displaced(displacement: &Displacement, xs: &Tensor, ys: &Tensor) -> Result<(Tensor, Tensor), TchError> {
    let (size, columns) = (displacement.size(), displacement.columns());
    let rows = displacement.nodes().len() / columns;
    let nodes = Tensor::f_from_slice(displacement.nodes().as_flattened())?.f_to_device(xs.device())?;
    let nodes = nodes.f_view([-1, 2])?;
    let (x0, x1, fx) = cell(xs, size.width, columns)?;
    let (y0, y1, fy) = cell(ys, size.height, rows)?;
    let shape = xs.size();
    let read = |x: &Tensor, y: &Tensor| {
        let index = y.f_mul_scalar(columns as i64)?.f_add(x)?.f_flatten(0, 1)?;
        nodes.f_index_select(0, &index)?.f_view([shape[0], shape[1], 2])
    };
    let top = read(&x0, &y0)?.f_lerp_tensor(&read(&x1, &y0)?, &fx)?;
    let bottom = read(&x0, &y1)?.f_lerp_tensor(&read(&x1, &y1)?, &fx)?;
    let by = top.f_lerp_tensor(&bottom, &fy)?.f_to_kind(Kind::Double)?;
    Ok((xs.f_add(&by.f_select(2, 0)?)?, ys.f_add(&by.f_select(2, 1)?)?))
}

/// The two nodes around each place along a side with `pixels` pixels and `nodes` nodes, and the share of the second
/// `[H, W, 1]`.
fn cell(place: &Tensor, pixels: u32, nodes: usize) -> Result<(Tensor, Tensor, Tensor), TchError> {
    let (last, last_node) = (f64::from(pixels) - 1.0, nodes as i64 - 1);
    let nodes_per_pixel = if last > 0.0 { last_node as f64 / last } else { 0.0 };
    let place = place.f_nan_to_num(0.0, last, 0.0)?.f_clamp(0.0, last)?.f_mul_scalar(nodes_per_pixel)?;
    let first = place.f_floor()?.f_clamp(0.0, last_node as f64)?;
    let share = place.f_sub(&first)?.f_to_kind(Kind::Float)?.f_unsqueeze(2)?;
    let first = first.f_to_kind(Kind::Int64)?;
    let second = first.f_add_scalar(1)?.f_clamp(0, last_node)?;
    Ok((first, second, share))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::augment::list::tests::drawn;
    use crate::augment::{Change, Elastic, LabelledImage, MixedLabels, Perspective, ShiftScaleRotate, Step};
    use crate::geometry::Size;

    fn words(image: &Tensor) -> Vec<u32> {
        let words: Vec<i32> = image.reshape([-1]).try_into().unwrap();
        words.into_iter().map(|w| w as u32).collect()
    }

    /// Random maps of every kind and their sequences, with both borders, on images that are not square.
    #[test]
    fn a_warp_on_a_device_equals_the_cpus() {
        let seed = std::env::var("CARPUS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
        println!("CARPUS_SEED={seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let sigma = Some(crate::augment::Amount::Fixed(14.0));
        for border in Border::ALL {
            let affine = ShiftScaleRotate { border: *border, ..ShiftScaleRotate::default() };
            let perspective = Perspective { border: *border, ..Perspective::default() };
            let elastic = Elastic { border: *border, sigma, ..Elastic::default() };
            let steps: [&[&dyn Step]; 6] = [
                &[&affine],
                &[&perspective],
                &[&elastic],
                &[&affine, &elastic],
                &[&elastic, &affine, &perspective],
                &[],
            ];
            for (steps, size) in
                steps.into_iter().flat_map(|s| [(60, 41), (1, 9)].map(|(width, height)| (s, Size { width, height })))
            {
                let mut warp = Warp::default();
                for step in steps {
                    let Change::Geometry { source_from_target, border } = drawn(*step, size, rng.random()) else {
                        panic!("a map")
                    };
                    warp.push(source_from_target, border);
                }
                let levels: Vec<f32> = (0..size.pixels()).map(|_| rng.random_range(0.0..=255.0)).collect();
                let labels: [Vec<u32>; 2] = [(); 2].map(|()| (0..size.pixels()).map(|_| rng.random()).collect());
                let [first, second] = labels;
                let mut image = LabelledImage::new(size, levels, first);
                image.mixed = Some(MixedLabels { words: second, share: 0.25 });
                let shape = [i64::from(size.height), i64::from(size.width)];
                let device = |words: &[u32]| {
                    Tensor::from_slice(&words.iter().map(|w| *w as i32).collect::<Vec<_>>()).view(shape)
                };
                let mixed = image.mixed.as_ref().map(|m| (device(&m.words), m.share));
                let mut on_device = DeviceImage {
                    levels: Tensor::from_slice(&image.levels).view(shape),
                    words: device(&image.words),
                    mixed,
                };
                warp.sample_on_device(&mut on_device).unwrap();
                let expected = warp.sample(image);
                let levels: Vec<f32> = on_device.levels.reshape([-1]).try_into().unwrap();
                let worst = levels.iter().zip(&expected.levels).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                // Displacements are computed to some 1e-5 px, in which the grey level changes by at most 510e-5.
                assert!(worst < 0.05, "grey levels differ by {worst}");
                let (second, share) = on_device.mixed.unwrap();
                assert_eq!(share, 0.25);
                for (ours, reference) in
                    [(words(&on_device.words), &expected.words), (words(&second), &expected.mixed.unwrap().words)]
                {
                    let other = ours.iter().zip(reference).filter(|(a, b)| a != b).count();
                    assert!(other <= 2, "{other} labels differ");
                }
            }
        }
    }
}
