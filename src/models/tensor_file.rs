//! Named tensors from and to safetensors files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View};
use tch::{Device, Kind, TchError, Tensor};

use super::WeightsError;
use crate::artefact::write_atomically;

fn kind_of(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
        Dtype::BOOL => Kind::Bool,
        Dtype::U8 => Kind::Uint8,
        Dtype::I8 => Kind::Int8,
        Dtype::I16 => Kind::Int16,
        Dtype::I32 => Kind::Int,
        Dtype::I64 => Kind::Int64,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        _ => return None,
    })
}

fn dtype_of(kind: Kind) -> Result<Dtype, TchError> {
    Ok(match kind {
        Kind::Bool => Dtype::BOOL,
        Kind::Uint8 => Dtype::U8,
        Kind::Int8 => Dtype::I8,
        Kind::Int16 => Dtype::I16,
        Kind::Int => Dtype::I32,
        Kind::Int64 => Dtype::I64,
        Kind::Half => Dtype::F16,
        Kind::BFloat16 => Dtype::BF16,
        Kind::Float => Dtype::F32,
        Kind::Double => Dtype::F64,
        other => return Err(TchError::Convert(format!("safetensors has no type for {other:?}"))),
    })
}

/// Whether a file that starts so is a pickle or the zip archive of pickles that PyTorch saves. A safetensors file starts
/// with eight bytes of its header's length, which may look like a pickle's first two, and a brace.
pub(crate) fn is_pickle(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || matches!(start, [0x80, 2..=5, ..] if start.get(8) != Some(&b'{'))
}

/// Every tensor of a safetensors file, on the CPU.
///
/// # Errors
/// [`WeightsError::Io`], [`WeightsError::Format`], [`WeightsError::Pickle`], [`WeightsError::Type`] and [`WeightsError::Torch`].
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>, WeightsError> {
    let bytes = std::fs::read(path).map_err(|source| WeightsError::Io { path: path.into(), source })?;
    if is_pickle(&bytes) {
        return Err(WeightsError::Pickle { path: path.into() });
    }
    let file = SafeTensors::deserialize(&bytes).map_err(|source| WeightsError::Format { path: path.into(), source })?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let kind = kind_of(view.dtype()).ok_or_else(|| WeightsError::Type {
            path: path.into(),
            name: name.clone(),
            dtype: view.dtype(),
        })?;
        let size: Vec<i64> = view.shape().iter().map(|n| *n as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &size, kind)
            .map_err(|source| WeightsError::Torch { path: path.into(), source })?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

/// A tensor as the writer wants it; bytes are copied only when they are written.
struct Stored {
    tensor: Tensor,
    shape: Vec<usize>,
    dtype: Dtype,
}

impl Stored {
    fn new(tensor: &Tensor) -> Result<Self, TchError> {
        let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
        let shape = tensor.size().iter().map(|n| *n as usize).collect();
        Ok(Stored { dtype: dtype_of(tensor.f_kind()?)?, shape, tensor })
    }
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = vec![0; self.data_len()];
        self.tensor.copy_data_u8(&mut bytes, self.tensor.numel());
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}

/// Writes named tensors as a safetensors file, by rename. The same tensors give the same bytes.
///
/// # Errors
/// [`WeightsError::Io`]; a file of that name is as it was then. [`WeightsError::Torch`] for number types that safetensors lacks.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), WeightsError> {
    let stored = tensors.iter().map(|(name, tensor)| Ok((name, Stored::new(tensor)?)));
    let stored: Vec<_> =
        stored.collect::<Result<_, TchError>>().map_err(|source| WeightsError::Torch { path: path.into(), source })?;
    // The reference's own loaders refuse a file without this entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(stored, Some(metadata))
        .map_err(|source| WeightsError::Format { path: path.into(), source })?;
    write_atomically(path, |out| out.write_all(&bytes)).map_err(|source| WeightsError::Io { path: path.into(), source })
}
