//! The one integration binary: one module a kind of test.

mod browser;
mod cli;
mod fault;
mod mask;
mod python;
mod reading;
mod report;
mod scan;
mod splits;
mod stats;
mod synthetic;
