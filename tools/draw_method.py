"""Draw docs/images/method.svg: where ARC sits in a block, what an adapter is, and how it folds.

Usage: python tools/draw_method.py
"""

from pathlib import Path

OUT = Path(__file__).parents[1] / "docs" / "images" / "method.svg"
WIDTH, HEIGHT = 960, 480

Part = tuple[str, tuple[str, str]]
INK, QUIET = "#1f2933", "#5b6773"
# Fill and stroke by what happens to the part in training.
FROZEN = ("#eef1f5", "#9aa5b1")
SHARED = ("#d6efe9", "#1f8a7a")
OWN = ("#fde4cf", "#d9722a")


def text(
    x: float,
    y: float,
    content: str,
    size: int = 15,
    *,
    color: str = INK,
    anchor: str = "middle",
    bold: bool = False,
    italic: bool = False,
) -> str:
    style = f'font-size="{size}" fill="{color}" text-anchor="{anchor}"'
    style += ' font-weight="600"' if bold else ""
    style += ' font-style="italic"' if italic else ""
    return f'<text x="{x}" y="{y}" {style}>{content}</text>'


def box(x: float, y: float, width: float, height: float, kind: tuple[str, str], label: str) -> str:
    """A rounded box around its centre (x, y)."""
    fill, stroke = kind
    return (
        f'<rect x="{x - width / 2}" y="{y - height / 2}" width="{width}" height="{height}"'
        f' rx="6" fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>' + text(x, y + 5, label)
    )


def polygon(points: list[tuple[float, float]], kind: tuple[str, str]) -> str:
    fill, stroke = kind
    corners = " ".join(f"{x},{y}" for x, y in points)
    return f'<polygon points="{corners}" fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'


def line(*points: tuple[float, float]) -> str:
    path = " L ".join(f"{x} {y}" for x, y in points)
    style = f'fill="none" stroke="{QUIET}" stroke-width="1.5" marker-end="url(#arrow)"'
    return f'<path d="M {path}" {style}/>'


def plus(x: float, y: float) -> str:
    around = f'<circle cx="{x}" cy="{y}" r="11" fill="white" stroke="{QUIET}" stroke-width="1.5"/>'
    cross = f"M {x - 5} {y} H {x + 5} M {x} {y - 5} V {y + 5}"
    return around + f'<path d="{cross}" stroke="{INK}" stroke-width="1.5"/>'


def half_of_a_block(x: float, bottom: float, parts: list[Part]) -> str:
    """Parts of a sub-layer from bottom to top, and the residual connection around them."""
    step, top = 41, bottom - 41 * len(parts) - 28
    drawn = [line((x, bottom), (x, bottom - 18))]
    for place, (label, kind) in enumerate(parts):
        y = bottom - 33 - step * place
        drawn.append(box(x, y, 118, 29, kind, label))
        end = y - step + 15 if place < len(parts) - 1 else top + 12
        drawn.append(line((x, y - 15), (x, end)))
    around = [(x, bottom - 7), (x + 84, bottom - 7), (x + 84, top), (x + 12, top)]
    return "".join(drawn) + line(*around) + plus(x, top)


def block(x: float, title: str, att: list[Part], ffn: list[Part]) -> str:
    drawn = text(x, 46, title, 17, bold=True)
    bottom, middle = 432, 432 - 41 * len(att) - 28
    drawn += text(x, bottom + 17, "x", italic=True)
    drawn += half_of_a_block(x, bottom, att) + half_of_a_block(x, middle - 11, ffn)
    top = middle - 11 - 41 * len(ffn) - 28
    return drawn + line((x, top - 11), (x, top - 32))


def adapter(x: float) -> str:
    """The bottleneck between x at the bottom and y at the top."""
    wide, narrow = 78, 26
    down = [(x - wide, 366), (x + wide, 366), (x + narrow, 312), (x - narrow, 312)]
    up = [(x - narrow, 226), (x + narrow, 226), (x + wide, 172), (x - wide, 172)]
    drawn = text(x, 46, "An adapter", 17, bold=True)
    drawn += text(x, 449, "x", italic=True) + line((x, 432), (x, 368))
    drawn += polygon(down, SHARED) + text(x, 345, "D")
    drawn += line((x, 312), (x, 286)) + box(x, 270, 62, 29, OWN, "⊙ c") + line((x, 255), (x, 228))
    drawn += polygon(up, SHARED) + text(x, 205, "Dᵀ")
    drawn += line((x, 172), (x, 146)) + plus(x, 134)
    drawn += box(x - 78, 134, 42, 29, OWN, "b") + line((x - 57, 134), (x - 13, 134))
    drawn += line((x, 406), (x + 112, 406), (x + 112, 134), (x + 13, 134))
    drawn += line((x, 123), (x, 96)) + text(x, 86, "y = x + x (D ⊙ c) Dᵀ + b", 16, italic=True)
    drawn += text(x + wide + 12, 326, "d → r", 13, color=QUIET, anchor="end")
    return drawn


def legend() -> str:
    drawn, x = "", 96
    for kind, label in (
        (FROZEN, "frozen backbone"),
        (SHARED, "trained, one for all layers"),
        (OWN, "trained, each layer's own"),
    ):
        fill, stroke = kind
        drawn += f'<rect x="{x}" y="459" width="15" height="15" rx="3" fill="{fill}"'
        drawn += f' stroke="{stroke}" stroke-width="1.5"/>' + text(
            x + 22, 472, label, 13, color=QUIET, anchor="start"
        )
        x += 290
    return drawn


def picture() -> str:
    arc = ("ARC", OWN)
    training = block(
        130,
        "A block in training",
        [("LayerNorm", FROZEN), arc, ("attention", FROZEN)],
        [("LayerNorm", FROZEN), arc, ("MLP", FROZEN)],
    )
    merged = block(
        800,
        "The block after merging",
        [("LayerNorm", FROZEN), ("attention, W&#8242;", FROZEN)],
        [("LayerNorm", FROZEN), ("MLP, W&#8242;", FROZEN)],
    )
    note = text(800, 132, "W&#8242; = W (I + D diag(c) Dᵀ)", 15, italic=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="Helvetica, Arial, sans-serif" role="img"'
        ' aria-label="ARC adapters in a transformer block, in training and merged">'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
        f' markerHeight="7" orient="auto"><path d="M 0 0 L 8 4 L 0 8 z" fill="{QUIET}"/></marker>'
        f'</defs><rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="white"/>'
        + training
        + adapter(450)
        + merged
        + note
        + legend()
        + "</svg>\n"
    )


if __name__ == "__main__":
    OUT.write_text(picture(), encoding="utf-8")
    print(f"wrote {OUT}")
