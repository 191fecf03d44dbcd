//! Mixed precision: matrix products in a short number type, sums and norms in single precision, as
//! `torch.autocast` chooses for each operation. tch knows CUDA and half precision alone.

use tch::Device;

use crate::closed_enum::closed_enum;

closed_enum! {
    /// The number type of matrix products in mixed precision.
    pub enum ShortFloat ("number type") {
        /// Half precision: 10 bits of mantissa, overflows beyond 65504.
        Half = "f16",
        /// bfloat16: 7 bits of mantissa, the range of single precision.
        BFloat16 = "bf16",
    }
}

impl ShortFloat {
    /// libtorch's number of it.
    fn scalar_type(self) -> i8 {
        match self {
            ShortFloat::Half => 5,
            ShortFloat::BFloat16 => 15,
        }
    }
}

// SAFETY of the declarations: `at::autocast` of the libtorch that this binary links against; both enumerations are
// one signed byte. The symbols are those of libtorch 2.11, and linking fails where they are not there.
unsafe extern "C" {
    #[link_name = "_ZN2at8autocast18set_autocast_dtypeEN3c1010DeviceTypeENS1_10ScalarTypeE"]
    fn set_autocast_dtype(device: i8, kind: i8);
    #[link_name = "_ZN2at8autocast20set_autocast_enabledEN3c1010DeviceTypeEb"]
    fn set_autocast_enabled(device: i8, enabled: bool);
    #[link_name = "_ZN2at8autocast17increment_nestingEv"]
    fn increment_nesting() -> i32;
    #[link_name = "_ZN2at8autocast17decrement_nestingEv"]
    fn decrement_nesting() -> i32;
    #[link_name = "_ZN2at8autocast11clear_cacheEv"]
    fn clear_cache();
}

/// libtorch's number of the kind of a device.
fn device_type(device: Device) -> i8 {
    match device {
        Device::Cuda(_) => 1,
        _ => 0,
    }
}

/// Leaves mixed precision when it goes, on a panic too.
struct Region(i8);

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: they change this thread's dispatch state alone.
        unsafe {
            if decrement_nesting() == 0 {
                clear_cache();
            }
            set_autocast_enabled(self.0, false);
        }
    }
}

/// Runs `work` with matrix products on `device` in `float`. A backward pass outside goes by what each operation
/// did forward. Regions do not nest.
pub fn with<T>(device: Device, float: ShortFloat, work: impl FnOnce() -> T) -> T {
    let device = device_type(device);
    // SAFETY: as above.
    unsafe {
        set_autocast_dtype(device, float.scalar_type());
        set_autocast_enabled(device, true);
        increment_nesting();
    }
    let _region = Region(device);
    work()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    #[test]
    fn products_are_short_inside_and_single_outside() {
        let a = Tensor::rand([8, 8], (Kind::Float, Device::Cpu));
        assert_eq!(with(Device::Cpu, ShortFloat::BFloat16, || a.matmul(&a)).kind(), Kind::BFloat16);
        assert_eq!(a.matmul(&a).kind(), Kind::Float);
        let panicked = std::panic::catch_unwind(|| with(Device::Cpu, ShortFloat::BFloat16, || panic!("inside")));
        assert!(panicked.is_err() && a.matmul(&a).kind() == Kind::Float);
    }
}
