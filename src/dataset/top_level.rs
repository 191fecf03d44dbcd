//! The white level of the 16-bit images of a data set. Devices record 10 to 16 bits and store them in 16; scaled by
//! 65,535, levels of 10 bits would keep only two of the eight bits that are used. One level holds for the whole data
//! set: with one level per image, the same exposure would be brighter in one image than in another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::image::{Radiograph, Reader};
use super::source::Source;
use super::{ImageEntry, Levels, Problem, ProblemSeverity};
use crate::wording::counted;

/// Bits that an image's levels need: those of its highest level, at least 8 and at least the number that the file
/// states (PNG's sBIT). `None` for 8-bit images.
pub(super) fn bits_of(image: &Radiograph) -> Option<u32> {
    let Levels::Sixteen(levels) = image.pixels.levels() else { return None };
    let highest = levels.iter().copied().max().unwrap_or(0);
    let needed = u16::BITS - highest.leading_zeros();
    Some(needed.max(8).max(image.significant_bits.map_or(0, u32::from)).min(16))
}

/// Bits that the levels of each image need, measured unless `known`; `None` for 8-bit and unreadable images.
pub(super) fn bits(
    source: &dyn Source,
    images: &[ImageEntry],
    known: impl Fn(&ImageEntry) -> Option<u32> + Sync,
) -> Vec<Option<u32>> {
    let bits = |entry: &ImageEntry, reader: &mut Reader| {
        if source.stored_bits(entry).ok()? <= 8 {
            return None;
        }
        known(entry).or_else(|| bits_of(&source.image(entry, reader).ok()?))
    };
    let found = Mutex::new(vec![None; images.len()]);
    let next = AtomicUsize::new(0);
    // Own threads: a waiting thread of rayon would start on another image, which in turn would wait for this one.
    std::thread::scope(|scope| {
        for _ in 0..rayon::current_num_threads().min(images.len()) {
            scope.spawn(|| {
                let mut reader = Reader::default();
                while let Some((at, entry)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    images.get(at).map(|entry| (at, entry))
                } {
                    let bits = bits(entry, &mut reader);
                    found.lock().unwrap_or_else(PoisonError::into_inner)[at] = bits;
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The smallest 2^n - 1 that no image exceeds; `None` without 16-bit images.
pub(super) fn common(bits: &[Option<u32>]) -> Option<u16> {
    let most = bits.iter().flatten().max()?;
    Some(((1u32 << most) - 1) as u16)
}

/// Problems with the levels of a data set whose images need `bits`.
pub(super) fn problems(entries: &[ImageEntry], bits: &[Option<u32>]) -> Vec<Problem> {
    let Some(top) = common(bits) else { return Vec::new() };
    let mut all: Vec<u32> = bits.iter().flatten().copied().collect();
    all.sort_unstable();
    let most = *all.last().expect("a top level is that of an image");
    let mut problems = Vec::new();
    if top < u16::MAX {
        let images = counted(all.len(), "16-bit image", "16-bit images");
        let reason = format!("the levels of {images} need only {most} bits");
        problems.push(Problem::new(ProblemSeverity::Info, "", reason, format!("scaled by their top level, {top}")));
    }
    // Images that use a quarter of the range or less become dark: because few others have high levels, or because two
    // devices differ.
    let is_dark = |bits: &Option<u32>| bits.is_some_and(|bits| bits + 2 <= most);
    let dark = bits.iter().filter(|bits| is_dark(bits)).count();
    let bright = all.iter().filter(|bits| **bits == most).count();
    let warn = |entry: &ImageEntry, reason: String| {
        let action = format!("scaled by the common top level {top}; exclude the image if its levels are wrong");
        Problem::new(ProblemSeverity::Warning, &*entry.image, reason, action).of_image(&*entry.image_id)
    };
    if dark > 0 && bright <= dark {
        let images = counted(dark, "image", "images");
        let odd = entries.iter().zip(bits).filter(|(_, bits)| **bits == Some(most));
        problems.extend(odd.map(|(entry, _)| {
            warn(
                entry,
                format!("its levels need {most} bits, those of {images} at least 2 fewer, so these become dark"),
            )
        }));
    } else {
        let odd = entries.iter().zip(bits).filter(|(_, bits)| is_dark(bits));
        problems.extend(odd.map(|(entry, _)| {
            warn(entry, format!("its levels need at least 2 bits fewer than the {most} of others, so it becomes dark"))
        }));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Subset;

    #[test]
    fn one_level_for_all_images_and_a_warning_if_few_images_set_it() {
        assert_eq!(common(&[None, None]), None);
        assert_eq!(common(&[None, Some(8)]), Some(255));
        assert_eq!(common(&[Some(10), Some(12), None]), Some(4095));
        assert_eq!(common(&[Some(16)]), Some(u16::MAX));
        let entry = |i: usize| ImageEntry {
            image_id: format!("{i}"),
            patient_id: "001".into(),
            subset: Subset::Train,
            image: format!("{i}.png"),
            annotation: None,
            side: None,
            side_in_name: None,
            timestamp: None,
        };
        let images: Vec<ImageEntry> = (0..20).map(entry).collect();
        let reported = |bits: &[Option<u32>]| {
            let problems = problems(&images[..bits.len()], bits);
            problems.into_iter().map(|p| (p.severity, p.file)).collect::<Vec<_>>()
        };
        assert_eq!(reported(&[None; 3]), []);
        assert_eq!(reported(&[Some(16); 3]), []);
        assert_eq!(reported(&[Some(12); 3]), [(ProblemSeverity::Info, String::new())]);
        let mut bits = vec![Some(12); 20];
        bits[7] = Some(16);
        assert_eq!(reported(&bits), [(ProblemSeverity::Warning, "7.png".to_owned())]);
        bits[7] = Some(13);
        assert_eq!(reported(&bits), [(ProblemSeverity::Info, String::new())], "one bit more is chance");
        // Two devices: the darker images are reported.
        let bits: Vec<Option<u32>> = (0..5).map(|i| Some(if i < 2 { 10 } else { 12 })).collect();
        let dark = ["0.png", "1.png"].map(|file| (ProblemSeverity::Warning, file.to_owned()));
        assert_eq!(reported(&bits)[1..], dark);
    }
}
