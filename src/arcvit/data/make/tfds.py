"""Data sets as tensorflow_datasets keeps them on disk, read without TensorFlow.

A folder ``<data set>[/<config>]/<version>`` holds ``dataset_info.json`` and, for each split, files
of TFRecords. Records come in the order in which ``tfds.load`` gives them with unshuffled files.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.files import read_json
from arcvit.data.findings import examples
from arcvit.data.make.tfrecord import Record, read_records
from arcvit.data.readers.lists import read_names

CYCLE, BLOCK = 16, 16
"""So many files are read in turns, so many records at a time: the defaults of ``ReadConfig``."""

_INFO = "dataset_info.json"


@dataclass(frozen=True)
class Part:
    """A part of a split, such as ``train[:90%]``."""

    split: str
    """Name of the split."""
    start: int = 0
    """Where it starts, in per cent of the split."""
    stop: int = 100
    """Where it stops, in per cent."""

    def within(self, count: int) -> range:
        """The places of its records in a split of ``count``; limits are rounded down."""
        return range(self.start * count // 100, self.stop * count // 100)


@dataclass(frozen=True, kw_only=True)
class TfdsCopy:
    """A prepared data set on disk."""

    root: Path
    """Its folder."""
    name: str
    """Name of the data set."""
    version: str
    """Its version, such as 3.0.2."""
    lengths: Mapping[str, Sequence[int]]
    """For each split, the number of records in each of its files."""
    cycle: int = CYCLE
    """How many files are read in turns."""

    def count(self, part: Part) -> int:
        """Number of records in a part; 0 where there is no such split."""
        return len(part.within(sum(self.lengths.get(part.split, ()))))

    def records(self, part: Part, count: int | None = None) -> Iterator[Record]:
        """The first ``count`` records of a part, in tfds' order; None: all of it.

        They are the first in the files, which are then read in turns: ``train[:800]`` of tfds, not
        the first 800 that it gives of ``train``.

        Raises:
            UserError: a file is missing or broken.
        """
        wanted = part.within(sum(self.lengths[part.split]))[:count]
        readers, first = [], 0
        for index, length in enumerate(self.lengths[part.split]):
            start, stop = (min(max(at - first, 0), length) for at in (wanted.start, wanted.stop))
            if start < stop:
                readers.append(read_records(self._file(part.split, index), start, stop))
            first += length
        return in_turns(readers, self.cycle)

    def class_names(self, feature: str) -> tuple[str, ...] | None:
        """Names of a feature's classes, in label order, where the copy has them."""
        file = self.root / f"{feature}.labels.txt"
        return read_names(file) if file.is_file() else None

    def _file(self, split: str, index: int) -> Path:
        count = len(self.lengths[split])
        return self.root / f"{self.name}-{split}.tfrecord-{index:05d}-of-{count:05d}"


def find_copy(folder: Path, name: str, config: str | None = None) -> TfdsCopy | None:
    """The prepared copy of a data set in a folder: the folder itself, or one inside it.

    Args:
        folder: the folder of a version, of a data set, or of all data sets.
        name: the data set's.
        config: its config's, for a data set that has several.

    Returns:
        None where the folder holds nothing that tensorflow_datasets has prepared.

    Raises:
        UserError: it holds other data sets only, more than one version, or another file format.
    """
    inside = [folder / _INFO] if (folder / _INFO).is_file() else sorted(folder.rglob(_INFO))
    infos = {info.parent: read_json(info) for info in inside}
    infos = {root: info for root, info in infos.items() if "fileFormat" in info or _shards(root)}
    if not infos:
        return None
    wanted = f"{name}/{config}" if config else name
    found = [
        root
        for root, info in infos.items()
        if info.get("name") == name and (config is None or config in _configs(root, info))
    ]
    if len(found) != 1:
        there = examples(found or list(infos), most=20)
        raise UserError(
            f"{folder} holds {len(found) or 'no'} prepared copies of {wanted}, but {there}:"
            " expected the folder of one version."
        )
    info = infos[found[0]]
    if info.get("fileFormat", "tfrecord") != "tfrecord":
        raise UserError(
            f"{found[0]} is in the format {info['fileFormat']}: expected tfrecord; prepare it with"
            " tfds.builder(..., file_format='tfrecord')."
        )
    return TfdsCopy(
        root=found[0],
        name=name,
        version=str(info.get("version", found[0].name)),
        lengths={
            split["name"]: [int(length) for length in split.get("shardLengths", ())]
            for split in info.get("splits", ())
        },
        cycle=1 if info.get("disableShuffling") else CYCLE,
    )


def in_turns(readers: Sequence[Iterator[Record]], cycle: int = CYCLE) -> Iterator[Record]:
    """Records of many files, ``BLOCK`` from each of ``cycle`` files in turn.

    A file that ends is followed by the next one when its turn comes again: the order of
    ``tf.data.Dataset.interleave``.
    """
    waiting = deque(readers)
    places: list[Iterator[Record] | None] = [None] * cycle
    at = 0
    while waiting or any(place is not None for place in places):
        reader = places[at]
        if reader is None and waiting:
            reader = places[at] = waiting.popleft()
        if reader is not None:
            block = list(islice(reader, BLOCK))
            yield from block
            if len(block) < BLOCK:
                places[at] = None
        at = (at + 1) % cycle


def _shards(root: Path) -> bool:
    return next(root.glob("*.tfrecord-*"), None) is not None


def _configs(root: Path, info: Mapping[str, Any]) -> tuple[str, ...]:
    """What a copy may be called: by its file and by its folder."""
    return str(info.get("configName", "")), root.parent.name
