//! `carpus ensemble` on stored predictions, and STAPLE against SimpleITK.

use carpus::bones::{self, Bone};
use carpus::dataset::Dataset;
use carpus::ensemble::staple;
use carpus::geometry::Size;
use carpus::mask::submission::{self, ImageMasks};
use carpus::mask::{HandMasks, RunMask, VotePatterns};
use carpus::probability::{Bits, ImageProbabilities, MapBuilder, ProbabilityFolder, write};
use carpus::tables::{FoldRow, write_csv};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::corrections::Bench;
use crate::decisions::reference;
use crate::python;

#[test]
#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: make venv-dev")]
fn staple_is_that_of_simpleitk() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let mut cases: Vec<(Vec<RunMask>, Value)> = Vec::new();
    for _ in 0..60 {
        let (width, height) = (rng.random_range(10..40u32), rng.random_range(10..40u32));
        let (left, right) = (rng.random_range(0..5), rng.random_range(6..10));
        let masks: Vec<RunMask> = (0..rng.random_range(2..6))
            .map(|_| {
                let noise = rng.random_range(0.02..0.3);
                let inside = |i: u32| (left..right).contains(&(i % width));
                let dense: Vec<u8> =
                    (0..width * height).map(|i| u8::from(inside(i) != rng.random_bool(noise))).collect();
                RunMask::from_dense(&dense, width, height)
            })
            .collect();
        let dense: Vec<Vec<u8>> = masks.iter().map(RunMask::to_dense).collect();
        cases.push((masks, json!({"kind": "staple", "width": width, "height": height, "masks": dense})));
    }
    let expected = reference(&cases.iter().map(|case| case.1.clone()).collect::<Vec<_>>());
    for ((masks, _), expected) in cases.iter().zip(&expected) {
        let masks: Vec<&RunMask> = masks.iter().collect();
        let patterns = VotePatterns::of(&masks).unwrap();
        let found = staple(&patterns.counts(), masks.len());
        let dense: Vec<Vec<u8>> = masks.iter().map(|mask| mask.to_dense()).collect();
        let numbers = |key: &str| serde_json::from_value::<Vec<f64>>(expected[key].clone()).unwrap();
        for (i, weight) in numbers("weights").iter().enumerate() {
            let pattern = (0..masks.len()).map(|voter| u32::from(dense[voter][i]) << voter).sum::<u32>();
            assert!((found.weights[&pattern] - weight).abs() < 1e-6, "{} {weight}", found.weights[&pattern]);
        }
        for (ours, theirs) in
            [(&found.sensitivity, numbers("sensitivity")), (&found.specificity, numbers("specificity"))]
        {
            assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-6), "{ours:?} {theirs:?}");
        }
    }
}

const SIZE: u32 = 128;

/// A folder of probabilities of the images of the bench: each class has `p` in the columns from..to of ten rows.
fn folder(bench: &Bench, name: &str, p: f32, columns: std::ops::Range<u32>) {
    std::fs::create_dir(bench.at(name)).unwrap();
    for image in &bench.images {
        let mut builder = MapBuilder::new(Size::square(SIZE));
        let row: Vec<f32> = (0..SIZE).map(|x| if columns.contains(&x) { p } else { 0.0 }).collect();
        (0..10).for_each(|_| builder.push_row(&row));
        let image_name = format!("{}.png", image.image_id);
        let image = ImageProbabilities { image_name, maps: vec![builder.finish(); bones::COUNT] };
        let file = image.image_name.replace(".png", ".probabilities");
        write(&bench.at(name).join(file), &image, Bits::Eight).unwrap();
    }
}

/// A submission whose masks are the columns of ten rows.
fn masks(bench: &Bench, name: &str, columns: std::ops::Range<u32>) {
    let dense: Vec<u8> = (0..SIZE * SIZE).map(|i| u8::from(columns.contains(&(i % SIZE)) && i / SIZE < 10)).collect();
    let mask = RunMask::from_dense(&dense, SIZE, SIZE);
    let images: Vec<ImageMasks> = bench
        .images
        .iter()
        .map(|image| ImageMasks {
            image_name: format!("{}.png", image.image_id),
            masks: HandMasks::new(vec![mask.clone(); bones::COUNT]).unwrap(),
        })
        .collect();
    submission::write(&bench.at(name), &images).unwrap();
}

/// Runs `carpus ensemble` with the words of a line.
fn ensemble(bench: &Bench, line: &str) -> (Option<i32>, String) {
    let words: Vec<&str> = ["ensemble"].into_iter().chain(line.split_whitespace()).collect();
    let out = bench.run(&words);
    (out.status.code(), [out.stdout, out.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat())
}

/// The area of the Ulna on each image.
fn areas(bench: &Bench, name: &str) -> Vec<u64> {
    let images = submission::read(&bench.at(name), SIZE, SIZE).unwrap();
    images.iter().map(|image| image.masks[Bone::ULNA].area()).collect()
}

#[test]
fn probabilities_and_submissions_are_combined_by_every_method() {
    let bench = Bench::new();
    let all = |area: u64| vec![area; bench.images.len()];
    folder(&bench, "a", 0.8, 0..20);
    folder(&bench, "b", 0.3, 10..30);
    masks(&bench, "c.csv", 10..40);
    masks(&bench, "d.csv", 0..25);
    masks(&bench, "e.csv", 0..25);
    for (line, area) in [
        // .4, .55, .15: the mean reaches one half in the columns 10..20.
        ("--members a b --method soft", 100),
        ("--members a b --method soft --weights 3,1", 200),
        // Of a and c: .4 + 0, .4 + .5, .5 from 20 to 40.
        ("--members a c.csv --method soft", 300),
        ("--members a b --method logit", 100),
        // b is below one half everywhere.
        ("--members a b c.csv --method hard", 100),
        ("--members a c.csv d.csv --method hard", 250),
        ("--members a c.csv d.csv --method hard --weights 1,3,1", 300),
        ("--members a c.csv d.csv --method hard --at-least 1", 400),
        ("--members c.csv d.csv --method hard", 150),
        ("--members c.csv d.csv e.csv --method simple", 250),
    ] {
        let (code, text) = ensemble(&bench, &format!("{line} --out out.csv"));
        assert_eq!(code, Some(0), "{line}: {text}");
        assert_eq!(areas(&bench, "out.csv"), all(area), "{line}");
    }
    // b at a lower threshold takes part in the vote.
    std::fs::write(bench.at("decision.toml"), "[decision]\nthreshold = 0.25\n").unwrap();
    let (code, text) = ensemble(&bench, "--members a b c.csv --method hard --decision decision.toml --out out.csv");
    assert_eq!((code, areas(&bench, "out.csv")), (Some(0), all(200)), "{text}");
    // The size that submissions lack comes from the data.
    let staple = "--members c.csv d.csv e.csv --method staple --out out.csv";
    let (code, text) = ensemble(&bench, staple);
    assert!(code == Some(1) && text.contains("staple needs the images' sizes"), "{text}");
    let (code, text) = ensemble(&bench, &format!("{staple} --data data"));
    assert_eq!((code, areas(&bench, "out.csv")), (Some(0), all(250)), "{text}");
}

#[test]
fn ensembles_are_members_of_later_ensembles_and_probabilities_are_kept() {
    let bench = Bench::new();
    let all = |area: u64| vec![area; bench.images.len()];
    folder(&bench, "a", 0.8, 0..20);
    folder(&bench, "b", 0.3, 10..30);
    masks(&bench, "c.csv", 10..40);
    let file = "[[ensemble]]\nname = 'soft'\nmethod = 'soft'\nmembers = ['a', 'b']\nweights = [3.0, 1.0]\n\
                [[ensemble]]\nname = 'all'\nmethod = 'hard'\nmembers = ['soft', 'a', 'c.csv']\n";
    std::fs::write(bench.at("ensembles.toml"), file).unwrap();
    let (code, text) = ensemble(&bench, "--config ensembles.toml --out made");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(areas(&bench, "made/soft.csv"), all(200));
    assert_eq!(areas(&bench, "made/all.csv"), all(200));
    // A folder of combined probabilities is a member like any other.
    let (code, text) = ensemble(&bench, "--members a b --method soft --out out.csv --probabilities-out ab --bits 16");
    assert_eq!(code, Some(0), "{text}");
    let opened = ProbabilityFolder::open(&bench.at("ab")).unwrap();
    assert!((opened.read(bench.id(0)).unwrap().maps[3].at(15, 2) - 0.55).abs() < 2e-3);
    let (code, _) = ensemble(&bench, "--members ab a --method soft --weights 1,1 --out out.csv");
    assert_eq!((code, areas(&bench, "out.csv")), (Some(0), all(200)));
    let (code, text) = ensemble(&bench, "--members a b --method soft --out out.csv --probabilities-out a");
    assert!(code == Some(1) && text.contains("is an input of this command"), "{text}");
    // An image that one member lacks is named.
    std::fs::remove_file(bench.at("b").join(format!("{}.probabilities", bench.id(1)))).unwrap();
    let (code, text) = ensemble(&bench, "--members a b --method soft --out out.csv");
    assert!(code == Some(1) && text.contains("b: 1 image is missing") && text.contains(bench.id(1)), "{text}");
    let (code, text) = ensemble(&bench, "--members a c.csv --method staple --weights 1,2 --out out.csv");
    assert!(code == Some(1) && text.contains("--weights is set; expected no weights"), "{text}");
}

#[test]
fn members_are_compared_and_the_selected_ensemble_runs() {
    let bench = Bench::new();
    let dataset = Dataset::open(&bench.at("data")).unwrap();
    // The first two find the upper and the lower half of each bone for certain, and .4 of the other; the last finds nothing.
    let mut folds: Vec<FoldRow> = Vec::new();
    for name in ["upper", "lower", "none"] {
        std::fs::create_dir(bench.at(name)).unwrap();
    }
    for entry in dataset.images().iter().filter(|entry| entry.annotation.is_some()) {
        let (width, height) = dataset.dimensions(entry).unwrap();
        let truth = dataset.annotation(entry).unwrap().unwrap().annotation.masks(width, height);
        for name in ["upper", "lower", "none"] {
            let of = |bone: Bone| {
                let mut builder = MapBuilder::new(Size { width, height });
                for y in 0..height {
                    let p = match (name, y % 2) {
                        ("none", _) => 0.0,
                        ("upper", 0) | ("lower", 1) => 1.0,
                        _ => 0.4,
                    };
                    let row: Vec<f32> = (0..width).map(|x| if truth[bone].contains(x, y) { p } else { 0.0 }).collect();
                    builder.push_row(&row);
                }
                builder.finish()
            };
            let image_name = format!("{}.png", entry.image_id);
            let image = ImageProbabilities { image_name, maps: Bone::all().map(of).collect() };
            let file = format!("{}.probabilities", entry.image_id);
            write(&bench.at(name).join(file), &image, Bits::Eight).unwrap();
        }
        let fold = u32::from(folds.first().is_some_and(|first| first.patient_id != entry.patient_id));
        let (image_id, patient_id) = (entry.image_id.clone(), entry.patient_id.clone());
        folds.push(FoldRow { image_id, patient_id, fold, ..Default::default() });
    }
    write_csv(&bench.at("folds.csv"), &folds).unwrap();
    let compare = ["--json", "ensemble", "compare", "--members", "upper", "lower", "none", "--data", "data"];
    let out = bench.run(&[&compare[..], &["--folds", "folds.csv", "--out", "selected.toml"]].concat());
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(found["selection"]["weights"], json!([1, 1, 0]));
    assert!(found["selection"]["nested"].as_f64().unwrap() > 0.999, "{}", found["selection"]);
    let dice = |i: usize, j: usize| found["agreement"]["dice"][i][j].as_f64().unwrap();
    assert!(dice(0, 0) == 1.0 && dice(0, 1) < 0.05, "the halves do not overlap: {}", dice(0, 1));
    let phi = &found["agreement"]["error_correlation"][bones::COUNT - 1]["values"];
    assert!(phi[0][1].as_f64().unwrap() < 0.0 && phi[0][2].as_f64().unwrap() > 0.5, "{phi}");
    // For each bone on its own it is the same here.
    let out = bench.run(&[&compare[..], &["--folds", "folds.csv", "--per-class", "--out", "by_bone.toml"]].concat());
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(found["selection_by_class"]["weights"], json!(vec![[1, 1, 0]; bones::COUNT]));
    assert_eq!(found["selection_by_class"]["gain_over_common"]["mean"], 0.0);
    let (code, text) = ensemble(&bench, "--config by_bone.toml --out made");
    assert_eq!(code, Some(0), "{text}");
    let by_bone = std::fs::read(bench.at("made/selected.csv")).unwrap();
    let (code, text) = ensemble(&bench, "--config selected.toml --out made");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(std::fs::read(bench.at("made/selected.csv")).unwrap(), by_bone);
    let made = submission::read(&bench.at("made/selected.csv"), SIZE, SIZE).unwrap();
    let entry = dataset.find(&made[0].image_name).unwrap();
    let truth = dataset.annotation(entry).unwrap().unwrap().annotation.masks(SIZE, SIZE);
    assert_eq!(made[0].masks, truth);
}

#[test]
fn chosen_classes_come_from_chosen_members() {
    let bench = Bench::new();
    folder(&bench, "a", 0.8, 0..20);
    folder(&bench, "b", 0.7, 10..40);
    let file = "[[ensemble]]\nname = 'blend'\nmethod = 'soft'\nmembers = ['a', 'b']\n\
                class-weights = { carpal = [0, 1], Radius = [1, 0] }\n\
                [[ensemble]]\nname = 'vote'\nmethod = 'hard'\nmembers = ['a', 'b', 'blend']\nclass-weights = { Ulna = [0, 1, 0] }\n";
    std::fs::write(bench.at("e.toml"), file).unwrap();
    let (code, text) = ensemble(&bench, "--config e.toml --out made");
    assert_eq!(code, Some(0), "{text}");
    let area = |name: &str, bone: &str| {
        let images = submission::read(&bench.at(name), SIZE, SIZE).unwrap();
        images[0].masks[Bone::from_name(bone).unwrap()].area()
    };
    // The mean of both reaches one half only where both are.
    assert_eq!(area("made/blend.csv", "finger-1"), 100);
    assert_eq!((area("made/blend.csv", "Capitate"), area("made/blend.csv", "Radius")), (300, 200));
    assert_eq!((area("made/vote.csv", "Capitate"), area("made/vote.csv", "Ulna")), (300, 300));
}

#[test]
fn pseudo_labels_are_a_data_set_of_the_images_on_which_members_agree() {
    let bench = Bench::new();
    let dataset = Dataset::open(&bench.at("data")).unwrap();
    let test: Vec<&str> =
        dataset.images().iter().filter(|e| e.annotation.is_none()).map(|e| e.image_id.as_str()).collect();
    assert_eq!(test.len(), 2);
    masks(&bench, "a.csv", 10..30);
    masks(&bench, "b.csv", 10..30);
    // They disagree about the Ulna of one image: 200 of 200 and 190 pixels, and 40.
    let mut images = submission::read(&bench.at("b.csv"), SIZE, SIZE).unwrap();
    let other = images.iter_mut().find(|image| image.image_name.starts_with(test[1])).unwrap();
    let narrow: Vec<u8> = (0..SIZE * SIZE).map(|i| u8::from((10..14).contains(&(i % SIZE)) && i / SIZE < 10)).collect();
    other.masks.set(Bone::ULNA, RunMask::from_dense(&narrow, SIZE, SIZE)).unwrap();
    submission::write(&bench.at("b.csv"), &images).unwrap();
    let line = "--members a.csv b.csv --method hard --at-least 1 --data data --out out.csv --pseudo-labels pseudo";
    let (code, text) = ensemble(&bench, &format!("{line} --teacher-dice 0.97"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("pseudo-labels of 1 image, 1 left out"), "{text}");
    let pseudo = Dataset::open(&bench.at("pseudo")).unwrap();
    let entries = pseudo.images();
    assert_eq!((entries.len(), entries[0].image_id.as_str()), (1, test[0]));
    assert_eq!(entries[0].patient_id, dataset.find(test[0]).unwrap().patient_id);
    let annotated = pseudo.annotation(&entries[0]).unwrap().unwrap().annotation.masks(SIZE, SIZE);
    let made = submission::read(&bench.at("out.csv"), SIZE, SIZE).unwrap();
    let made = made.iter().find(|image| image.image_name.starts_with(test[0])).unwrap();
    assert_eq!(annotated, made.masks);
    assert_eq!(
        pseudo.image_sha256(&entries[0]).unwrap(),
        dataset.image_sha256(dataset.find(test[0]).unwrap()).unwrap()
    );
    assert_eq!(
        std::fs::read_to_string(bench.at("pseudo/weights.csv")).unwrap(),
        format!("image_id,weight\n{},1\n", test[0])
    );
    let about: Value = serde_json::from_slice(&std::fs::read(bench.at("pseudo/pseudo_labels.json")).unwrap()).unwrap();
    assert_eq!(about["teacher"]["dice"], 0.97);
    assert_eq!(about["left_out"][0]["image_id"], test[1]);
    assert!(about["left_out"][0]["reason"].as_str().unwrap().contains("of Ulna"), "{about}");
    // It is written again, but no other folder; a weak teacher is a warning.
    let (code, text) = ensemble(&bench, &format!("{line} --teacher-dice 0.9 --min-agreement 0 --min-bone-agreement 0"));
    assert!(code == Some(3) && text.contains("is weak"), "{text}");
    assert_eq!(Dataset::open(&bench.at("pseudo")).unwrap().images().len(), 2);
    std::fs::create_dir(bench.at("mine")).unwrap();
    std::fs::write(bench.at("mine/notes.txt"), "x").unwrap();
    for (options, expected) in [
        ("--members a.csv b.csv --method hard --out o.csv --pseudo-labels p", "--data"),
        (
            "--members a.csv b.csv --method hard --data data --out o.csv --pseudo-labels p --min-agreement 2",
            "expected from 0 to 1",
        ),
        ("--members a.csv b.csv --method hard --data data --out o.csv --pseudo-labels mine", "mine"),
        ("--members a.csv b.csv --method hard --data data --out o.csv --pseudo-labels data/train", "data"),
    ] {
        let (code, text) = ensemble(&bench, options);
        assert!(code != Some(0) && text.contains(expected), "{options}: {text}");
    }
}

/// A bench whose runs were not trained: `runs/a`, and `runs/f-fold0`, `runs/f-fold1` of the set of folds `runs/f-folds`.
#[cfg(feature = "torch")]
fn with_runs() -> Bench {
    use carpus::models::{EncoderKind, Model, ModelConfig};
    use carpus::train::{InputSettings, WeightsInfo, write_weights};
    let bench = Bench::new();
    let model = ModelConfig { encoder: Some(EncoderKind::ResNet18), in_channels: 1, ..ModelConfig::default() };
    let info = WeightsInfo {
        model: model.clone(),
        size: Size::square(64),
        specialist: None,
        input: InputSettings::default(),
        classes: bones::NAMES.map(str::to_owned).to_vec(),
        top_level: None,
        epoch: None,
        dice: None,
        averaged: false,
    };
    for run in ["a", "f-fold0", "f-fold1"] {
        std::fs::create_dir_all(bench.at("runs").join(run)).unwrap();
        let made = Model::new(&model, tch::Device::Cpu).unwrap();
        write_weights(&bench.at("runs").join(run).join("best.safetensors"), &made.state(), &info).unwrap();
    }
    std::fs::create_dir(bench.at("runs/f-folds")).unwrap();
    bench
}

#[test]
#[cfg(feature = "torch")]
fn runs_and_sets_of_folds_are_members_that_are_predicted_once() {
    let bench = with_runs();
    let file = "[[ensemble]]\nname = 'all'\nmethod = 'soft'\n\
                members = ['runs/a', 'runs/f-folds', { run = 'runs/a', window = 64, overlap = 0.25, tta = 'flip' }]\n";
    std::fs::write(bench.at("e.toml"), file).unwrap();
    let line = "--config e.toml --data data --device cpu --out made";
    let (code, text) = ensemble(&bench, line);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches(": predicted, made/members/").count(), 4, "{text}");
    let first = std::fs::read(bench.at("made/all.csv")).unwrap();
    // The set of folds is the soft vote of its runs.
    let folds = "--members made/members/f-fold0 made/members/f-fold1 --method soft --out folds.csv";
    assert_eq!(ensemble(&bench, folds).0, Some(0));
    assert_eq!(std::fs::read(bench.at("folds.csv")).unwrap(), std::fs::read(bench.at("made/f-folds.csv")).unwrap());
    // Nothing changed; then other weights of one run.
    let (code, text) = ensemble(&bench, line);
    assert_eq!((code, text.matches(": unchanged, ").count()), (Some(0), 4), "{text}");
    std::fs::copy(bench.at("runs/a/best.safetensors"), bench.at("runs/f-fold1/best.safetensors")).unwrap();
    let (code, text) = ensemble(&bench, line);
    assert_eq!((code, text.matches(": predicted, ").count()), (Some(0), 1), "{text}");
    assert_ne!(std::fs::read(bench.at("made/all.csv")).unwrap(), first);
    for (line, expected) in [
        ("--members runs/a --method soft --out x.csv", "give the data to predict with --data DIR"),
        ("--members runs/a --method soft --data data --out x.csv", "--members-out DIR keeps its probabilities"),
    ] {
        let (code, text) = ensemble(&bench, line);
        assert!(code == Some(1) && text.contains(expected), "{text}");
    }
    // Two runs of one name have folders of their own.
    std::fs::create_dir_all(bench.at("other")).unwrap();
    std::fs::rename(bench.at("runs/f-fold0"), bench.at("other/a")).unwrap();
    let both = "--members runs/a other/a --method soft --data data --device cpu --members-out m --out both.csv";
    let (code, text) = ensemble(&bench, both);
    assert_eq!((code, text.matches(": predicted, m/a").count()), (Some(0), 2), "{text}");
    let folders = std::fs::read_dir(bench.at("m")).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(folders, 2);
    let wrong = "[[ensemble]]\nname = 'x'\nmethod = 'soft'\nmembers = [{ run = 'runs/a', tta = 'spin' }]\n";
    std::fs::write(bench.at("e.toml"), wrong).unwrap();
    let (code, text) = ensemble(&bench, line);
    assert!(
        code == Some(1) && text.contains("expected flip, flip-vertical") && text.contains("member runs/a"),
        "{text}"
    );
}
