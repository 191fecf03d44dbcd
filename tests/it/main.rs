//! The one integration binary: one module a kind of test.

mod cli;
mod mask;
mod python;
mod scan;
mod splits;
