"""Prints the contents of a folder of event files, as read by TensorBoard's own reader, as JSON.

Usage: tensorboard_events.py FOLDER
"""
import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

reader = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0, "histograms": 0})
reader.Reload()
tags = reader.Tags()
print(json.dumps({
    "scalars": {tag: [[e.step, e.value] for e in reader.Scalars(tag)] for tag in tags["scalars"]},
    "histograms": {
        tag: [
            {"step": e.step, "min": h.min, "max": h.max, "num": h.num, "sum": h.sum, "sum_squares": h.sum_squares,
             "bucket_limit": list(h.bucket_limit), "bucket": list(h.bucket)}
            for e in reader.Histograms(tag)
            for h in [e.histogram_value]
        ]
        for tag in tags["histograms"]
    },
    "images": {
        tag: [[e.step, e.width, e.height, e.encoded_image_string[:4].hex()] for e in reader.Images(tag)]
        for tag in tags["images"]
    },
}))
