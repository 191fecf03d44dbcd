use tch::Device;

use super::{Amp, Stage, TrainError};
use crate::aten::{self, PeakReading};
use crate::geometry::Size;

const MIB: f64 = (1u64 << 20) as f64;
const GIB: f64 = (1u64 << 30) as f64;

/// Peak memory in MiB: on a GPU of its tensors since the last call with [`PeakReading::Reset`], on the CPU of this
/// process since its start. `None` where the system does not report it.
pub(super) fn peak_mb(device: Device, reading: PeakReading) -> Result<Option<f64>, TrainError> {
    match device {
        Device::Cuda(index) => Ok(Some(aten::peak_memory(index, reading)? as f64 / MIB)),
        _ => Ok(of_process("VmHWM").map(|bytes| bytes / MIB)),
    }
}

/// The value of a line of `/proc/self/status`, in bytes.
fn of_process(key: &str) -> Option<f64> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, key)
}

fn kilobytes(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kb| kb * 1024.0)
}

/// Whether the message is libtorch's for memory that it could not get.
fn is_out_of_memory(text: &str) -> bool {
    ["out of memory", "can't allocate memory", "not enough memory"].iter().any(|part| text.contains(part))
}

/// Adds advice to an error about memory: which settings to lower, and to which values.
pub(super) fn explain(error: TrainError, stage: &Stage, device: Device) -> TrainError {
    let text = error.to_string();
    if !is_out_of_memory(&text) {
        return error;
    }
    let asked = amount_after(&text, "ried to allocate ");
    let available = match device {
        Device::Cuda(_) => amount_after(&text, "total capacity of "),
        _ => std::fs::read_to_string("/proc/meminfo").ok().and_then(|info| {
            let in_use = of_process("VmRSS")?;
            Some(in_use + kilobytes(&info, "MemAvailable")?)
        }),
    };
    let in_use = match device {
        Device::Cuda(index) => aten::peak_memory(index, PeakReading::Keep).ok().map(|bytes| bytes as f64),
        _ => of_process("VmRSS"),
    };
    let needed = in_use.zip(asked).map(|(in_use, asked)| in_use + asked);
    TrainError::OutOfMemory { advice: advice(stage, needed, available), source: Box::new(error) }
}

/// The number of bytes after `words`: `20.00 GiB`, `1234 bytes`.
fn amount_after(text: &str, words: &str) -> Option<f64> {
    let mut rest = text.split(words).nth(1)?.split_whitespace();
    let number: f64 = rest.next()?.parse().ok()?;
    let unit = match rest.next()?.trim_end_matches(['.', ',', ';', ')']) {
        "GiB" => GIB,
        "MiB" => MIB,
        "KiB" => 1024.0,
        "bytes" => 1.0,
        _ => return None,
    };
    Some(number * unit)
}

/// Settings that would fit into the memory. Nearly all memory of training is features, which grow with the batch and
/// with the square of the image's side.
fn advice(stage: &Stage, needed: Option<f64>, available: Option<f64>) -> String {
    let name = &stage.name;
    let stage = &stage.config;
    let mut text =
        format!("stage {name}: batch = {}, size = {}, amp = {}", stage.batch, stage.size.setting(), stage.amp);
    // The known need is the memory in use at the failure. The full need is greater, so a tenth is left free.
    let share = match (needed, available) {
        (Some(needed), Some(available)) => {
            text += &format!(" needs more than {:.1} GiB; {:.1} GiB are available", needed / GIB, available / GIB);
            (0.9 * available / needed).min(0.5)
        }
        _ => 0.5,
    };
    let mut settings = Vec::new();
    let batch = ((stage.batch as f64 * share) as usize).max(1);
    if batch < stage.batch {
        let accumulate = (stage.batch * stage.accumulate).div_ceil(batch);
        settings
            .push(format!("batch = {batch} with accumulate = {accumulate} (each step uses as many images as before)"));
    }
    let reduced = |side: u32| (f64::from(side) * share.sqrt()) as u32 / 32 * 32;
    let size = Size { width: reduced(stage.size.width), height: reduced(stage.size.height) };
    if size.both(|side| side >= 32) && size != stage.size {
        settings.push(format!("size = {}", size.setting()));
    }
    if stage.amp == Amp::Off {
        settings.push("amp = \"bf16\" (about half the memory of features)".into());
    }
    if !stage.gradient_checkpointing && stage.model.has_segments() {
        settings.push("gradient-checkpointing = true (no activations within the encoder's blocks)".into());
    }
    settings.push("a smaller encoder".into());
    format!("{text}. Set {}", settings.join(", or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_in_messages_of_libtorch() {
        let cuda = "CUDA out of memory. Tried to allocate 20.50 MiB. GPU 0 has a total capacity of 79.10 GiB of which";
        assert!(is_out_of_memory(cuda));
        assert_eq!(amount_after(cuda, "ried to allocate "), Some(20.5 * MIB));
        assert_eq!(amount_after(cuda, "total capacity of "), Some(79.1 * GIB));
        let cpu = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12";
        assert!(is_out_of_memory(cpu));
        assert_eq!(amount_after(cpu, "ried to allocate "), Some(4096.0));
    }

    #[test]
    fn the_peak_memory_of_the_process_is_known() {
        let text = "VmPeak:\t  10 kB\nVmHWM:\t    2048 kB\n";
        assert_eq!(kilobytes(text, "VmHWM"), Some(2048.0 * 1024.0));
        assert!(peak_mb(Device::Cpu, PeakReading::Keep).unwrap().is_some_and(|mb| mb > 1.0));
    }
}
