//! The elements of a contiguous CPU tensor as a slice.

use tch::{Device, Kind, Tensor};

/// A type as which the elements of a tensor can be read.
pub trait Element: Copy {
    /// The kind of such a tensor.
    const KIND: Kind;
}

impl Element for f32 {
    const KIND: Kind = Kind::Float;
}

/// Label words: libtorch has no unsigned type of 32 bits here, but the bits are the same.
impl Element for u32 {
    const KIND: Kind = Kind::Int;
}

impl Element for u8 {
    const KIND: Kind = Kind::Uint8;
}

/// The elements in row-major order; `None` for a tensor of another kind, on another device, empty or not contiguous.
/// Nothing may write to the tensor while the slice exists; libtorch does not prevent it.
pub fn elements<T: Element>(tensor: &Tensor) -> Option<&[T]> {
    if !fits::<T>(tensor) {
        return None;
    }
    // SAFETY: the pointer refers to `numel` contiguous, initialised elements of this kind, which live as long as
    // `tensor`.
    Some(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast_const().cast(), tensor.numel()) })
}

/// As [`elements`], but writable.
pub fn elements_mut<T: Element>(tensor: &mut Tensor) -> Option<&mut [T]> {
    if !fits::<T>(tensor) {
        return None;
    }
    // SAFETY: as in `elements`; the losses only borrow tensors that they created and do not share.
    Some(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) })
}

fn fits<T: Element>(tensor: &Tensor) -> bool {
    tensor.defined()
        && tensor.device() == Device::Cpu
        && tensor.kind() == T::KIND
        && !tensor.is_sparse()
        && tensor.is_contiguous()
        && tensor.numel() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_contiguous_tensors_are_borrowed() {
        let tensor = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([2, 3]);
        assert_eq!(elements::<f32>(&tensor).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(elements::<f32>(&tensor.get(1)).unwrap(), [4.0, 5.0, 6.0]);
        assert!(elements::<f32>(&tensor.tr()).is_none());
        assert!(elements::<u32>(&tensor).is_none());
        assert_eq!(elements::<u32>(&Tensor::from_slice(&[-1i32])).unwrap(), [u32::MAX]);
        let mut own = tensor.copy();
        elements_mut::<f32>(&mut own).unwrap()[5] = 9.0;
        assert_eq!(own.double_value(&[1, 2]), 9.0);
    }
}
