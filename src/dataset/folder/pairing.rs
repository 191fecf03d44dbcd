//! Pairs annotations with images.

use std::collections::{HashMap, HashSet};

use super::walk::FoundFile;
use crate::dataset::names::is_patient_folder;
use crate::dataset::{Problem, ProblemSeverity, Subset};

/// Subset, folders without those for kinds of files, and stem: equal for an image and its annotation.
type Key<'a> = (Option<Subset>, Vec<String>, &'a str);

fn key(file: &FoundFile) -> Key<'_> {
    (file.subset(), file.own_folders(), &file.id)
}

/// Whether any annotation has the stem of an image.
pub fn any_pair(images: &[FoundFile], annotations: &[FoundFile]) -> bool {
    let stems: HashSet<&str> = images.iter().map(|f| f.id.as_str()).collect();
    annotations.iter().any(|f| stems.contains(f.id.as_str()))
}

/// The path of each image's annotation, matched by folder and stem, else by stem alone if that is unambiguous.
/// Annotations of the images in `left_out` are not reported as unmatched.
pub fn pair(
    images: &[&FoundFile],
    left_out: &[FoundFile],
    annotations: &[FoundFile],
    problems: &mut Vec<Problem>,
) -> Vec<Option<String>> {
    let mut by_key: HashMap<Key<'_>, Vec<usize>> = HashMap::new();
    for (i, annotation) in annotations.iter().enumerate() {
        by_key.entry(key(annotation)).or_default().push(i);
    }
    let mut used = vec![false; annotations.len()];
    let mut chosen: Vec<Option<usize>> = vec![None; images.len()];
    for (image, chosen) in images.iter().zip(&mut chosen) {
        let Some(fitting) = by_key.get(&key(image)) else { continue };
        let best = fitting.iter().copied().find(|i| annotations[*i].folders == image.folders).unwrap_or(fitting[0]);
        for &i in fitting {
            used[i] = true;
            if i != best {
                let reason = format!("a second annotation of {}; {} is used", image.id, annotations[best].path());
                problems.push(
                    Problem::new(ProblemSeverity::Warning, annotations[i].path(), reason, "left out")
                        .of_image(image.id.clone()),
                );
            }
        }
        *chosen = Some(best);
    }
    for file in left_out {
        for &i in by_key.get(&key(file)).into_iter().flatten() {
            used[i] = true;
        }
    }
    pair_by_stem(images, annotations, &mut used, &mut chosen, problems);
    for (annotation, used) in annotations.iter().zip(used) {
        if !used {
            let reason = "no image with this name";
            problems.push(
                Problem::new(ProblemSeverity::Warning, annotation.path(), reason, "annotation left out")
                    .raw(&annotation.id),
            );
        }
    }
    chosen.into_iter().map(|i| i.map(|i| annotations[i].path())).collect()
}

fn pair_by_stem(
    images: &[&FoundFile],
    annotations: &[FoundFile],
    used: &mut [bool],
    chosen: &mut [Option<usize>],
    problems: &mut Vec<Problem>,
) {
    let mut by_stem: HashMap<(Option<Subset>, &str), Vec<usize>> = HashMap::new();
    for (i, annotation) in annotations.iter().enumerate() {
        if !used[i] {
            by_stem.entry((annotation.subset(), &annotation.id)).or_default().push(i);
        }
    }
    for (image, chosen) in images.iter().zip(chosen) {
        if chosen.is_some() {
            continue;
        }
        let Some(fitting) = by_stem.get(&(image.subset(), image.id.as_str())) else { continue };
        for &i in fitting {
            used[i] = true;
        }
        if let [one] = fitting[..] {
            *chosen = Some(one);
            // Users may choose other folder names than `images` and `labels`; only a folder that names another patient
            // is reported.
            let named = |f: &FoundFile| f.own_folders().last().is_some_and(|f| is_patient_folder(f));
            if named(image) || named(&annotations[one]) {
                let reason = format!("its image is in another patient's folder: {}", image.path());
                problems.push(
                    Problem::new(
                        ProblemSeverity::Warning,
                        annotations[one].path(),
                        reason,
                        "used because the names match",
                    )
                    .of_image(image.id.clone()),
                );
            }
        } else {
            for &i in fitting {
                let reason =
                    format!("{} annotations in different folders could belong to {}", fitting.len(), image.path());
                problems.push(
                    Problem::new(ProblemSeverity::Error, annotations[i].path(), reason, "annotation left out")
                        .of_image(image.id.clone()),
                );
            }
        }
    }
}
