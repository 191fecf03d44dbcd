use std::fmt;
use std::str::FromStr;

use super::view::AugmentedView;

/// A change of the image of which the prediction is undone and averaged with that of the image itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AugmentationStep {
    /// `flip`: every view also mirrored left-right.
    Flip,
    /// `flip-vertical`: every view also mirrored top-bottom.
    FlipVertical,
    /// `scale:S`: a view scaled by S, rounded to a size that the model takes.
    Scale(f64),
    /// `rotate:D`: two views, turned by D degrees to the right and to the left.
    Rotate(f64),
    /// `gamma:G`: a view whose grey level v is `255 (v / 255)^G`.
    Gamma(f64),
    /// `brightness:B`: a view whose grey levels are raised by B of the full range.
    Brightness(f64),
}

/// The forms of a step, for messages.
const FORMS: &str = "flip, flip-vertical, scale:S (0.25 to 4), rotate:D (0 to 45 degrees), gamma:G (0.1 to 10) or brightness:B \
                     (-0.5 to 0.5)";

impl FromStr for AugmentationStep {
    type Err = String;

    fn from_str(text: &str) -> Result<AugmentationStep, String> {
        let wrong = || format!("{text:?}: expected {FORMS}");
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number.trim().parse::<f64>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let within = |range: std::ops::RangeInclusive<f64>| number.filter(|n| range.contains(n)).ok_or_else(wrong);
        match (name.trim(), number) {
            ("flip", None) => Ok(AugmentationStep::Flip),
            ("flip-vertical", None) => Ok(AugmentationStep::FlipVertical),
            ("scale", _) => within(0.25..=4.0).map(AugmentationStep::Scale),
            ("rotate", _) => within(0.0..=45.0).map(AugmentationStep::Rotate),
            ("gamma", _) => within(0.1..=10.0).map(AugmentationStep::Gamma),
            ("brightness", _) => within(-0.5..=0.5).map(AugmentationStep::Brightness),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for AugmentationStep {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            AugmentationStep::Flip => f.write_str("flip"),
            AugmentationStep::FlipVertical => f.write_str("flip-vertical"),
            AugmentationStep::Scale(s) => write!(f, "scale:{s}"),
            AugmentationStep::Rotate(d) => write!(f, "rotate:{d}"),
            AugmentationStep::Gamma(g) => write!(f, "gamma:{g}"),
            AugmentationStep::Brightness(b) => write!(f, "brightness:{b}"),
        }
    }
}

/// Test-time augmentation: the mean of the probabilities of several views of the image. The first view is the image
/// itself; scales, rotations, gamma and brightness add views; flips double the number of all views.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestTimeAugmentation(pub Vec<AugmentationStep>);

impl TestTimeAugmentation {
    /// The views, that of the unchanged image first.
    pub fn views(&self) -> Vec<AugmentedView> {
        let mut views = vec![AugmentedView::default()];
        for step in &self.0 {
            match *step {
                AugmentationStep::Flip | AugmentationStep::FlipVertical => {}
                AugmentationStep::Scale(scale) => views.push(AugmentedView { scale, ..AugmentedView::default() }),
                AugmentationStep::Rotate(degrees) => {
                    views.extend(
                        [degrees, -degrees].map(|degrees| AugmentedView { degrees, ..AugmentedView::default() }),
                    );
                }
                AugmentationStep::Gamma(gamma) => views.push(AugmentedView { gamma, ..AugmentedView::default() }),
                AugmentationStep::Brightness(brightness) => {
                    views.push(AugmentedView { brightness, ..AugmentedView::default() })
                }
            }
        }
        let has = |step: AugmentationStep| self.0.contains(&step);
        if has(AugmentationStep::Flip) {
            views.extend(views.clone().into_iter().map(|view| AugmentedView { mirrored: true, ..view }));
        }
        if has(AugmentationStep::FlipVertical) {
            views.extend(views.clone().into_iter().map(|view| AugmentedView { upside_down: true, ..view }));
        }
        views
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_and_printed() {
        for text in ["flip", "flip-vertical", "scale:0.75", "rotate:5", "gamma:0.8", "brightness:-0.1"] {
            assert_eq!(text.parse::<AugmentationStep>().unwrap().to_string(), text);
        }
        for text in ["", "flip:1", "scale", "scale:9", "rotate:-1", "rotate:x", "gamma:nan", "mirror"] {
            let error = text.parse::<AugmentationStep>().unwrap_err();
            assert!(error.contains("expected flip, flip-vertical, scale:S"), "{error}");
        }
    }

    #[test]
    fn flips_double_the_views() {
        let views = |steps: &str| {
            let steps = steps.split(',').filter(|s| !s.is_empty()).map(|s| s.parse().unwrap());
            TestTimeAugmentation(steps.collect()).views()
        };
        assert_eq!(views(""), [AugmentedView::default()]);
        assert_eq!(views("flip").len(), 2);
        let all = views("flip,scale:1.25,rotate:5,flip-vertical,gamma:1.2");
        assert_eq!(all.len(), 4 * 5);
        assert_eq!(all[0], AugmentedView::default());
        assert_eq!(all.iter().filter(|view| view.mirrored).count(), 10);
        assert_eq!(all.iter().filter(|view| view.degrees == -5.0).count(), 4);
    }
}
