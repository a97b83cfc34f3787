"""What a model says of its classes, after it is adapted, and after adapters are folded in."""

import pytest
import timm
import torch
import transformers
from peft import PeftModel, get_peft_model
from torch import nn

from arcvit import ArcConfig, load_adapter, save_adapter
from arcvit.data.pixels.preset import resolve_preset

OLD = ["tench", "goldfish", "shark", "ray"]
HF = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
    "id2label": dict(enumerate(OLD)),
    "label2id": {name: index for index, name in enumerate(OLD)},
}
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
SWIN = {"img_size": 32, "window_size": 4, "embed_dim": 16, "depths": (1, 1), "num_heads": (2, 2)}
TIMM = {
    "head": ("vit_tiny_patch16_224", VIT, "head"),
    "swin-head": ("swin_tiny_patch4_window7_224", SWIN, "head"),
    "swin-head-fc": ("swin_tiny_patch4_window7_224", SWIN, "head.fc"),
}


def hf_vit() -> nn.Module:
    torch.manual_seed(0)
    return transformers.ViTForImageClassification(transformers.ViTConfig(**HF)).eval()


def adapted(model: nn.Module, head: str, classes: int | None) -> PeftModel:
    config = ArcConfig(r=4, init_weights=False, modules_to_save=[head], num_classes=classes)
    model = get_peft_model(model, config).eval()
    for name, parameter in model.named_parameters():
        if "modules_to_save" in name:
            nn.init.normal_(parameter)
    return model


def test_a_model_of_transformers_says_the_truth(tmp_path) -> None:
    x, labels = torch.randn(2, 3, 32, 32), torch.tensor([0, 2])
    model = adapted(hf_vit(), "classifier", 3)
    expected = model(x, labels=labels)
    model.save_pretrained(tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(hf_vit(), str(tmp_path / "adapter")).eval()
    folded = adapted(hf_vit(), "classifier", 3)
    folded.load_state_dict(model.state_dict())
    folded = folded.merge_and_unload()
    for found in (model, loaded, folded):
        assert found.config.num_labels == 3
        assert found.config.id2label == {i: f"LABEL_{i}" for i in range(3)}
        assert found.config.label2id == {f"LABEL_{i}": i for i in range(3)}
        torch.testing.assert_close(found(x, labels=labels).loss, expected.loss)
    folded.save_pretrained(tmp_path / "folded")
    again = transformers.ViTForImageClassification.from_pretrained(tmp_path / "folded").eval()
    torch.testing.assert_close(again(x).logits, expected.logits)


def test_names_stay_where_the_classes_do() -> None:
    for classes in (None, 4):
        assert adapted(hf_vit(), "classifier", classes).config.id2label == dict(enumerate(OLD))


@pytest.mark.parametrize("kind", list(TIMM))
def test_a_model_of_timm_says_the_truth(kind: str, tmp_path) -> None:
    name, options, head = TIMM[kind]

    def plain(classes: int) -> nn.Module:
        torch.manual_seed(0)
        return timm.create_model(name, num_classes=classes, **options).eval()

    x = torch.randn(2, 3, 32, 32)
    model = adapted(plain(1000), head, 3)
    expected = model(x)
    assert (expected.shape, model.num_classes) == ((2, 3), 3)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(plain(1000), str(tmp_path)).eval()
    torch.testing.assert_close(loaded(x), expected)
    folded = loaded.merge_and_unload()
    assert folded.num_classes == 3
    again = plain(folded.num_classes)
    again.load_state_dict(folded.state_dict())
    torch.testing.assert_close(again(x), expected, rtol=1e-4, atol=1e-4)


def test_the_number_follows_the_active_adapter() -> None:
    model = adapted(hf_vit(), "classifier", 3)
    model.add_adapter("six", ArcConfig(r=4, modules_to_save=["classifier"], num_classes=6))
    assert model.config.num_labels == 3
    model.set_adapter("six")
    assert model.config.num_labels == 6
    with pytest.warns(UserWarning, match="Adapter six was active"):
        model.delete_adapter("six")
    assert model.config.num_labels == 3


def test_a_loaded_adapter_names_the_classes_of_its_task(tmp_path) -> None:
    labels = ["cat", "dog", "owl"]
    prep = resolve_preset(
        "vtab", input_size=(32, 32), data_config={"mean": (0.5,) * 3, "std": (0.5,) * 3}
    )
    model = adapted(hf_vit(), "classifier", 3)
    save_adapter(model, tmp_path / "a", labels=labels, backbone="vit", preprocessing=prep)
    assert model.config.id2label == dict(enumerate(labels))
    folded = load_adapter(tmp_path / "a", backbone=hf_vit()).model.merge_and_unload()
    folded.save_pretrained(tmp_path / "folded")
    again = transformers.ViTForImageClassification.from_pretrained(tmp_path / "folded")
    assert again.config.id2label == dict(enumerate(labels))
    assert again.config.label2id == {"cat": 0, "dog": 1, "owl": 2}
