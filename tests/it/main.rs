//! The one integration binary: one module a kind of test.

mod audit;
mod cli;
mod fault;
mod mask;
mod python;
mod reading;
mod scan;
mod splits;
mod stats;
