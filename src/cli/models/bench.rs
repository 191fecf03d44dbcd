use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, bail};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::Choice;
use crate::cli::{Status, Ui};
use crate::closed_enum::UnknownName;
use crate::device::{self, DeviceKind};
use crate::models::{Input, Model, ModelError, channels_last};
use crate::train::Amp;

/// Time a model: forward, and forward with backward
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus models bench --arch fpn --encoder efficientnet-b0 --size 256

tests/parity/bench_models.py holds it against segmentation_models_pytorch, turn by turn (make bench-models).")]
pub struct ModelsBenchArgs {
    #[command(flatten)]
    model: Choice,
    /// Channels of the logits
    #[arg(long, default_value_t = 29)]
    classes: i64,
    /// Side of the square image
    #[arg(long, default_value_t = 512)]
    size: i64,
    /// Images at a time
    #[arg(long, default_value_t = 2)]
    batch: i64,
    /// Threads of libtorch
    #[arg(long, default_value_t = 2)]
    threads: i32,
    /// Where to compute: auto, cpu, cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
    /// Mixed precision: off, bf16 or fp16 (f16 is the same)
    #[arg(long, default_value_t = Amp::Off, hide_default_value = true, value_parser = precision)]
    autocast: Amp,
    /// Images and weights with their channels last in memory
    #[arg(long)]
    channels_last: bool,
    /// Times each is measured after one to warm up
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Take turns with another process: a step at each line of standard input
    #[arg(long, hide = true)]
    paced: bool,
}

fn precision(name: &str) -> Result<Amp, UnknownName> {
    if name == "f16" { Ok(Amp::Fp16) } else { name.parse() }
}

/// What is timed.
#[derive(Clone, Copy)]
enum Step {
    /// Logits in evaluation without a graph.
    Forward,
    /// Logits in training and the gradients of their mean square.
    Train,
}

struct Bench {
    model: Model,
    x: Tensor,
    device: Device,
    autocast: Amp,
}

impl Bench {
    fn new(args: &ModelsBenchArgs, device: Device) -> anyhow::Result<Bench> {
        let model = Model::new(&args.model.config(args.classes)?, device)?;
        let shape = [args.batch, model.config().in_channels, args.size, args.size];
        let mut x = Tensor::f_randn(shape, (Kind::Float, device))?;
        if args.channels_last {
            model.parameters().set_channels_last()?;
            x = channels_last(&x)?;
        }
        Ok(Bench { model, x, device, autocast: args.autocast })
    }

    /// As predicted, or with everything that a backward pass needs.
    fn logits(&self, train: bool) -> Result<Tensor, ModelError> {
        let _short = self.autocast.enter(self.device)?;
        match train {
            true => Ok(self.model.forward_t(&self.x, true)?.logits),
            false => self.model.predict(&Input { images: &self.x, metadata: None }),
        }
    }

    /// Seconds of one step, on the clock and of all processors.
    fn time(&self, step: Step) -> anyhow::Result<(f64, f64)> {
        for (_, mut tensor) in self.model.named_parameters() {
            tensor.zero_grad();
        }
        self.wait();
        let (start, worked) = (Instant::now(), processor_seconds()?);
        match step {
            Step::Forward => drop(self.logits(false)?),
            Step::Train => self.logits(true)?.f_square()?.f_mean(Kind::Float)?.f_backward()?,
        }
        self.wait();
        Ok((start.elapsed().as_secs_f64(), processor_seconds()? - worked))
    }

    fn wait(&self) {
        if let Device::Cuda(index) = self.device {
            tch::Cuda::synchronize(index as i64);
        }
    }
}

/// A line of `/proc/self/status`, in bytes.
fn memory(line: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status tells the memory")?;
    let value = status.lines().find_map(|l| l.strip_prefix(line)).and_then(|l| l.split_whitespace().next());
    Ok(1024 * value.with_context(|| format!("/proc/self/status has no {line}"))?.parse::<u64>()?)
}

/// Seconds that the process's threads have run.
fn processor_seconds() -> anyhow::Result<f64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to the structure it is given.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    anyhow::ensure!(failed == 0, "the clock of the process cannot be read");
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

/// The highest resident memory counts from here.
fn reset_peak() -> anyhow::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5").context("/proc/self/clear_refs resets the memory's peak")
}

pub fn run(args: &ModelsBenchArgs, ui: &Ui) -> anyhow::Result<Status> {
    let device = device::select(args.device)?;
    tch::set_num_threads(args.threads);
    // What starting libtorch takes belongs to no model.
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
    if args.paced { paced(&bench, baseline) } else { alone(args, &bench, baseline, ui) }
}

#[derive(Serialize)]
struct Measured {
    median_seconds: f64,
    /// Above what the process held before the model was built.
    peak_bytes: u64,
}

fn alone(args: &ModelsBenchArgs, bench: &Bench, baseline: u64, ui: &Ui) -> anyhow::Result<Status> {
    let measure = |step| -> anyhow::Result<Measured> {
        bench.time(step)?;
        reset_peak()?;
        let mut seconds =
            (0..args.repeats.max(1)).map(|_| Ok(bench.time(step)?.0)).collect::<anyhow::Result<Vec<_>>>()?;
        seconds.sort_by(f64::total_cmp);
        let peak_bytes = memory("VmHWM:")?.saturating_sub(baseline);
        Ok(Measured { median_seconds: seconds[seconds.len() / 2], peak_bytes })
    };
    let (forward, train) = (measure(Step::Forward)?, measure(Step::Train)?);
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

/// Answers `forward` and `train` with the seconds of a step on the clock and of processors, `reset` with nothing, `peak` with the bytes since then.
fn paced(bench: &Bench, baseline: u64) -> anyhow::Result<Status> {
    let mut out = std::io::stdout().lock();
    let join = |(clock, processors): (f64, f64)| format!("{clock} {processors}");
    let mut say = |text: String| writeln!(out, "{text}").and_then(|()| out.flush());
    say("ready".into())?;
    for line in std::io::stdin().lock().lines() {
        match line?.as_str() {
            "forward" => say(join(bench.time(Step::Forward)?))?,
            "train" => say(join(bench.time(Step::Train)?))?,
            "reset" => {
                reset_peak()?;
                say("done".into())?;
            }
            "peak" => say(memory("VmHWM:")?.saturating_sub(baseline).to_string())?,
            other => bail!("{other:?} is none of forward, train, reset, peak"),
        }
    }
    Ok(Status::Done)
}
