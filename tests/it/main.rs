//! The one integration binary: one module a kind of test.

mod browser;
mod python;
mod report;
mod stats;
mod synthetic;
