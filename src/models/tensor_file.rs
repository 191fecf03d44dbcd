//! Reads and writes named tensors as safetensors files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View};
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

/// Whether a file with these first bytes is a pickle or a zip archive of pickles, as PyTorch saves them. A safetensors
/// file starts with the length of its header in eight bytes, which may look like the first two bytes of a pickle, and
/// then a brace.
pub(crate) fn is_pickle(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || matches!(start, [0x80, 2..=5, ..] if start.get(8) != Some(&b'{'))
}

/// Prefixes of all names in files of wrapped models: PyTorch's data parallelism, `torch.compile`, Lightning.
const WRAPPERS: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// Every tensor of a safetensors file, on the CPU. Prefixes that a wrapper added to all names are removed: `module.`,
/// `_orig_mod.` and `model.`, in any order.
///
/// # Errors
/// [`WeightsError::Io`]: the file cannot be read; [`WeightsError::Format`] and [`WeightsError::Pickle`]: it is not a
/// safetensors file; [`WeightsError::Type`]: a number type that carpus does not read; [`WeightsError::Torch`].
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
    Ok(unwrapped(tensors))
}

fn unwrapped(mut tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let is_on_all = |tensors: &BTreeMap<String, Tensor>, wrapper: &str| {
        !tensors.is_empty() && tensors.keys().all(|name| name.len() > wrapper.len() && name.starts_with(wrapper))
    };
    while let Some(wrapper) = WRAPPERS.into_iter().find(|wrapper| is_on_all(&tensors, wrapper)) {
        tensors = tensors.into_iter().map(|(name, tensor)| (name[wrapper.len()..].to_owned(), tensor)).collect();
    }
    tensors
}

/// A tensor in the form that the safetensors writer needs; bytes are copied only when they are written.
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

/// Writes named tensors as a safetensors file, atomically. The same tensors give the same bytes.
///
/// # Errors
/// [`WeightsError::Io`]: the file cannot be written, and an existing file is unchanged; [`WeightsError::Torch`]: a
/// number type that safetensors does not have.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), WeightsError> {
    write_with_metadata(path, tensors, &[])
}

/// As [`write_tensors`], with these entries in the metadata of the header.
///
/// # Errors
/// As [`write_tensors`].
pub(crate) fn write_with_metadata(
    path: &Path,
    tensors: &[(String, Tensor)],
    metadata: &[(&str, String)],
) -> Result<(), WeightsError> {
    let io = |source| WeightsError::Io { path: path.into(), source };
    let stored = tensors.iter().map(|(name, tensor)| Ok((name, Stored::new(tensor)?)));
    let stored: Vec<_> =
        stored.collect::<Result<_, TchError>>().map_err(|source| WeightsError::Torch { path: path.into(), source })?;
    // transformers and segmentation_models_pytorch refuse a file without the entry `format`.
    let mut entries = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    entries.extend(metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    let bytes = safetensors::serialize(stored, Some(entries))
        .map_err(|source| WeightsError::Format { path: path.into(), source })?;
    let (header, data) = with_sorted_metadata(&bytes).map_err(|e| io(e.into()))?;
    write_atomically(path, |out| {
        out.write_all(&header)?;
        out.write_all(data)
    })
    .map_err(io)
}

/// The length and header of a safetensors file with the metadata sorted by key (the library writes them in the random
/// order of a hash map), and the data after the header.
fn with_sorted_metadata(file: &[u8]) -> serde_json::Result<(Vec<u8>, &[u8])> {
    let (length, rest) = file.split_first_chunk().expect("the library wrote a length");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header)?;
    if let Some(serde_json::Value::Object(metadata)) = header.get_mut("__metadata__") {
        metadata.sort_keys();
    }
    let mut text = serde_json::to_vec(&header)?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut start = (text.len() as u64).to_le_bytes().to_vec();
    start.append(&mut text);
    Ok((start, data))
}

/// The metadata entries of a safetensors header; the tensors are not read.
///
/// # Errors
/// [`WeightsError::Io`], [`WeightsError::Format`] and [`WeightsError::Pickle`].
pub(crate) fn read_metadata(path: &Path) -> Result<HashMap<String, String>, WeightsError> {
    /// The part of the header that is not about tensors.
    #[derive(serde::Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__", default)]
        metadata: HashMap<String, String>,
    }
    let io = |source| WeightsError::Io { path: path.into(), source };
    let format = |source| WeightsError::Format { path: path.into(), source };
    let mut file = File::open(path).map_err(io)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(io)?;
    let (length, on_disk) = (u64::from_le_bytes(length), file.metadata().map_err(io)?.len());
    if length > on_disk {
        if is_pickle(&length.to_le_bytes()) {
            return Err(WeightsError::Pickle { path: path.into() });
        }
        return Err(format(SafeTensorError::InvalidHeaderLength));
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes).map_err(io)?;
    let header: Header =
        serde_json::from_slice(&bytes).map_err(|e| format(SafeTensorError::InvalidHeaderDeserialization(e)))?;
    Ok(header.metadata)
}
