//! Writing files and folders atomically, checking what a command may overwrite, and locking a folder in use.
//!
//! - [`write_atomically`] and [`replace_folder`] write under a temporary name in the same folder and rename at the end.
//!   The temporary name identifies the process; the next write removes the temporary files of processes that have
//!   ended.
//! - [`Outputs`] refuses to overwrite a command's inputs, to write into the original data, and to overwrite files of
//!   another [`FileKind`] or folders of another [`FolderKind`].
//! - [`Lock`] prevents a second process from writing to a folder of crops or of a run.

mod file;
mod folder;
mod guard;
pub mod kind;
mod lock;
mod png;
mod process;

pub use file::{Together, write_atomically};
pub use folder::{FolderError, remove_owned, replace_folder};
pub use guard::{OutputError, Outputs, Overwrite};
pub use kind::{FileKind, FolderKind};
pub(crate) use lock::leads_to;
pub use lock::{Lock, LockError};
pub use png::sign_png;
pub use process::remove_leftovers;
