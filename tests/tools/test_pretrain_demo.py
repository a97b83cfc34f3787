"""Pre-training on a made-up tar of noise: resuming, growing, exporting, wrong inputs."""

import io
import json
import os
import signal
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import pretrain_demo
from pretrain.augment import mix, random_affine, trivial_augment
from pretrain.loop import Pretraining, rows_at
from pretrain.network import blend, grow, load_exported
from pretrain.optimize import optimizers
from pretrain.photos import read_photos
from pretrain.recipe import RECIPES

pytestmark = pytest.mark.slow

CLASSES = ["n03", "n01", "n02"]
TINY = "--recipe cpu --embed-dim 64 --depth 2 --epochs 2 --batch-size 8 --micro-batch 4 --threads 1"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny batches are faster on one thread; the command sets it for the whole process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder like tiny-imagenet-64, with three classes of noise."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "classes.txt").write_text("".join(f"{name}\tsome thing\n" for name in CLASSES))
    noise = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        with tarfile.open(folder / f"{split}.tar", "w") as tar:
            for name in CLASSES:
                for index in range(count):
                    file = io.BytesIO()
                    pixels = noise.integers(0, 256, (64, 64, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(file, "JPEG")
                    member = tarfile.TarInfo(f"{split}/{name}/{index}.JPEG")
                    member.size = file.tell()
                    file.seek(0)
                    tar.addfile(member, file)
    return folder


def train(data: Path, out: Path, *more: str) -> Path:
    """Run the command in this process; gives the path of the exported weights."""
    pretrain_demo.main([*f"--data {data} --out {out} {TINY}".split(), *more])
    return out / pretrain_demo.WEIGHTS


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_stopped_run_resumes_to_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    whole = train(data, tmp_path / "whole", "--optimizer", optimizer)

    step = Pretraining.step

    def step_then_stop(run: Pretraining, *inputs: object) -> None:
        step(run, *inputs)
        if run.progress["step"] == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Pretraining, "step", step_then_stop)
        assert not train(data, tmp_path / "parts", "--optimizer", optimizer).exists()
    parts = train(data, tmp_path / "parts", "--optimizer", optimizer)

    weights = load_file(whole)
    resumed = load_file(parts)
    assert weights.keys() == resumed.keys()
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    lines = [
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("whole", "parts")
    ]
    assert [line["step"] for line in lines[0]] == [3, 6]
    for line in lines[0] + lines[1]:
        del line["cpu_seconds"]
    assert lines[0] == lines[1]


def test_the_export_is_a_plain_timm_vit(data: Path, tmp_path: Path) -> None:
    file = train(data, tmp_path / "out", "--epochs", "1")
    with safe_open(file, framework="pt") as opened:
        header = {name: json.loads(value) for name, value in opened.metadata().items()}
    assert header["architecture_args"]["num_classes"] == len(CLASSES)
    assert file.with_suffix(".classes.txt").read_text().split() == CLASSES
    model = VisionTransformer(**header["architecture_args"])
    weights = load_file(file)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    model.load_state_dict(weights, strict=True)


def test_evaluate_prints_the_exported_top1(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = train(data, tmp_path / "out", "--epochs", "1")
    trained = capsys.readouterr().out.split()[-2]
    pretrain_demo.main(["--data", str(data), "--evaluate", str(file)])
    assert capsys.readouterr().out == f"top-1 {trained} %\n"


def test_another_recipe_or_seed_does_not_resume(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "out", "--epochs", "1")
    with pytest.raises(ValueError, match="another recipe or seed"):
        train(data, tmp_path / "out", "--epochs", "1", "--seed", "1")


def test_a_run_can_be_given_more_epochs(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "out", "--epochs", "1")
    train(data, tmp_path / "out", "--epochs", "2")
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [3, 6]


def test_muon_turns_the_matrices_of_the_blocks_alone() -> None:
    model = VisionTransformer(img_size=16, patch_size=8, embed_dim=64, depth=2, num_heads=1)
    adamw, muon = optimizers(model, "muon", 0.05)
    turned = [p for group in muon.param_groups for p in group["params"]]
    rest = [p for group in adamw.param_groups for p in group["params"]]
    assert {id(p) for p in turned} == {
        id(block.get_parameter(f"{name}.weight"))
        for block in model.blocks
        for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
    assert {id(p) for p in turned + rest} == {id(p) for p in model.parameters()}
    assert len(turned + rest) == len(list(model.parameters()))


def test_packaged_weights_are_a_timm_model(data: Path, tmp_path: Path) -> None:
    file = train(data, tmp_path / "out")
    folder = tmp_path / "folder"
    pretrain_demo.main(["--package", str(file), str(folder)])
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert model.pretrained_cfg["label_names"] == CLASSES
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(images), load_exported(file).eval()(images))


def test_data_is_asked_for() -> None:
    with pytest.raises(SystemExit):
        pretrain_demo.main(["--out", "somewhere"])


def test_precisions_differ_and_an_unknown_one_is_refused(data: Path, tmp_path: Path) -> None:
    trained = [
        load_file(train(data, tmp_path / name, "--precision", name))["head.weight"]
        for name in ("fp32", "bf16")
    ]
    assert not torch.equal(*trained)
    with pytest.raises(ValueError, match="expected 'bf16' or 'fp32'"):
        train(data, tmp_path / "int8", "--precision", "int8")


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 'adamw' or 'muon'"):
        optimizers(VisionTransformer(depth=1, embed_dim=64, num_heads=1), "sgd", 0.0)


def test_a_blend_lies_between_its_ends() -> None:
    start, end = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
    assert torch.equal(blend(start, end, 0.75)["w"], torch.full((2,), 0.75))


def test_blends_with_the_start_are_candidates_of_the_export(data: Path, tmp_path: Path) -> None:
    start = train(data, tmp_path / "start", "--epochs", "1")
    run = Pretraining(
        pretrain_demo.chosen_recipe(
            pretrain_demo.parser().parse_args(["--data", str(data), *TINY.split()])
        ),
        CLASSES,
        0,
        torch.device("cpu"),
    )
    val = read_photos(data / "val.tar", CLASSES)
    alone, _ = pretrain_demo.best_of(run, None, CLASSES, val)
    with_start, _ = pretrain_demo.best_of(run, start, CLASSES, val)
    assert with_start >= alone


def test_a_grown_start_computes_the_same_with_classes_mapped(data: Path, tmp_path: Path) -> None:
    file = train(data, tmp_path / "out", "--epochs", "1")
    shallow = load_exported(file)
    order = [1, 2, 0]
    (data / "classes.txt").write_text("".join(CLASSES[row] + "\n" for row in order))
    recipe = pretrain_demo.chosen_recipe(
        pretrain_demo.parser().parse_args(["--data", str(data), *TINY.split(), "--depth", "3"])
    )
    classes = [CLASSES[row] for row in order]
    deep = Pretraining(recipe, classes, 0, torch.device("cpu"), start=file).model
    photos = torch.randn(2, 3, 64, 64)
    assert len(deep.blocks) == 3
    torch.testing.assert_close(deep.eval()(photos), shallow.eval()(photos)[:, order])


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_growing_keeps_every_block_once(depth: int) -> None:
    weights = {f"blocks.{block}.attn.proj.bias": torch.full((1,), block + 1.0) for block in (0, 1)}
    grown = grow(weights, depth)
    assert sorted(grown) == [f"blocks.{block}.attn.proj.bias" for block in range(depth)]
    values = [float(grown[f"blocks.{block}.attn.proj.bias"]) for block in range(depth)]
    assert [value for value in values if value] == [1.0, 2.0]


def test_growing_never_shrinks() -> None:
    with pytest.raises(ValueError, match="2 blocks, the recipe only 1"):
        grow({"blocks.1.attn.proj.bias": torch.zeros(1)}, 1)


def test_photos_come_in_name_order_with_the_label_of_their_folder(data: Path) -> None:
    photos, labels = read_photos(data / "val.tar", CLASSES)
    assert photos.shape == (6, 3, 64, 64) and photos.dtype == torch.uint8
    assert labels.tolist() == [1, 1, 2, 2, 0, 0]
    with pytest.raises(KeyError):
        read_photos(data / "val.tar", CLASSES[1:])


def test_an_epoch_takes_every_photo_once() -> None:
    first, second = (
        torch.cat([rows_at(step, 4, 12, seed=0) for step in steps]).tolist()
        for steps in (range(3), range(3, 6))
    )
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


def test_augmented_photos_stay_in_range_and_whole_crops_stay_photos() -> None:
    torch.manual_seed(0)
    photos = torch.rand(64, 3, 16, 16)
    augmented = trivial_augment(photos, scale=0.25, share=1.0)
    assert augmented.shape == photos.shape
    assert float(augmented.min()) >= 0 and float(augmented.max()) <= 1
    even = torch.full((4, 3, 16, 16), 0.5)
    turned = random_affine(even, 0.25, warp=torch.ones(4, dtype=torch.bool))
    torch.testing.assert_close(turned, even)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_mixed_targets_are_the_shares_of_the_mixed_photos(mixup: float, cutmix: float) -> None:
    torch.manual_seed(0)
    values = torch.arange(4.0)
    photos = values.view(4, 1, 1, 1).expand(4, 3, 8, 8)
    mixed, targets = mix(photos, torch.eye(4), mixup, cutmix)
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ values)


def test_schedules_end_where_the_recipe_says() -> None:
    recipe = RECIPES["cpu"]
    assert recipe.lr_at(0) == 0
    assert recipe.lr_at(recipe.warmup) == recipe.lr
    assert recipe.lr_at(1) == pytest.approx(0)
    assert recipe.patch_drop_at(0) == recipe.patch_drop
    assert recipe.patch_drop_at(1 - recipe.full_tokens) == 0
    assert recipe.mixing_at(1 - recipe.unmixed) == (0, 0)
