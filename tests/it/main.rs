//! The one integration binary: one module a kind of test.

mod cli;
mod mask;
mod fault;
mod python;
mod reading;
mod scan;
mod splits;
mod stats;
