//! Synthetic hands.
