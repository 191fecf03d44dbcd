use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, bail};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::Choice;
use crate::cli::{Status, Ui};
use crate::closed_enum::UnknownName;
use crate::device::{self, DeviceKind};
use crate::geometry::Size;
use crate::models::{Input, Model, ModelError, Segments, channels_last};
use crate::train::Amp;

/// Measure time and memory of a model: forward, and forward with backward
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus models bench --arch fpn --encoder efficientnet-b0 --size 256

To compare with segmentation_models_pytorch, run tests/parity/bench_models.py (make bench-models).")]
pub struct ModelsBenchArgs {
    #[command(flatten)]
    model: Choice,
    /// Number of classes: channels of the logits
    #[arg(long, value_name = "N", default_value_t = 29)]
    classes: i64,
    /// Size of the images in px, N for a square or WIDTHxHEIGHT
    #[arg(long, value_name = "SIZE", default_value = "512")]
    size: Size,
    /// Batch size
    #[arg(long, value_name = "N", default_value_t = 2)]
    batch: i64,
    /// Number of threads of libtorch
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: i32,
    /// Device: auto, cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
    /// Mixed precision: off, bf16 or fp16 (also f16)
    #[arg(long, default_value_t = Amp::Off, hide_default_value = true, value_parser = precision)]
    autocast: Amp,
    /// Use the channels-last memory format for images and weights
    #[arg(long)]
    channels_last: bool,
    /// Gradient checkpointing: compute the activations of the encoder's blocks again in the backward pass
    #[arg(long)]
    gradient_checkpointing: bool,
    /// Number of measurements, after one warm-up step
    #[arg(long, value_name = "N", default_value_t = 5)]
    repeats: usize,
    /// Run one step for each line of standard input, to alternate with another process
    #[arg(long, hide = true)]
    paced: bool,
}

fn precision(name: &str) -> Result<Amp, UnknownName> {
    if name == "f16" { Ok(Amp::Fp16) } else { name.parse() }
}

/// The operation that is timed.
#[derive(Clone, Copy)]
enum Step {
    /// Logits in evaluation mode, without a graph.
    Forward,
    /// Logits in training mode and the gradients of their mean square.
    Train,
}

struct Bench {
    model: Model,
    x: Tensor,
    device: Device,
    autocast: Amp,
    recomputes: bool,
}

impl Bench {
    fn new(args: &ModelsBenchArgs, device: Device) -> anyhow::Result<Bench> {
        let config = args.model.config(args.classes)?;
        if args.gradient_checkpointing && !config.has_segments() {
            bail!(
                "--gradient-checkpointing: {} has no encoder of `carpus models list`; leave the flag out",
                config.architecture
            );
        }
        let model = Model::new(&config, device)?;
        let [height, width] = args.size.shape();
        let shape = [args.batch, model.config().in_channels, height, width];
        let mut x = Tensor::f_randn(shape, (Kind::Float, device))?;
        if args.channels_last {
            model.parameters().set_channels_last()?;
            x = channels_last(&x)?;
        }
        Ok(Bench { model, x, device, autocast: args.autocast, recomputes: args.gradient_checkpointing })
    }

    /// The logits, as in prediction.
    fn predict(&self) -> Result<Tensor, ModelError> {
        let _autocast = self.autocast.enter(self.device)?;
        self.model.predict(&Input { images: &self.x, metadata: None })
    }

    /// The logits in training and the gradients of their mean square.
    fn train(&self) -> Result<(), ModelError> {
        let mut segments = if self.recomputes { Segments::recomputed(self.device) } else { Segments::kept() };
        let autocast = self.autocast.enter(self.device)?;
        let logits = self.model.forward_in(&Input { images: &self.x, metadata: None }, true, &mut segments)?.logits;
        drop(autocast);
        segments.backward(&logits.f_square()?.f_mean(Kind::Float)?, || self.autocast.enter(self.device))
    }

    /// Wall-clock seconds and processor seconds of one step.
    fn time(&self, step: Step) -> anyhow::Result<(f64, f64)> {
        for (_, mut tensor) in self.model.named_parameters() {
            tensor.zero_grad();
        }
        self.wait();
        let (start, processor_start) = (Instant::now(), processor_seconds()?);
        match step {
            Step::Forward => drop(self.predict()?),
            Step::Train => self.train()?,
        }
        self.wait();
        Ok((start.elapsed().as_secs_f64(), processor_seconds()? - processor_start))
    }

    fn wait(&self) {
        if let Device::Cuda(index) = self.device {
            tch::Cuda::synchronize(index as i64);
        }
    }
}

/// The value of a line of `/proc/self/status`, in bytes.
fn memory(line: &str) -> anyhow::Result<u64> {
    let status =
        std::fs::read_to_string("/proc/self/status").context("cannot read the memory use from /proc/self/status")?;
    let value = status.lines().find_map(|l| l.strip_prefix(line)).and_then(|l| l.split_whitespace().next());
    Ok(1024 * value.with_context(|| format!("/proc/self/status has no {line}"))?.parse::<u64>()?)
}

/// Processor seconds used by all threads of this process.
fn processor_seconds() -> anyhow::Result<f64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call only writes to `time`.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    anyhow::ensure!(failed == 0, "cannot read the processor time of this process");
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

/// Resets the peak of the resident memory.
fn reset_peak() -> anyhow::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5").context("cannot reset the peak memory with /proc/self/clear_refs")
}

/// Measures and prints the times.
pub fn run(args: &ModelsBenchArgs, ui: &Ui) -> anyhow::Result<Status> {
    let device = device::select(args.device)?;
    tch::set_num_threads(args.threads);
    // The first call initialises libtorch, which must not count as time or memory of the model.
    let warm = Tensor::f_ones([1, 8, 32, 32], (Kind::Float, device))?;
    drop(warm.f_conv2d(
        &Tensor::f_ones([8, 8, 3, 3], (Kind::Float, device))?,
        None::<Tensor>,
        [1, 1],
        [1, 1],
        [1, 1],
        1,
    )?);
    let baseline = memory("VmRSS:")?;
    let bench = Bench::new(args, device)?;
    if args.paced { run_on_request(&bench, baseline) } else { measure(args, &bench, baseline, ui) }
}

#[derive(Serialize)]
struct Measured {
    median_seconds: f64,
    /// Peak memory above that of the process before the model was built.
    peak_bytes: u64,
}

fn measure(args: &ModelsBenchArgs, bench: &Bench, baseline: u64, ui: &Ui) -> anyhow::Result<Status> {
    let measured = |step| -> anyhow::Result<Measured> {
        bench.time(step)?;
        reset_peak()?;
        let mut seconds =
            (0..args.repeats.max(1)).map(|_| Ok(bench.time(step)?.0)).collect::<anyhow::Result<Vec<_>>>()?;
        seconds.sort_by(f64::total_cmp);
        let peak_bytes = memory("VmHWM:")?.saturating_sub(baseline);
        Ok(Measured { median_seconds: seconds[seconds.len() / 2], peak_bytes })
    };
    let (forward, train) = (measured(Step::Forward)?, measured(Step::Train)?);
    for (what, measured) in [("forward", &forward), ("forward and backward", &train)] {
        ui.line(format_args!(
            "{what:<20} {:>9.1} ms  {:>6.0} MB",
            measured.median_seconds * 1e3,
            measured.peak_bytes as f64 / 1e6
        ));
    }
    ui.json(&serde_json::json!({ "forward": forward, "train": train }))?;
    Ok(Status::Done)
}

/// Serves requests on standard input, one per line: `forward` and `train` run a step and print its wall-clock and
/// processor seconds, `reset` resets the peak memory, `peak` prints it in bytes.
fn run_on_request(bench: &Bench, baseline: u64) -> anyhow::Result<Status> {
    let mut out = std::io::stdout().lock();
    let join = |(clock, processors): (f64, f64)| format!("{clock} {processors}");
    let mut answer = |text: String| writeln!(out, "{text}").and_then(|()| out.flush());
    answer("ready".into())?;
    for line in std::io::stdin().lock().lines() {
        match line?.as_str() {
            "forward" => answer(join(bench.time(Step::Forward)?))?,
            "train" => answer(join(bench.time(Step::Train)?))?,
            "reset" => {
                reset_peak()?;
                answer("done".into())?;
            }
            "peak" => answer(memory("VmHWM:")?.saturating_sub(baseline).to_string())?,
            other => bail!("unknown request {other:?}; expected one of forward, train, reset, peak"),
        }
    }
    Ok(Status::Done)
}
