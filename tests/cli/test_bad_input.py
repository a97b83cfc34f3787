"""Bad input: one clear sentence, exit code 2, nothing half-written."""

from collections.abc import Callable
from pathlib import Path

import pytest

Arcvit = Callable[..., object]
Paint = Callable[..., Path]
Trained = Callable[[str], Path]


@pytest.fixture
def refused(arcvit: Arcvit, short_run: tuple[str, ...], tmp_path: Path) -> Callable[..., str]:
    """What ``arcvit train`` says when it refuses; nothing may be written."""

    def run(*flags: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        answer = arcvit("train", *short_run, *flags, f"--out={tmp_path / 'run'}")
        assert answer.code == 2
        assert answer.out == ""
        assert answer.err.startswith("arcvit: ")
        assert answer.err.count("\n") == 1, answer.err
        assert sorted(tmp_path.rglob("*")) == before
        return str(answer.err)

    return run


FLAGS = [
    ("--data.path=nowhere", "nowhere isn't there: expected a folder or a table of images"),
    ("--backbone=vit_base_patch16_22", "Did you mean 'vit_base_patch16_224'"),
    ("--backbone=dmo", "Did you mean 'demo'"),
    ("--method=arcc", "Did you mean 'arc' or 'arc_att' or 'arc_plus'?"),
    ("--data.preset=vtb", "Did you mean 'vtab' or 'vtab-raw'?"),
    ("--arc.r=0", "arc.r=0 is not a bottleneck width: expected an integer from 1"),
    ("--arc.r=33", "r=33 is larger than the width 32"),
    ("--weights=nowhere.pth", "weights file 'nowhere.pth' isn't there"),
    ("--engine.precision=fp16", "--engine.precision fp16 needs a GPU"),
    ("--engine.compile=graph", "captures steps in CUDA graphs, and this runs on cpu"),
    ("--engine.frozen=bf16", "--engine.frozen bf16 needs --engine.precision bf16"),
    ("--engine.device=mps", "there is no mps device here"),
    ("--epochs=3", "Did you mean 'engine.epochs'?"),
]


@pytest.mark.parametrize(("flag", "sentence"), FLAGS)
def test_flags(refused: Callable[..., str], flag: str, sentence: str) -> None:
    flags = [flag, "--engine.device=cpu"] if "engine.device" not in flag else [flag]
    assert sentence in refused(*flags)


def test_a_backbone_that_cant_carry_an_adapter(refused: Callable[..., str]) -> None:
    said = refused("--backbone=resnet18", "--weights=random")
    assert "ResNet is not a known family" in said


def test_a_target_that_cant_carry_an_adapter(refused: Callable[..., str]) -> None:
    said = refused("--method=lora", "--lora.targets=[norm1]")
    assert "'blocks.0.norm1' (LayerNorm) can't carry an adapter: expected linear layers" in said
    assert "Did you mean 'qkv'?" in refused("--method=lora", "--lora.targets=[qvk]")


def test_a_hub_that_cant_be_reached(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: object
) -> None:
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))  # type: ignore[attr-defined]
    said = refused("--backbone=vit_base_patch16_224.augreg_in21k")
    for part in ("tried the local cache and huggingface.co", "--weights FILE", "--backbone demo"):
        assert part in said


def test_a_folder_without_class_folders(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert "class folder" in refused(f"--data.path={tmp_path / 'photos'}")
    (tmp_path / "photos" / "a.png").touch()
    assert "class folder" in refused(f"--data.path={tmp_path / 'photos'}")


def test_a_class_without_train_images(
    refused: Callable[..., str], paint_classes: Paint, tmp_path: Path
) -> None:
    for split, classes in (("train", ("red", "blue")), ("test", ("red", "blue", "green"))):
        paint_classes(tmp_path / "photos" / split, 3, classes=classes)
    said = refused(f"--data.path={tmp_path / 'photos'}")
    assert "no image in train" in said
    assert "'green'" in said


@pytest.fixture
def spoilt(paint_classes: Paint, tmp_path: Path) -> tuple[Path, list[Path]]:
    """Photos of which one in each split is no image."""
    root = tmp_path / "photos"
    bad = []
    for seed, split in enumerate(("train", "val", "test")):
        paint_classes(root / split, 4, seed=seed)
        bad.append(root / split / "red" / "red_00.png")
        bad[-1].write_text("no image")
    return root, bad


def test_all_unreadable_images_of_all_splits_are_listed(
    refused: Callable[..., str], spoilt: tuple[Path, list[Path]]
) -> None:
    root, bad = spoilt
    said = refused(f"--data.path={root}")
    assert "3 image(s) can't be read" in said
    for path in bad:
        assert str(path) in said


def test_unreadable_images_can_be_skipped(
    arcvit: Arcvit,
    short_run: tuple[str, ...],
    spoilt: tuple[Path, list[Path]],
    tmp_path: Path,
) -> None:
    from arcvit.core.result import read_result

    root, _ = spoilt
    flags = [flag for flag in short_run if flag != "--quiet"]
    answer = arcvit(
        "train", *flags, f"--data.path={root}", "--data.on_bad=skip", f"--out={tmp_path / 'run'}"
    )
    assert answer.code == 0
    assert "3 unreadable images are left out" in answer.out
    result = read_result(tmp_path / "run")
    assert (result.skipped_images, result.train_images) == (3, 15)


def test_a_class_that_is_skipped_whole(
    refused: Callable[..., str], paint_classes: Paint, tmp_path: Path
) -> None:
    root = paint_classes(tmp_path / "photos" / "train", 4).parent
    paint_classes(root / "test", 2, seed=1)
    for image in (root / "train" / "red").iterdir():
        image.write_text("no image")
    said = refused(f"--data.path={root}", "--data.on_bad=skip")
    assert "no readable training image is left of 'red'" in said


def test_a_run_folder_that_is_something_else(
    arcvit: Arcvit, short_run: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    (tmp_path / "file").touch()
    for out, sentence in (
        (tmp_path / "notes", "holds other files"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "run", "is a file"),
    ):
        answer = arcvit("train", *short_run, f"--out={out}")
        assert answer.code == 2
        assert sentence in answer.err
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.txt", "file", "notes"]
