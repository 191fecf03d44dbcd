"""A PyTorch checkpoint (.pt, .pth, .ckpt) as safetensors, which carpus reads.

usage: python pt_to_safetensors.py IN.pt OUT.safetensors [--key KEY] [--strip PREFIX]

Nothing in the file runs: torch.load with weights_only=True reads tensors and plain containers, and an empty stand-in takes
the place of any other object (training arguments, NumPy's numbers). The state dict may be the file itself or lie in it
under --key, or under one of the usual names (state_dict, model_state_dict, model, ema, net, network, network_weights and
others). A common prefix `module.` or `_orig_mod.` is taken off: DataParallel and torch.compile add it. --strip PREFIX keeps
the tensors under PREFIX alone and takes that off too, for a Lightning checkpoint `--strip model`: its network is stored next to
losses and metrics. Tensors that share memory are written each by itself. The text of
an mmsegmentation configuration (meta.cfg) is kept as the entry mmseg_cfg of OUT's metadata. OUT is written completely or not at all.

Needs torch and safetensors.
"""

import argparse
import os
import re
import sys
import tarfile
import warnings
import zipfile
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors.torch import save_file

USUAL = ["state_dict", "model_state_dict", "model", "ema", "net", "network", "weights", "network_weights", "model_state",
         "state_dict_ema", "model_ema", "module"]
WRAPPERS = ["module.", "_orig_mod."]
# A network's names have one of each at their start; names that have them after a prefix are of something around it.
BODIES = {"encoder", "backbone", "segformer"}
HEADS = {"decoder", "segmentation_head", "decode_head", "classifier"}
WAY_OUT = 'Where the model was made, save its state dict: torch.save(model.state_dict(), "weights.pt")'


class StandIn:
    """Takes what an object would be made of and does nothing with it."""

    def __new__(cls, *_, **__):
        return super().__new__(cls)

    def __setstate__(self, state):
        pass


def stand_ins(path):
    """One for every class and function that the file names and weights_only=True refuses."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # An older torch, or a file from before zip archives: torch.load says what it refuses.
        return []
    return [(type(name, (StandIn,), {}), name) for name in names]


def start(path, count):
    with path.open("rb") as file:
        return file.read(count)


def check_kind(path):
    """Exits with advice if the file is clearly of another kind."""
    if not path.is_file():
        sys.exit(f"{path}: {'this is not a file' if path.exists() else 'there is no such file'}")
    first, size = start(path, 9), path.stat().st_size
    if not size:
        sys.exit(f"{path}: the file is empty")
    if first[8:] == b"{" and int.from_bytes(first[:8], "little") < size:
        sys.exit(f"{path}: this is safetensors already; carpus reads it as it is")
    if first.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = {name.rpartition("/")[2] for name in archive.namelist()}
        except zipfile.BadZipFile:
            sys.exit(f"{path}: the file is damaged or cut short ({size} bytes): fetch or save it again")
        if "constants.pkl" in names:
            sys.exit(f"{path}: this is a TorchScript archive; a state dict is needed: "
                     f'torch.save(torch.jit.load("{path.name}").state_dict(), "weights.pt")')
        if "data.pkl" not in names:
            sys.exit(f"{path}: this is a zip archive, but not one of torch.save. {WAY_OUT}")
    elif tarfile.is_tarfile(path):
        sys.exit(f"{path}: this is a tar archive (torch.save's first format was one), which is not read. {WAY_OUT}")


def read(path):
    objects = stand_ins(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(objects) if objects else nullcontext():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # UnpicklingError, EOFError, RuntimeError, KeyError and others.
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused:
            sys.exit(f"{path}: a pickle of Python objects ({refused[1]}), which runs code when it is read. {WAY_OUT}")
        message = re.search(r"WeightsUnpickler error:\s*(.*)", str(error)) or re.match(r"(.*)", str(error))
        sys.exit(f"{path}: torch.load cannot read it as tensors alone ({type(error).__name__} {message[1]}). "
                 f"Is it a whole file of torch.save? It starts with {start(path, 16)!r}. {WAY_OUT}")


def listing(names):
    names = list(names)
    return ", ".join(map(str, names[:8])) + (", ..." if len(names) > 8 else "")


def kinds(value):
    """Of what type it is, or what is in it where that is a dict."""
    if not isinstance(value, dict):
        return f"a Python object ({type(value).__name__})"
    return listing(f"{name} ({type(inner).__name__})" for name, inner in value.items()) or "an empty dict"


def is_state(value):
    """Named tensors; a few things else among them are refused later, by name."""
    return (isinstance(value, dict) and all(isinstance(name, str) for name in value)
            and 2 * sum(isinstance(tensor, torch.Tensor) for tensor in value.values()) > len(value))


def states(value, path):
    """State dicts at `value` or under usual names in it, each with the keys to it; the usual one first."""
    if not isinstance(value, dict):
        return []
    inner = [found for name in USUAL if name in value for found in states(value[name], [*path, name])]
    return inner or ([(value, ".".join(path))] if is_state(value) else [])


def find(checkpoint, key, file):
    """The state dict in what was loaded, and the path of keys to it."""
    path = key.split(".") if key else []
    for part in path:
        if not isinstance(checkpoint, dict) or part not in checkpoint:
            sys.exit(f"{file}: there is no {key!r}: instead of {part!r} there is {kinds(checkpoint)}")
        checkpoint = checkpoint[part]
    found = states(checkpoint, path)
    if not found:
        elsewhere = " If it lies elsewhere, name its place with --key." if isinstance(checkpoint, dict) else ""
        sys.exit(f"{file}: no state dict in {key or 'the file'}, only {kinds(checkpoint)}.{elsewhere} {WAY_OUT}")
    state, place = found[0]
    if len(found) > 1:
        print(f"took {place}; others are there: {', '.join(f'--key {other}' for _, other in found[1:])}")
    return state, place


def under(state, prefix):
    """The tensors whose names start with `prefix`, without it."""
    return {name[len(prefix):]: tensor for name, tensor in state.items() if name.startswith(prefix)}


def unwrap(state):
    for wrapper in WRAPPERS:
        if state and all(name.startswith(wrapper) for name in state):
            return unwrap(under(state, wrapper))
    return state


def strip(state, prefix, file):
    """What lies under `prefix`, given with or without a dot at its end, and before or after wrappers were taken off."""
    prefix = prefix.rstrip(".") + "."
    for names in (state, unwrap(state)):
        kept = under(names, prefix)
        if kept:
            left = [name for name in names if not name.startswith(prefix)]
            if left:
                print(f"left out {len(left)} not under {prefix}: {listing(left)}")
            return kept
    firsts = Counter(name.split(".")[0] for name in unwrap(state))
    sys.exit(f"{file}: no name starts with {prefix}; first parts are "
             + listing(f"{first} ({count})" for first, count in firsts.most_common()))


def hint(names):
    """Prints a note about a prefix after which most names belong to a network."""
    for depth in (1, 2):
        firsts = Counter(".".join(name.split(".")[:depth]) for name in names)
        prefix, count = firsts.most_common(1)[0]
        parts = {name[len(prefix) + 1:].split(".")[0] for name in names if name.startswith(prefix + ".")}
        if 5 * count >= 4 * len(names) and parts & BODIES and parts & HEADS:
            print(f"hint: {count} of {len(names)} names start with {prefix}. and go on as a network's do; carpus wants them "
                  f"without it: --strip {prefix}", file=sys.stderr)
            return


def configuration(checkpoint):
    """The text of an mmsegmentation configuration: under `cfg`, in release 0 under `config`."""
    meta = checkpoint.get("meta") if isinstance(checkpoint, dict) else None
    texts = [meta[name] for name in ("cfg", "config") if isinstance(meta.get(name), str)] if isinstance(meta, dict) else []
    return {"mmseg_cfg": texts[0]} if texts else {}


def write(state, output, metadata):
    target = output.resolve()
    part = target.with_name(f".carpus-{os.getpid()}")
    try:
        # A clone has memory of its own: safetensors refuses shared memory.
        tensors = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
        save_file(tensors, part, metadata={"format": "pt"} | metadata)
        part.chmod(0o644)  # Newer versions of safetensors make files that their owner alone reads.
        os.replace(part, target)
    except Exception as error:  # A full disk, a sparse tensor: torch and safetensors raise many kinds.
        sys.exit(f"{output}: not written: {error}")
    finally:
        part.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--key", help="where the state dict lies in the file, parts joined by dots")
    parser.add_argument("--strip", metavar="PREFIX", help="keep the tensors under this prefix alone and take it off")
    args = parser.parse_args()
    check_kind(args.input)
    if args.output.exists():
        if args.output.samefile(args.input):
            sys.exit(f"{args.output}: this is the input, which is not written over")
        if not args.output.is_file():
            sys.exit(f"{args.output}: this is there already and is not a file")
    checkpoint = read(args.input)
    state, place = find(checkpoint, args.key, args.input)
    place = place or "the top of the file"
    if args.strip is not None:
        state = strip(state, args.strip, args.input)
    state = unwrap(state)
    others = {name: value for name, value in state.items() if not isinstance(value, torch.Tensor)}
    if others:
        sys.exit(f"{args.input}: {len(others)} in {place} are not tensors: {kinds(others)}. Name another place with --key, "
                 "or save the tensors alone: torch.save({name: value for name, value in model.state_dict().items() "
                 'if isinstance(value, torch.Tensor)}, "weights.pt")')
    write(state, args.output, configuration(checkpoint))
    print(f"{len(state)} tensors from {place} in {args.output}")
    if args.strip is None:
        hint(state)


main()
