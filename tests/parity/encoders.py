"""Initial and published weights of timm's encoders.

usage: encoders.py initial CASES SEED, encoders.py published FOLDER SEED

initial: prints a line of JSON for each case of the JSON list CASES (name, architecture, encoder, in_channels, classes):
number of values, mean, standard deviation and kurtosis of each parameter of a newly built model of
segmentation_models_pytorch.

published: for each case of cases.json in FOLDER (name, encoder, in_channels, depth, branches), writes
NAME.published.safetensors, the state dict of timm's whole classifier, and NAME.features.safetensors, the state dict of
timm's feature extractor with the same weights.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import timm
import torch
from models import build
from safetensors.torch import save_file
from timm.models import adapt_input_conv
from timm.models._features import FeatureListNet


def moments(tensor):
    x = tensor.detach().double().flatten()
    # A truncated normal is drawn by inverting its distribution function. Once in millions of values this gives the limit,
    # a hundred standard deviations from the mean, which would outweigh all other values.
    x = x[(x - x.mean()).abs() <= 8 * x.std(unbiased=False)]
    spread = x.std(unbiased=False)
    kurtosis = ((x - x.mean()) / spread).pow(4).mean() if spread > 0 else spread
    return [tensor.numel(), x.mean().item(), spread.item(), kurtosis.item()]


def initial(case):
    print(json.dumps({name: moments(tensor) for name, tensor in build(case).named_parameters()}))


def published(case, folder):
    name = case["encoder"].removeprefix("tu-")
    whole = timm.create_model(name)
    state = whole.state_dict()
    save_file(state, folder / f"{case['name']}.published.safetensors")
    options = {"in_chans": case["in_channels"], "features_only": True}
    if name.startswith("hrnet"):
        features = timm.create_model(name, feature_location="" if case["branches"] else "incre", **options).state_dict()
        features = {n: state[n] for n in features}
    else:
        indices = tuple(range(case["depth"] - 1))
        features = FeatureListNet(whole, out_indices=indices, flatten_sequential=True).state_dict()
    first = next(iter(features))
    features[first] = adapt_input_conv(case["in_channels"], features[first])
    save_file({n: t.contiguous() for n, t in features.items()}, folder / f"{case['name']}.features.safetensors")


def main():
    what, argument, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    if what == "initial":
        for case in json.loads(argument):
            initial(case)
    else:
        for case in json.loads((Path(argument) / "cases.json").read_text()):
            published(case, Path(argument))


main()
