//! Dropout and mixing against albumentations and torchvision: the same holes, boxes and shares give the same images, and
//! draws have the same distributions.

use carpus::augment::{
    Amount, Augmentation, CoarseDropout, CutMix, GridDropout, HoleFill, LabelledImage, MixUp, NoOtherImages,
    OtherImages,
};
use carpus::geometry::Size;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::python;

/// The only other image.
struct Other(LabelledImage);

impl OtherImages for Other {
    fn count(&self) -> usize {
        1
    }

    fn image(&self, _: usize) -> Option<LabelledImage> {
        Some(self.0.clone())
    }
}

/// An image with whole levels and labels in every pixel.
fn random(size: Size, rng: &mut ChaCha8Rng) -> LabelledImage {
    let levels = (0..size.pixels()).map(|_| f32::from(rng.random_range(0..=255u8))).collect();
    LabelledImage::new(size, levels, (0..size.pixels()).map(|_| rng.random_range(1..1 << 29)).collect())
}

fn ask(what: &str, question: &Value) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), question.to_string()).unwrap();
    let answer = python::run("augment_mixing.py", &[what, file.path().to_str().unwrap()]);
    serde_json::from_str(&answer).expect("the script prints JSON")
}

fn numbers(answer: &Value) -> Vec<f64> {
    answer.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

/// First column and row, last column and row (exclusive) of the pixels for which `of` holds; `None` if there are none.
fn bounds(size: Size, of: impl Fn(usize) -> bool) -> Option<[usize; 4]> {
    let width = size.width as usize;
    (0..size.pixels())
        .filter(|at| of(*at))
        .map(|at| [at % width, at / width, at % width + 1, at / width + 1])
        .reduce(|[a, b, c, d], [x, y, right, bottom]| [a.min(x), b.min(y), c.max(right), d.max(bottom)])
}

/// A grid, a rectangle, a box of another image and a blend, each with its parameters and what we make of it.
fn cases(image: &LabelledImage, other: &LabelledImage, rng: &mut ChaCha8Rng) -> Vec<(Value, LabelledImage)> {
    let size = image.size;
    let mut cases = Vec::new();
    for (ratio, shift, fill, erase_labels) in
        [(0.5, [0, 0], 0, true), (0.3, [5, 2], 77, false), (1.0, [1, 1], 255, true)]
    {
        // 10 by 10 cells of 12 by 9 px.
        let free = [12, 9].map(|side: i32| side - ((f64::from(side) * ratio) as i32).min(side - 1));
        let shares = [0, 1].map(|axis| f64::from(shift[axis]) / f64::from(free[axis]));
        let step = GridDropout {
            ratio: Amount::Fixed(ratio),
            shift: Some(shares),
            fill: HoleFill::Level(f64::from(fill)),
            erase_labels,
            ..GridDropout::default()
        };
        let case = json!({
            "kind": "grid", "ratio": ratio, "grid": [10, 10], "shift": shift, "fill": fill, "erase": erase_labels,
        });
        cases.push((case, Augmentation::GridDropout(step).apply_always(image.clone(), &NoOtherImages, rng)));
    }
    let step = CoarseDropout {
        holes: Amount::Fixed(1.0),
        width: Amount::Between([0.3, 0.6]),
        fill: HoleFill::Level(9.0),
        erase_labels: true,
        ..CoarseDropout::default()
    };
    let ours = Augmentation::CoarseDropout(step).apply_always(image.clone(), &NoOtherImages, rng);
    let hole = bounds(size, |at| ours.words[at] == 0).expect("a hole");
    cases.push((json!({"kind": "holes", "holes": [hole], "fill": 9, "erase": true}), ours));

    let given = Other(other.clone());
    let ours = loop {
        let ours = Augmentation::CutMix(CutMix::default()).apply_always(image.clone(), &given, rng);
        if ours.words != image.words {
            break ours;
        }
    };
    let taken = bounds(size, |at| ours.words[at] != image.words[at]).expect("a rectangle");
    let second = json!({"other": other.levels, "other_words": other.words});
    let with = |mut case: Value| {
        case.as_object_mut().unwrap().extend(second.as_object().unwrap().clone());
        case
    };
    cases.push((with(json!({"kind": "cut-mix", "box": taken})), ours));
    let ours = Augmentation::MixUp(MixUp::default()).apply_always(image.clone(), &given, rng);
    let share = ours.mixed.as_ref().expect("mixed labels").share;
    cases.push((with(json!({"kind": "mix-up", "lam": 1.0 - f64::from(share)})), ours));
    cases
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn the_same_holes_boxes_and_shares_give_the_same_images() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let size = Size { width: 120, height: 90 };
    let (image, other) = (random(size, &mut rng), random(size, &mut rng));
    let cases = cases(&image, &other, &mut rng);
    let questions: Vec<&Value> = cases.iter().map(|(question, _)| question).collect();
    let question = json!({
        "width": size.width, "height": size.height, "levels": image.levels, "words": image.words, "cases": questions,
    });
    let answers = ask("same", &question);
    assert_eq!(answers.as_array().unwrap().len(), cases.len());
    for ((case, ours), answer) in cases.iter().zip(answers.as_array().unwrap()) {
        let (kind, blends) = (&case["kind"], case["kind"] == "mix-up");
        let levels = numbers(&answer["levels"]);
        let worst = levels.iter().zip(&ours.levels).map(|(a, b)| (a - f64::from(*b)).abs());
        // A blend is rounded to single precision.
        assert!(worst.fold(0.0, f64::max) <= if blends { 1e-4 } else { 0.0 }, "{kind}: levels");
        let labels = numbers(&answer["labels"]);
        if let Some(mixed) = &ours.mixed {
            // Soft targets per class.
            for (at, label) in labels.iter().enumerate() {
                let (class, pixel) = (at / size.pixels(), at % size.pixels());
                let has = |words: &[u32]| f64::from(words[pixel] >> class & 1);
                let share = f64::from(mixed.share);
                assert!(((1.0 - share) * has(&ours.words) + share * has(&mixed.words) - label).abs() < 1e-6, "{kind}");
            }
        } else {
            assert!(labels.iter().zip(&ours.words).all(|(a, b)| *a == f64::from(*b)), "{kind}: labels");
        }
        assert_ne!(ours.levels, image.levels, "{kind} changes the image");
    }
}

/// What each of 4,000 draws made, by the name that the script knows.
fn draws(size: Size) -> std::collections::BTreeMap<String, Vec<f64>> {
    let blank = |level: f32, word: u32| LabelledImage::new(size, vec![level; size.pixels()], vec![word; size.pixels()]);
    let (image, other) = (blank(255.0, 1), Other(blank(0.0, 2)));
    let apply =
        |step: &Augmentation, seed: u64| step.apply_always(image.clone(), &other, &mut ChaCha8Rng::seed_from_u64(seed));
    let mut found = std::collections::BTreeMap::<String, Vec<f64>>::new();
    let mut add = |name: &str, value: f64| found.entry(name.to_owned()).or_default().push(value);
    let coarse = Augmentation::CoarseDropout(CoarseDropout { holes: Amount::Fixed(1.0), ..CoarseDropout::default() });
    let (grid, cut) = (Augmentation::GridDropout(GridDropout::default()), Augmentation::CutMix(CutMix::default()));
    let (width, height) = (size.width as usize, size.height as usize);
    for seed in 0..4000 {
        let dropped = apply(&grid, seed);
        // Only one hole reaches into the smallest first cell, 6 by 4 px, or the smallest last one. Holes are 3 px wide.
        let within =
            |at: usize| [at % width < 6 && at / width < 4, at % width >= width - 6 && at / width >= height - 4];
        let hole = |cell: usize| bounds(size, |at| dropped.levels[at] == 0.0 && within(at)[cell]).expect("a hole");
        add("grid-first-x", hole(0)[0] as f64);
        add("grid-first-y", hole(0)[1] as f64);
        add("grid-last-x", hole(1)[2] as f64 - 3.0);
        add("grid-last-bottom", hole(1)[3] as f64);
        let dropped = apply(&coarse, seed);
        let [x, y, right, bottom] = bounds(size, |at| dropped.levels[at] == 0.0).expect("a hole");
        add("coarse-x", x as f64);
        add("coarse-y", y as f64);
        add("coarse-width", (right - x) as f64);
        add("coarse-height", (bottom - y) as f64);
        let mixed = apply(&cut, seed);
        if let Some([x, _, _, bottom]) = bounds(size, |at| mixed.words[at] == 2) {
            let taken = mixed.words.iter().filter(|word| **word == 2).count();
            add("cut-mix-left", x as f64);
            add("cut-mix-bottom", bottom as f64);
            add("cut-mix-share", taken as f64 / size.pixels() as f64);
        }
        for (name, alpha) in [("mix-up-lambda", 0.4), ("beta-0.5", 0.5), ("beta-1.5", 1.5), ("beta-4", 4.0)] {
            let step = Augmentation::MixUp(MixUp { alpha, ..MixUp::default() });
            let tiny = LabelledImage::new(Size::square(1), vec![0.0], vec![0]);
            let mixed = step.apply_always(tiny.clone(), &Other(tiny), &mut ChaCha8Rng::seed_from_u64(seed));
            add(name, 1.0 - f64::from(mixed.mixed.expect("mixed labels").share));
        }
    }
    found
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn draws_have_the_distributions_of_the_references() {
    // Sides that are not divided evenly by the cells.
    let size = Size { width: 63, height: 47 };
    let draws = draws(size);
    let answer = ask("draws", &json!({"width": size.width, "height": size.height, "draws": draws}));
    let values = answer.as_object().expect("an object");
    assert_eq!(values.len(), draws.len());
    for (name, p) in values {
        // Both sides are drawn with fixed seeds.
        assert!(p.as_f64().expect("a number") > 1e-4, "{name}: p = {p}");
    }
}
