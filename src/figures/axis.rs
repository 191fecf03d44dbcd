use super::font::text_width;
use super::style::{GAP, LABEL, Weight};

/// The direction of an axis; its tick texts are horizontal in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AxisDirection {
    Horizontal,
    Vertical,
}

/// A scale: the positions of values along an axis, and its ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The quantity, with its unit.
    pub label: String,
    low: f64,
    high: f64,
    logarithmic: bool,
    whole: bool,
}

impl Axis {
    /// A linear axis that contains all finite `values`, with some space at both ends; from 0 to 1 if there are none.
    pub fn linear(label: &str, values: impl IntoIterator<Item = f64>) -> Axis {
        let (low, high) = bounds(values).unwrap_or((0.0, 1.0));
        let room = if high > low { 0.04 * (high - low) } else { (0.05 * low.abs()).max(0.5) };
        Axis::between(label, low - room, high + room)
    }

    /// A linear axis from 0 to above all values.
    pub fn from_zero(label: &str, values: impl IntoIterator<Item = f64>) -> Axis {
        let high = bounds(values).map_or(1.0, |b| b.1).max(0.0);
        Axis::between(label, 0.0, if high > 0.0 { 1.05 * high } else { 1.0 })
    }

    /// A linear axis from `low` to `high`.
    pub fn between(label: &str, low: f64, high: f64) -> Axis {
        Axis { label: label.to_owned(), low, high, logarithmic: false, whole: false }
    }

    /// The same axis with ticks only at whole numbers, for counts.
    pub fn whole(self) -> Axis {
        Axis { whole: true, ..self }
    }

    /// A logarithmic axis that contains all positive finite `values`; from 0.1 to 10 if there are none.
    pub fn logarithmic(label: &str, values: impl IntoIterator<Item = f64>) -> Axis {
        let (low, high) = bounds(values.into_iter().filter(|v| *v > 0.0)).unwrap_or((0.1, 10.0));
        Axis { label: label.to_owned(), low: low / 1.3, high: high * 1.3, logarithmic: true, whole: false }
    }

    /// Position of a value: 0 at the low end, 1 at the high end, not clamped.
    pub fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Values of the ticks with their texts: as many as fit without overlap on an axis of `length` px.
    pub(super) fn ticks(&self, length: f64, direction: AxisDirection) -> Vec<(f64, String)> {
        let spacing = match direction {
            AxisDirection::Horizontal => 40.0,
            AxisDirection::Vertical => 2.2 * LABEL,
        };
        let most = (length / spacing).floor() as usize;
        for target in (1..=most.clamp(1, 9)).rev() {
            let values = if self.logarithmic { self.decades(target) } else { self.steps(target) };
            let ticks: Vec<(f64, String)> = values.iter().map(|v| (*v, self.tick_text(*v, &values))).collect();
            let fits = ticks.windows(2).all(|pair| {
                let distance = (self.place(pair[1].0) - self.place(pair[0].0)) * length;
                let width = |text: &str| text_width(text, LABEL, Weight::Regular);
                let needed = match direction {
                    AxisDirection::Horizontal => GAP + (width(&pair[0].1) + width(&pair[1].1)) / 2.0,
                    AxisDirection::Vertical => 1.3 * LABEL,
                };
                distance >= needed
            });
            if fits {
                return ticks;
            }
        }
        Vec::new()
    }

    fn steps(&self, target: usize) -> Vec<f64> {
        let rough = (self.high - self.low) / target as f64;
        if !(rough > 0.0 && rough.is_finite()) {
            return Vec::new();
        }
        let decade = 10f64.powf(rough.log10().floor()).max(if self.whole { 1.0 } else { 0.0 });
        let is_wide = |step: &f64| *step >= rough * 0.999_999 && (!self.whole || step.fract() == 0.0);
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * decade).find(is_wide);
        let step = step.unwrap_or(10.0 * decade);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }

    fn decades(&self, target: usize) -> Vec<f64> {
        let exponents = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let all = |marks: &[f64]| -> Vec<f64> {
            exponents
                .clone()
                .flat_map(|e| marks.iter().map(move |m| m * 10f64.powi(e)))
                .filter(|v| (self.low..=self.high).contains(v))
                .collect()
        };
        [&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0][..], &[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]]
            .into_iter()
            .map(all)
            .find(|v| v.len() <= target)
            .unwrap_or_else(|| all(&[1.0]).into_iter().take(target).collect())
    }

    fn tick_text(&self, value: f64, among: &[f64]) -> String {
        let decimals = if self.logarithmic {
            if value >= 1.0 && value.fract() < 1e-9 { 0 } else { (1.0 - value.log10().floor()).max(1.0) as usize }
        } else {
            let step = among.windows(2).map(|p| p[1] - p[0]).fold(f64::INFINITY, f64::min);
            let step = if step.is_finite() { step } else { value.abs().max(1e-9) };
            // A step of 2.5 needs one digit more than one of 2.
            (0..8).find(|d| ((step * 10f64.powi(*d)) - (step * 10f64.powi(*d)).round()).abs() < 1e-6).unwrap_or(8)
                as usize
        };
        let text = number(value, decimals);
        if self.logarithmic && text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    }
}

/// A number with `decimals` decimals, the minus sign U+2212 and thousands separated by commas.
pub(super) fn number(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 && whole.len() > 3 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let negative = value < 0.0 && text.chars().any(|c| c.is_ascii_digit() && c != '0');
    let sign = if negative { "−" } else { "" };
    fraction.map_or_else(|| format!("{sign}{grouped}"), |f| format!("{sign}{grouped}.{f}"))
}

/// The smallest and the largest finite value.
pub(super) fn bounds(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|v| v.is_finite()).fold(None, |found, v| {
        let (low, high) = found.unwrap_or((v, v));
        Some((v.min(low), v.max(high)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis, length: f64) -> Vec<String> {
        axis.ticks(length, AxisDirection::Horizontal).into_iter().map(|t| t.1).collect()
    }

    #[test]
    fn ticks_are_round_and_never_overlap() {
        assert_eq!(texts(&Axis::between("", 0.0, 100.0), 300.0), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(texts(&Axis::between("", -0.3, 0.3), 300.0), ["−0.3", "−0.2", "−0.1", "0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(texts(&Axis::between("", 0.0, 500_000.0), 200.0), ["0", "200,000", "400,000"]);
        for length in [10.0, 50.0, 80.0, 200.0, 700.0] {
            for axis in [
                Axis::linear("", [1.0]),
                Axis::linear("", []),
                Axis::linear("", [1e9, 1e9 + 1.0]),
                Axis::from_zero("", [0.0]),
                Axis::logarithmic("", [0.01, 400.0]),
                Axis::logarithmic("", [1.1, 1.4]),
                Axis::logarithmic("", []),
            ] {
                for pair in axis.ticks(length, AxisDirection::Horizontal).windows(2) {
                    let distance = (axis.place(pair[1].0) - axis.place(pair[0].0)) * length;
                    assert!(distance > text_width(&pair[0].1, LABEL, Weight::Regular) / 2.0, "{axis:?} {pair:?}");
                }
            }
        }
    }

    #[test]
    fn counts_have_ticks_at_whole_numbers() {
        for (low, high) in [(1.0, 2.0), (1.0, 3.0), (0.5, 1.5), (0.0, 12.0), (0.0, 0.4), (1.0, 1e6)] {
            for length in [60.0, 200.0, 300.0, 700.0] {
                let ticks = Axis::between("", low, high).whole().ticks(length, AxisDirection::Horizontal);
                assert!(ticks.iter().all(|t| t.0.fract() == 0.0 && !t.1.contains('.')), "{low} {high}: {ticks:?}");
                assert!(!ticks.is_empty(), "{low} {high} {length}");
            }
        }
        assert_eq!(texts(&Axis::between("", 1.0, 3.0).whole(), 300.0), ["1", "2", "3"]);
    }

    #[test]
    fn logarithmic_axes_have_short_tick_texts() {
        assert_eq!(
            texts(&Axis::logarithmic("", [0.5, 10.0]), 400.0),
            ["0.5", "0.7", "1", "1.5", "2", "3", "5", "7", "10"]
        );
        assert_eq!(
            texts(&Axis::logarithmic("", [0.01, 100.0]), 400.0),
            ["0.01", "0.03", "0.1", "0.3", "1", "3", "10", "30", "100"]
        );
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(1234567.0, 0), "1,234,567");
        assert_eq!(number(-0.04, 1), "0.0");
        assert_eq!(number(-1234.5, 1), "−1,234.5");
    }
}
