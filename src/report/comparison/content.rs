use std::collections::BTreeMap;

use polars::prelude::PolarsResult;
use serde_json::json;

use super::ComparedTables;
use super::changes::Common;
use crate::dataset::Subset;
use crate::report::Section;
use crate::report::wording::{count, visible};
use crate::tables::Tables;

/// Number of rows of a set.
fn counts(tables: &Tables) -> Vec<(&'static str, usize)> {
    let images = |wanted: &dyn Fn(&crate::tables::ImageRow) -> bool| tables.images.iter().filter(|i| wanted(i)).count();
    vec![
        ("patients", tables.patients.len()),
        ("patients with images", tables.patients.iter().filter(|p| p.n_images > 0).count()),
        ("images", tables.images.len()),
        ("images in train", images(&|i| i.subset == Subset::Train)),
        ("images in test", images(&|i| i.subset == Subset::Test)),
        ("images that cannot be used", images(&|i| !i.usable)),
        ("images with masks", images(&|i| i.mask_px.is_some_and(|px| px > 0))),
        ("rotated hands", images(&|i| i.rotated == Some(true))),
        ("bones", tables.bones.len()),
        ("problems", tables.problems.len()),
    ]
}

/// The sizes of the images in px, the most frequent first.
fn sizes(tables: &Tables) -> String {
    let mut sizes: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    tables.images.iter().for_each(|i| *sizes.entry((i.width, i.height)).or_default() += 1);
    let mut sizes: Vec<((u32, u32), usize)> = sizes.into_iter().collect();
    sizes.sort_by_key(|size| std::cmp::Reverse(size.1));
    sizes.iter().map(|((w, h), _)| format!("{w} × {h}")).collect::<Vec<_>>().join(", ")
}

/// Rows of the two sets, and how many images and patients they share.
pub(super) fn section(base: ComparedTables<'_>, other: ComparedTables<'_>, common: &Common) -> PolarsResult<Section> {
    let mut section = Section::new("content", "Content of the two sets");
    section.text(format!("{}: {}. {}: {}.", base.name, visible(base.origin), other.name, visible(other.origin)));
    section.text(format!(
        "{} images are in both sets (same name and content), {} only in {} and {} only in {}; {} patients have images in both.",
        count(common.images.len()),
        count(common.only_base),
        base.name,
        count(common.only_other),
        other.name,
        count(common.patients),
    ));
    let (of_base, of_other) = (counts(base.tables), counts(other.tables));
    let difference = |a: usize, b: usize| match b.cmp(&a) {
        std::cmp::Ordering::Equal => "0".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", count(b - a)),
        std::cmp::Ordering::Less => format!("−{}", count(a - b)),
    };
    let rows = of_base
        .iter()
        .zip(&of_other)
        .map(|((what, a), (_, b))| vec![(*what).to_owned(), count(*a), count(*b), difference(*a, *b)]);
    let (sizes, of_other_sizes) = (sizes(base.tables), sizes(other.tables));
    if sizes != of_other_sizes && !sizes.is_empty() && !of_other_sizes.is_empty() {
        section.absent(format!(
            "The images differ in size ({} in {}, {} in {}): areas in px of the two sets cannot be compared with each other.",
            visible(&sizes),
            base.name,
            visible(&of_other_sizes),
            other.name
        ));
    }
    section.table("Rows", &["", base.name, other.name, "difference"], rows.collect());
    let as_json = |counts: &[(&str, usize)]| {
        counts.iter().map(|(k, n)| ((*k).to_owned(), json!(n))).collect::<serde_json::Map<_, _>>()
    };
    section.number(base.name, serde_json::Value::Object(as_json(&of_base)));
    section.number(other.name, serde_json::Value::Object(as_json(&of_other)));
    section.number("images_in_both", common.images.len());
    section.number("patients_in_both", common.patients);
    section.number("images_only_in_base", common.only_base);
    section.number("images_only_in_other", common.only_other);
    Ok(section)
}
