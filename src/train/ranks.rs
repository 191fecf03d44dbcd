//! The processes that train one model together.

use std::fmt;

use tch::{Device, Kind, TchError, Tensor};

/// The processes that train one model together, called ranks. Each holds the whole model and the same settings and data, learns
/// from its part of each batch, and moves its weights by the sum of all gradients, so that all models stay the same. The first
/// rank writes the run's files.
///
/// Every method but `rank` and `world` is called by all ranks, in the same order.
pub trait Ranks: Sync {
    /// The place of this process among them, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks, at least 1.
    fn world(&self) -> usize;

    /// Puts the sum over all ranks in place of each tensor, with the same bits on all.
    ///
    /// # Errors
    /// A rank cannot be reached, or gave tensors of another shape.
    fn sum(&self, tensors: &[Tensor]) -> Result<(), TchError>;

    /// The rows of all ranks' tensors, one below the other in the order of the ranks. They may differ in their number of rows.
    ///
    /// # Errors
    /// A rank cannot be reached, or gave rows of another shape.
    fn gather(&self, rows: &Tensor) -> Result<Tensor, TchError>;
}

/// Where a model is trained: on which device of this process, and with which others.
#[derive(Clone, Copy)]
pub struct Strategy<'a> {
    /// The device of this process.
    pub device: Device,
    /// Those that train the same model.
    pub ranks: &'a dyn Ranks,
}

impl Strategy<'_> {
    /// On one device, in this process alone.
    pub fn on(device: Device) -> Strategy<'static> {
        Strategy { device, ranks: &OneProcess }
    }
}

impl fmt::Debug for Strategy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {} on {:?}", self.ranks.rank(), self.ranks.world(), self.device)
    }
}

/// Training in this process alone.
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

    /// The sum of each number over all ranks.
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

    /// Puts the first rank's values in place of each tensor's.
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

    /// The places `0..n` of a batch that are this rank's: as evenly as can be, the first ranks one more.
    pub(super) fn own(&self, n: usize) -> std::ops::Range<usize> {
        let (rank, world) = (self.rank(), self.world());
        let start = |rank: usize| rank * (n / world) + rank.min(n % world);
        start(rank)..start(rank + 1)
    }

    /// The number of images of the ranks before this one, and of all, where this one has `own`.
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
            unreachable!("places are cut without the others")
        }
        fn gather(&self, _: &Tensor) -> Result<Tensor, TchError> {
            unreachable!("places are cut without the others")
        }
    }

    #[test]
    fn a_batch_is_cut_without_gaps() {
        for (n, world) in [(7, 3), (2, 3), (8, 4), (0, 2), (5, 1)] {
            let parts: Vec<_> = (0..world).map(|rank| (&At(rank, world) as &dyn Ranks).own(n)).collect();
            assert_eq!(parts.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..n).collect::<Vec<_>>());
            let sizes = parts.iter().map(ExactSizeIterator::len);
            assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1, "{parts:?}");
        }
    }
}
