//! Choosing the device of tensors: the CPU, or a CUDA device if there is a driver and libtorch has its CUDA library.
//!
//! The linker drops `libtorch_cuda.so` because nothing refers to it. Loading it before the first call of libtorch
//! registers its kernels, so that one binary works on machines with and without a GPU.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use crate::wording::counted;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tch::Device;

/// The device that the user chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// `auto`: the first CUDA device if there is one, else the CPU.
    #[default]
    Auto,
    /// `cpu`: the CPU.
    Cpu,
    /// `cuda:N`: the CUDA device of this index; `cuda` is the first.
    Cuda(usize),
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceKind::Auto => f.write_str("auto"),
            DeviceKind::Cpu => f.write_str("cpu"),
            DeviceKind::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(DeviceKind::Auto),
            "cpu" => Ok(DeviceKind::Cpu),
            "cuda" => Ok(DeviceKind::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(DeviceKind::Cuda)
                .ok_or_else(|| format!("unknown device {text:?}; expected one of auto, cpu, cuda, cuda:N")),
        }
    }
}

impl Serialize for DeviceKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A device that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The CUDA device does not exist or cannot be used.
    #[error("cuda:{index} cannot be used: {reason}; use --device cpu or auto")]
    NoCuda {
        /// Index of the CUDA device.
        index: usize,
        /// What is missing.
        reason: String,
    },
}

/// The name of a device, as `--device` takes it.
pub fn name(device: Device) -> String {
    match device {
        Device::Cpu => DeviceKind::Cpu.to_string(),
        Device::Cuda(index) => DeviceKind::Cuda(index).to_string(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Chooses a device. Call this before any other use of libtorch: CUDA can only be loaded before the first use.
///
/// # Errors
/// A CUDA device was chosen that does not exist or cannot be used.
pub fn select(kind: DeviceKind) -> Result<Device, DeviceError> {
    match kind {
        DeviceKind::Cpu => Ok(Device::Cpu),
        DeviceKind::Auto => Ok(if cuda().is_ok_and(|n| n > 0) { Device::Cuda(0) } else { Device::Cpu }),
        DeviceKind::Cuda(index) => match cuda() {
            Ok(count) if index < count => Ok(Device::Cuda(index)),
            Ok(count) => Err(DeviceError::NoCuda {
                index,
                reason: format!("this machine has {}", counted(count, "CUDA device", "CUDA devices")),
            }),
            Err(reason) => Err(DeviceError::NoCuda { index, reason }),
        },
    }
}

/// Number of CUDA devices, at least 1.
///
/// # Errors
/// The reason why there is no CUDA device.
pub fn cuda() -> Result<usize, String> {
    static COUNT: OnceLock<Result<usize, String>> = OnceLock::new();
    COUNT
        .get_or_init(|| {
            load_cuda()?;
            let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
            if count == 0 { Err("the CUDA driver finds no device".to_owned()) } else { Ok(count) }
        })
        .clone()
}

/// Loads libtorch's CUDA library. Without a driver it is not tried, because loading takes seconds and maps gigabytes of
/// files.
fn load_cuda() -> Result<(), String> {
    if !Path::new("/dev/nvidiactl").exists() {
        return Err("this machine has no NVIDIA driver (/dev/nvidiactl does not exist)".to_owned());
    }
    // SAFETY: loading runs the initialisers of the driver's library, which has no preconditions.
    unsafe { libloading::Library::new("libcuda.so.1") }
        .map_err(|e| format!("cannot load the library of the NVIDIA driver ({e})"))?;
    let path = libtorch_folders()
        .into_iter()
        .map(|folder| folder.join("libtorch_cuda.so"))
        .find(|path| path.exists())
        .ok_or("this libtorch is a CPU-only build (it has no libtorch_cuda.so)")?;
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: it belongs to the libtorch that this binary is linked to; its initialisers register kernels.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }
        .map_err(|e| format!("cannot load {} ({e})", path.display()))?;
    // Its kernels stay registered in libtorch until the process ends.
    std::mem::forget(library);
    Ok(())
}

/// Folders to search for libtorch: those of `LD_LIBRARY_PATH`, then its folder at build time.
pub fn libtorch_folders() -> Vec<PathBuf> {
    let searched = std::env::var_os("LD_LIBRARY_PATH");
    let mut folders: Vec<PathBuf> = searched.iter().flat_map(std::env::split_paths).collect();
    folders.extend(option_env!("CARPUS_LIBTORCH").map(PathBuf::from));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_parsed_back() {
        for kind in [DeviceKind::Auto, DeviceKind::Cpu, DeviceKind::Cuda(3)] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("gpu".parse::<DeviceKind>().is_err());
    }

    #[test]
    fn the_error_without_a_driver_names_it() {
        if !Path::new("/dev/nvidiactl").exists() {
            assert_eq!(select(DeviceKind::Auto).unwrap(), Device::Cpu);
            let error = select(DeviceKind::Cuda(0)).unwrap_err().to_string();
            assert!(error.contains("NVIDIA driver"), "{error}");
        }
    }
}
