"""A module that `carpus models export` wrote as ONNX.

usage: python torchscript_to_onnx.py M.pt M.onnx SHAPE     (SHAPE as the export printed it: 1x3x512x512)

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
    args = parser.parse_args()
    module = torch.jit.load(args.input, map_location="cpu").eval()
    x = torch.zeros([int(side) for side in args.shape.split("x")])
    with warnings.catch_warnings():
        # The exporter for TorchScript modules is the older of torch's two; the newer one does not take them.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(module, (x,), args.output, dynamo=False, opset_version=17,
                          input_names=["images"], output_names=["logits"])
    print(f"images {list(x.shape)} to logits in {args.output}")


main()
