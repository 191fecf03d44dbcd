//! Weights of a new model against the reference's: two samples of one distribution a tensor.

use carpus::models::{Architecture, EncoderKind, Model, read_tensors};
use tch::{Device, Kind, Tensor};

use crate::models::Case;
use crate::python;

/// Values of a tensor that are compared at most.
const SAMPLE: i64 = 20_000;

/// Largest distance between the distribution functions of two sorted samples.
fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> f64 {
    let (mut i, mut j, mut largest) = (0, 0, 0.0_f64);
    while i < a.len() && j < b.len() {
        let value = a[i].min(b[j]);
        i += a[i..].iter().take_while(|x| **x == value).count();
        j += b[j..].iter().take_while(|x| **x == value).count();
        largest = largest.max((i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs());
    }
    largest
}

fn sorted(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.detach().flatten(0, -1).to_kind(Kind::Double);
    let flat = flat.narrow(0, 0, flat.numel().min(SAMPLE as usize) as i64);
    Vec::try_from(flat.sort(0, false).0).unwrap()
}

#[test]
fn a_new_models_weights_are_drawn_as_the_references() {
    let mut cases = vec![
        Case::new(Architecture::Fpn, EncoderKind::EfficientNetV2S),
        Case::new(Architecture::DeepLabV3, EncoderKind::MobileNetV3Large),
        Case::new(Architecture::Unet, EncoderKind::MobileNetV2),
        Case::whole(Architecture::TorchvisionLraspp),
    ];
    for architecture in [Architecture::TorchvisionDeepLabV3, Architecture::TorchvisionFcn] {
        let mut case = Case::whole(architecture);
        case.config.auxiliary = true;
        cases.push(case);
    }
    let folder = tempfile::tempdir().unwrap();
    let list: Vec<_> = cases.iter().map(Case::describe).collect();
    std::fs::write(folder.path().join("cases.json"), serde_json::to_string(&list).unwrap()).unwrap();
    let seed = python::seed();
    python::run("initial_weights.py", &[folder.path().to_str().unwrap(), &seed.to_string()]);
    for case in &cases {
        let name = case.name();
        let reference = read_tensors(&folder.path().join(format!("{name}.safetensors"))).unwrap();
        tch::manual_seed(seed as i64 + 1);
        let model = Model::new(&case.config, Device::Cpu).unwrap();
        let parameters = model.named_parameters();
        assert_eq!(parameters.len(), reference.len(), "{name}");
        for (parameter, tensor) in parameters {
            let (ours, theirs) = (sorted(&tensor), sorted(&reference[&parameter]));
            assert_eq!(ours.len(), theirs.len(), "{name}: {parameter}");
            // Two samples of n values of one distribution are further apart once in a thousand million.
            let bound = ((2.0_f64 / 1e-9).ln() / ours.len() as f64).sqrt();
            let distance = kolmogorov_smirnov(&ours, &theirs);
            assert!(
                distance <= bound,
                "{name}: {parameter} starts otherwise: distance {distance:.3}, bound {bound:.3}"
            );
        }
    }
}
