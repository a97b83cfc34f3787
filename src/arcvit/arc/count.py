"""Adapter parameters of the paper's settings: ``python -m arcvit.arc.count --table``.

Paper: arXiv 2310.06234, tables 1 to 4; its figures include the task's head, on average over the 19
tasks of VTAB-1k, which have 940 classes together.
"""

import argparse
from dataclasses import dataclass

VTAB_CLASSES, VTAB_TASKS = 940, 19


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A backbone and variant.

    Attributes:
        name: as in the paper.
        stages: width and depth of each stage; a plain ViT has one.
        roles: 2 for ARC, 1 for ARC_att.
        features: width of the features that reach the head.
        r: bottleneck width.
        paper: the paper's figure in millions, head included, where it gives one.
    """

    name: str
    stages: tuple[tuple[int, int], ...]
    roles: int
    features: int
    r: int = 50
    paper: str = ""

    @property
    def adapters(self) -> int:
        """``roles * sum over stages of (d r + L (r + d))``."""
        return self.roles * sum(d * self.r + depth * (self.r + d) for d, depth in self.stages)

    @property
    def with_mean_head(self) -> int:
        """With the mean VTAB-1k head, ``(d + 1) * 940 / 19``, rounded."""
        return round(self.adapters + (self.features + 1) * VTAB_CLASSES / VTAB_TASKS)


SETTINGS = (
    Setting(name="ViT-B/16 ARC", stages=((768, 12),), roles=2, features=768, paper="0.13 M"),
    Setting(name="ViT-B/16 ARC_att", stages=((768, 12),), roles=1, features=768),
    Setting(
        name="Swin-B ARC",
        stages=((128, 2), (256, 2), (512, 18), (1024, 2)),
        roles=2,
        features=1024,
        paper="0.27 M",
    ),
    Setting(name="ViT-L/16 ARC", stages=((1024, 24),), roles=2, features=1024, paper="0.18 M"),
    Setting(name="ViT-H/14 ARC", stages=((1280, 32),), roles=2, features=1280, paper="0.22 M"),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Adapter parameters of the paper's settings.")
    parser.add_argument("--table", action="store_true", help="print the table (the default)")
    parser.parse_args()
    print(f"{'setting, r = 50':<18}{'adapters':>10}{'+ mean VTAB-1k head':>22}{'paper':>9}")
    for s in SETTINGS:
        print(f"{s.name:<18}{s.adapters:>10,}{s.with_mean_head:>22,}{s.paper:>9}")


if __name__ == "__main__":
    main()
