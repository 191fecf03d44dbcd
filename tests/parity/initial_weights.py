"""Writes the distribution of the initial weights of new reference models, for each case of cases.json in FOLDER.

usage: initial_weights.py FOLDER SEED BUILDS SAMPLE

NAME.safetensors contains, for each weight over BUILDS models, the tensors moments.WEIGHT (number of values, mean, variance,
fourth central moment, minimum, maximum) and sample.WEIGHT (at most SAMPLE of the values), and each buffer unchanged.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from models import build


def moments(values):
    mean = values.mean()
    centred = (values - mean).square()
    return torch.stack([
        torch.tensor(float(len(values)), dtype=torch.double), mean, centred.mean(), centred.square().mean(),
        values.min(), values.max(),
    ])


def main():
    folder, seed, builds, sample = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    for case in json.loads((folder / "cases.json").read_text()):
        models = [build(case) for _ in range(builds)]
        out = {name: buffer.clone().contiguous() for name, buffer in models[0].named_buffers()}
        for parameters in zip(*(model.named_parameters() for model in models)):
            name = parameters[0][0]
            values = torch.cat([tensor.detach().flatten() for _, tensor in parameters])
            out[f"moments.{name}"] = moments(values.double())
            out[f"sample.{name}"] = values[torch.randperm(len(values))[:sample]]
        save_file(out, folder / f"{case['name']}.safetensors")


main()
