use serde::Serialize;

use crate::cli::{Status, Ui};
use crate::models::{Architecture, Cost, EncoderKind, ModelConfig, ModelOutline};

/// Width and height of the image for which costs are computed.
const SIDE: i64 = 512;

/// A line of the list.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    /// `architecture` or `encoder`.
    part: &'static str,
    /// The other part of the measured model; absent for a network without an encoder of the list.
    with: Option<&'static str>,
    reference: &'static str,
    /// Number of encoder stages used; absent for a network without an encoder of the list.
    depth: Option<i64>,
    /// Number of parameters of the whole model.
    parameters: usize,
    /// Multiplications and additions of convolutions, linear layers and attention for a 512 x 512 image, in units of
    /// 1e9.
    gflops_at_512: f64,
    /// Strides of the encoder's features, in the order of its stages.
    strides: Vec<i64>,
    /// Channels of the encoder's features at strides 1, 2, 4, …
    channels: Vec<i64>,
}

impl Listed {
    fn architecture(architecture: Architecture) -> anyhow::Result<Listed> {
        let config = ModelConfig { architecture, ..ModelConfig::default() };
        let with = config.backbone().map(EncoderKind::name);
        Listed::measured(architecture.name(), "architecture", with, architecture.reference(), &config)
    }

    fn encoder(encoder: EncoderKind) -> anyhow::Result<Listed> {
        let config = ModelConfig { encoder: Some(encoder), ..ModelConfig::default() };
        Listed::measured(encoder.name(), "encoder", Some(config.architecture.name()), encoder.reference(), &config)
    }

    fn measured(
        name: &'static str,
        part: &'static str,
        with: Option<&'static str>,
        reference: &'static str,
        config: &ModelConfig,
    ) -> anyhow::Result<Listed> {
        let outline = ModelOutline::of(config)?;
        let cost = Cost::of(config, SIDE)?;
        Ok(Listed {
            name,
            part,
            with,
            reference,
            depth: config.backbone().map(|_| config.depth()),
            parameters: outline.parameters(),
            gflops_at_512: 2.0 * cost.operations as f64 / 1e9,
            strides: cost.strides,
            channels: outline.channels,
        })
    }
}

/// Computes and prints the list.
pub fn run(ui: &Ui) -> anyhow::Result<Status> {
    // Only shapes are computed: more threads do not help.
    tch::set_num_threads(1);
    let architectures = Architecture::all().map(Listed::architecture);
    let rows: Vec<Listed> =
        architectures.chain(EncoderKind::ALL.iter().map(|e| Listed::encoder(*e))).collect::<Result<_, _>>()?;
    let default = ModelConfig::default().architecture;
    let strides = |row: &Listed| row.strides.iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
    let widest = |text: &dyn Fn(&Listed) -> usize| rows.iter().map(text).max().unwrap_or_default();
    let (name_width, strides_width) = (widest(&|row| row.name.len()), widest(&|row| strides(row).len()));
    for (part, other) in
        [("architecture", "the encoder in the last column".to_owned()), ("encoder", default.to_string())]
    {
        ui.line(format_args!("{part}s: parameters and GFLOPs at {SIDE} x {SIDE}, of the whole model with {other}"));
        for row in rows.iter().filter(|r| r.part == part) {
            ui.line(format_args!(
                "  {:<name_width$} {:>6.1} M {:>7.1} GFLOPs  strides {:<strides_width$}  {}{}",
                row.name,
                row.parameters as f64 / 1e6,
                row.gflops_at_512,
                strides(row),
                row.reference,
                row.with
                    .zip(row.depth)
                    .filter(|_| part == "architecture")
                    .map_or(String::new(), |(with, depth)| format!("  depth {depth}  {with}")),
            ));
        }
    }
    ui.json(&rows)?;
    Ok(Status::Done)
}
