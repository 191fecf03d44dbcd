//! Reports labels swapped between bones, found by optimal assignment of shapes to bones (see `relabel`).
//!
//! A score of 1 is the smallest gain in likelihood at which a change is proposed. Twice that gain has severity high: swaps
//! of the most similar pairs in real hands reach it, anatomical variants do not.
//!
//! Why it matters: both masks are good but have the wrong class, which no measure of outline quality shows.
//!
//! Example: the shape labelled Pisiform lies where Trapezoid is expected, and the reverse. In messages, `A → B` means that
//! the shape labelled A lies where B is expected, and `A ↔ B` also the reverse.

use polars::prelude::PolarsResult;

use super::context::{AuditContext, bone};
use super::population::LabelChange;
use super::relabel::MIN_GAIN;
use super::{Check, Detection, EvidenceKind, Finding, Severity};
use crate::bones::Bone;

/// With this many changed labels or more, one finding lists them all.
const MANY: usize = 8;

pub(super) const CHECK: Check = Check {
    name: "swapped_labels",
    about: "labels swapped between bones",
    ceiling: Severity::High,
    evidence: EvidenceKind::Bones,
    faults: &[
        ("swapped_pisiform_trapezoid", Detection::AllBones),
        ("swapped_neighbours", Detection::AllBones),
        ("thumb_order", Detection::AllBones),
        ("scrambled_labels", Detection::AllBones),
        ("rotated_labels", Detection::AllBones),
        ("shifted_finger", Detection::AllBones),
        ("mirrored_labels", Detection::AllBones),
    ],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let mut findings = Vec::new();
    for (i, verdict, _) in context.assessed_hands() {
        let changed: usize = verdict.changes.iter().map(|c| c.bones.len()).sum();
        let score = |gain: f64| gain / MIN_GAIN;
        if changed >= MANY {
            let bones: Vec<Bone> = verdict.changes.iter().flat_map(|c| &c.bones).map(|b| bone(*b)).collect();
            let total = verdict.changes.iter().map(|c| c.gain).sum();
            let message = format!("{changed} labels look swapped: {}", list_changes(&verdict.changes, &verdict.labels));
            let suggestion = suggestion(&bones, &verdict.labels);
            findings.push(
                Finding::of_image(&CHECK, i, score(total), message, suggestion)
                    .proposing(proposal(&bones, &verdict.labels))
                    .with_bones(bones),
            );
            continue;
        }
        for change in &verdict.changes {
            let bones: Vec<Bone> = change.bones.iter().map(|b| bone(*b)).collect();
            let message = format!("{} ({})", description(&bones, &verdict.labels), context.basis());
            let suggestion = suggestion(&bones, &verdict.labels);
            findings.push(
                Finding::of_image(&CHECK, i, score(change.gain), message, suggestion)
                    .proposing(proposal(&bones, &verdict.labels))
                    .with_bones(bones),
            );
        }
    }
    Ok(findings)
}

fn target(b: Bone, labels: &[usize]) -> Bone {
    bone(labels[b.index()])
}

fn description(bones: &[Bone], labels: &[usize]) -> String {
    match bones {
        [a] => format!("the shape labelled {a} looks like {}", target(*a, labels)),
        [a, b] if target(*a, labels) == *b && target(*b, labels) == *a => format!("{a} and {b} look swapped"),
        _ => {
            let chain = chain(bones, labels);
            let end = bones.last().map(|b| target(*b, labels)).filter(|end| !bones.contains(end));
            let end = end.map_or(String::new(), |end| format!("; no shape is labelled {end}"));
            format!("{} labels look swapped: {chain}{end}", bones.len())
        }
    }
}

/// `A → B → C → A`: the shape labelled A lies where B is expected, that labelled B where C is expected, and so on.
fn chain(bones: &[Bone], labels: &[usize]) -> String {
    let last = bones.last().map(|b| target(*b, labels));
    bones.iter().copied().chain(last).map(Bone::name).collect::<Vec<_>>().join(" → ")
}

fn list_changes(changes: &[LabelChange], labels: &[usize]) -> String {
    let parts: Vec<String> = changes
        .iter()
        .map(|change| match change.bones.as_slice() {
            [a, b] if labels[*a] == *b && labels[*b] == *a => format!("{} ↔ {}", bone(*a), bone(*b)),
            bones => chain(&bones.iter().map(|b| bone(*b)).collect::<Vec<_>>(), labels),
        })
        .collect();
    parts.join("; ")
}

fn suggestion(bones: &[Bone], labels: &[usize]) -> String {
    let parts: Vec<String> = bones.iter().map(|b| format!("{b} → {}", target(*b, labels))).collect();
    format!("relabel {}", parts.join(", "))
}

/// Each label with the bone that its shape looks like.
fn proposal(bones: &[Bone], labels: &[usize]) -> Vec<(String, Bone)> {
    bones.iter().map(|b| (b.name().to_owned(), target(*b, labels))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Severity;
    use super::super::synthetic::{Population, Random, found};
    use super::*;
    use crate::bones::COUNT;

    #[test]
    fn named_swaps_are_found_and_nothing_else() {
        let mut population = Population::new(60, 11);
        population.permute(4, &["Pisiform", "Trapezoid"]);
        population.permute(9, &["finger-1", "finger-3"]);
        population.permute(20, &["finger-1", "finger-2", "finger-3"]);
        population.permute(33, &["Triquetrum", "Pisiform"]);
        population.permute(50, &["Radius", "Ulna"]);
        population.permute(71, &["finger-4", "finger-8"]);
        let findings = found(&population, &CHECK);
        let expected = [
            (4, "Trapezoid|Pisiform"),
            (9, "finger-1|finger-3"),
            (20, "finger-1|finger-2|finger-3"),
            (33, "Triquetrum|Pisiform"),
            (50, "Radius|Ulna"),
            (71, "finger-4|finger-8"),
        ];
        let expected: Vec<_> = expected.into_iter().map(|(i, l)| (i, l.to_owned())).collect();
        assert_eq!(findings, expected);
        let all = population.audit();
        let swap = all.iter().find(|f| f.image == Some(4) && f.check == &CHECK).unwrap();
        assert!(swap.message.starts_with("Trapezoid and Pisiform look swapped"), "{}", swap.message);
        assert!(swap.suggestion.contains("Pisiform → Trapezoid"));
        let row = swap.row(&population.tables);
        assert_eq!(row.relabel, r#"{"Pisiform":"Trapezoid","Trapezoid":"Pisiform"}"#);
        assert_eq!(row.proposed_labels(), Ok(swap.relabel.clone()));
        let chain = all.iter().find(|f| f.image == Some(20) && f.check == &CHECK).unwrap();
        let cycles = [["finger-1", "finger-2", "finger-3"], ["finger-1", "finger-3", "finger-2"]];
        let expected = cycles.map(|c| format!("3 labels look swapped: {} → finger-1 (", c.join(" → ")));
        assert!(expected.iter().any(|start| chain.message.starts_with(start)), "{}", chain.message);
        let worst: Vec<_> = all.iter().filter(|f| f.check == &CHECK).map(|f| (f.score, f.severity())).collect();
        // Pisiform overlaps Triquetrum: this pair is the hardest and may be medium.
        assert!(worst.iter().all(|w| w.1 >= Severity::Medium), "{worst:?}");
        assert!(worst.iter().filter(|w| w.1 == Severity::High).count() >= 5, "{worst:?}");
    }

    #[test]
    fn twelve_swapped_labels_are_one_finding() {
        let mut population = Population::new(40, 12);
        for cycle in [
            &["finger-1", "finger-3"][..],
            &["Trapezium", "Hamate"],
            &["Trapezoid", "Capitate"],
            &["Pisiform", "Scaphoid", "Triquetrum", "Lunate"],
            &["Radius", "Ulna"],
        ] {
            population.permute(17, cycle);
        }
        let findings: Vec<_> = population.audit().into_iter().filter(|f| f.check == &CHECK).collect();
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert_eq!(findings[0].bones.len(), 12);
        assert!(findings[0].message.contains("finger-1 ↔ finger-3"), "{}", findings[0].message);
        assert_eq!(findings[0].severity(), Severity::High);
    }

    #[test]
    fn a_hand_with_random_labels_is_one_finding() {
        let mut population = Population::new(40, 13);
        let names: Vec<&str> = crate::bones::NAMES.to_vec();
        let shuffled: Vec<&str> = (0..COUNT).map(|i| names[(i * 12 + 5) % COUNT]).collect();
        population.permute(8, &shuffled);
        let findings = found(&population, &CHECK);
        assert_eq!(findings.iter().map(|f| f.0).collect::<Vec<_>>(), vec![8]);
        assert!(findings[0].1.split('|').count() > 24, "{findings:?}");
    }

    #[test]
    fn nineteen_of_twenty_random_swaps_are_found_and_clean_hands_are_not_reported() {
        let mut population = Population::new(150, 14);
        let mut random = Random::new(99);
        let mut planted = Vec::new();
        for image in (0..300).step_by(5) {
            let a = random.below(COUNT);
            let b = (a + 1 + random.below(COUNT - 1)) % COUNT;
            population.permute(image, &[bone(a).name(), bone(b).name()]);
            planted.push((image, format!("{}|{}", bone(a.min(b)), bone(a.max(b)))));
        }
        let findings = found(&population, &CHECK);
        let right = planted.iter().filter(|p| findings.contains(p)).count();
        assert!(right as f64 >= 0.95 * planted.len() as f64, "{right} of {}", planted.len());
        let wrong = findings.iter().filter(|f| f.0 % 5 != 0).count();
        assert!(wrong <= 2, "{wrong} of 240 clean hands");
    }

    #[test]
    fn the_reference_anatomy_alone_finds_a_swap_in_one_image() {
        let mut population = Population::new(1, 15);
        population.keep_images(1);
        population.permute(0, &["Trapezium", "Hamate"]);
        assert_eq!(found(&population, &CHECK), vec![(0, "Trapezium|Hamate".into())]);
    }

    /// Labels that change places in a fault of the kind, in cycles.
    fn cycles(kind: &str, random: &mut Random) -> Vec<Vec<&'static str>> {
        let finger = |f: usize| -> Vec<&'static str> {
            let (first, n) = if f == 0 { (0, 3) } else { (3 + 4 * (f - 1), 4) };
            (first..first + n).map(|b| crate::bones::NAMES[b]).collect()
        };
        let mut shuffled = |n: usize| -> Vec<&'static str> {
            let mut names: Vec<&str> = crate::bones::NAMES.to_vec();
            for i in (1..names.len()).rev() {
                names.swap(i, random.below(i + 1));
            }
            names.truncate(n);
            names
        };
        match kind {
            "3" => vec![shuffled(3)],
            "12" => vec![shuffled(12)],
            "29" => vec![shuffled(29)],
            "within" => vec![finger(1 + random.below(4))],
            "neighbours" => {
                let f = 1 + random.below(3);
                finger(f).into_iter().zip(finger(f + 1)).map(|(a, b)| vec![a, b]).collect()
            }
            "fingers" => (0..4).map(|i| (1..5).map(|f| finger(f)[i]).collect()).collect(),
            "fingers-back" => (0..4).map(|i| (1..5).rev().map(|f| finger(f)[i]).collect()).collect(),
            "mirror" => {
                let pairs = [
                    ("finger-4", "finger-16"),
                    ("finger-5", "finger-17"),
                    ("finger-6", "finger-18"),
                    ("finger-7", "finger-19"),
                    ("finger-8", "finger-12"),
                    ("finger-9", "finger-13"),
                    ("finger-10", "finger-14"),
                    ("finger-11", "finger-15"),
                    ("Radius", "Ulna"),
                    ("Trapezium", "Triquetrum"),
                    ("Trapezoid", "Hamate"),
                    ("Scaphoid", "Lunate"),
                ];
                pairs.iter().map(|(a, b)| vec![*a, *b]).collect()
            }
            _ => unreachable!(),
        }
    }

    #[test]
    fn any_permutation_is_found_with_the_right_repair() {
        let kinds = ["3", "12", "29", "within", "neighbours", "fingers", "fingers-back", "mirror"];
        let mut population = Population::new(50, 77);
        let mut random = Random::new(5);
        let mut planted = Vec::new();
        for (at, kind) in kinds.iter().enumerate() {
            let image = 12 * at + 3;
            let mut repair = BTreeMap::new();
            for cycle in cycles(kind, &mut random) {
                population.permute(image, &cycle);
                // The shape of each bone has the label of the next one.
                let labels = cycle.iter().cycle().skip(1);
                repair.extend(labels.zip(&cycle).map(|(label, bone)| ((*label).to_owned(), (*bone).to_owned())));
            }
            planted.push((image, *kind, repair));
        }
        let all = population.audit();
        for (image, kind, repair) in &planted {
            let own = all.iter().filter(|f| f.image == Some(*image) && f.check == &CHECK);
            let rows = own.map(|f| f.row(&population.tables).relabel);
            let proposed: BTreeMap<String, String> =
                rows.flat_map(|row| serde_json::from_str::<BTreeMap<String, String>>(&row).unwrap()).collect();
            assert_eq!(proposed, *repair, "{kind}");
        }
        assert!(all.iter().all(|f| f.check != &CHECK || planted.iter().any(|(image, ..)| f.image == Some(*image))));
    }
}
