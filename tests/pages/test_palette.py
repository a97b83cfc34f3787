from arcvit.pages.palette import line_styles


def test_lines_can_be_told_apart() -> None:
    names = [f"row {index:02d}" for index in range(24)]
    styles = line_styles(names)
    assert len({str(style) for style in styles.values()}) == 24
    assert line_styles(names[::-1]) == styles  # whatever the order
