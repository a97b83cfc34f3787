"""The model card of an adapter."""

import timm
from huggingface_hub import ModelCard
from peft import get_peft_model

from arcvit import ArcConfig


def saved_card(tmp_path, **settings) -> ModelCard:
    backbone = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=32, depth=1, num_heads=2,
        num_classes=2,
    )  # fmt: skip
    model = get_peft_model(backbone, ArcConfig(r=4, modules_to_save=["head"]))
    for name, value in settings.items():
        setattr(model.peft_config["default"], name, value)
    model.save_pretrained(tmp_path)
    return ModelCard.load(tmp_path / "README.md")


def test_the_card_names_base_model_labels_and_accuracy(tmp_path) -> None:
    card = saved_card(
        tmp_path,
        classes=["cat", "dog"],
        backbone="vit_base_patch16_224.augreg_in21k",
        results={"task": "pets", "test_accuracy": 0.912, "val_accuracy": None},
    )
    assert card.data.base_model == "timm/vit_base_patch16_224.augreg_in21k"
    assert card.data.library_name == "peft"
    (metric,) = card.data.eval_results
    assert (metric.dataset_name, metric.dataset_split, metric.metric_value) == (
        "pets",
        "test",
        0.912,
    )
    for said in ("Labels (2): cat, dog", "test split: 91.2%", "PeftModel.from_pretrained"):
        assert said in card.text
    assert "More Information Needed" not in card.text


def test_a_local_backbone_is_no_hub_repository(tmp_path) -> None:
    card = saved_card(tmp_path, classes=["cat", "dog"], backbone="demo")
    assert card.data.base_model is None
    assert "Base model: demo" in card.text


def test_without_a_task_the_card_is_pefts(tmp_path) -> None:
    assert "More Information Needed" in saved_card(tmp_path).text
