//! Collects the shapes of an annotation in another format than [`super::folder`]'s, with the same checks and problems.

use std::path::Path;

use serde_json::Value;

use super::annotation::{Annotation, ShapeOutline, read_shape};
use super::{Problem, ProblemSeverity};
use crate::mask::RunMask;

/// The shapes of an image that are read one by one.
pub(super) struct ShapeList<'a> {
    file: &'a str,
    image_id: &'a str,
    annotation: Annotation,
    problems: Vec<Problem>,
}

impl<'a> ShapeList<'a> {
    /// No shapes yet. `file` is named in problems.
    pub(super) fn new(file: &'a str, image_id: &'a str) -> ShapeList<'a> {
        ShapeList { file, image_id, annotation: Annotation::default(), problems: Vec::new() }
    }

    /// Number of shapes, usable or not, that were added: the index of the next one.
    pub(super) fn next_index(&self) -> usize {
        self.annotation.shapes.iter().map(|shape| shape.index + 1).max().unwrap_or(0)
    }

    /// Adds a shape with this index; one that cannot be used is a problem.
    pub(super) fn add(&mut self, index: usize, label: Value, outline: ShapeOutline) {
        let found = match read_shape(index, label, outline) {
            Ok((shape, problems)) => {
                self.annotation.shapes.push(shape);
                problems
            }
            Err(problem) => vec![*problem],
        };
        self.problems.extend(found.into_iter().map(|p| p.of_file(self.file).of_image(self.image_id)));
    }

    /// Adds the parts of a mask, each traced so that filling it gives its pixels again. The indices count up from
    /// `index`.
    pub(super) fn add_mask(&mut self, index: usize, label: &str, mask: &RunMask) {
        for (n, polygon) in mask.polygons().into_iter().enumerate() {
            self.add(index + n, label.into(), ShapeOutline::Whole(polygon));
        }
    }

    /// Reports if the file states another size than the image has; a size of 0 is unknown.
    pub(super) fn check_size(&mut self, image: &Path, (width, height): (u32, u32)) {
        if let Ok((w, h)) = super::image::dimensions(image)
            && (w, h) != (width, height)
            && (width, height) != (0, 0)
        {
            let reason = format!("the annotation is for an image of {width}x{height} pixels, but it has {w}x{h}");
            self.problem(ProblemSeverity::Warning, "size", reason, "the points are used as they are");
        }
    }

    /// Adds a problem.
    pub(super) fn problem(
        &mut self,
        severity: ProblemSeverity,
        place: impl Into<String>,
        reason: impl Into<String>,
        action: &str,
    ) {
        let problem = Problem::new(severity, self.file, reason, action).at(place).of_image(self.image_id);
        self.problems.push(problem);
    }

    /// The annotation, its shapes by index, and the problems.
    pub(super) fn finish(mut self) -> (Annotation, Vec<Problem>) {
        self.annotation.shapes.sort_by_key(|shape| shape.index);
        (self.annotation, self.problems)
    }
}
