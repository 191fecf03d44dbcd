"""A module that `carpus models export` wrote as ONNX.

usage: python torchscript_to_onnx.py M.pt M.onnx SHAPE [METADATA_SHAPE]     (as the export printed them: 1x3x512x512 1x4)

Needs torch and onnx. The module was recorded at one size, so the ONNX file takes that size alone.
"""

import argparse
import warnings

import torch


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("shape", help="of the images, joined by x")
    parser.add_argument("metadata", nargs="?", help="shape of the metadata, for a model that takes them")
    args = parser.parse_args()
    module = torch.jit.load(args.input, map_location="cpu").eval()
    shapes = {"images": args.shape, "metadata": args.metadata}
    inputs = {name: torch.zeros([int(n) for n in shape.split("x")]) for name, shape in shapes.items() if shape}
    with warnings.catch_warnings():
        # The exporter for TorchScript modules is the older of torch's two; the newer one does not take them.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(module, tuple(inputs.values()), args.output, dynamo=False, opset_version=17,
                          input_names=list(inputs), output_names=["logits"])
    print(f"{' and '.join(f'{name} {list(x.shape)}' for name, x in inputs.items())} to logits in {args.output}")


main()
