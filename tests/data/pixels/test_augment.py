import pytest
import torch
from torch import Tensor

from arcvit.data.pixels.augment import ToInput, center_crop, normalize, random_crop, random_flip
from arcvit.data.pixels.preset import IMAGENET_MEAN, IMAGENET_STD, Preprocessing


def numbered(batch: int, height: int, width: int) -> Tensor:
    """Images (B, 3, H, W) in which every pixel tells its row, its column and its image."""
    rows = torch.arange(height)[:, None].expand(height, width)
    columns = torch.arange(width)[None].expand(height, width)
    images = [torch.stack([rows, columns, torch.full_like(rows, i)]) for i in range(batch)]
    return torch.stack(images).to(torch.uint8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_random_crop_is_a_window_of_each_image() -> None:
    images = numbered(200, 7, 10)
    crops = random_crop(images, (5, 6), seeded())
    assert crops.shape == (200, 3, 5, 6)
    places = []
    for index, crop in enumerate(crops):
        top, left = int(crop[0, 0, 0]), int(crop[1, 0, 0])
        assert torch.equal(crop, images[index, :, top : top + 5, left : left + 6])
        places.append((top, left))
    # Every place there is comes up.
    assert set(places) == {(top, left) for top in range(3) for left in range(5)}


def test_random_crop_to_the_same_size_changes_nothing() -> None:
    images = numbered(2, 5, 6)
    assert torch.equal(random_crop(images, (5, 6)), images)


def test_random_flip_mirrors_about_half() -> None:
    images = numbered(400, 2, 3)
    flipped = random_flip(images, seeded())
    mirrored = [torch.equal(new, old.flip(-1)) for new, old in zip(flipped, images, strict=True)]
    same = [torch.equal(new, old) for new, old in zip(flipped, images, strict=True)]
    assert [a != b for a, b in zip(mirrored, same, strict=True)] == [True] * 400
    assert 150 < sum(mirrored) < 250


@pytest.mark.parametrize("draw", [lambda x, g: random_crop(x, (2, 2), g), random_flip])
def test_draws_follow_the_generator(draw: object) -> None:
    assert callable(draw)
    images = numbered(50, 5, 5)
    assert torch.equal(draw(images, seeded(1)), draw(images, seeded(1)))
    assert not torch.equal(draw(images, seeded(1)), draw(images, seeded(2)))
    torch.manual_seed(1)
    assert torch.equal(draw(images, None), draw(images, seeded(1)))


def test_center_crop() -> None:
    crop = center_crop(numbered(2, 9, 8), (5, 4))
    assert crop.shape == (2, 3, 5, 4)
    assert crop[0, :, 0, 0].tolist() == [2, 2, 0]


def test_normalize() -> None:
    images = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    mean, std = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.5, 0.25, 1.0])
    out = normalize(images, mean.view(-1, 1, 1), std.view(-1, 1, 1))
    torch.testing.assert_close(out.flatten(), torch.tensor([-1.0, 2.0, 0.2]))


def make(random_crop: bool, flip: bool) -> ToInput:
    return ToInput((4, 4), IMAGENET_MEAN, IMAGENET_STD, random_crop=random_crop, flip=flip)


def test_evaluation_crops_the_centre_and_draws_nothing() -> None:
    images = numbered(8, 6, 6)
    module = make(True, True).eval()
    expected = normalize(center_crop(images, (4, 4)), module.mean, module.std)
    before = torch.get_rng_state()
    assert torch.equal(module(images), expected)
    assert torch.equal(torch.get_rng_state(), before)
    assert (expected.dtype, expected.shape) == (torch.float32, (8, 3, 4, 4))


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_training_does_what_is_asked(crop: bool, flip: bool) -> None:
    images = numbered(8, 6, 6)
    module = make(crop, flip).train()
    draws = seeded()
    expected = random_crop(images, (4, 4), draws) if crop else center_crop(images, (4, 4))
    expected = random_flip(expected, draws) if flip else expected
    expected = normalize(expected, module.mean, module.std)
    assert torch.equal(module(images, generator=seeded()), expected)


def test_nothing_is_trained_or_saved() -> None:
    module = make(True, True)
    assert not list(module.parameters())
    assert not module.state_dict()
    assert [name for name, _ in module.named_buffers()] == ["mean", "std"]


def test_from_preprocessing() -> None:
    prep = Preprocessing(
        size=(4, 6),
        resize="shortest",
        resize_size=8,
        interpolation="bilinear",
        mean=(0.1, 0.2, 0.3),
        std=(1.0, 2.0, 3.0),
        random_crop=True,
        flip=True,
    )
    module = ToInput.of(prep)
    assert (module.size, module.random_crop, module.flip) == ((4, 6), True, True)
    assert module.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert module.std.flatten().tolist() == [1, 2, 3]
    assert module(numbered(2, *prep.stored)).shape == (2, 3, 4, 6)


def test_wrong_images() -> None:
    with pytest.raises(TypeError, match="expected uint8 images"):
        make(False, False)(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"images of \(4, 3\) pixels are smaller"):
        make(False, False)(numbered(1, 4, 3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_generator_on_the_cpu_draws_the_same_on_a_gpu() -> None:
    images = numbered(16, 6, 6)
    module = make(True, True)
    on_cpu = module(images, generator=seeded())
    on_gpu = module.cuda()(images.cuda(), generator=seeded()).cpu()
    torch.testing.assert_close(on_cpu, on_gpu)
