"""Take the pictures of a page that docs/ shows: two widths, light and dark, small files.

    python scripts/page_pictures.py report reports/accidents.html
    python scripts/page_pictures.py what-if http://127.0.0.1:8000

Chromium must be installed (scripts/install_services.sh).
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
SIZES = {"phone": (375, 1300), "desk": (1600, 1400)}
COLOURS = 96
"""Colours of a picture: pages have few, and each halves the file."""


def main() -> None:
    """Take all pictures of one page."""
    name, where = sys.argv[1:3]
    address = where if "://" in where else Path(where).resolve().as_uri()
    program = shutil.which("chromium")
    assert program, "Chromium is not installed; run scripts/install_services.sh"
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for size in SIZES:
            for scheme in ("light", "dark"):
                path = FOLDER / f"{name}-{size}-{scheme}.png"
                small(picture(browser, address, size, scheme)).save(path, optimize=True)
                print(f"{path.name}: {path.stat().st_size:,} bytes")
        browser.close()


def picture(browser: Browser, address: str, size: str, scheme: str) -> bytes:
    """Return the upper part of a page as PNG, after its charts are drawn."""
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(address, wait_until="networkidle")
    page.wait_for_function(
        "!document.querySelector('figure.chart') || document.documentElement.dataset.charts"
    )
    taken = page.screenshot()
    page.close()
    return taken


def small(png: bytes) -> Image.Image:
    """Return a picture of few colours, at most 1,000 pixels wide."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    if image.width > 1000:
        image = image.resize((1000, image.height * 1000 // image.width), Image.Resampling.LANCZOS)
    return image.quantize(COLOURS)


if __name__ == "__main__":
    main()
