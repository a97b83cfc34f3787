"""The images of a run, decoded before anything is trained: a broken test photo shows at once."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.core.turns import has_company
from arcvit.data.config import DataConfig
from arcvit.data.pixels.bank import ImageBank
from arcvit.data.pixels.decode import UnreadableImages
from arcvit.data.pixels.grey import grey_peaks, grey_range
from arcvit.data.pixels.preset import Preprocessing
from arcvit.data.task import ImageTask, Split


@dataclass(frozen=True, kw_only=True)
class RunImages:
    """Decoded images.

    Attributes:
        train: what is fitted.
        val: what is measured after an epoch; None where there is none, or where it is fitted.
        test: read once at the end; None where there is none.
    """

    train: ImageBank
    val: ImageBank | None
    test: ImageBank | None

    @property
    def skipped(self) -> int:
        """Number of unreadable images left out."""
        return sum(len(bank.skipped) for bank in (self.train, self.val, self.test) if bank)


def decoded_as(data: DataConfig, prep: Preprocessing, task: ImageTask) -> Preprocessing:
    """The preprocessing with how files become RGB: as asked, and as the training images need it."""
    how = data.decoding()
    peaks = grey_peaks(fitted(task, data).paths, how)
    return replace(prep, **{**asdict(how), "grey_max": grey_range(peaks)})


def decode_run(
    task: ImageTask,
    prep: Preprocessing,
    training_prep: Preprocessing,
    data: DataConfig,
    *,
    read_test: bool = True,
) -> RunImages:
    """Decode what a run needs, in memory as far as the limit goes.

    Args:
        task: class names and splits.
        prep: how validation and test images are prepared.
        training_prep: how training images are prepared.
        data: what was asked for.
        read_test: whether the test split is wanted.

    Raises:
        UnreadableImages: lists the unreadable files of all splits.
        UserError: no readable training image is left of a class.
    """
    splits = {"train": fitted(task, data)}
    if task.has("val") and data.fit_on == "train":
        # A validation split that is trained on would measure memory.
        splits["val"] = task.split("val")
    if read_test and task.has("test"):
        splits["test"] = task.split("test")
    room = int(data.memory_gb * 1e9)
    banks: dict[str, ImageBank] = {}
    unreadable: list[tuple[Path, str]] = []
    for name, split in splits.items():
        try:
            banks[name] = decode_split(
                split,
                training_prep if name == "train" else prep,
                data,
                classes=len(task.classes),
                memory_limit=room,
            )
        except UnreadableImages as error:
            unreadable.extend(error.bad)
            continue
        size = banks[name].images.nbytes
        room -= size if size <= room else 0
    if unreadable:
        raise UnreadableImages(unreadable, skipped=data.on_bad == "skip")
    _refuse_lost_classes(banks["train"], splits["train"], task)
    return RunImages(train=banks["train"], val=banks.get("val"), test=banks.get("test"))


def decode_split(
    split: Split,
    prep: Preprocessing,
    data: DataConfig,
    *,
    classes: int | None = None,
    memory_limit: int | None = None,
) -> ImageBank:
    """The images of a split, decoded once, in memory or, above the limit or shared, on disk.

    Args:
        split: images and labels.
        prep: how they are prepared.
        data: what was asked for.
        classes: number of classes, which a multilabel split needs.
        memory_limit: bytes; None: as ``data`` says.
    """
    cache = Path(data.cache_dir).expanduser() if data.cache_dir else Path.home() / ".cache/arcvit"
    return ImageBank.build(
        split,
        prep,
        classes=classes,
        on_bad=data.on_bad,
        memory_limit=int(data.memory_gb * 1e9) if memory_limit is None else memory_limit,
        cache_dir=cache,
        shared=has_company(),
        workers=data.workers,
    )


def fitted(task: ImageTask, data: DataConfig) -> Split:
    """The images that are trained on."""
    return task.trainval() if data.fit_on == "trainval" else task.split("train")


def _refuse_lost_classes(train: ImageBank, split: Split, task: ImageTask) -> None:
    """A class all of whose training images were skipped can't be learned."""
    readable = set(train.paths)
    left = {k for path, own in split.with_sets() if path in readable for k in own}
    lost = sorted({k for own in split.label_sets for k in own} - left)
    if lost:
        names = ", ".join(repr(task.classes[label]) for label in lost[:10])
        raise UserError(
            f"no readable training image is left of {names}: repair those images or remove the"
            " classes."
        )
