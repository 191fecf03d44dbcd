//! The one integration binary: one module a kind of test.

mod clean;
mod mask;
mod python;
mod splits;
