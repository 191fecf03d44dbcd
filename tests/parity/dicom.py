"""Writes DICOM files of random levels with pydicom into FOLDER and prints what they contain, as JSON.

Usage: dicom.py FOLDER SEED
"""
import json
import os
import sys

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, generate_uid

folder, seed = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(seed)
# Bits stored, kind, signed, transfer syntax, spacing (in the object, at the detector).
CASES = [
    (8, "MONOCHROME2", 0, ExplicitVRLittleEndian, ([0.14, 0.14], None)),
    (8, "MONOCHROME1", 0, ImplicitVRLittleEndian, (None, [0.2, 0.2])),
    (12, "MONOCHROME2", 0, ExplicitVRLittleEndian, ([0.1, 0.1], [0.3, 0.3])),
    (12, "MONOCHROME1", 0, ExplicitVRLittleEndian, (None, None)),
    (16, "MONOCHROME2", 0, ExplicitVRLittleEndian, ([0.1, 0.2], None)),
    (16, "MONOCHROME2", 1, ExplicitVRLittleEndian, (None, None)),
    (10, "MONOCHROME1", 0, RLELossless, (None, None)),
    (8, "RGB", 0, ExplicitVRLittleEndian, (None, None)),
    (14, "MONOCHROME2", 0, ExplicitVRBigEndian, (None, None)),
]
found = []
for n, (bits, kind, signed, syntax, (spacing, imager)) in enumerate(CASES):
    height, width = int(rng.integers(3, 20)), int(rng.integers(3, 20))
    samples = 3 if kind == "RGB" else 1
    shape = (height, width, 3) if samples == 3 else (height, width)
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
    values = rng.integers(low, high, shape)
    allocated = 8 if bits == 8 else 16
    stored = values.astype(("i" if signed else "u") + f"{allocated // 8}")
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns, data.SamplesPerPixel = height, width, samples
    data.PhotometricInterpretation, data.PixelRepresentation = kind, signed
    data.BitsAllocated, data.BitsStored, data.HighBit = allocated, bits, bits - 1
    if samples == 3:
        data.PlanarConfiguration = 0
    if spacing:
        data.PixelSpacing = spacing
    if imager:
        data.ImagerPixelSpacing = imager
    if syntax == RLELossless:
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.PixelData = stored.tobytes()
        data.compress(RLELossless)
    elif syntax == ExplicitVRBigEndian:
        data.PixelData = stored.astype(stored.dtype.newbyteorder(">")).tobytes()
    else:
        data.PixelData = stored.tobytes() + (b"\0" if stored.nbytes % 2 else b"")
    data["PixelData"].VR = "OW" if allocated == 16 else "OB"
    name = f"ID{n + 1:03}_R.dcm"
    data.save_as(os.path.join(folder, name), enforce_file_format=True)
    levels = values.astype(np.int64) - low
    if samples == 3:
        r, g, b = levels[..., 0], levels[..., 1], levels[..., 2]
        levels = (19595 * r + 38470 * g + 7471 * b + 32768) >> 16
    if kind == "MONOCHROME1":
        levels = (1 << bits) - 1 - levels
    chosen = spacing or imager
    found.append(
        {
            "file": name,
            "width": width,
            "height": height,
            "bits": bits,
            "levels": levels.ravel().tolist(),
            "spacing": chosen[0] if chosen and chosen[0] == chosen[1] else None,
        }
    )
print(json.dumps(found))
