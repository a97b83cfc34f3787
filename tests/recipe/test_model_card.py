"""The model card of an adapter."""

from pathlib import Path

from huggingface_hub import ModelCard

from arcvit.arc.config import ArcConfig
from arcvit.core.result import RunResult
from arcvit.recipe.adapter import TaskCard
from arcvit.recipe.model_card import write_model_card

RESULT = RunResult(
    task="pets",
    backbone="vit",
    backbone_fingerprint="1-2",
    method="arc",
    seed=0,
    preset="vtab",
    selection="last",
    classes=2,
    train_images=4,
    skipped_images=0,
    params={},
    val_accuracy=None,
    test_accuracy=0.912,
    epochs=1,
    seconds={},
    images_per_second=1.0,
    peak_memory_mb=1.0,
    adapter_bytes=1,
    versions={},
    arcvit_version="0",
)


def saved_card(tmp_path: Path, backbone: str, result: RunResult | None = None) -> ModelCard:
    card = TaskCard(
        classes=["cat", "dog"], preprocessing={}, backbone=backbone, backbone_fingerprint="1-2"
    )
    write_model_card(tmp_path, ArcConfig(r=4), card, result)
    return ModelCard.load(tmp_path / "README.md")


def test_the_card_names_base_model_labels_and_accuracy(tmp_path: Path) -> None:
    card = saved_card(tmp_path, "vit_base_patch16_224.augreg_in21k", RESULT)
    assert card.data.base_model == "timm/vit_base_patch16_224.augreg_in21k"
    assert card.data.library_name == "peft"
    (metric,) = card.data.eval_results
    found = (metric.dataset_name, metric.dataset_split, metric.metric_value)
    assert found == ("pets", "test", 0.912)
    for said in ("Labels (2): cat, dog", "test split: 91.2%", "PeftModel.from_pretrained"):
        assert said in card.text


def test_a_local_backbone_is_no_hub_repository(tmp_path: Path) -> None:
    card = saved_card(tmp_path, "demo")
    assert card.data.base_model is None
    assert "Base model: demo" in card.text
