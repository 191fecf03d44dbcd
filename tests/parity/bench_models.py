"""Compares speed and memory of carpus's models with segmentation_models_pytorch, alternating step by step in one run.

usage: bench_models.py CARPUS [--models ARCH/ENCODER ...] [--size 512] [--batch 2] [--threads 2] [--repeats 7]
                       [--device cpu] [--autocast bf16|fp16] [--channels-last] [--json]

For each model both sides run in their own processes with the same number of threads and alternate step by step, so that
other load of the machine affects both. `time` is the median ratio of wall-clock times per turn, `work` the same for CPU
time, which other programs disturb less. Memory is the peak of resident memory during the steps minus the resident memory
before the model was built (on a GPU: the peak memory of the process according to the driver). A ratio below 1 means that
carpus needs less.
"""

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time

MODELS = ["fpn/efficientnet-b0", "unetplusplus/efficientnet-b0", "upernet/tu-convnextv2_tiny", "segformer/mit_b2",
          "unet/tu-hrnet_w18"]
STEPS = ["forward", "train"]
CLASSES = 29


def memory(line):
    for text in open("/proc/self/status"):
        if text.startswith(line):
            return 1024 * int(text.split()[1])
    raise RuntimeError(f"/proc/self/status has no {line}")


def serve(args):
    """The reference's side: answers lines on standard input as `carpus models bench --paced` does."""
    import warnings

    warnings.filterwarnings("ignore")
    import torch

    from models import build, without_randomness

    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    ones = torch.ones(1, 8, 32, 32, device=device)
    torch.nn.functional.conv2d(ones, torch.ones(8, 8, 3, 3, device=device), padding=1)
    # Otherwise memory that the imports freed would count in the baseline and be reused by the model at no cost.
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    baseline = memory("VmRSS:")
    architecture, encoder = args.models[0].split("/")
    case = {"architecture": architecture, "encoder": encoder, "in_channels": 3, "classes": CLASSES}
    model = build(case)
    without_randomness(model)
    model.to(device)
    x = torch.randn(args.batch, 3, args.size, args.size, device=device)
    if args.channels_last:
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    kind = {None: None, "bf16": torch.bfloat16, "fp16": torch.float16}[args.autocast]

    def logits(train):
        model.train(train)
        with torch.autocast(device.type, dtype=kind or torch.bfloat16, enabled=kind is not None):
            return model(x)

    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize()

    def step(what):
        # As in carpus's trainer: gradients are set to 0 and not deallocated.
        model.zero_grad(set_to_none=False)
        wait()
        start, worked = time.perf_counter(), time.process_time()
        if what == "forward":
            with torch.no_grad():
                logits(False)
        else:
            logits(True).square().mean().backward()
        wait()
        return f"{time.perf_counter() - start} {time.process_time() - worked}"

    print("ready", flush=True)
    for line in sys.stdin:
        what = line.strip()
        if what in STEPS:
            print(step(what), flush=True)
        elif what == "reset":
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
            print("done", flush=True)
        elif what == "peak":
            print(memory("VmHWM:") - baseline, flush=True)


class Side:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.read_answer()

    def read_answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[0]} ended before it sent an answer")
        return line.strip()

    def ask(self, what):
        print(what, file=self.process.stdin, flush=True)
        return self.read_answer()

    def gpu_memory(self):
        """Memory of the process in bytes, according to the driver."""
        query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
        rows = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
        held = dict(map(int, row.split(",")) for row in rows)
        return 2**20 * held.get(self.process.pid, 0)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(name, args):
    architecture, encoder = name.split("/")
    common = ["--size", str(args.size), "--batch", str(args.batch), "--threads", str(args.threads),
              "--device", args.device]
    common += ["--autocast", args.autocast] if args.autocast else []
    common += ["--channels-last"] if args.channels_last else []
    ours = [args.carpus, "models", "bench", "--paced", "--arch", architecture, "--encoder", encoder]
    theirs = [sys.executable, __file__, args.carpus, "--serve", "--models", name]
    sides = {"carpus": Side(ours + common), "smp": Side(theirs + common)}
    result = {"model": name}
    try:
        for what in STEPS:
            seconds = {side: [] for side in sides}
            worked = {side: [] for side in sides}
            for side in sides.values():
                side.ask(what)
                side.ask("reset")
            for turn in range(args.repeats):
                # Each side is first in half of the turns.
                for key in sorted(sides, reverse=turn % 2 == 1):
                    clock, processors = map(float, sides[key].ask(what).split())
                    seconds[key].append(clock)
                    worked[key].append(processors)
            for key, side in sides.items():
                peak = side.gpu_memory() if args.device.startswith("cuda") else int(side.ask("peak"))
                result[f"{what}.{key}.seconds"] = statistics.median(seconds[key])
                result[f"{what}.{key}.bytes"] = peak
            pairs = [a / b for a, b in zip(seconds["carpus"], seconds["smp"])]
            result[f"{what}.time_ratio"] = statistics.median(pairs)
            pairs = [a / b for a, b in zip(worked["carpus"], worked["smp"])]
            result[f"{what}.work_ratio"] = statistics.median(pairs)
            result[f"{what}.memory_ratio"] = result[f"{what}.carpus.bytes"] / max(result[f"{what}.smp.bytes"], 1)
    finally:
        for side in sides.values():
            side.close()
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("carpus")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--autocast", choices=["bf16", "fp16"])
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(args)
    if not args.json:
        print(f"{'model':<30} {'':<8} {'carpus':>10} {'smp':>10} {'time':>7} {'work':>7} {'memory':>7}")
    results = []
    for name in args.models:
        result = compare(name, args)
        results.append(result)
        for what in STEPS if not args.json else []:
            print(
                f"{name:<30} {what:<8} {result[what + '.carpus.seconds'] * 1e3:>7.0f} ms "
                f"{result[what + '.smp.seconds'] * 1e3:>7.0f} ms {result[what + '.time_ratio']:>7.3f} "
                f"{result[what + '.work_ratio']:>7.3f} {result[what + '.memory_ratio']:>7.3f}",
                flush=True,
            )
    if args.json:
        print(json.dumps(results, indent=1))


main()
