use std::io;
use std::path::Path;

use super::image::ImageMetrics;
use super::metric::Metric;
use crate::artefact::write_atomically;
use crate::bones::Bone;

/// Writes metrics as CSV: `image_id`, `class` and one column per metric, one row per image and class. NaN is an empty cell
/// and infinity `inf`; pandas reads both as such.
///
/// # Errors
/// The file cannot be written.
pub fn write_metrics(path: &Path, metrics: &[Metric], images: &[ImageMetrics]) -> io::Result<()> {
    write_atomically(path, |out| {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(["image_id", "class"].into_iter().chain(metrics.iter().map(|m| m.name())))?;
        for image in images {
            for (bone, class) in Bone::all().zip(&image.classes) {
                let cell = |value: &f64| if value.is_nan() { String::new() } else { value.to_string() };
                let names = [image.image_id.clone(), bone.name().to_owned()];
                csv.write_record(names.into_iter().chain(class.values.iter().map(cell)))?;
            }
        }
        csv.flush()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artefact::kind;
    use crate::bones;
    use crate::metrics::ClassMetrics;

    #[test]
    fn cells_of_all_metrics_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.csv");
        let values: Vec<f64> =
            [1.0 / 3.0, f64::NAN, f64::INFINITY, 0.0].into_iter().cycle().take(Metric::ALL.len()).collect();
        let class = ClassMetrics { values, annotated: true, predicted: true };
        let image = ImageMetrics { image_id: "a".into(), patient_id: "1".into(), classes: vec![class; bones::COUNT] };
        write_metrics(&path, Metric::ALL, &[image]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1 + bones::COUNT);
        assert!(text.lines().nth(2).unwrap().starts_with("a,finger-2,0.3333333333333333,,inf,0,"), "{text}");
        // The kind lists the names of all metrics.
        assert!(kind::METRICS.matches(&path).unwrap());
        std::fs::write(&path, "image_id,label,class,area_px\n").unwrap();
        assert!(!kind::METRICS.matches(&path).unwrap(), "a table of bones");
    }
}
