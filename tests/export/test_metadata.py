from dataclasses import replace

from arcvit.core.task import AdapterTask, Calibration, TaskBackbone
from arcvit.export.lost import lost_beside_metadata
from arcvit.export.metadata import metadata

SINGLE = AdapterTask(
    labels=["a", "b"], head="head", preprocessing={"size": [8, 8]}, backbone=TaskBackbone(name="x")
)
SEVERAL = replace(SINGLE, kind="multilabel", thresholds=[0.2, 0.7])
CALIBRATION = Calibration(temperature=0.5, images=9, score="cosine", threshold=0.1, coverage=0.95)


def test_what_outputs_mean_is_told() -> None:
    assert metadata(SINGLE) == {
        "labels": ["a", "b"],
        "kind": "single",
        "temperature": 1.0,
        "thresholds": None,
        "preprocessing": {"size": [8, 8]},
        "backbone": "x",
    }
    assert metadata(SEVERAL)["thresholds"] == [0.2, 0.7]
    assert metadata(replace(SEVERAL, thresholds=None))["thresholds"] == [0.5, 0.5]
    assert metadata(replace(SINGLE, calibration=CALIBRATION))["temperature"] == 0.5
    assert lost_beside_metadata(SINGLE) == ()
    (sigmoid,) = lost_beside_metadata(SEVERAL)
    assert "take the sigmoid of each, not softmax" in sigmoid and "0.2" not in sigmoid
