//! The one integration binary: one module a kind of test.

mod python;
mod stats;
