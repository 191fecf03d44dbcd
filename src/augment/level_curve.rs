use rayon::prelude::*;
use tch::{Kind, TchError, Tensor};

/// A new level for each of the 256 grey levels; levels between them are interpolated.
pub(super) struct LevelCurve(pub [f32; 256]);

impl LevelCurve {
    /// The new level of `level`, 0 to 255. A whole level gets exactly its entry.
    fn at(&self, level: f32) -> f32 {
        let below = level as usize & 255;
        let share = level - below as f32;
        let first = self.0[below];
        if share == 0.0 { first } else { first + (self.0[(below + 1).min(255)] - first) * share }
    }

    /// Changes all levels.
    pub fn apply(&self, levels: &mut [f32]) {
        levels.par_iter_mut().with_min_len(1 << 14).for_each(|v| *v = self.at(*v));
    }

    /// The new levels of a tensor.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn of_tensor(&self, levels: &Tensor) -> Result<Tensor, TchError> {
        let table = Tensor::f_from_slice(&self.0)?.f_to_device(levels.device())?;
        let below = levels.f_floor()?.f_clamp(0.0, 255.0)?;
        let share = levels.f_sub(&below)?;
        let index = below.f_to_kind(Kind::Int64)?;
        let first = table.f_take(&index)?;
        let second = table.f_take(&index.f_add_scalar(1)?.f_clamp_max(255)?)?;
        first.f_add(&second.f_sub(&first)?.f_mul(&share)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_between_entries_are_interpolated() {
        let mut curve = LevelCurve(std::array::from_fn(|level| level as f32));
        (curve.0[10], curve.0[11]) = (100.0, 50.0);
        let levels = [0.0, 10.0, 10.5, 11.0, 254.25, 255.0];
        let mut changed = levels;
        curve.apply(&mut changed);
        assert_eq!(changed, [0.0, 100.0, 75.0, 50.0, 254.25, 255.0]);
        let on_device = Vec::<f32>::try_from(curve.of_tensor(&Tensor::from_slice(&levels)).unwrap()).unwrap();
        assert_eq!(on_device, changed);
    }
}
