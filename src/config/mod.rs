//! Configuration files: TOML with unknown keys refused, turned into what is run.

pub mod chain;
