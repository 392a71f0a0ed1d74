"""Write the script that draws the pages' charts: Vega, Vega-Lite and Vega-Embed in one file.

    make chart-script

The pinned vl-convert holds their sources. The file is committed, so that nobody who trains needs
that package, and no page fetches a script.
"""

from pathlib import Path

import vl_convert

SCRIPT = Path(__file__).resolve().parents[1] / "src/lockstep/reports/look/vega.js"


def bundle() -> str:
    """Return the script, which may stand inside a script element."""
    versions = (
        f"Vega {vl_convert.get_vega_version()}, Vega-Lite {vl_convert.get_vegalite_versions()[-1]}"
    )
    script = vl_convert.javascript_bundle(vl_version=vl_convert.get_vegalite_versions()[-1])
    assert "</script" not in script.lower(), "the script would end the element that holds it"
    return f"/* {versions}, Vega-Embed; licence: LICENSE-vega */\n{script}"


if __name__ == "__main__":
    SCRIPT.write_text(bundle(), encoding="utf-8")
    print(f"wrote {SCRIPT}")
