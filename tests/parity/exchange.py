"""Other libraries' sides of an exchange of weights.

usage: exchange.py classifiers FOLDER SEED   for each case of cases.json ({name, library, encoder}) NAME.theirs.safetensors, the
                                             library's classifier with random values, and NAME.ours.safetensors, the same
                                             tensors under the names of segmentation_models_pytorch's encoder
       exchange.py checkpoint FOLDER SEED    a model saved as users save it, nested.pt, old.pt (the format before zip
                                             archives), with x.safetensors and its logits y.safetensors
       exchange.py modules FOLDER            for each module of cases.json ({name}): logits of NAME.pt on NAME.x,
                                             by torch.jit and, through ONNX, by onnxruntime, as NAME.y.safetensors
"""

import json
import subprocess
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import segmentation_models_pytorch as smp
import torch
from safetensors.torch import load_file, save_file

from models import randomise

ROOT = Path(__file__).resolve().parents[2]


def write(path, tensors):
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, path)


def classifier(library, encoder):
    if library == "torchvision":
        import torchvision

        return torchvision.models.get_model(encoder.replace("efficientnet-", "efficientnet_"), weights=None)
    import timm

    name = encoder.removeprefix("tu-").replace("efficientnet-", "tf_efficientnet_")
    return timm.create_model({"mobilenet_v2": "mobilenetv2_100"}.get(name, name), pretrained=False)


def pairs(encoder, ours, theirs):
    """Our name for each name of theirs that is in the encoder. Both libraries register layers in the order in which
    they run, which is all that this relies on."""
    if encoder.startswith("tu-"):
        # The encoder is the same library's feature extractor: its modules are the classifier's.
        for name in ours:
            inside = name.removeprefix("model.")
            first, _, rest = inside.partition(".")
            apart = first.replace("_", ".", 1) + "." + rest
            yield name, inside if inside in theirs else apart
        return
    for mine, other in zip(ours, theirs):
        assert ours[mine].shape == theirs[other].shape, (mine, other)
        assert mine.rsplit(".")[-1] == other.rsplit(".")[-1], (mine, other)
        yield mine, other


def classifiers(folder, seed):
    torch.manual_seed(seed)
    for case in json.loads((folder / "cases.json").read_text()):
        model = classifier(case["library"], case["encoder"]).eval()
        with torch.no_grad():
            randomise(model)
        theirs = model.state_dict()
        encoder = smp.encoders.get_encoder(case["encoder"], weights=None).eval()
        ours = encoder.state_dict()
        named = {mine: theirs[other] for mine, other in pairs(case["encoder"], ours, theirs)}
        # The same function, not the same names alone; the other's efficientnet pads in another way.
        encoder.load_state_dict(named)
        if case["library"] == "timm" and hasattr(model, "conv_stem") and case["encoder"].startswith("efficientnet"):
            size = {"b0": 224, "b1": 240, "b2": 260, "b3": 300, "b4": 380, "b5": 456, "b6": 528, "b7": 600}
            x = torch.randn(1, 3, *[size[case["encoder"][-2:]]] * 2)
            with torch.no_grad():
                deepest = encoder.eval()
                features = x
                features = deepest._swish(deepest._bn0(deepest._conv_stem(features)))
                for block in deepest._blocks:
                    features = block(features)
                reference = model.blocks(model.bn1(model.conv_stem(x)))
            difference = (features - reference).abs().max() / reference.abs().max()
            assert difference < 1e-4, (case, difference)
        write(folder / f"{case['name']}.theirs.safetensors", theirs)
        write(folder / f"{case['name']}.ours.safetensors", {f"encoder.{k}": v for k, v in named.items()})


def checkpoint(folder, seed):
    torch.manual_seed(seed)
    model = smp.FPN("resnet18", encoder_weights=None, classes=4).eval()
    with torch.no_grad():
        randomise(model)
        # Two layers that share a tensor, as tied weights do.
        model.encoder.layer1[0].bn1.weight = model.encoder.bn1.weight
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    saved = {"epoch": 3, "model_state_dict": state, "optimizer": {"lr": 1e-3}}
    torch.save(saved, folder / "nested.pt")
    torch.save(saved, folder / "old.pt", _use_new_zipfile_serialization=False)
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        write(folder / "y.safetensors", {"y": model(x)})
    write(folder / "x.safetensors", {"x": x})
    write(folder / "odd.safetensors", {"x": torch.randn(1, 3, 65, 70)})


def modules(folder):
    import onnxruntime

    failures = []
    for case in json.loads((folder / "cases.json").read_text()):
        name = case["name"]
        tensors = load_file(folder / f"{name}.x.safetensors")
        inputs = {given: tensors[ours] for given, ours in {"images": "x", "metadata": "metadata"}.items() if ours in tensors}
        module = torch.jit.load(folder / f"{name}.pt")
        with torch.no_grad():
            y = {"torchscript": module(*inputs.values())}
        onnx = folder / f"{name}.onnx"
        script = ROOT / "assets" / "torchscript_to_onnx.py"
        shapes = ["x".join(map(str, x.shape)) for x in inputs.values()]
        command = [sys.executable, script, folder / f"{name}.pt", onnx, *shapes]
        told = subprocess.run(command, capture_output=True, text=True)
        if told.returncode:
            failures.append(f"{case['model']}: {told.stderr[-2000:]}")
            continue
        session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        y["onnx"] = torch.from_numpy(session.run(None, {given: x.numpy() for given, x in inputs.items()})[0])
        write(folder / f"{name}.y.safetensors", y)
    if failures:
        sys.exit("\n".join(failures))


what, folder = sys.argv[1], Path(sys.argv[2])
torch.set_num_threads(2)
if what == "classifiers":
    classifiers(folder, int(sys.argv[3]))
elif what == "checkpoint":
    checkpoint(folder, int(sys.argv[3]))
else:
    modules(folder)
