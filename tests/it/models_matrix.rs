//! The whole matrix of models against the reference, case by case: `make parity`. By default a corner of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use carpus::models::Architecture::Decoder;
use carpus::models::{Architecture, DecoderKind, EncoderKind};

use crate::models::{Case, all, compare};

/// Every encoder under a pyramid and a U-Net, and every decoder of segmentation_models_pytorch on one encoder of each kind,
/// where legal. The decoders of other references have tests of their own, which `make parity` runs in full too.
fn matrix() -> Vec<Case> {
    let mut pairs: Vec<(Architecture, EncoderKind)> = Vec::new();
    for architecture in [Decoder(DecoderKind::Fpn), Decoder(DecoderKind::Unet)] {
        pairs.extend(EncoderKind::ALL.iter().map(|encoder| (architecture, *encoder)));
    }
    // Those that are not there have no line in the matrix.
    let kinds = ["efficientnet-b0", "resnet34", "mit_b0", "tu-convnextv2_tiny"].map(EncoderKind::from_name);
    for architecture in Architecture::all() {
        if architecture.reference().starts_with("smp.") {
            pairs.extend(kinds.iter().flatten().map(|encoder| (architecture, *encoder)));
        }
    }
    pairs.sort();
    pairs.dedup();
    let mut cases: Vec<Case> = pairs.into_iter().map(|(a, e)| Case::new(a, e)).collect();
    cases.retain(|case| case.config.validate().is_ok());
    if !all() {
        cases.retain(|case| case.config.encoder == Some(EncoderKind::MobileNetV2));
    }
    cases
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn the_matrix_equals_the_reference() {
    let cases = matrix();
    assert!(cases.len() >= 2);
    let start = Instant::now();
    let mut failures = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        // A case that fails has said why; the others are still wanted.
        let outcome = catch_unwind(AssertUnwindSafe(|| compare(std::slice::from_ref(case))));
        let (place, seconds) = (index + 1, start.elapsed().as_secs());
        let word = if outcome.is_ok() { "equal" } else { "DIFFERS" };
        println!("{place}/{} {} {word} ({seconds} s so far)", cases.len(), case.name());
        if outcome.is_err() {
            failures.push(case.name());
        }
    }
    println!("{} of {} models equal the reference", cases.len() - failures.len(), cases.len());
    assert!(failures.is_empty(), "{} differ: {}", failures.len(), failures.join(", "));
}
