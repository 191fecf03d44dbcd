"""A PyTorch checkpoint (.pt, .pth) as safetensors, which carpus reads.

usage: python pt_to_safetensors.py IN.pt OUT.safetensors [--key KEY]

It reads tensors and plain containers only (torch.load with weights_only=True), so nothing in the file runs. The state
dict may be the file itself or lie in it under --key, or under one of the usual names (state_dict, model_state_dict, model,
ema, net, network, weights). A common prefix `module.` or `_orig_mod.` is taken off: DataParallel and torch.compile add
it. Tensors that share memory are written each by itself.

Needs torch and safetensors.
"""

import argparse
import sys

import torch
from safetensors.torch import save_file

USUAL = ["state_dict", "model_state_dict", "model", "ema", "net", "network", "weights"]
WRAPPERS = ["module.", "_orig_mod."]


def is_state(value):
    return isinstance(value, dict) and value and all(isinstance(tensor, torch.Tensor) for tensor in value.values())


def find(checkpoint, key):
    """The state dict in what was loaded, and the path of keys to it."""
    if key is not None:
        for part in key.split("."):
            if not isinstance(checkpoint, dict) or part not in checkpoint:
                sys.exit(f"there is no {key!r} in the file; at the top there is {list(checkpoint)[:20]}")
            checkpoint = checkpoint[part]
        return checkpoint, key
    if is_state(checkpoint):
        return checkpoint, ""
    if isinstance(checkpoint, dict):
        for name in USUAL:
            if name in checkpoint:
                inner, path = find(checkpoint[name], None)
                return inner, f"{name}.{path}".rstrip(".")
    what = list(checkpoint)[:20] if isinstance(checkpoint, dict) else type(checkpoint).__name__
    sys.exit(f"found no state dict in {what}; name its place with --key")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--key", help="where the state dict lies in the file, parts joined by dots")
    args = parser.parse_args()
    state, path = find(torch.load(args.input, map_location="cpu", weights_only=True), args.key)
    others = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        sys.exit(f"{path or 'the file'} holds more than tensors: {others[:20]}; name the state dict with --key")
    stripped = True
    while stripped:
        stripped = False
        for wrapper in WRAPPERS:
            if state and all(name.startswith(wrapper) for name in state):
                state = {name[len(wrapper):]: tensor for name, tensor in state.items()}
                stripped = True
    # A clone has memory of its own: safetensors refuses shared memory.
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    save_file(tensors, args.output, metadata={"format": "pt"})
    print(f"{len(tensors)} tensors from {path or 'the top of the file'} in {args.output}")


main()
