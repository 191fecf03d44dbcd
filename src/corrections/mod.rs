//! The corrections file: what people decided about images, shapes and metadata, one JSON object a line,
//! append-only and kept under version control. The original data is never changed; corrections are applied on reading or to a copy.
//!
//! ```json
//! {"version":1,"image_id":"image1661130828152_R","action":{"do":"swap","a":"Pisiform","b":"Trapezoid"},"reason":"swapped","author":"kim","date":"2026-03-01"}
//! {"version":1,"patient_id":"040","action":{"do":"exclude"},"reason":"cast","author":"kim","date":"2026-03-01"}
//! ```
//!
//! A decision is taken back by a later line (`include` undoes `exclude`; a relabelling is undone by its reverse), never by editing
//! an earlier one.

mod action;
mod apply;
mod exclusions;
mod file;

pub use action::{Action, Correction, Field, Target, VERSION};
pub use apply::{apply, apply_to_tables, for_image};
pub use exclusions::Exclusions;
pub use file::{CorrectionsError, Entry, LineError, append, read};
