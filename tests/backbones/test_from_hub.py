"""Backbones by their names on the hub: trained, predicted with, merged; and each way to fail."""

from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
import transformers
from PIL import Image

from arcvit.backbones.build import build_backbone
from arcvit.core.errors import UserError
from arcvit.core.task import read_task
from arcvit.data.pixels.preset import resolve_preset
from arcvit.recipe.classifier import load

SHORT = (
    "--engine.epochs=1",
    "--engine.batch_size=16",
    "--engine.precision=fp32",
    "--arc.r=4",
    "--quiet",
)


def test_of_timm_with_a_revision(hub, tiny: Path, other_tiny: Path) -> None:
    old = hub.add("me/tiny", other_tiny, revision="v1")
    new = hub.add("me/tiny", tiny)
    own = build_backbone("hf-hub:me/tiny", num_classes=5)
    assert (own.commit, own.input_size) == (new, (32, 32))
    as_it_was = build_backbone("hf-hub:me/tiny@v1", num_classes=5)
    assert as_it_was.commit == old
    pinned = build_backbone("hf-hub:me/tiny", num_classes=5, commit=old)
    with pytest.raises(UserError, match=r"'\.\./v1' is no commit of 'me/tiny': expected 40 hex"):
        build_backbone("hf-hub:me/tiny", num_classes=5, commit="../v1")
    local = build_backbone(str(other_tiny), num_classes=5).model.state_dict()
    for built in (as_it_was, pinned):
        found = built.model.state_dict()
        assert all(torch.equal(found[key], value) for key, value in local.items())
    assert not torch.equal(own.model.blocks[0].attn.qkv.weight, local["blocks.0.attn.qkv.weight"])


def test_arguments_and_other_weights(hub, tiny: Path, other_tiny: Path) -> None:
    hub.add("me/tiny", tiny)
    pooled = build_backbone("hf-hub:me/tiny", num_classes=5, arguments={"reg_tokens": 0})
    assert pooled.model.reg_token is None
    weights = str(other_tiny / "model.safetensors")
    other = build_backbone("hf-hub:me/tiny", num_classes=5, weights=weights).model
    local = build_backbone(str(other_tiny), num_classes=5).model
    assert torch.equal(other.blocks[0].attn.qkv.weight, local.blocks[0].attn.qkv.weight)
    random = build_backbone("hf-hub:me/tiny", num_classes=5, weights="random", seed=1).model
    assert not torch.equal(random.blocks[0].attn.qkv.weight, local.blocks[0].attn.qkv.weight)


WRONG: dict[str, tuple[str, str]] = {
    "unknown": ("hf-hub:me/nobody", "shows no model 'me/nobody': check the name; if it is private"),
    "unknown-of-transformers": ("transformers:me/nobody", "shows no model 'me/nobody'"),
    "revision": ("transformers:me/vit@v7", "'me/vit' has no revision 'v7' on the hub"),
    "gated": ("transformers:me/gated", "'me/gated' is gated on the hub: accept its terms"),
    "forbidden": ("hf-hub:me/forbidden", "refuses 'me/forbidden' (403): log in"),
    "no-name": ("hf-hub:a/b/c", "'a/b/c' is no name of a model on the hub: expected USER/NAME"),
    "no-config": ("hf-hub:me/data", "'me/data' holds no config.json: expected a model of timm"),
    "is-timm": ("transformers:me/tiny", "no model of transformers; it is written hf-hub:me/tiny"),
    "isnt-timm": ("hf-hub:me/vit", "is no model of timm; it is written transformers:me/vit"),
    "neither": ("hf-hub:me/list", "'me/list' is no model of timm."),
    "no-prefix": ("me/vit", "on the hub it would be hf-hub:me/vit or transformers:me/vit."),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cant_be_had_is_one_sentence(hub, tiny, hf_vit, tmp_path, name: str) -> None:
    backbone, sentence = WRONG[name]
    hub.add("me/tiny", tiny)
    hub.add("me/vit", hf_vit)
    for repo, file in {"me/data": "README.md", "me/list": "config.json"}.items():
        folder = tmp_path / repo
        folder.mkdir(parents=True)
        (folder / file).write_text("{}")
        hub.add(repo, folder)
    hub.refused = {"me/gated": (403, "GatedRepo"), "me/forbidden": (403, "Forbidden")}
    with pytest.raises(UserError) as caught:
        build_backbone(backbone, num_classes=5)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


CUT: dict[tuple[str, str], str] = {
    ("hf-hub:", "config.json"): "'me/model' can't be had: its config.json isn't in the local cache",
    ("hf-hub:", "model.safetensors"): "no weights for 'hf-hub:me/model@",
    ("transformers:", "config.json"): "'me/model' can't be had: its config.json isn't",
    (
        "transformers:",
        "model.safetensors",
    ): "can't be had: its model.safetensors isn't in the local",
    (
        "transformers:",
        "preprocessor_config.json",
    ): "its preprocessor_config.json isn't in the local",
}


@pytest.mark.parametrize(("prefix", "file"), CUT)
def test_a_connection_that_breaks_is_told_as_such(hub, tiny, hf_vit, prefix, file) -> None:
    hub.add("me/model", tiny if prefix == "hf-hub:" else hf_vit)
    hub.cut = file
    with pytest.raises(UserError) as caught:
        built = build_backbone(f"{prefix}me/model", num_classes=5)
        resolve_preset("model", input_size=built.input_size, data_config=built.data_config)
    assert CUT[prefix, file] in str(caught.value)
    assert "can't be reached" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_the_disk_refuses_is_not_put_on_the_hub(hub, tiny, tmp_path: Path) -> None:
    hub.add("me/model", tiny)
    (tmp_path / "hub_cache").write_text("a file where the cache was to be")
    with pytest.raises(OSError, match="hub_cache"):
        build_backbone("hf-hub:me/model", num_classes=5)


@pytest.mark.parametrize("prefix", ["hf-hub:", "transformers:"])
def test_offline_what_is_in_the_cache_is_found(
    hub, tiny, hf_vit, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    hub.add("me/model", tiny if prefix == "hf-hub:" else hf_vit)
    online = build_backbone(f"{prefix}me/model", num_classes=5)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    offline = build_backbone(f"{prefix}me/model", num_classes=5)
    assert offline.commit == online.commit
    own, found = online.model.state_dict(), offline.model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in own.items())
    with pytest.raises(UserError, match=r"'me/other' can't be had: .* give a local folder"):
        build_backbone(f"{prefix}me/other", num_classes=5)


ARGUMENTS: list[tuple[dict[str, object], str]] = [
    ({"img_size": 64}, "has the key 'img_size': expected --image_size"),
    ({"checkpoint_path": "w.pth"}, "has the key 'checkpoint_path': expected --weights"),
    ({"num_classes": 3}, "has the key 'num_classes': expected arguments of its"),
    ({"pretrained_cfg": {}}, "has the key 'pretrained_cfg'"),
    ({"patch_sice": 8}, "unexpected keyword argument 'patch_sice'"),
    ({"num_heads": 0}, "integer modulo by zero"),
    ({"mlp_ratio": float("inf")}, "cannot convert float infinity to integer"),
    ({"norm_layer": []}, "AssertionError."),
]


@pytest.mark.parametrize(("arguments", "sentence"), ARGUMENTS)
def test_wrong_arguments(tiny: Path, arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        build_backbone(str(tiny), num_classes=5, arguments=arguments)
    assert sentence in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["hf-hub:", "transformers:"])
def test_a_backbone_of_the_hub_is_trained_predicted_with_and_merged(
    hub, tiny, hf_vit, photos, arcvit, tmp_path, prefix: str
) -> None:
    commit = hub.add("me/model", tiny if prefix == "hf-hub:" else hf_vit)
    run, merged = tmp_path / "run", tmp_path / "merged"
    given = (f"--data.path={photos}", f"--backbone={prefix}me/model", f"--out={run}")
    changed = {"hf-hub:": "{global_pool: avg}", "transformers:": "{hidden_dropout_prob: 0.1}"}
    answer = arcvit("train", *given, f"--backbone_args={changed[prefix]}", *SHORT)
    assert answer.code == 0, answer.err
    backbone = read_task(run / "adapter").backbone
    assert (backbone.name, backbone.commit) == (f"{prefix}me/model", commit)
    # Another main branch doesn't matter: the adapter knows its commit.
    hub.add("me/model", hf_vit if prefix == "hf-hub:" else tiny)
    classifier = load(run / "adapter", device="cpu")
    images = sorted((photos / "test" / "red").iterdir())
    expected = [{r.label: r.probability for r in p.top} for p in classifier.predict(images)]
    assert arcvit("predict", run, *images).code == 0
    assert arcvit("merge", run, f"--out={merged}").code == 0
    if prefix == "hf-hub:":
        plain = timm.create_model(f"local-dir:{merged}", pretrained=True).eval()
        assert plain.global_pool == "avg"
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(plain))
        inputs = torch.stack([transform(Image.open(image).convert("RGB")) for image in images])
        with torch.no_grad():
            rows = plain(inputs).softmax(-1).tolist()
        found = [dict(zip(classifier.labels, row, strict=True)) for row in rows]
        most = 1e-5
    else:
        classify = transformers.pipeline("image-classification", model=str(merged))
        answers = classify([str(image) for image in images], top_k=4)
        found = [{item["label"]: item["score"] for item in answer} for answer in answers]
        # The pipeline resizes with torchvision, which differs from Pillow by a grey level.
        most = 2e-3
    assert classifier.calibration is not None
    power = 1 / classifier.calibration.temperature
    for ours, theirs in zip(expected, found, strict=True):
        whole = sum(value**power for value in theirs.values())
        calibrated = {label: value**power / whole for label, value in theirs.items()}
        assert calibrated == pytest.approx(ours, abs=most)
