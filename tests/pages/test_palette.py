from arcvit.pages.palette import line_styles, named


def test_lines_can_be_told_apart() -> None:
    names = [f"row {index:02d}" for index in range(24)]
    styles = line_styles(names)
    assert len({str(style) for style in styles.values()}) == 24
    assert line_styles(names[::-1]) == styles  # whatever the order


def test_a_long_name_takes_more_lines_and_loses_nothing() -> None:
    for text in (
        "",
        "arc",
        "::a:",
        "x" * 100,
        "arc:r=192:projection_init=activations:core=full:a=b",
    ):
        lines = named(text).split("\n")
        assert "".join(lines) == text
        assert max(map(len, lines)) <= 40
        assert len(lines) <= 1 + len(text) // 20
