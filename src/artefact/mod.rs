//! Writing files and folders whole or not at all, what a command may write over, and the lock of a folder in use.
//!
//! - [`write_atomically`] and [`replace_folder`] build under a temporary name in the same folder and rename at the end. The
//!   temporary name holds the process that made it; what a process that died left there goes at the next write.
//! - [`Outputs`] refuses to write over a command's inputs, into the original data, and over files of another [`FileKind`] or
//!   folders of another [`FolderKind`].
//! - [`Lock`] keeps a second process out of a folder of crops or of a run.

mod file;
mod folder;
mod guard;
pub mod kind;
mod lock;
mod png;
mod process;

pub use file::{Together, write_atomically};
pub use folder::{FolderError, remove_owned, replace_folder};
pub use guard::{OutputError, Outputs};
pub use kind::{FileKind, FolderKind};
pub(crate) use lock::leads_to;
pub use lock::{Lock, LockError};
pub use png::sign_png;
pub use process::remove_leftovers;
