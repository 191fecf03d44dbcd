//! The elements of a tensor that lies in one piece on the CPU, as a slice.

use tch::{Device, Kind, Tensor};

/// What a tensor's elements may be read as.
pub trait Element: Copy {
    /// The kind of such a tensor.
    const KIND: Kind;
}

impl Element for f32 {
    const KIND: Kind = Kind::Float;
}

/// Label words: libtorch has no unsigned ones, the bits are the same.
impl Element for u32 {
    const KIND: Kind = Kind::Int;
}

impl Element for u8 {
    const KIND: Kind = Kind::Uint8;
}

/// Row-major, or `None` for a tensor of another kind, on another device or with gaps. Nothing may write to the tensor
/// while the slice lives: libtorch would not hinder it.
pub fn elements<T: Element>(tensor: &Tensor) -> Option<&[T]> {
    if !fits::<T>(tensor) {
        return None;
    }
    // SAFETY: the pointer is that of `numel` initialised elements of this kind in one piece, alive while `tensor` is.
    Some(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast_const().cast(), tensor.numel()) })
}

/// As [`elements`], to write to.
pub fn elements_mut<T: Element>(tensor: &mut Tensor) -> Option<&mut [T]> {
    if !fits::<T>(tensor) {
        return None;
    }
    // SAFETY: as in `elements`; the losses borrow only tensors that they made themselves and share with none.
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
    fn only_what_lies_in_one_piece_is_lent() {
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
