"""Freshly built reference models: for each case of cases.json in FOLDER, NAME.safetensors with its parameters.

usage: initial_weights.py FOLDER SEED
"""

import json
import sys
from pathlib import Path

import torch
from models import build
from safetensors.torch import save_file


def main():
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    for case in json.loads((folder / "cases.json").read_text()):
        parameters = dict(build(case).named_parameters())
        save_file({n: p.detach().contiguous() for n, p in parameters.items()}, folder / f"{case['name']}.safetensors")


main()
