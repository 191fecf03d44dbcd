//! Converts the options of `carpus corrections add` into an action.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::{Number, Value};

use super::add::CorrectionsAddArgs;
use super::undo_command;
use crate::bones::Bone;
use crate::dataset::annotation::Annotation;
use crate::dataset::corrections::{
    Action, CorrectableField, Corrections, Decision, Relabel, ShapeRef, Target, other_relabelling, relabelling,
    shapes_labelled, unknown_label,
};
use crate::dataset::{Dataset, ReadAnnotation, Side};

/// Actions that `--from` accepts.
const FOR_FINDINGS: [&str; 4] = ["exclude", "flag", "keep", "relabel"];

/// The options that an action takes.
fn takes(action: &str) -> &'static [&'static str] {
    match action {
        "relabel" => &["--shape", "--to", "--labels", "--swap"],
        "drop" => &["--shape"],
        "replace" => &["--shape", "--points"],
        "set-side" => &["--side"],
        "set-metadata" => &["--field", "--value"],
        "keep" | "flag" => &["--check", "--label"],
        "note" => &["--point"],
        _ => &[],
    }
}

impl CorrectionsAddArgs {
    /// Checks that the options fit the action, before any file is read.
    pub(super) fn check_flags(&self) -> anyhow::Result<()> {
        let action = self.action.as_str();
        ensure!(
            self.from.is_none() || FOR_FINDINGS.contains(&action),
            "--from takes --action {}; the other actions need more information than a finding holds",
            FOR_FINDINGS.join(", ")
        );
        let given = [
            ("--shape", self.shape.is_some()),
            ("--to", self.to.is_some()),
            ("--labels", !self.labels.is_empty()),
            ("--swap", !self.swap.is_empty()),
            ("--points", self.points.is_some()),
            ("--side", self.side.is_some()),
            ("--field", self.field.is_some()),
            ("--value", self.value.is_some()),
            ("--check", self.check.is_some()),
            ("--label", self.label.is_some()),
            ("--point", self.point.is_some()),
        ];
        // With --from, these options select the findings.
        let selects = |flag: &str| self.from.is_some() && ["--check", "--label"].contains(&flag);
        for (flag, _) in given.iter().filter(|(flag, given)| *given && !selects(flag)) {
            ensure!(takes(action).contains(flag), "{action} takes no {flag}");
        }
        if let (Some(_), "relabel", Some((flag, _))) =
            (&self.from, action, given.iter().find(|(flag, given)| *given && takes(action).contains(flag)))
        {
            bail!("relabel with --from takes the labels from the findings; leave out {flag}, or give --image");
        }
        let has = |flag: &str| given.iter().any(|(name, given)| *name == flag && *given);
        match action {
            "set-metadata" => ensure!(self.patient.is_some(), "set-metadata needs --patient ID"),
            "exclude" => {}
            _ => ensure!(self.patient.is_none(), "{action} needs --image ID"),
        }
        let one_shape = has("--shape") && has("--to") && !has("--labels") && !has("--swap");
        let by_label = !has("--shape") && !has("--to") && (has("--labels") || has("--swap"));
        match action {
            "relabel" if self.from.is_none() && !one_shape && !by_label => {
                bail!("relabel needs --shape N --to LABEL, or --labels, or --swap")
            }
            "drop" if !has("--shape") => bail!("drop needs --shape N"),
            "replace" if !has("--shape") || !has("--points") => bail!("replace needs --shape N --points 'x,y x,y …'"),
            "set-side" if !has("--side") => bail!("set-side needs --side L or --side R"),
            "set-metadata" if !has("--field") || !has("--value") => bail!("set-metadata needs --field and --value"),
            "note" if self.reason.as_ref().is_none_or(|text| text.trim().is_empty()) => {
                bail!("note needs a text: give --reason TEXT")
            }
            "relabel" | "drop" | "replace" if self.data.is_none() => {
                bail!("{action} needs --data DATA: it looks up the shape and the hash of the annotation")
            }
            _ => Ok(()),
        }
    }

    /// The action from the options; for actions on shapes also the hash of the image's annotation.
    pub(super) fn action_for(
        &self,
        target: &Target,
        data: Option<&Dataset>,
        before: &Corrections,
    ) -> anyhow::Result<(Action, Option<String>)> {
        let action = match self.action.as_str() {
            "exclude" => Action::Exclude {},
            "set-side" => Action::SetSide { side: self.side()? },
            "set-metadata" => self.metadata()?,
            "keep" => Action::Keep { check: self.check.clone(), label: self.found_label()? },
            "flag" => Action::Flag { check: self.check.clone(), label: self.found_label()? },
            "note" => Action::Note { point: self.point },
            _ => return self.about_shapes(target, data, before),
        };
        Ok((action, None))
    }

    fn side(&self) -> anyhow::Result<Side> {
        match self.side.as_deref().unwrap_or_default().trim() {
            "L" | "l" => Ok(Side::L),
            "R" | "r" => Ok(Side::R),
            other => bail!("--side is {other:?}; expected L or R"),
        }
    }

    fn metadata(&self) -> anyhow::Result<Action> {
        let name = self.field.as_deref().unwrap_or_default();
        let field = CorrectableField::ALL.iter().copied().find(|field| field.name() == name.trim());
        let field = field.context("--field: expected sex, age, height_cm, weight_kg or note")?;
        let text = self.value.as_deref().unwrap_or_default();
        let number = |text: &str| {
            let plain = || Number::from_f64(f64::from_str(text).ok()?);
            Number::from_str(text).ok().or_else(plain).map(Value::Number)
        };
        let value = match field {
            _ if text.is_empty() => Value::Null,
            CorrectableField::Note => Value::from(text),
            CorrectableField::Sex => Value::from(text.trim().to_ascii_uppercase()),
            _ => number(text.trim()).unwrap_or_else(|| text.into()),
        };
        ensure!(
            field.check(&value).is_ok(),
            "--value {text}: {name} must be {}; --value '' clears it",
            field.expected()
        );
        Ok(Action::SetMetadata { field, value })
    }

    /// The value of `--label`, spelt as in findings.
    pub(super) fn found_label(&self) -> anyhow::Result<Option<String>> {
        let Some(label) = &self.label else { return Ok(None) };
        let names = label.split('|').map(|name| Ok(bone("--label", name)?.name()));
        Ok(Some(names.collect::<anyhow::Result<Vec<_>>>()?.join("|")))
    }

    fn about_shapes(
        &self,
        target: &Target,
        data: Option<&Dataset>,
        before: &Corrections,
    ) -> anyhow::Result<(Action, Option<String>)> {
        let (ReadAnnotation { annotation, sha256, .. }, earlier) = self.annotation(target, data, before)?;
        let action = match self.action.as_str() {
            "drop" => Action::Drop { shape: self.shape_in(&annotation, target.id(), &earlier)? },
            "replace" => Action::Replace {
                shape: self.shape_in(&annotation, target.id(), &earlier)?,
                points: self.points.clone().unwrap_or_default().into(),
            },
            _ => match &self.to {
                Some(to) => {
                    let to = bone("--to", to)?.name().to_owned();
                    Action::Relabel(Relabel::Shape { shape: self.shape_in(&annotation, target.id(), &earlier)?, to })
                }
                None => relabelling(&self.pairs()?, &annotation, target.id(), &earlier).map_err(|e| anyhow!(e))?,
            },
        };
        Ok((action, Some(sha256)))
    }

    /// The relabelling that a finding proposes, by the old label, and the hash of the image's annotation.
    pub(super) fn relabel_as_proposed(
        &self,
        labels: &BTreeMap<String, Bone>,
        target: &Target,
        data: Option<&Dataset>,
        before: &Corrections,
    ) -> anyhow::Result<(Action, Option<String>)> {
        ensure!(!labels.is_empty(), "the finding proposes no labels");
        let (ReadAnnotation { annotation, sha256, .. }, earlier) = self.annotation(target, data, before)?;
        let pairs: Vec<(&str, Bone)> = labels.iter().map(|(old, new)| (old.as_str(), *new)).collect();
        let action = relabelling(&pairs, &annotation, target.id(), &earlier).map_err(|e| anyhow!(e))?;
        if let Some(other) = other_relabelling(&action, &earlier) {
            bail!("line {} relabels these shapes already, in another way", other.line);
        }
        Ok((action, Some(sha256)))
    }

    /// The annotation after the earlier decisions about it, and these decisions.
    fn annotation<'a>(
        &self,
        target: &Target,
        data: Option<&Dataset>,
        before: &'a Corrections,
    ) -> anyhow::Result<(ReadAnnotation, Vec<&'a Decision>)> {
        let data = data.with_context(|| format!("{} needs --data DATA", self.action))?;
        let read = shapes_of(target.id(), data)?;
        let is_of_file = |d: &&Decision| d.annotation_sha256.as_ref() == Some(&read.sha256);
        let earlier = before.about_shapes(target.id()).into_iter().filter(is_of_file).collect();
        Ok((read, earlier))
    }

    /// The shape `--shape`, with its label after the earlier decisions.
    fn shape_in(&self, annotation: &Annotation, image: &str, earlier: &[&Decision]) -> anyhow::Result<ShapeRef> {
        let text = self.shape.as_deref().unwrap_or_default().trim();
        let Ok(index) = text.parse::<usize>() else {
            let found: Vec<String> = shapes_labelled(text, annotation).iter().map(|s| s.index.to_string()).collect();
            let found = match &found[..] {
                [] => "`carpus corrections shapes` lists them".to_owned(),
                [index] => format!("{text} is shape {index}"),
                several => format!("{text} is shapes {}", several.join(" and ")),
            };
            bail!("--shape takes the number of the shape in the annotation, from 0, not its label; {found}");
        };
        if let Some(shape) = annotation.shapes.iter().find(|s| s.index == index) {
            return Ok(ShapeRef { index, label: shape.label.clone() });
        }
        for decision in earlier.iter().rev() {
            match &decision.action {
                // The same decision again; the caller reports it.
                Action::Drop { shape } if shape.index == index && self.action == "drop" => return Ok(shape.clone()),
                Action::Drop { shape } if shape.index == index => bail!(
                    "shape {index} was dropped by line {}; {} restores it",
                    decision.line,
                    undo_command(self.place.path(), decision.line)
                ),
                _ => {}
            }
        }
        bail!("image {image} has no shape {index}; `carpus corrections shapes` lists them")
    }

    /// The old and new labels of `--labels` or `--swap`.
    fn pairs(&self) -> anyhow::Result<Vec<(&str, Bone)>> {
        let mut pairs: Vec<(&str, Bone)> = Vec::new();
        for pair in &self.labels {
            let (old, new) = pair.split_once('=').with_context(|| format!("--labels {pair}: expected OLD=NEW"))?;
            pairs.push((old.trim(), bone("--labels", new)?));
        }
        match &self.swap[..] {
            [] => {}
            [a, b] => pairs.extend([(a.trim(), bone("--swap", b)?), (b.trim(), bone("--swap", a)?)]),
            other => bail!("--swap {}: expected two labels", other.join(",")),
        }
        Ok(pairs)
    }
}

/// The annotation of an image, after the earlier decisions about it. The data must be original data, not crops.
pub(super) fn shapes_of(image: &str, data: &Dataset) -> anyhow::Result<ReadAnnotation> {
    let root = data.root().display();
    ensure!(!data.is_copy(), "{root} is a copy with corrections applied; use the original data");
    let entry = data.find(image).with_context(|| format!("the data has no image {image} (looked for in {root})"))?;
    data.annotation(entry)?.with_context(|| format!("image {image} has no annotation"))
}

fn bone(flag: &str, text: &str) -> anyhow::Result<Bone> {
    Bone::read(text).with_context(|| format!("{flag}: {}", unknown_label(text.trim())))
}
