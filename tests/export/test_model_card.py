"""The model card of an adapter."""

from huggingface_hub import ModelCard

from arcvit.core.task import AdapterTask, TaskBackbone
from arcvit.export.model_card import model_card

ARC = {"peft_type": "ARC", "variant": "arc", "r": 4, "adapter_bias": True}


def card(backbone: str = "demo", config: dict[str, object] = ARC, **results: object) -> ModelCard:
    task = AdapterTask(
        labels=["cat", "dog"],
        head="head",
        preprocessing={},
        backbone=TaskBackbone(name=backbone, fingerprint="1-2"),
        results=results,
    )
    return ModelCard(model_card(task, config, source="me/pets"))


def test_it_names_base_model_labels_and_accuracy() -> None:
    found = card(
        "vit_base_patch16_224.augreg_in21k", task="pets", method="arc", test_accuracy=0.912
    )
    assert found.data.base_model == "timm/vit_base_patch16_224.augreg_in21k"
    assert found.data.library_name == "peft"
    assert {"arc", "arxiv:2310.06234"} <= set(found.data.tags)
    (metric,) = found.data.eval_results
    assert (metric.dataset_name, metric.dataset_split, metric.metric_value) == (
        "pets",
        "test",
        0.912,
    )
    for said in (
        "# ARC adapter for pets",
        "Labels (2): cat, dog",
        "test split: 91.2%",
        "arcvit.load('me/pets')",
    ):
        assert said in found.text


def test_a_backbone_on_the_hub_is_the_base_model() -> None:
    for name in ("hf-hub:me/vit", "transformers:me/vit@v1"):
        assert card(name).data.base_model == "me/vit"
    assert card("transformers:/srv/me/vit").data.base_model is None


def test_a_local_backbone_is_no_hub_repository() -> None:
    assert card("demo").data.base_model is None
    assert "Base model: demo" in card("demo").text


def test_other_methods_arent_called_arc() -> None:
    found = card(config={"peft_type": "LORA"}, method="lora", task="pets")
    assert found.data.tags == ["adapter", "peft", "lora", "image-classification"]
    assert "# Lora adapter for pets" in found.text
    assert "Re-Composing" not in found.text
    assert card(config={}).data.library_name == "arcvit"
