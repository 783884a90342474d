"""The pictures of the committed sample report, for the README.

    python tests/browser/report_page.py

makes ``report.png`` (a laptop) and ``phone.png`` (a phone, in the dark) in ``tests/notebooks/pictures`` anew.
"""

from __future__ import annotations

from pathlib import Path

from chromium import browser

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "tests" / "notebooks" / "pictures"
#: Name, wide, high, scheme.
SCREENS = (("report.png", 1200, 1250, "light"), ("phone.png", 360, 740, "dark"))


def pictures(folder: Path = PICTURES) -> None:
    """The first page as it opens, without scrolling."""
    with browser() as chromium:
        for name, wide, high, scheme in SCREENS:
            page = chromium.new_context(
                viewport={"width": wide, "height": high}, color_scheme=scheme
            ).new_page()
            page.goto((ROOT / "reports" / "sample" / "index.html").as_uri())
            page.screenshot(path=folder / name)
            page.context.close()
            print(folder / name)


if __name__ == "__main__":
    pictures()
