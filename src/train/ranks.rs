//! The processes that train one model together.

use std::fmt;

use tch::{Device, Kind, TchError, Tensor};

/// The processes that train one model together, called ranks. Each has the whole model and the same settings and data,
/// computes the gradients of its part of each batch, and updates its weights by the sum of all gradients, so that all
/// models stay equal. The first rank writes the run's files.
///
/// All ranks call every method except `rank` and `world`, in the same order.
pub trait Ranks: Sync {
    /// Number of this process, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks, at least 1.
    fn world(&self) -> usize;

    /// Replaces each tensor by its sum over all ranks, with the same bits on all.
    ///
    /// # Errors
    /// A rank cannot be reached, or has tensors of another shape.
    fn sum(&self, tensors: &[Tensor]) -> Result<(), TchError>;

    /// The rows of all ranks' tensors, joined in the order of the ranks. The ranks may have different numbers of rows.
    ///
    /// # Errors
    /// A rank cannot be reached, or has rows of another shape.
    fn gather(&self, rows: &Tensor) -> Result<Tensor, TchError>;
}

/// Where a model is trained: the device of this process, and the processes that train the same model.
#[derive(Clone, Copy)]
pub struct Strategy<'a> {
    /// The device of this process.
    pub device: Device,
    /// The processes that train the same model.
    pub ranks: &'a dyn Ranks,
}

impl Strategy<'_> {
    /// Training on one device, in this process only.
    pub fn on(device: Device) -> Strategy<'static> {
        Strategy { device, ranks: &OneProcess }
    }
}

impl fmt::Debug for Strategy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {} on {:?}", self.ranks.rank(), self.ranks.world(), self.device)
    }
}

/// Training in this process only.
#[derive(Clone, Copy, Debug)]
pub struct OneProcess;

impl Ranks for OneProcess {
    fn rank(&self) -> usize {
        0
    }

    fn world(&self) -> usize {
        1
    }

    fn sum(&self, _tensors: &[Tensor]) -> Result<(), TchError> {
        Ok(())
    }

    fn gather(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        Ok(rows.shallow_clone())
    }
}

impl dyn Ranks + '_ {
    /// Whether this rank writes the run's files.
    pub(super) fn writes(&self) -> bool {
        self.rank() == 0
    }

    /// The sum of each value over all ranks.
    pub(super) fn totals<const N: usize>(&self, own: [f64; N]) -> Result<[f64; N], TchError> {
        if self.world() == 1 {
            return Ok(own);
        }
        let sums = Tensor::f_from_slice(&own)?;
        self.sum(std::slice::from_ref(&sums))?;
        let mut totals = [0.0; N];
        sums.f_copy_data(&mut totals, N)?;
        Ok(totals)
    }

    /// Replaces each tensor by that of the first rank.
    pub(super) fn share(&self, tensors: &[Tensor]) -> Result<(), TchError> {
        if self.world() == 1 {
            return Ok(());
        }
        tch::no_grad(|| {
            if !self.writes() {
                tensors.iter().try_for_each(|tensor| tensor.shallow_clone().f_zero_().map(drop))?;
            }
            self.sum(tensors)
        })
    }

    /// The part of the places `0..n` of a batch that belongs to this rank. Parts are equal; if they cannot be, the
    /// first ranks have one place more.
    pub(super) fn own(&self, n: usize) -> std::ops::Range<usize> {
        let (rank, world) = (self.rank(), self.world());
        let start = |rank: usize| rank * (n / world) + rank.min(n % world);
        start(rank)..start(rank + 1)
    }

    /// The number of images of the ranks before this one, and of all ranks; this one has `own`.
    pub(super) fn images(&self, own: i64) -> Result<(i64, i64), TchError> {
        let counts = self.gather(&Tensor::f_from_slice(&[own])?)?;
        let sum = |counts: &Tensor| counts.f_sum(Kind::Int64)?.f_int64_value(&[]);
        Ok((sum(&counts.f_narrow(0, 0, self.rank() as i64)?)?, sum(&counts)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct At(usize, usize);

    impl Ranks for At {
        fn rank(&self) -> usize {
            self.0
        }
        fn world(&self) -> usize {
            self.1
        }
        fn sum(&self, _: &[Tensor]) -> Result<(), TchError> {
            unreachable!("a rank computes its places without the others")
        }
        fn gather(&self, _: &Tensor) -> Result<Tensor, TchError> {
            unreachable!("a rank computes its places without the others")
        }
    }

    #[test]
    fn a_batch_is_divided_without_gaps() {
        for (n, world) in [(7, 3), (2, 3), (8, 4), (0, 2), (5, 1)] {
            let parts: Vec<_> = (0..world).map(|rank| (&At(rank, world) as &dyn Ranks).own(n)).collect();
            assert_eq!(parts.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..n).collect::<Vec<_>>());
            let sizes = parts.iter().map(ExactSizeIterator::len);
            assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1, "{parts:?}");
        }
    }
}
