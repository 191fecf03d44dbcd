//! The one integration binary: one module a kind of test.

mod mask;
mod python;
