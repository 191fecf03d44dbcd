use serde::Serialize;

use crate::cli::{Status, Ui};
use crate::models::{ModelConfig, ModelOutline, Role};
use crate::wording::counted;

/// A tensor of the state dict.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    shape: &'a [i64],
    /// Whether it is trained; running statistics and tables are buffers.
    parameter: bool,
}

/// A module: its own tensors and its parts, in the order of the state dict.
#[derive(Default)]
struct Module {
    tensors: Vec<(String, Vec<i64>)>,
    parts: Vec<(String, Module)>,
    weights: usize,
}

impl Module {
    fn add(&mut self, name: &str, shape: Vec<i64>, weights: usize) {
        self.weights += weights;
        match name.split_once('.') {
            None => self.tensors.push((name.to_owned(), shape)),
            Some((part, rest)) => {
                let index = self.parts.iter().position(|(n, _)| n == part).unwrap_or_else(|| {
                    self.parts.push((part.to_owned(), Module::default()));
                    self.parts.len() - 1
                });
                self.parts[index].1.add(rest, shape, weights);
            }
        }
    }

    fn print(&self, indent: usize, ui: &Ui) {
        for (name, shape) in &self.tensors {
            ui.line(format_args!("{:indent$}{name} {shape:?}", ""));
        }
        for (name, part) in &self.parts {
            ui.line(format_args!("{:indent$}{name}  ({})", "", counted(part.weights, "weight", "weights")));
            part.print(indent + 2, ui);
        }
    }
}

/// Prints the modules of a model.
pub fn run(config: ModelConfig, ui: &Ui) -> anyhow::Result<Status> {
    let outline = ModelOutline::of(&config)?;
    let mut root = Module::default();
    let mut state = Vec::new();
    for (name, shape, role) in &outline.entries {
        let parameter = *role == Role::Parameter;
        let weights = if parameter { shape.iter().product::<i64>() as usize } else { 0 };
        root.add(name, shape.clone(), weights);
        state.push(Listed { name, shape, parameter });
    }
    ui.line(format_args!("{}: {}", config.describe(), counted(root.weights, "weight", "weights")));
    root.print(2, ui);
    ui.json(&serde_json::json!({ "config": config, "parameters": root.weights, "state": state }))?;
    Ok(Status::Done)
}
