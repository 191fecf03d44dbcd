"""Reference files for the conversion of weights from and to other libraries.

usage: exchange.py classifiers FOLDER SEED   writes for each case of cases.json ({name, library, encoder})
                                             NAME.theirs.safetensors, the library's classifier with random values, and
                                             NAME.ours.safetensors, the same tensors with the names of
                                             segmentation_models_pytorch's encoder
       exchange.py checkpoint FOLDER SEED    writes a model as users save it, nested.pt and old.pt (the format before
                                             zip archives), with an input x.safetensors and its logits y.safetensors
       exchange.py modules FOLDER            writes for each module of cases.json ({name}) the logits of NAME.pt for
                                             NAME.x, by torch.jit and by onnxruntime (after conversion to ONNX), as
                                             NAME.y.safetensors
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
    """Yields the names in both libraries of each tensor of the encoder. This relies only on the order of layers: both
    libraries register them in the order in which they run."""
    if encoder.startswith("tu-"):
        # The encoder is the feature extractor of the same library, with the modules of the classifier.
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
        # Checks that both compute the same, not only that names match. timm's EfficientNet computes its padding differently.
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
        # Two layers that share a tensor (tied weights).
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
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            failures.append(f"{case['model']}: {result.stderr[-2000:]}")
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
