//! Leaderboard scores of runs, and their gap from the validation Dice.

use serde::Serialize;

use super::{Run, RunNote};

/// A value for the public and one for the private leaderboard: the Dice on it, or the gap of a validation Dice from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Leaderboard {
    /// Of the public leaderboard; absent if it was not noted.
    pub public: Option<f64>,
    /// Of the private leaderboard; absent if it was not noted.
    pub private: Option<f64>,
}

impl Leaderboard {
    /// The last noted score of each.
    pub(super) fn of(notes: &[RunNote]) -> Leaderboard {
        let last = |score: fn(&RunNote) -> Option<f64>| notes.iter().rev().find_map(score);
        Leaderboard { public: last(|note| note.public), private: last(|note| note.private) }
    }

    /// Validation Dice minus leaderboard: above 0 if the validation promises more than the leaderboard shows.
    pub fn gap(self, validation: Option<f64>) -> Leaderboard {
        let gap = |score: Option<f64>| validation.zip(score).map(|(validation, score)| validation - score);
        Leaderboard { public: gap(self.public), private: gap(self.private) }
    }

    /// Whether neither value is known.
    pub fn is_empty(self) -> bool {
        self == Leaderboard::default()
    }

    fn named(self) -> [(&'static str, Option<f64>); 2] {
        [("public", self.public), ("private", self.private)]
    }
}

/// Leaderboard scores of a group of runs: means over its runs with a score, and validation Dice of the same runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct GroupLeaderboard {
    pub(super) score: Leaderboard,
    pub(super) gap: Leaderboard,
}

impl GroupLeaderboard {
    /// Means over `runs`, whose validation Dice is given by `validation`.
    pub(super) fn new(runs: &[&Run], validation: impl Fn(&Run) -> Option<f64>) -> GroupLeaderboard {
        let pairs = |score: fn(Leaderboard) -> Option<f64>| -> Option<(f64, f64)> {
            let pairs: Vec<(f64, f64)> =
                runs.iter().filter_map(|run| Some((score(run.leaderboard())?, validation(run)?))).collect();
            let n = pairs.len() as f64;
            let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
            (!pairs.is_empty()).then(|| (mean(|p| p.0), mean(|p| p.1 - p.0)))
        };
        let (public, private) = (pairs(|l| l.public), pairs(|l| l.private));
        GroupLeaderboard {
            score: Leaderboard { public: public.map(|p| p.0), private: private.map(|p| p.0) },
            gap: Leaderboard { public: public.map(|p| p.1), private: private.map(|p| p.1) },
        }
    }
}

/// One warning per leaderboard that ranks two groups differently from the validation Dice of the same runs.
pub(super) fn rank_conflicts(first: (&str, &GroupLeaderboard), second: (&str, &GroupLeaderboard)) -> Vec<String> {
    let ((first_name, first), (second_name, second)) = (first, second);
    let scores = first.score.named().into_iter().zip(second.score.named());
    let gaps = first.gap.named().into_iter().zip(second.gap.named());
    let both = scores.zip(gaps).filter_map(|(((board, a), (_, b)), ((_, gap_a), (_, gap_b)))| {
        let (a, b) = (a?, b?);
        Some((board, a, b, a + gap_a?, b + gap_b?))
    });
    both.filter(|(_, a, b, valid_a, valid_b)| (b - a) * (valid_b - valid_a) < 0.0)
        .map(|(board, a, b, valid_a, valid_b)| {
            let (better, other) = if valid_b > valid_a { (second_name, first_name) } else { (first_name, second_name) };
            format!(
                "validation and {board} leaderboard rank {first_name} and {second_name} differently: by validation {better} is \
                 better ({valid_a:.4} and {valid_b:.4}), on the leaderboard {other} ({a:.4} and {b:.4})"
            )
        })
        .collect()
}
