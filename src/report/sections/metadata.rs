use serde_json::{Map, Value, json};

use crate::dataset::metadata::Sex;
use crate::figures::{Chart, Figure, Histogram, HistogramSeries, edges_for};
use crate::report::study::{SEXES, SUBSETS, sex_colour};
use crate::report::wording::{capital, count, interval, mean_sd, num, p_text};
use crate::report::{Quantity, Section, Study};
use crate::stats::{kolmogorov_smirnov, summary, welch};

/// A quantity's known values in a subset, of one sex or of both.
type Values<'a> = dyn Fn(Quantity, &str, Option<&str>) -> Vec<f64> + 'a;

/// Age, height and weight of the patients by subset and sex.
pub(super) fn section(study: &Study<'_>) -> Section {
    let mut section = Section::new("metadata", "Metadata by subset and sex");
    let values = |q: Quantity, subset: &str, sex: Option<&str>| -> Vec<f64> {
        let wanted = study.patients(subset).filter(|p| sex.is_none() || p.sex.map(Sex::name) == sex);
        wanted.filter_map(|p| q.of(p)).collect()
    };
    if Quantity::ALL.iter().all(|q| SUBSETS.iter().all(|s| values(*q, s, None).is_empty())) {
        section.absent(
            "No age, height or weight is known of any patient with images: is the metadata file beside the images?",
        );
        return section;
    }
    let mut rows = Vec::new();
    let mut missing_all = Vec::new();
    for q in Quantity::ALL {
        let mut numbers = Map::new();
        for subset in SUBSETS {
            let patients = study.patients(subset).count();
            let missing = patients - values(q, subset, None).len();
            if missing > 0 {
                missing_all.push(format!("{} of {} {subset} patients", count(missing), q.name()));
            }
            let mut of_subset = json!({"missing": missing, "all": summary(&values(q, subset, None))});
            for (code, name) in SEXES {
                let found = summary(&values(q, subset, Some(code)));
                if let Some(s) = &found {
                    rows.push(vec![
                        format!("{} ({})", capital(q.name()), q.unit()),
                        subset.to_owned(),
                        name.to_owned(),
                        count(s.n),
                        mean_sd(s, 1),
                        num(s.median, 1),
                        format!("{}–{}", num(s.q25, 1), num(s.q75, 1)),
                        format!("{}–{}", num(s.min, 1), num(s.max, 1)),
                    ]);
                }
                of_subset[name] = json!(found);
            }
            numbers.insert(subset.to_owned(), of_subset);
        }
        let (train, test) = (values(q, "train", None), values(q, "test", None));
        let (difference, shift) = (welch(&test, &train), kolmogorov_smirnov(&test, &train));
        if let (Some(w), Some(ks)) = (&difference, &shift) {
            let verdict = if w.ci.contains(0.0) { "no shift of the mean is shown" } else { "the mean is shifted" };
            section.text(format!(
                "{}: test less train is {} {} {} (Welch, {}; n = {} and {}), the distributions are {} apart \
                 (Kolmogorov-Smirnov distance, {}): {verdict}.",
                capital(q.name()),
                num(w.difference, 1),
                q.unit(),
                interval(&w.ci, 1),
                p_text(w.p),
                count(w.n2),
                count(w.n1),
                num(ks.distance, 3),
                p_text(ks.p),
            ));
        }
        numbers.insert("test_less_train".into(), json!(difference));
        numbers.insert("kolmogorov_smirnov".into(), json!(shift));
        section.number(q.key(), Value::Object(numbers));
    }
    if !missing_all.is_empty() {
        section.absent(format!("Not known: {}.", missing_all.join("; ")));
    }
    section.figure(figure(study, &values));
    section.table(
        "Patients with images; range is least to greatest, middle half is lower to upper quartile",
        &["quantity", "subset", "sex", "n", "mean ± sd", "median", "middle half", "range"],
        rows,
    );
    section
}

fn figure(study: &Study<'_>, values: &Values<'_>) -> Figure {
    let mut charts = Vec::new();
    let mut n = Vec::new();
    for subset in SUBSETS.into_iter().filter(|s| study.patients(s).next().is_some()) {
        n.push(format!("{} {subset}", count(study.patients(subset).count())));
        for q in Quantity::ALL {
            let everyone: Vec<f64> = SUBSETS.iter().flat_map(|s| values(q, s, None)).collect();
            let series: Vec<HistogramSeries> = SEXES
                .iter()
                .map(|(code, name)| HistogramSeries {
                    name: (*name).to_owned(),
                    colour: sex_colour(Some(code)),
                    values: values(q, subset, Some(code)),
                })
                .collect();
            let sizes: Vec<String> = series.iter().map(|s| format!("{} {}", count(s.values.len()), s.name)).collect();
            charts.push(Chart::Histogram(Histogram {
                title: format!("{}, {subset} ({})", capital(q.name()), sizes.join(", ")),
                x_label: format!("{} ({})", q.name(), q.unit()),
                y_label: "share of the sex (%)".into(),
                edges: edges_for(&everyone, 18),
                series,
                markers: Vec::new(),
            }));
        }
    }
    Figure {
        name: "metadata".into(),
        title: format!("Height, weight and age by sex (patients: {})", n.join(", ")),
        note: "Each sex is counted by itself, so that its bars add up to 100 %.".into(),
        columns: 3,
        charts,
    }
}
