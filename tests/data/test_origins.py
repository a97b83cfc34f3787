from arcvit.data.catalogue import TASKS
from arcvit.data.origins import ORIGINS


def test_every_task_has_an_origin_that_is_large_enough() -> None:
    assert list(ORIGINS) == [task.name for task in TASKS]
    for task in TASKS:
        origin = ORIGINS[task.name]
        assert origin.images >= task.trainval + task.test
        assert origin.page.startswith(("http://", "https://"))
        assert origin.terms
    for task in TASKS[-5:]:  # FGVC takes all there is
        assert ORIGINS[task.name].images == task.trainval + task.test
