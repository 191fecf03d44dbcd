use polars::prelude::{PolarsResult, col, lit};

use crate::dataset::Subset;
use crate::figures::style::{NEUTRAL, Rgb, TEST, TRAIN};
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows, VIOLIN_POINTS};
use crate::report::per_patient::{Origin, per_patient};
use crate::report::shift::{ColumnShift, Groups, Shift, patients_in_both};
use crate::report::wording::{
    Conclusion, Evidence, SMALL_FACTOR, SMALL_SD, capital, count, counted, disagreement, few_patients, interval,
    listed, mean_sd, num, odds_ratio_conclusion, p_text, ratio,
};
use crate::report::{Section, Study};
use crate::stats::{ClassifierTest, StabilityIndex, VisibleOddsRatio, holm};
use crate::tables::filtered;

/// Names and colours of the two groups, the reference group first.
#[derive(Clone, Copy)]
pub(in crate::report) struct GroupNames<'a> {
    pub base: &'a str,
    pub other: &'a str,
    pub colours: [Rgb; 2],
}

/// Every measured quantity of the patients, test compared with train: single columns, then all together.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("train_test", "Train against test");
    let patients = per_patient(&study.hands)?;
    let of = |subset: Subset| filtered(&patients, col("subset").eq(lit(subset.name())));
    let (train, test) = (of(Subset::Train)?, of(Subset::Test)?);
    if train.height() == 0 || test.height() == 0 {
        section.absent("One subset has no patients with images, so there is nothing to compare.");
        return Ok(section);
    }
    let names = GroupNames { base: Subset::Train.name(), other: Subset::Test.name(), colours: [TRAIN, TEST] };
    let common = patients_in_both(&train, &test)?;
    let groups = Groups { base: (names.base, train), other: (names.other, test), common };
    present(&mut section, &Shift::of(&groups, study.settings.permutations)?, names);
    Ok(section)
}

/// Adds a comparison of two groups to a section.
pub(in crate::report) fn present(section: &mut Section, shift: &Shift, names: GroupNames<'_>) {
    let GroupNames { base, other, .. } = names;
    section.text(format!(
        "The patient is the unit: one value per patient, the mean of the patient's images. {} in {base} and {} in {other}.",
        counted(shift.patients[0], "patient", "patients"),
        counted(shift.patients[1], "patient", "patients"),
    ));
    add_tests(section, shift, names);
    section.meaning(opening(section, names));
    if !shift.not_compared.is_empty() {
        section.absent(format!("Not compared: {}.", shift.not_compared.join("; ")));
    }
    add_sex(section, shift, names);
    section.figure(forest(shift, names));
    add_columns(section, shift, names);
    add_p_values(section, shift);
    let differ = shift.columns.iter().filter_map(|c| Some((c, disagreement(&c.tests())?)));
    let differ: Vec<String> = differ.map(|(c, why)| format!("{}: {why}", capital(c.quantity.name))).collect();
    if !differ.is_empty() {
        section.text(format!("Tests of one column that do not agree. {}.", differ.join(". ")));
    }
    add_classifier(section, shift, names);
    section.blocks.extend(violins(shift, names).map(|figure| crate::report::Content::Figure(Box::new(figure))));
    section.text(format!(
        "Method: Welch's test of means, Mann-Whitney's of ranks, Kolmogorov-Smirnov's and Cramér-von Mises' of distributions; \
         Wasserstein distance in the unit of the column; the standardised mean difference (SMD) is in standard deviations, and up \
         to {SMALL_SD} counts as small, as does an odds ratio within a factor of {SMALL_FACTOR} of 1. The population stability index \
         (PSI) of two samples without any shift is not 0: it must exceed the 95 % bound given with it."
    ));
    if let serde_json::Value::Object(numbers) = shift.numbers([base, other]) {
        numbers.into_iter().for_each(|(key, value)| section.number(&key, value));
    }
}

fn add_tests(section: &mut Section, shift: &Shift, GroupNames { base, other, .. }: GroupNames<'_>) {
    let odds = shift.sex.counts;
    if odds.odds_ratio().is_some() {
        let n = odds.with + odds.without + odds.with_base + odds.without_base;
        section.test(format!("men, {other} against {base}"), "Fisher's exact", n, odds.fisher_p());
    }
    for column in &shift.columns {
        let n = column.values.iter().map(Vec::len).sum();
        for (test, p) in column.tests() {
            section.test(format!("{}, {other} against {base}", column.quantity.name), test, n, p);
        }
    }
    if let Ok(found) = &shift.classifier {
        section.test(format!("all columns, {other} against {base}"), "classifier", found.n1 + found.n2, found.p);
    }
}

/// The comparisons that remain after Holm's correction over the tests of the section.
fn opening(section: &Section, GroupNames { base, other, .. }: GroupNames<'_>) -> String {
    let adjusted = holm(&section.tests.iter().map(|t| t.p).collect::<Vec<_>>());
    let mut found: Vec<String> = Vec::new();
    for (test, p) in section.tests.iter().zip(&adjusted) {
        let name = test.comparison.split(',').next().unwrap_or_default().to_owned();
        if *p < 0.05 && !found.contains(&name) {
            found.push(name);
        }
    }
    let tests = counted(adjusted.len(), "test", "tests");
    match &found[..] {
        [] => format!(
            "No difference between {other} and {base} remains significant after Holm's correction for the {tests} of this section. \
             That does not show that the groups are alike: the intervals below give the differences that remain possible."
        ),
        names => format!(
            "Significant differences between {other} and {base}, after Holm's correction for the {tests} of this section: {}.",
            listed(names)
        ),
    }
}

fn add_sex(section: &mut Section, shift: &Shift, GroupNames { base, other, .. }: GroupNames<'_>) {
    let counts = shift.sex.counts;
    let Some(odds) = counts.odds_ratio() else {
        section.absent("The sex of no patient of one group is known, so the shares of men are not compared.");
        return;
    };
    let patients = (counts.with + counts.without).min(counts.with_base + counts.without_base);
    let evidence = Evidence::of_odds(&odds, "Fisher's exact test", counts.fisher_p(), patients);
    let chi = shift.sex.chi_square.as_ref().map_or_else(
        |reason| format!("no chi-square test: {reason}"),
        |c| format!("chi-square {} with {} degree of freedom, {}", num(c.chi2, 2), c.df, p_text(c.p)),
    );
    section.text(format!(
        "Men: {} of {} in {other}, {} of {} in {base}; odds ratio {} (Fisher's exact test, {}; {chi}); PSI {}. {}{}.",
        count(counts.with),
        count(counts.with + counts.without),
        count(counts.with_base),
        count(counts.with_base + counts.without_base),
        ratio(&odds),
        p_text(counts.fisher_p()),
        shift.sex.psi.as_ref().map_or_else(|reason| format!("not defined ({reason})"), psi_text),
        capital(&odds_ratio_conclusion(&evidence, other, base)),
        few_patients(patients, "patient in the smaller group", "patients in the smaller group"),
    ));
    let unknown: Vec<String> = [base, other]
        .into_iter()
        .zip(shift.sex.missing)
        .filter(|(_, n)| *n > 0)
        .map(|(name, n)| format!("{} in {name}", counted(n, "patient", "patients")))
        .collect();
    if !unknown.is_empty() {
        section.absent(format!(
            "The sex of {} is unknown; the comparison of sex does not include them.",
            listed(&unknown)
        ));
    }
    match &shift.sex.visible {
        Ok(visible) => section.text(power_text(visible, base, other)),
        Err(reason) => section.absent(format!("The smallest visible odds ratio is not defined: {reason}.")),
    }
}

/// Which odds ratios the groups are large enough to find.
fn power_text(visible: &VisibleOddsRatio, base: &str, other: &str) -> String {
    let sizes = format!(
        "With {} in {other} and {} in {base}",
        counted(visible.n, "patient", "patients"),
        counted(visible.n_base, "patient", "patients")
    );
    let power = format!(
        "with a power of {} % at a share of {} % in {base}",
        num(100.0 * visible.power, 0),
        num(100.0 * visible.share_base, 0)
    );
    match (visible.above, visible.below) {
        (None, None) => format!("{sizes}, no odds ratio can be seen {power}."),
        (Some(above), Some(below)) => format!(
            "{sizes}, an odds ratio between {} and {} cannot be seen {power}: such a difference would mostly go unnoticed.",
            num(below, 2),
            num(above, 2)
        ),
        (Some(above), None) => format!(
            "{sizes}, of the odds ratios only those of {} and more can be seen {power}; a lower share goes unnoticed.",
            num(above, 2)
        ),
        (None, Some(below)) => format!(
            "{sizes}, of the odds ratios only those of {} and less can be seen {power}; a higher share goes unnoticed.",
            num(below, 2)
        ),
    }
}

/// An index with its bound: `0.083 (95 % bound without shift: 0.158)`.
fn psi_text(found: &StabilityIndex) -> String {
    format!("{} (95 % bound without shift: {})", num(found.psi, 3), num(found.null_bound, 3))
}

fn add_columns(section: &mut Section, shift: &Shift, GroupNames { base, other, .. }: GroupNames<'_>) {
    let rows = shift.columns.iter().map(|c| column_row(c, other)).collect();
    let [mean_base, mean_other] = [base, other].map(|name| format!("{name}: mean ± sd (n, missing)"));
    section.table(
        format!("Quantities by group, one value per patient; difference: {other} minus {base}, with 95 % confidence interval"),
        &["quantity", &mean_base, &mean_other, "difference", "SMD", "Wasserstein", "PSI (bound)", "what the means show"],
        rows,
    );
}

fn column_row(column: &ColumnShift, other: &str) -> Vec<String> {
    let q = column.quantity;
    let summaries = column.summaries();
    let group = |at: usize| {
        let missing = count(column.missing[at]);
        summaries[at]
            .as_ref()
            .map_or_else(|| "–".to_owned(), |s| format!("{} ({}, {missing})", mean_sd(s, q.decimals), count(s.n)))
    };
    let reason = |reason: &crate::stats::Undefined| format!("not defined: {reason}");
    vec![
        format!("{} ({})", capital(q.name), q.unit),
        group(0),
        group(1),
        column
            .welch
            .as_ref()
            .map_or_else(reason, |w| format!("{} {}", num(w.difference, q.decimals), interval(&w.ci, q.decimals))),
        column.smd.as_ref().map_or_else(reason, |s| format!("{} {}", num(s.smd, 2), interval(&s.ci, 2))),
        column.wasserstein.as_ref().map_or_else(reason, |d| num(*d, q.decimals)),
        column.psi.as_ref().map_or_else(reason, |p| format!("{} ({})", num(p.psi, 3), num(p.null_bound, 3))),
        column.welch.as_ref().map_or_else(|_| "–".to_owned(), |w| Evidence::of_means(w).short(other)),
    ]
}

fn add_p_values(section: &mut Section, shift: &Shift) {
    let names = ["Welch", "Mann-Whitney", "Kolmogorov-Smirnov", "Cramér-von Mises"];
    let rows = shift
        .columns
        .iter()
        .map(|c| {
            let tests = c.tests();
            let cell = |name: &&str| tests.iter().find(|t| t.0 == *name).map_or("–".to_owned(), |t| p_text(t.1));
            std::iter::once(capital(c.quantity.name)).chain(names.iter().map(cell)).collect()
        })
        .collect();
    let head: Vec<&str> = std::iter::once("quantity").chain(names).collect();
    section.table(
        "p values of the single columns, not adjusted; the table of all tests has adjusted ones",
        &head,
        rows,
    );
}

fn add_classifier(section: &mut Section, shift: &Shift, names: GroupNames<'_>) {
    let GroupNames { base, other, .. } = names;
    match &shift.classifier {
        Err(reason) => section.absent(format!("No classifier test: {reason}.")),
        Ok(found) => {
            section.meaning(classifier_text(found, base, other));
            section.figure(classifier_figure(found, names));
        }
    }
}

fn classifier_text(found: &ClassifierTest, base: &str, other: &str) -> String {
    let shown = found.p < 0.05;
    let tested = format!(
        "A classifier that sees all columns together ({} folds, a patient in one fold only) reaches an area under the ROC curve of {} \
         on held-out patients; 95 % of {} permutations of the labels stay below {} ({})",
        found.folds,
        num(found.auc, 3),
        count(found.permutations),
        num(found.null_bound, 3),
        p_text(found.p)
    );
    if !shown {
        return format!(
            "{tested}: these columns do not show that {other} differs from {base}. With {} and {} patients, small differences go \
             unnoticed.",
            count(found.n1),
            count(found.n2)
        );
    }
    let given_away: Vec<String> = found
        .columns
        .iter()
        .filter(|c| c.alone > found.null_bound)
        .take(4)
        .map(|c| format!("{} ({} alone)", c.name, num(c.alone, 3)))
        .collect();
    let by = match &given_away[..] {
        [] => "no single column suffices, only several together".to_owned(),
        names => format!("the columns that give it away most: {}", listed(names)),
    };
    format!("{tested}: {other} can be distinguished from {base}; {by}.")
}

fn classifier_figure(found: &ClassifierTest, names: GroupNames<'_>) -> Figure {
    let row = |label: &str, area: f64, note: String| CategoryRow {
        label: label.to_owned(),
        marks: vec![Mark::Dot { name: String::new(), colour: names.colours[1], value: area, interval: None }],
        note,
    };
    let of_column = |c: &crate::stats::ColumnSeparation| {
        row(&c.name, c.alone, format!("{}; {} lost without it", num(c.alone, 3), num(c.loss_without, 3)))
    };
    let rows: Vec<CategoryRow> = std::iter::once(row("all columns", found.auc, num(found.auc, 3)))
        .chain(found.columns.iter().map(of_column))
        .collect();
    let ends = found.columns.iter().map(|c| c.alone).chain([found.auc, found.null_bound, 0.5]);
    Figure {
        name: format!("classifier-{}-{}", names.base, names.other),
        title: format!(
            "How well a classifier distinguishes {} from {} (n = {} and {} patients)",
            names.other,
            names.base,
            count(found.n2),
            count(found.n1)
        ),
        note: "Area under the ROC curve of held-out patients: 0.5 for no difference, 1 for no overlap. Columns: the area with this column alone.".into(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::linear("area under the ROC curve", ends),
            rows,
            reference: Some((format!("95 % of permutations are below ({})", num(found.null_bound, 3)), found.null_bound)),
        })],
    }
}

/// The standardised mean differences.
fn forest(shift: &Shift, names: GroupNames<'_>) -> Figure {
    let mut rows = Vec::new();
    let mut ends = vec![-SMALL_SD, SMALL_SD];
    let mut add = |label: String, smd: &crate::stats::StandardisedDifference, significant: bool| {
        ends.extend([smd.ci.low, smd.ci.high]);
        rows.push(CategoryRow {
            label,
            marks: vec![Mark::Dot {
                name: String::new(),
                colour: if significant { names.colours[1] } else { NEUTRAL },
                value: smd.smd,
                interval: Some((smd.ci.low, smd.ci.high)),
            }],
            note: format!("{} {}, n = {} and {}", num(smd.smd, 2), interval(&smd.ci, 2), count(smd.n2), count(smd.n1)),
        });
    };
    if let Ok(smd) = &shift.sex.smd {
        add("Share of men".to_owned(), smd, shift.sex.counts.fisher_p() < 0.05);
    }
    for column in &shift.columns {
        if let (Ok(smd), Ok(welch)) = (&column.smd, &column.welch) {
            let shown = matches!(Evidence::of_means(welch).verdict(), Conclusion::Higher | Conclusion::Lower);
            add(capital(column.quantity.name), smd, shown);
        }
    }
    Figure {
        name: format!("shift-{}-{}", names.base, names.other),
        title: format!("Standardised mean differences, {} minus {}", names.other, names.base),
        note: format!(
            "In standard deviations, with 95 % confidence intervals; one value per patient; n: {} and {}. Coloured: significant at 5 %, not adjusted.",
            names.base, names.other
        ),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::linear("difference (standard deviations)", ends),
            rows,
            reference: Some(("no difference (0)".into(), 0.0)),
        })],
    }
}

/// The distributions, one figure for the spreadsheet and one for the images.
fn violins<'a>(shift: &'a Shift, names: GroupNames<'a>) -> impl Iterator<Item = Figure> + 'a {
    let parts = [("metadata", true), ("images", false)];
    parts.into_iter().filter_map(move |(part, of_metadata)| {
        let wanted = |c: &&ColumnShift| (c.quantity.origin == Origin::Metadata) == of_metadata;
        let columns: Vec<&ColumnShift> = shift.columns.iter().filter(wanted).collect();
        (!columns.is_empty()).then(|| Figure {
            name: format!("distributions-{part}-{}-{}", names.base, names.other),
            title: format!("Distributions, {} and {} ({part}; one value per patient)", names.base, names.other),
            note: format!(
                "Shape: density; box: quartiles and median; points: patients (at most {VIOLIN_POINTS} evenly spaced ones of each group)."
            ),
            columns: 2,
            charts: columns.into_iter().map(|c| violin(c, names)).collect(),
        })
    })
}

fn violin(column: &ColumnShift, names: GroupNames<'_>) -> Chart {
    let q = column.quantity;
    let rows = [names.base, names.other]
        .into_iter()
        .zip(&column.values)
        .zip(names.colours)
        .map(|((name, values), colour)| CategoryRow {
            label: name.to_owned(),
            marks: vec![Mark::Violin { name: name.to_owned(), colour, values: values.clone() }],
            note: format!("n = {}", count(values.len())),
        })
        .collect();
    Chart::Rows(Rows {
        title: capital(q.name),
        axis: Axis::linear(&format!("{} ({})", q.name, q.unit), column.values.iter().flatten().copied()),
        rows,
        reference: None,
    })
}
