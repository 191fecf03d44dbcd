//! Names that other libraries give to the tensors of the same models, there and back.

pub mod transformers;

use tch::TchError;

/// Why tensors could not be renamed.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// The library has no such model.
    #[error("{library} has no {model}; {instead}")]
    NoCounterpart {
        /// The library.
        library: &'static str,
        /// What was asked for.
        model: String,
        /// What to do.
        instead: &'static str,
    },
    /// The tensors are not those of the model.
    #[error("these are not the weights of {model}:{}", listing(missing, surplus))]
    Mismatch {
        /// The model.
        model: String,
        /// Names that are not there, as the library writes them.
        missing: Vec<String>,
        /// Names that are over.
        surplus: Vec<String>,
    },
    /// libtorch refused: tensors that belong together do not fit each other.
    #[error("{name}: {source}")]
    Torch {
        /// The tensor that was to be made.
        name: String,
        /// Why.
        source: TchError,
    },
}

/// The two lists, the first names of each.
fn listing(missing: &[String], surplus: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = String::new();
    for (what, names) in [("missing", missing), ("surplus", surplus)].into_iter().filter(|(_, names)| !names.is_empty())
    {
        let more = if names.len() > SHOWN { ", …" } else { "" };
        text += &format!("\n  {} {what}: {}{more}", names.len(), names[..names.len().min(SHOWN)].join(", "));
    }
    text
}
