//! Where tensors live: the CPU, or a CUDA device where the driver and libtorch's CUDA half are.
//!
//! The linker drops `libtorch_cuda.so` because nothing refers to it. Opening it before the first call of libtorch
//! registers its kernels, so that one binary serves machines with and without a GPU.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use crate::wording::counted;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tch::Device;

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// The first CUDA device if there is one, else the CPU: `auto`.
    #[default]
    Auto,
    /// The CPU: `cpu`.
    Cpu,
    /// This CUDA device: `cuda:0`; `cuda` is the first.
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
                .ok_or_else(|| format!("there is no device {text:?}; there is auto, cpu, cuda, cuda:N")),
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

/// Why a device cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A CUDA device was asked for and there is none.
    #[error("cuda:{index} was asked for, but {reason}; use --device cpu or auto")]
    NoCuda {
        /// Index asked for.
        index: usize,
        /// What is missing.
        reason: String,
    },
}

/// A device as `--device` has it.
pub fn name(device: Device) -> String {
    match device {
        Device::Cpu => DeviceKind::Cpu.to_string(),
        Device::Cuda(index) => DeviceKind::Cuda(index).to_string(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Chooses a device. Call it before anything else touches libtorch: only the first touch can bring CUDA in.
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

/// Number of CUDA devices, or why there is none: what is missing.
pub fn cuda() -> Result<usize, String> {
    static COUNT: OnceLock<Result<usize, String>> = OnceLock::new();
    COUNT
        .get_or_init(|| {
            load_cuda()?;
            let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
            if count == 0 { Err("the CUDA driver sees no device".to_owned()) } else { Ok(count) }
        })
        .clone()
}

/// Opens libtorch's CUDA half. Without a driver it is not tried: opening it takes seconds and gigabytes of
/// mapped files for nothing.
fn load_cuda() -> Result<(), String> {
    if !Path::new("/dev/nvidiactl").exists() {
        return Err("this machine has no NVIDIA driver (/dev/nvidiactl is absent)".to_owned());
    }
    // SAFETY: loading runs the initialisers of the driver's library, which has no preconditions.
    unsafe { libloading::Library::new("libcuda.so.1") }
        .map_err(|e| format!("the NVIDIA driver's library cannot be opened ({e})"))?;
    let path = libtorch_folders()
        .into_iter()
        .map(|folder| folder.join("libtorch_cuda.so"))
        .find(|path| path.exists())
        .ok_or("this libtorch has no libtorch_cuda.so: it is a CPU-only build")?;
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: it is the other half of the libtorch that this binary is linked to; its initialisers register kernels.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }
        .map_err(|e| format!("{} cannot be opened ({e})", path.display()))?;
    // Its kernels are registered in libtorch for as long as the process lives.
    std::mem::forget(library);
    Ok(())
}

/// Where libtorch may lie: `LD_LIBRARY_PATH`, then where it was at build time.
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
    fn kinds_go_there_and_back() {
        for kind in [DeviceKind::Auto, DeviceKind::Cpu, DeviceKind::Cuda(3)] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("gpu".parse::<DeviceKind>().is_err());
    }

    #[test]
    fn a_machine_without_a_driver_says_so() {
        if !Path::new("/dev/nvidiactl").exists() {
            assert_eq!(select(DeviceKind::Auto).unwrap(), Device::Cpu);
            let error = select(DeviceKind::Cuda(0)).unwrap_err().to_string();
            assert!(error.contains("NVIDIA driver"), "{error}");
        }
    }
}
