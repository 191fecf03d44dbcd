"""Tests assets/pt_to_safetensors.py with checkpoints as several libraries save them.

usage: checkpoints.py FOLDER    creates the checkpoints in FOLDER, runs the script there with each list of arguments of
                                cases.json and prints the results ({failed, stdout, stderr, changed}; changed: names of
                                new and modified files); `full` before the arguments simulates a full disk
"""

import argparse
import contextlib
import io
import json
import os
import runpy
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

SCRIPT = Path(__file__).parents[2] / "assets" / "pt_to_safetensors.py"


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)


class Calls:
    """Pickles as a function call, which creates a file `ran` when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def state(value, prefix=""):
    names = ["encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"]
    return {prefix + name: torch.full((2, 3), float(value)) for name in names}


def make():
    one = torch.ones(3)
    extra = {"loss.weight": one}
    # A transformer's backbone, whose layers are named encoder: not a wrapper.
    encoder = {f"encoder.{index}.weight": one for index in range(8)}
    saved = {
        "plain": state(1),
        "whole": Net(),
        "inside": {"epoch": 3, "model": Net()},
        "elsewhere": {"epoch": 3, "student": {"state_dict": state(2)}},
        "lightning": {"epoch": 3, "state_dict": {**state(3, "model."), **extra}, "hyper_parameters": {"lr": 1e-3}},
        "compiled": {"state_dict": {**state(4, "model._orig_mod."), **extra}},
        "parallel": {f"module.{name}": tensor for name, tensor in {**state(5, "net."), **extra}.items()},
        "transformers": {f"backbone.{name}": tensor for name, tensor in encoder.items()} | {"decode_head.weight": one},
        "nnunet": {"network_weights": state(7), "_best_ema": np.float64(0.5), "logging": {"dice": [np.float32(0.5)]}},
        "timm": {"arch": "unet", "state_dict_ema": state(9), "state_dict": state(8), "args": argparse.Namespace(lr=1e-3)},
        "calls": {"state_dict": state(10), "callback": Calls(open, "ran", "w")},
        "system": {"state_dict": state(11), "callback": Calls(os.system, "touch ran")},
        "extra": {"state_dict": {**state(12), "encoder._extra_state": {"scale": 2}, "steps": 40}, "ema": state(13)},
    }
    for name, value in saved.items():
        torch.save(value, f"{name}.pt")
    torch.save(Net(), "whole_old.pt", _use_new_zipfile_serialization=False)
    torch.save(state(14), "protocol.pt", pickle_protocol=4)
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save("script.pt")
    save_file(state(15), "done.safetensors")
    whole = Path("plain.pt").read_bytes()
    Path("cut.pt").write_bytes(whole[: len(whole) // 2])
    Path("empty.pt").write_bytes(b"")
    Path("pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with zipfile.ZipFile("other.pt", "w") as archive:
        archive.writestr("a.txt", "a")
    with tarfile.open("tar.pt", "w") as archive:
        archive.add("empty.pt", "tensors")
    Path("folder").mkdir()
    Path("old").write_text("old")


def fill_disk(_, path, **__):
    path.write_bytes(b"half")
    raise OSError("the disk is full")


def listing():
    stats = {path.name: path.stat() for path in Path().iterdir()}
    return {name: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def run(arguments):
    failed, out, err = False, io.StringIO(), io.StringIO()
    before = listing()
    full = arguments[0] == "full"
    sys.argv = [str(SCRIPT), *arguments[full:]]
    safetensors.torch.save_file = fill_disk if full else save_file
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_path(str(SCRIPT), run_name="__main__")
    except SystemExit as end:
        failed = True
        err.write(str(end.code))
    changed = sorted(name for name, stamp in listing().items() if stamp != before.get(name))
    return {"failed": failed, "stdout": out.getvalue(), "stderr": err.getvalue(), "changed": changed}


save_file = safetensors.torch.save_file
os.chdir(sys.argv[1])
make()
print(json.dumps([run(case) for case in json.loads(Path("cases.json").read_text())]))
