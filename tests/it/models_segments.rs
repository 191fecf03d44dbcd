//! Gradient checkpointing gives the same bits as keeping all activations.

use std::collections::BTreeMap;

use carpus::models::{Architecture, DecoderKind, EncoderKind, Input, Model, ModelConfig, PointRendOptions, Segments};
use carpus::train::Amp;
use tch::{Device, Kind, Tensor};

use crate::python;
use crate::structures::is_alone;

/// Gradients and buffers after two steps, and the next random number.
fn after_two_steps(model: &Model, images: &[Tensor; 2], amp: Amp, recomputes: bool) -> (BTreeMap<String, Tensor>, f64) {
    for (_, mut weight) in model.named_parameters() {
        weight.zero_grad();
    }
    tch::manual_seed(5);
    for images in images {
        let mut segments = if recomputes { Segments::recomputed(Device::Cpu) } else { Segments::kept() };
        let entered = amp.enter(Device::Cpu).unwrap();
        let output = model.forward_in(&Input { images, metadata: None }, true, &mut segments).unwrap();
        drop(entered);
        let mut loss = output.logits.to_kind(Kind::Float).square().mean(Kind::Float);
        for auxiliary in &output.auxiliary {
            loss += auxiliary.to_kind(Kind::Float).abs().mean(Kind::Float);
        }
        if let Some(points) = &output.points {
            loss += points.logits.to_kind(Kind::Float).square().mean(Kind::Float);
        }
        segments.backward(&loss, || amp.enter(Device::Cpu)).unwrap();
    }
    let gradients = model.named_parameters().into_iter().filter(|(_, w)| w.grad().defined());
    let gradients = gradients.map(|(name, weight)| (format!("gradient of {name}"), weight.grad().copy()));
    let buffers = model.named_buffers().into_iter().map(|(name, buffer)| (name, buffer.copy()));
    let next = Tensor::rand([1], (Kind::Float, Device::Cpu)).double_value(&[0]);
    (gradients.chain(buffers).collect(), next)
}

fn assert_same_bits(config: &ModelConfig, amp: Amp, frozen: &str) {
    let name = config.describe();
    tch::manual_seed(python::seed() as i64);
    let model = Model::new(config, Device::Cpu).unwrap();
    let side = model.least_side().max(64);
    let shape = [2, config.in_channels, side, side];
    let images = [(); 2].map(|()| Tensor::randn(shape, (Kind::Float, Device::Cpu)));
    if !frozen.is_empty() {
        model.parameters().freeze(frozen);
    }
    let start: Vec<Tensor> = model.named_buffers().iter().map(|(_, buffer)| buffer.copy()).collect();
    let (kept, next) = after_two_steps(&model, &images, amp, false);
    tch::no_grad(|| {
        for ((_, buffer), start) in model.named_buffers().iter().zip(&start) {
            buffer.shallow_clone().copy_(start);
        }
    });
    let (recomputed, other_next) = after_two_steps(&model, &images, amp, true);
    assert_eq!(next, other_next, "{name}: the random generator goes on as without recomputation");
    assert_eq!(kept.keys().collect::<Vec<_>>(), recomputed.keys().collect::<Vec<_>>(), "{name}");
    assert!(kept.keys().any(|key| key.starts_with("gradient of encoder.")) != (frozen == "encoder."), "{name}");
    for (key, value) in &kept {
        assert!(value.equal(&recomputed[key]), "{name}: {key}");
    }
}

fn on(decoder: DecoderKind, encoder: EncoderKind) -> ModelConfig {
    let architecture = Architecture::Decoder(decoder);
    ModelConfig { architecture, encoder: Some(encoder), classes: 3, ..ModelConfig::default() }
}

#[test]
fn every_family_of_encoders_has_the_same_bits_with_gradient_checkpointing() {
    if !is_alone("models_segments::every_family_of_encoders_has_the_same_bits_with_gradient_checkpointing") {
        return;
    }
    use EncoderKind::*;
    tch::set_num_threads(1);
    let encoders = [
        ResNet18,
        ResNet50,
        EfficientNetB0,
        EfficientNetV2S,
        MobileNetV2,
        MobileNetV3Large,
        MitB0,
        SwinTiny,
        ConvNeXtTiny,
        ConvNeXtV2Tiny,
        HrNetW18,
    ];
    for encoder in encoders {
        let plain = on(DecoderKind::Unet, encoder);
        // Where blocks can be dropped, each step drops some.
        let dropping = ModelConfig { drop_path: Some(0.5), ..plain.clone() };
        let config = if dropping.validate().is_ok() { dropping } else { plain };
        assert_same_bits(&config, Amp::Off, "");
    }
}

#[test]
fn every_decoder_has_the_same_bits_with_gradient_checkpointing() {
    if !is_alone("models_segments::every_decoder_has_the_same_bits_with_gradient_checkpointing") {
        return;
    }
    tch::set_num_threads(1);
    for decoder in DecoderKind::ALL.iter().copied() {
        let config = on(decoder, decoder.default_encoder());
        assert_same_bits(&config, Amp::Off, "");
    }
    let point_rend = Some(PointRendOptions::default());
    let supervised = ModelConfig { auxiliary: true, point_rend, ..on(DecoderKind::Fpn, EncoderKind::ResNet18) };
    assert_same_bits(&supervised, Amp::Off, "");
}

#[test]
fn half_precision_and_frozen_weights_have_the_same_bits_with_gradient_checkpointing() {
    if !is_alone("models_segments::half_precision_and_frozen_weights_have_the_same_bits_with_gradient_checkpointing") {
        return;
    }
    tch::set_num_threads(1);
    for encoder in [EncoderKind::ResNet18, EncoderKind::MitB0] {
        let config = on(DecoderKind::Fpn, encoder);
        assert_same_bits(&config, Amp::Bf16, "");
        assert_same_bits(&config, Amp::Off, "encoder.");
    }
    assert_same_bits(&on(DecoderKind::Unet, EncoderKind::ResNet18), Amp::Off, "encoder.layer1.");
}
