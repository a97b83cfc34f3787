"""Write tests/data/tfds: tiny data sets made and read by tensorflow_datasets itself.

    pip install tensorflow-cpu tensorflow-datasets    # in an environment of its own
    python tools/tfds_fixture.py tests/data/tfds

``expected.json`` holds what tensorflow_datasets gives for each part, in order: the first pixel of
each image and the label by VTAB's rule.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

SHARDS = 3


class Small(tfds.core.GeneratorBasedBuilder):
    """Images of 2 x 2 pixels, different ones."""

    counts: ClassVar[dict[str, int]]

    def _split_generators(self, dl_manager):
        del dl_manager
        return {split: self._generate_examples(split) for split in self.counts}

    def _generate_examples(self, split):
        rng = np.random.default_rng(len(split))
        for index in range(self.counts[split]):
            yield index, self.example(rng)


class Cifar100(Small):
    VERSION = tfds.core.Version("3.0.2")
    counts: ClassVar = {"train": 90, "test": 20}

    def _info(self):
        names = [f"class {index}" for index in range(4)]
        features = {
            "image": tfds.features.Image(shape=(2, 2, 3)),
            "label": tfds.features.ClassLabel(names=names),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def example(self, rng):
        return {"image": pixels(rng), "label": int(rng.integers(4))}


class Clevr(Small):
    VERSION = tfds.core.Version("3.1.0")
    counts: ClassVar = {"train": 60, "validation": 10}

    def _info(self):
        objects = {
            "size": tfds.features.ClassLabel(names=["small", "large"]),
            "pixel_coords": tfds.features.Tensor(shape=(3,), dtype=np.float32),
        }
        features = {
            "image": tfds.features.Image(),
            "objects": tfds.features.Sequence(objects),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def example(self, rng):
        places = rng.uniform(6, 13, (rng.integers(3, 11), 3)).astype(np.float32)
        objects = [{"size": "small", "pixel_coords": place} for place in places]
        return {"image": pixels(rng), "objects": objects}


def pixels(rng):
    return rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)


def nearest(record):
    limits = np.array([0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0])
    return int(np.max(np.where(limits < record["objects"]["pixel_coords"][:, 2].min())))


PARTS = {
    "cifar": (Cifar100, ("train[:40]", "train[81:87]", "test"), lambda record: record["label"]),
    "clevr_dist": (Clevr, ("train[:40]", "train[54:60]", "validation"), nearest),
}


def main() -> None:
    out = Path(sys.argv[1])
    shutil.rmtree(out, ignore_errors=True)
    expected = {}
    for task, (builder_class, parts, label) in PARTS.items():
        builder = builder_class(data_dir=str(out))
        download = tfds.download.DownloadConfig(num_shards=SHARDS)
        builder.download_and_prepare(download_config=download)
        expected[task] = {}
        for split, part in zip(("train", "val", "test"), parts, strict=True):
            records = tfds.as_numpy(builder.as_dataset(split=part, shuffle_files=False))
            expected[task][split] = [
                [record["image"][0, 0].tolist(), int(label(record))] for record in records
            ]
    shutil.rmtree(out / "downloads", ignore_errors=True)
    (out / "expected.json").write_text(json.dumps(expected) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
