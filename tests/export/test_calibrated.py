from pathlib import Path

import torch

from arcvit.backbones.build import build_backbone
from arcvit.core.task import AdapterTask, Calibration, TaskBackbone
from arcvit.export.adapted import logits_on
from arcvit.export.calibrated import calibrate_head

CALIBRATION = Calibration(temperature=0.5, images=9, score="cosine", threshold=0.1, coverage=0.95)


def test_the_head_takes_the_temperature_where_its_layer_gives_the_logits(tiny: Path) -> None:
    model = build_backbone(str(tiny), num_classes=3).model
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        model.head.weight.normal_()
        model.head.bias.normal_()
    task = AdapterTask(
        labels=list("abc"),
        head="head",
        preprocessing={},
        backbone=TaskBackbone(name="tiny"),
        calibration=CALIBRATION,
    )
    expected = logits_on(model, images) / 0.5
    told = calibrate_head(model, task, images).calibration
    assert told is not None and (told.temperature, told.threshold) == (1.0, 0.1)
    torch.testing.assert_close(logits_on(model, images), expected)

    model.forward = lambda images: type(model).forward(model, images) + 1  # not the head's alone
    before = model.head.weight.clone()
    assert calibrate_head(model, task, images) is task
    assert torch.equal(model.head.weight, before)
