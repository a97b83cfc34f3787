"""The 24 benchmark tasks as records: what they are called, how many classes and images they have.

Counts are those of VTAB-1k (google-research/task_adaptation) and of VPT's FGVC lists. No torch: the
command line reads this.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from arcvit.core.errors import UserError, nearest

Suite = Literal["vtab", "fgvc"]
Group = Literal["natural", "specialized", "structured", "fine-grained"]
SUITES: tuple[Suite, ...] = ("vtab", "fgvc")


@dataclass(frozen=True, kw_only=True)
class BenchmarkTask:
    """One task of a benchmark suite."""

    name: str
    """The folder's name in the layout that people have."""
    suite: Suite
    """``vtab`` or ``fgvc``; also the name of the preset that the suite is measured with."""
    group: Group
    """``natural``, ``specialized`` or ``structured`` in VTAB-1k, ``fine-grained`` in FGVC."""
    classes: int
    """Number of classes; labels run from 0 to one less."""
    train: int
    """Training images."""
    val: int
    """Validation images."""
    test: int
    """Test images."""
    aliases: tuple[str, ...] = ()
    """Other names of the folder. Case, ``-``, ``_`` and spaces don't count in names."""
    source_side: int | None = None
    """Height and width of the source's images in pixels where all are squares of one size."""
    lossless: bool = False
    """Whether the source holds its images without loss, so that a JPEG of one is a re-encoding."""

    @property
    def trainval(self) -> int:
        """Images that the final model trains on."""
        return self.train + self.val

    @property
    def counts(self) -> Mapping[str, int]:
        """Images of each split, as ``ImageTask`` calls them."""
        return {
            "train": self.train,
            "val": self.val,
            "trainval": self.trainval,
            "test": self.test,
        }

    @property
    def val_fraction(self) -> float:
        """Share of the training images that the benchmark keeps for validation."""
        return round(self.val / self.trainval, 1)

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the aliases."""
        return (self.name, *self.aliases)

    @property
    def preset(self) -> str:
        """The preprocessing preset that the suite's published results were measured with."""
        return self.suite


def _vtab(
    name: str,
    group: Group,
    classes: int,
    test: int,
    *aliases: str,
    side: int | None = None,
    lossless: bool = False,
) -> BenchmarkTask:
    return BenchmarkTask(
        name=name,
        suite="vtab",
        group=group,
        classes=classes,
        train=800,
        val=200,
        test=test,
        aliases=aliases,
        source_side=side,
        lossless=lossless,
    )


def _fgvc(name: str, classes: int, counts: tuple[int, int, int], *aliases: str) -> BenchmarkTask:
    train, val, test = counts
    return BenchmarkTask(
        name=name,
        suite="fgvc",
        group="fine-grained",
        classes=classes,
        train=train,
        val=val,
        test=test,
        aliases=aliases,
    )


TASKS: tuple[BenchmarkTask, ...] = (
    _vtab("cifar", "natural", 100, 10_000, "cifar100", side=32, lossless=True),
    _vtab("caltech101", "natural", 102, 6_084),
    _vtab("dtd", "natural", 47, 1_880),
    _vtab("oxford_flowers102", "natural", 102, 6_149, "flowers102", "flowers"),
    _vtab("oxford_iiit_pet", "natural", 37, 3_669, "oxford_pet", "pets", "pet"),
    _vtab("svhn", "natural", 10, 26_032, side=32, lossless=True),
    _vtab("sun397", "natural", 397, 21_750),
    _vtab("patch_camelyon", "specialized", 2, 32_768, "camelyon", side=96, lossless=True),
    _vtab("eurosat", "specialized", 10, 5_400, side=64),
    _vtab("resisc45", "specialized", 45, 6_300, side=256),
    _vtab("diabetic_retinopathy", "specialized", 5, 42_670, "retinopathy"),
    _vtab("clevr_count", "structured", 8, 15_000, lossless=True),
    _vtab("clevr_dist", "structured", 6, 15_000, "clevr_distance", lossless=True),
    _vtab("dmlab", "structured", 6, 22_735),
    _vtab("kitti", "structured", 4, 711, lossless=True),
    _vtab("dsprites_loc", "structured", 16, 73_728, "dsprites_position", side=64, lossless=True),
    _vtab("dsprites_ori", "structured", 16, 73_728, "dsprites_orientation", side=64, lossless=True),
    _vtab("smallnorb_azi", "structured", 18, 12_150, "smallnorb_azimuth", side=96, lossless=True),
    _vtab("smallnorb_ele", "structured", 9, 12_150, "smallnorb_elevation", side=96, lossless=True),
    _fgvc("CUB_200_2011", 200, (5_394, 600, 5_794), "cub", "cub200", "cub_200"),
    _fgvc("NABirds", 555, (21_536, 2_393, 24_633)),
    _fgvc("OxfordFlowers", 102, (1_020, 1_020, 6_149), "flowers", "oxford_flowers"),
    _fgvc("StanfordDogs", 120, (10_800, 1_200, 8_580), "dogs"),
    _fgvc("StanfordCars", 196, (7_329, 815, 8_041), "cars"),
)
"""All tasks, VTAB-1k first, in the order in which papers print them."""


def suite_tasks(suite: str) -> tuple[BenchmarkTask, ...]:
    """The tasks of ``vtab`` or ``fgvc`` in the order in which papers print them.

    Raises:
        UserError: there is no such suite.
    """
    if suite not in SUITES:
        raise UserError(
            f"there is no suite {suite!r}: expected {' or '.join(SUITES)}.{nearest(suite, SUITES)}"
        )
    return tuple(task for task in TASKS if task.suite == suite)


def find_task(name: str, *, suite: str | None = None) -> BenchmarkTask:
    """The task of that name or alias.

    Args:
        name: as people write it; case, ``-``, ``_`` and spaces don't count.
        suite: look in this suite alone; some aliases (``flowers``) are in both.

    Raises:
        UserError: no such task, with the nearest name; or tasks of both suites have the name.
    """
    known = TASKS if suite is None else suite_tasks(suite)
    found = _matching(name, known)
    if len(found) == 1:
        return found[0]
    if found:
        both = ", ".join(f"{task.name} ({task.suite})" for task in found)
        raise UserError(f"{name!r} is a name of {both}: expected one task, give its full name.")
    of = f" of {suite}" if suite else ""
    names = [alias for task in known for alias in task.names]
    raise UserError(
        f"there is no benchmark task{of} {name!r}: expected"
        f" {', '.join(task.name for task in known)}.{nearest(name, names)}"
    )


def recognise(name: str, *, suite: str | None = None) -> BenchmarkTask | None:
    """The one task that a folder of this name holds, None where it is none or might be two."""
    found = _matching(name, TASKS if suite is None else suite_tasks(suite))
    return found[0] if len(found) == 1 else None


def _key(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).casefold()


def _matching(name: str, known: tuple[BenchmarkTask, ...]) -> tuple[BenchmarkTask, ...]:
    return tuple(task for task in known if _key(name) in map(_key, task.names))
