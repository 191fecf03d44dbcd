use polars::prelude::*;
use serde_json::{Map, Value, json};

use crate::dataset::Subset;
use crate::figures::{Chart, Figure, Histogram, HistogramSeries, edges_for};
use crate::report::block::outcome;
use crate::report::study::{SEXES, SUBSETS, sex_colour};
use crate::report::wording::{
    Directions, Evidence, capital, count, counted, difference_conclusion, disagreement, few_patients, interval,
    mean_sd, num, p_text,
};
use crate::report::{PatientQuantity, Section, Study};
use crate::stats::{kolmogorov_smirnov, summary, welch};
use crate::tables::{is, numbers};

/// Known values of a quantity in a subset.
struct Known {
    subset: Subset,
    patients: usize,
    all: Vec<f64>,
    /// In the order of [`SEXES`].
    by_sex: [Vec<f64>; 2],
}

impl Known {
    fn of(quantity: PatientQuantity, study: &Study<'_>, subset: Subset) -> PolarsResult<Known> {
        let (patients, value) = (study.patients(subset)?, col(quantity.key()));
        let [women, men] = SEXES.map(|(sex, _)| numbers(&patients, value.clone().filter(is("sex", sex))));
        let all = numbers(&patients, value)?;
        Ok(Known { subset, patients: patients.height(), all, by_sex: [women?, men?] })
    }
}

/// Age, height and weight of the patients by subset and sex.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("metadata", "Metadata by subset and sex");
    let mut quantities = Vec::new();
    for q in PatientQuantity::ALL {
        let [train, test] = SUBSETS.map(|subset| Known::of(q, study, subset));
        quantities.push((q, [train?, test?]));
    }
    if quantities.iter().flat_map(|(_, known)| known).all(|known| known.all.is_empty()) {
        section.absent(
            "No age, height or weight of any patient with images is known. Is the metadata file next to the images?",
        );
        return Ok(section);
    }
    let mut rows = Vec::new();
    let mut missing_all = Vec::new();
    for (q, known) in &quantities {
        let mut numbers = Map::new();
        for Known { subset, patients, all, by_sex } in known {
            let missing = patients - all.len();
            if missing > 0 {
                missing_all.push(format!(
                    "{} of {}",
                    q.name(),
                    counted(missing, &format!("{subset} patient"), &format!("{subset} patients"))
                ));
            }
            let mut of_subset = json!({"missing": missing, "all": summary(all)});
            for ((_, name), values) in SEXES.into_iter().zip(by_sex) {
                let found = summary(values);
                if let Some(s) = &found {
                    rows.push(vec![
                        format!("{} ({})", capital(q.name()), q.unit()),
                        subset.to_string(),
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
            numbers.insert(subset.to_string(), of_subset);
        }
        let [train, test] = known.each_ref().map(|known| &known.all[..]);
        let (difference, shift) = (welch(test, train), kolmogorov_smirnov(test, train));
        if let (Ok(w), Ok(ks)) = (&difference, &shift) {
            let directions = Directions {
                positive: "the mean is significantly higher in test",
                negative: "the mean is significantly lower in test",
            };
            let (n, subset) = if w.n1 <= w.n2 { (w.n1, Subset::Test) } else { (w.n2, Subset::Train) };
            let few = few_patients(n, &format!("{subset} patient"), &format!("{subset} patients"));
            let conclusion = difference_conclusion(&Evidence::of_means(w), 1, q.unit(), directions) + &few;
            let differ = disagreement(&[("Welch", w.p), ("Kolmogorov-Smirnov", ks.p)]);
            let differ = differ.map_or_else(String::new, |why| format!(" {}.", capital(&why)));
            section.text(format!(
                "{}: test minus train = {} {} {} (Welch's test, {}; n = {} and {}); Kolmogorov-Smirnov distance of the \
                 distributions {} ({}). {}.{differ}",
                capital(q.name()),
                num(w.difference, 1),
                q.unit(),
                interval(&w.ci, 1),
                p_text(w.p),
                count(w.n2),
                count(w.n1),
                num(ks.distance, 3),
                p_text(ks.p),
                capital(&conclusion),
            ));
        }
        numbers.insert("test_less_train".into(), outcome(&difference));
        numbers.insert("kolmogorov_smirnov".into(), outcome(&shift));
        section.number(q.key(), Value::Object(numbers));
    }
    if !missing_all.is_empty() {
        section.absent(format!("Unknown: {}.", missing_all.join("; ")));
    }
    section.figure(figure(&quantities));
    section.table(
        "Patients with images",
        &["quantity", "subset", "sex", "n", "mean ± sd", "median", "quartiles", "range"],
        rows,
    );
    Ok(section)
}

fn figure(quantities: &[(PatientQuantity, [Known; 2])]) -> Figure {
    let (mut charts, mut n) = (Vec::new(), Vec::new());
    for at in 0..SUBSETS.len() {
        for (q, known) in quantities {
            let Known { subset, patients, by_sex, .. } = &known[at];
            if *patients == 0 {
                continue;
            }
            n.push(format!("{} {subset}", count(*patients)));
            let everyone = [&known[0].all[..], &known[1].all].concat();
            let of_sex = SEXES.iter().zip(by_sex.clone());
            let of_sex = of_sex.map(|((sex, name), values)| ((*name).to_owned(), sex_colour(Some(*sex)), values));
            let series: Vec<HistogramSeries> =
                of_sex.map(|(name, colour, values)| HistogramSeries { name, colour, values }).collect();
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
    n.dedup();
    Figure {
        name: "metadata".into(),
        title: format!("Height, weight and age by sex (patients: {})", n.join(", ")),
        note: "The bars of each sex add up to 100 %.".into(),
        columns: 3,
        charts,
    }
}
