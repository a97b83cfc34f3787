"""A classifier in Python: whatever images are given as, and from any thread."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import arcvit
from arcvit.core.errors import UserError
from arcvit.core.result import read_result
from arcvit.data.pixels.augment import ToInput
from arcvit.data.pixels.decode import to_array
from arcvit.data.pixels.rgb import read_rgb
from arcvit.recipe.parser import read_recipe

Trained = Callable[[str], Path]


@pytest.fixture(scope="module")
def classifier(trained: Trained) -> arcvit.Classifier:
    return arcvit.load(trained("arc"), device="cpu")


@pytest.fixture(scope="module")
def reds(photos: Path) -> list[Path]:
    return sorted((photos / "test" / "red").iterdir())


def test_every_form_of_an_image_gives_the_same(
    classifier: arcvit.Classifier, reds: list[Path]
) -> None:
    pictures = [Image.open(path) for path in reds]
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    expected = classifier.predict(reds)
    assert [prediction.path for prediction in expected] == reds
    for given in (
        reds[0].parent,
        str(reds[0].parent / "*.png"),
        map(str, reds),
        [Image.open(path) for path in reds],
    ):
        assert classifier.predict(given) == expected
    for given in (arrays, list(arrays), (picture.copy() for picture in pictures)):
        found = classifier.predict(given)
        assert [p.top for p in found] == [p.top for p in expected]
        assert {p.path for p in found} == {None}
    for single in (arrays[0], pictures[0], reds[0]):
        (answer,) = classifier.predict(single)
        assert answer.label == expected[0].label
        assert answer.probability == pytest.approx(expected[0].probability, abs=1e-6)


def test_what_is_said_of_an_image(classifier: arcvit.Classifier, reds: list[Path]) -> None:
    prep = classifier.preprocessing
    decoded = torch.stack([to_array(read_rgb(path), prep) for path in reds])
    pixels = ToInput.of(prep).eval()(decoded)
    with torch.inference_mode():
        logits = classifier.model(pixels)
    expected = (logits / classifier.calibration.temperature).softmax(-1)
    for prediction, probabilities in zip(classifier.predict(reds, 3), expected, strict=True):
        best = probabilities.topk(3)
        assert [r.probability for r in prediction.top] == pytest.approx(best.values.tolist())
        assert [r.label for r in prediction.top] == [classifier.labels[k] for k in best.indices]
        assert (prediction.label, prediction.probability) == prediction.top[0]
        assert (prediction.error, prediction.blank) == (None, False)


def test_grey_arrays_are_images(classifier: arcvit.Classifier) -> None:
    grey = np.arange(900, dtype=np.uint8).reshape(30, 30)
    one, other, rgb = classifier.predict([grey, grey[..., None], np.stack([grey] * 3, -1)])
    assert one == other == rgb


def test_the_unreadable_keep_their_place(
    classifier: arcvit.Classifier, reds: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    picture = Image.open(reds[1])
    picture.fp.close()
    given = [tmp_path / "broken.png", reds[0], "missing.png", tmp_path / "empty", picture]
    found = classifier.predict(given)
    assert [p.path for p in found] == [*given[:2], Path("missing.png"), given[3], reds[1]]
    for prediction, reason in zip(
        found, ("not an image", None, "no such file", "there is no image", "closed"), strict=True
    ):
        if reason is None:
            assert prediction.label == classifier.predict(reds[0])[0].label
        else:
            assert reason in str(prediction.error)
            assert (prediction.label, prediction.probability, prediction.top) == (None, None, ())
    assert list(classifier.stream(given, batch_size=2)) == found
    with pytest.raises(UserError, match=r"4 image\(s\) can't be read: .*broken\.png \(not an"):
        classifier.embed(given)


def test_no_batch_of_none_reaches_the_model(
    classifier: arcvit.Classifier, reds: list[Path]
) -> None:
    """Swin and others fail on it."""
    sizes: list[int] = []
    hook = classifier.model.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))
    answers = classifier.predict(["gone.png", "lost.png", reds[0]], batch_size=2)
    hook.remove()
    assert [answer.error for answer in answers] == ["no such file", "no such file", None]
    assert sizes == [1]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (np.zeros((4, 4, 3), np.float32), "an array of float32: expected paths.*become that with"),
        (np.zeros((4, 4, 4), np.uint8), r"an array of shape \(4, 4, 4\): expected paths, PIL"),
        (np.zeros((0, 4), np.uint8), r"an array of shape \(0, 4\): expected paths"),
        ([torch.zeros(3, 4, 4)], "an image is Tensor: expected paths, PIL images or arrays"),
        (7, "an image is int: expected paths"),
    ],
)
def test_what_is_no_image(classifier: arcvit.Classifier, given: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        classifier.predict(given)  # type: ignore[arg-type]


def test_a_stream_reads_no_further_than_it_answers(
    classifier: arcvit.Classifier, reds: list[Path]
) -> None:
    taken = []
    source = (taken.append(path) or path for path in reds)
    answers = classifier.stream(source, batch_size=2)
    assert (next(answers).path, len(taken)) == (reds[0], 2)
    assert len(list(answers)) == len(reds) - 1
    with pytest.raises(UserError, match="top is 0: expected at least 1"):
        classifier.stream(reds, 0)


def test_features_are_those_that_the_head_reads(
    classifier: arcvit.Classifier, reds: list[Path]
) -> None:
    features = classifier.embed(reds, batch_size=3)
    assert (features.shape, features.dtype) == ((len(reds), 32), np.float32)
    head = classifier.model.get_base_model().head
    with torch.inference_mode():
        logits = head(torch.from_numpy(features)) / classifier.calibration.temperature
    for row, prediction in zip(logits.softmax(-1), classifier.predict(reds), strict=True):
        assert row.max().item() == pytest.approx(prediction.probability, abs=1e-6)
    assert classifier.embed([]).shape[0] == 0


@pytest.mark.slow
def test_any_number_of_threads(trained: Trained, photos: Path) -> None:
    """Two classifiers, each asked by eight threads at once; every answer is its own."""
    images = sorted((photos / "test").glob("*/*_0[0-3].png"))
    pair = [arcvit.load(trained(method), device="cpu") for method in ("arc", "lora")]
    expected = [(c.predict(images, batch_size=4), c.embed(images, batch_size=4)) for c in pair]
    assert expected[0][0] != expected[1][0]

    def ask(number: int) -> bool:
        asked, (answers, features) = pair[number % 2], expected[number % 2]
        if number % 3 == 0:
            return bool(np.array_equal(asked.embed(images, batch_size=4), features))
        return asked.predict(images, batch_size=4) == answers

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(12)))


def test_a_merged_one_gives_the_same(trained: Trained, reds: list[Path]) -> None:
    asked = arcvit.load(trained("arc"), device="cpu")
    before = asked.predict(reds)
    plain = asked.merge()
    assert type(plain).__name__ == "VisionTransformer"
    assert asked.merge() is plain
    for one, other in zip(asked.predict(reds), before, strict=True):
        assert one.label == other.label
        assert one.probability == pytest.approx(other.probability, abs=1e-4)
    assert asked.evaluate().accuracy == read_result(trained("arc")).test_accuracy


def test_measuring(classifier: arcvit.Classifier, trained: Trained, photos: Path) -> None:
    measured = classifier.evaluate()
    assert (measured.split, measured.images) == ("test", 32)
    assert measured.accuracy == read_result(trained("arc")).test_accuracy
    assert classifier.evaluate(photos / "test").images == 32
    with pytest.raises(UserError, match=r"data\.tabel_column"):
        classifier.evaluate(photos, tabel_column="x")


@pytest.mark.slow
def test_training(photos: Path, tiny: Path, tmp_path: Path) -> None:
    settings = {
        "backbone": str(tiny),
        "method": "linear",
        "engine": {"epochs": 1, "precision": "fp32"},
        "optim.lr": 0.01,
    }
    out = tmp_path / "run"
    run = arcvit.train(photos, out=out, quiet=True, **settings)
    assert arcvit.load(run, device="cpu").labels == ["blue", "green", "red", "white"]
    shutil.copy(out / "recipe.yaml", tmp_path / "mine.yaml")
    run = arcvit.train(tmp_path / "mine.yaml", out=tmp_path / "again", quiet=True, seed=1)
    assert (run.recipe.seed, run.recipe.optim.lr) == (1, 0.01)
    recipe = read_recipe(out / "recipe.yaml")
    assert arcvit.train(recipe, out=tmp_path / "third", quiet=True).is_finished
    with pytest.raises(UserError, match="a recipe says all, and seed came beside it"):
        arcvit.train(recipe, seed=1)
