use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use rayon::prelude::*;

use super::{ScoreError, read_flat};
use crate::bones::Bone;
use crate::dataset::image_id;
use crate::mask::submission::{ImageMasks, Space, sidecar};
use crate::mask::{HandMasks, RunMask};
use crate::progress::Progress;
use crate::wording::counted;

/// Masks of the pixels that are set in `at_least` of the files (`None`: in more than half of them). The images are in the
/// order of the first file.
///
/// # Errors
/// There are fewer than two files, `at_least` is not between 1 and their number, a file cannot be read, or the files
/// differ in their images or in their space (crops or original images).
pub fn vote(
    paths: &[PathBuf],
    at_least: Option<usize>,
    progress: &dyn Progress,
) -> Result<Vec<ImageMasks>, ScoreError> {
    let n = paths.len();
    if n < 2 {
        return Err(ScoreError::Vote("a vote needs at least two files".into()));
    }
    let at_least = at_least.unwrap_or(n / 2 + 1);
    if !(1..=n).contains(&at_least) {
        return Err(ScoreError::Vote(format!(
            "at least {} cannot be required of {n} files; choose 1 to {n}",
            counted(at_least, "vote", "votes")
        )));
    }
    let space = |path: &PathBuf| Ok(sidecar(path)?.map_or(Space::Original, |sidecar| sidecar.space));
    let spaces: Vec<Space> = paths.iter().map(space).collect::<Result<_, ScoreError>>()?;
    if let Some(other) = spaces.iter().position(|space| *space != spaces[0]) {
        return Err(ScoreError::Spaces { path: paths[other].clone(), first: paths[0].clone() });
    }
    let files: Vec<Vec<ImageMasks>> = paths.par_iter().map(|p| read_flat(p)).collect::<Result<_, _>>()?;
    let indices: Vec<HashMap<String, &ImageMasks>> =
        files.iter().map(|f| f.iter().map(|m| (image_id(&m.image_name), m)).collect()).collect();
    for (path, index) in paths.iter().zip(&indices).skip(1) {
        same_images(path, index, &paths[0], &indices[0])?;
    }
    progress.start("images voted on", files[0].len() as u64);
    let voted = files[0]
        .par_iter()
        .map(|first| {
            let ballots: Vec<&ImageMasks> = indices.iter().map(|i| i[&image_id(&first.image_name)]).collect();
            let masks = Bone::all().map(|bone| {
                let masks: Vec<&RunMask> = ballots.iter().map(|b| &b.masks[bone]).collect();
                RunMask::vote(&masks, at_least).expect("masks read by read_flat have one size")
            });
            let masks = HandMasks::new(masks.collect()).expect("one mask per bone, all of one size");
            progress.advance(1);
            ImageMasks { image_name: first.image_name.clone(), masks }
        })
        .collect();
    progress.finish();
    Ok(voted)
}

fn same_images(
    path: &std::path::Path,
    index: &HashMap<String, &ImageMasks>,
    first_path: &std::path::Path,
    first: &HashMap<String, &ImageMasks>,
) -> Result<(), ScoreError> {
    let names: HashSet<&String> = index.keys().collect();
    let expected: HashSet<&String> = first.keys().collect();
    let mut missing: Vec<&String> = expected.difference(&names).copied().collect();
    let mut surplus: Vec<&String> = names.difference(&expected).copied().collect();
    if missing.is_empty() && surplus.is_empty() {
        return Ok(());
    }
    missing.sort_unstable();
    surplus.sort_unstable();
    let mut example = missing.first().map(|m| format!(" ({m})")).unwrap_or_default();
    if let Some(name) = surplus.first() {
        example +=
            &format!(", {} not in {} ({name})", counted(surplus.len(), "image is", "images are"), first_path.display());
    }
    Err(ScoreError::Images { path: path.into(), first: first_path.into(), missing: missing.len(), example })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::{PixelRun, submission};
    use crate::progress::Silent;

    fn file(folder: &std::path::Path, name: &str, images: &[(&str, &[(u32, u32)])]) -> PathBuf {
        let path = folder.join(name);
        let images: Vec<ImageMasks> = images
            .iter()
            .map(|(image, runs)| {
                let runs = runs.iter().map(|(start, len)| PixelRun { start: *start, len: *len }).collect();
                let mask = RunMask::from_runs(64, 64, runs).unwrap();
                let mut masks = HandMasks::empty(64, 64);
                masks.set(Bone::FINGER_1, mask).unwrap();
                ImageMasks { image_name: (*image).to_owned(), masks }
            })
            .collect();
        submission::write(&path, &images).unwrap();
        path
    }

    #[test]
    fn majority_of_three() {
        let folder = tempfile::tempdir().unwrap();
        let a = file(folder.path(), "a.csv", &[("1.png", &[(10, 10)]), ("2.png", &[])]);
        let b = file(folder.path(), "b.csv", &[("2.png", &[(0, 4)]), ("1.png", &[(15, 10)])]);
        let c = file(folder.path(), "c.csv", &[("1.png", &[(18, 20)]), ("2.png", &[(2, 4)])]);
        let paths = [a.clone(), b.clone(), c];
        let voted = vote(&paths, None, &Silent).unwrap();
        assert_eq!(voted[0].image_name, "1.png");
        assert_eq!(voted[0].masks[Bone::FINGER_1].runs(), [PixelRun { start: 15, len: 10 }]);
        assert_eq!(voted[1].masks[Bone::FINGER_1].runs(), [PixelRun { start: 2, len: 2 }]);
        let any = vote(&paths, Some(1), &Silent).unwrap();
        assert_eq!(any[0].masks[Bone::FINGER_1].runs(), [PixelRun { start: 10, len: 28 }]);
        assert!(vote(&paths, Some(4), &Silent).unwrap_err().to_string().contains("1 to 3"));
        let other = file(folder.path(), "d.csv", &[("1.png", &[]), ("3.png", &[])]);
        let error = vote(&[a, other], None, &Silent).unwrap_err().to_string();
        assert!(error.contains("(2)") && error.contains("(3)"), "{error}");
    }
}
