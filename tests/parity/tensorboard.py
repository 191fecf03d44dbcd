"""What TensorBoard's own reader finds in a folder of event files, as JSON.

Usage: tensorboard.py FOLDER
"""
import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

reader = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0})
reader.Reload()
tags = reader.Tags()
print(json.dumps({
    "scalars": {tag: [[e.step, e.value] for e in reader.Scalars(tag)] for tag in tags["scalars"]},
    "images": {
        tag: [[e.step, e.width, e.height, e.encoded_image_string[:4].hex()] for e in reader.Images(tag)]
        for tag in tags["images"]
    },
}))
