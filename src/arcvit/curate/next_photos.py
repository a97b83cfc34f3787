"""What to label next: ``arcvit data next`` as a function."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from arcvit.core.csv_table import write_csv
from arcvit.core.errors import UserError
from arcvit.core.settings import shown
from arcvit.curate.choose import choose, uncertainty
from arcvit.curate.features import eye_of
from arcvit.curate.probe import standardised
from arcvit.data.config import DataConfig
from arcvit.data.contents import content_hashes
from arcvit.recipe.adapter import LoadedAdapter
from arcvit.recipe.given import one_by_one
from arcvit.recipe.load import LoadedRun, load_trained
from arcvit.recipe.resume import known_contents
from arcvit.recipe.run import Run

COLUMNS = ("path", "predicted", "probability", "uncertainty")


@dataclass(frozen=True, kw_only=True)
class NextPhoto:
    """A photo to label.

    Attributes:
        path: where it is.
        predicted: the label that the run takes it for.
        probability: how probable that is, in [0, 1].
        uncertainty: 1 less the difference to the second label's probability, in [0, 1].
    """

    path: Path
    predicted: str
    probability: float
    uncertainty: float


@dataclass(frozen=True, kw_only=True)
class NextPhotos:
    """What to label next.

    Attributes:
        photos: the chosen ones, the most uncertain first.
        pool: number of photos that they were chosen from.
        known: photos that are in the run's data already, by content.
        copies: photos that were given twice, by content.
        skipped: files that can't be read, each with the reason.
    """

    photos: tuple[NextPhoto, ...]
    pool: int
    known: int
    copies: int
    skipped: tuple[tuple[Path, str], ...]

    def write(self, file: str | Path) -> None:
        """Write a table of path, predicted, probability and uncertainty, atomically."""
        rows = (
            (str(p.path), p.predicted, f"{p.probability:.6g}", f"{p.uncertainty:.6g}")
            for p in self.photos
        )
        write_csv(Path(file), COLUMNS, rows)


def next_photos(
    run: str | Path | Run,
    images: str | Path | Iterable[str | Path],
    *,
    n: int = 50,
    seed: int = 0,
    backbone: str | None = None,
    force: bool = False,
) -> NextPhotos:
    """Choose photos without labels that a run would learn most from.

    Args:
        run: a run, or an adapter; of an adapter it isn't known which photos it has learned.
        images: files, folders or patterns.
        n: how many to choose; all where there are fewer.
        seed: decides where the clusters start.
        backbone: where the backbone lies now, if it has moved.
        force: load onto weights other than those it was trained on.

    Raises:
        UserError: there are no photos, none can be read, all are in the run's data already, ``n``
            is below 1, or the run gives an image several labels.
    """
    if n < 1:
        raise UserError(f"n is {shown(n)}: expected at least 1 photo.")
    place = run.folder if isinstance(run, Run) else run
    loaded = load_trained(place, backbone=backbone, device="auto", force=force)
    if loaded.task.kind != "single":
        raise UserError(
            f"{place} gives an image several labels: expected a run of one label an image, as what"
            " to label next is told by how sure that one is."
        )
    given = [image for image in one_by_one(images) if isinstance(image, Path)]
    if not given:
        raise UserError("there is no image in what was given: expected photos to choose from.")
    pool, known, copies = _unlabelled(given, loaded, place)
    data = loaded.recipe.data if isinstance(loaded, LoadedRun) else DataConfig(path="")
    eye = eye_of(loaded)
    seen = eye.look(pool, data)
    calibration = loaded.task.calibration
    warmth = 1.0 if calibration is None else calibration.temperature
    p = (eye.logits(seen.features) / warmth).double().softmax(-1).numpy()
    unsure = uncertainty(p)
    rows = choose(standardised(seen.features), unsure, min(n, len(p)), seed)
    return NextPhotos(
        photos=tuple(
            NextPhoto(
                path=pool[seen.rows[row]],
                predicted=loaded.labels[p[row].argmax()],
                probability=float(p[row].max()),
                uncertainty=float(unsure[row]),
            )
            for row in rows
        ),
        pool=len(p),
        known=known,
        copies=copies,
        skipped=seen.skipped,
    )


def _unlabelled(
    given: list[Path], loaded: LoadedAdapter, place: str | Path
) -> tuple[list[Path], int, int]:
    """The photos that the run doesn't have, each once; how many it has, and how many are copies."""
    files = list(dict.fromkeys(given))
    contents = content_hashes(files)
    has = known_contents(Run(loaded.recipe, loaded.folder)) if isinstance(loaded, LoadedRun) else ()
    new = {content: path for path, content in reversed(list(zip(files, contents, strict=True)))}
    pool = [path for content, path in reversed(new.items()) if content not in has]
    known = sum(content in has for content in contents)
    if not pool:
        raise UserError(
            f"all {len(files):,} photo(s) are in the data of {place} already, by content: expected"
            " photos that aren't labelled yet."
        )
    return pool, known, len(files) - known - len(pool)
