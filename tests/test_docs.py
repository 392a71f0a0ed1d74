"""The pages: every link leads somewhere, on GitHub and in the site; the README stays short."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
FRONT = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
PAGES = sorted([*(ROOT / name for name in FRONT), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
INLINE = re.compile(r"(?<!\\)\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
DEFINED = re.compile(r"^\[(?!\^)[^\]]+\]:\s+<?(\S+?)>?(?:\s|$)", re.MULTILINE)
OF_HTML = re.compile(r"<(?:a|img)\s[^>]*?(?:href|src)=\"([^\"]+)\"")
FOOTNOTE = re.compile(r"\[(\^[\w-]+)\](:?)")
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)
LINES = 120


def prose(text: str) -> str:
    """Return a page without its blocks and spans of code."""
    return CODE.sub("", FENCE.sub("", text))


def links(text: str) -> list[str]:
    return [link for form in (INLINE, DEFINED, OF_HTML) for link in form.findall(prose(text))]


def anchors(text: str) -> set[str]:
    """Return the names that GitHub gives the headings of a page."""
    counts: dict[str, int] = {}
    found = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        name = github_anchor(heading)
        seen = counts.get(name, 0)
        counts[name] = seen + 1
        found.add(f"{name}-{seen}" if seen else name)
    return found


def github_anchor(heading: str) -> str:
    """Lower case, without links and signs, a hyphen for each blank."""
    shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")


def fault(page: Path, link: str) -> str:
    """Say what is wrong with a link; nothing if it leads somewhere."""
    parts = urlsplit(link)
    if parts.scheme:
        fine = parts.scheme in ("https", "http") and "." in parts.netloc and not parts.query
        return "" if fine else "no address of a page"
    target = page if not parts.path else page.parent / unquote(parts.path)
    if parts.path.startswith("/") or not target.resolve().is_relative_to(ROOT):
        return "leaves the repository"
    if not target.exists():
        return "no such file"
    if not tracked(target.resolve()):
        return "git does not know the file"
    if parts.fragment and parts.fragment not in anchors(target.read_text()):
        return "no such heading"
    return ""


def tracked(path: Path) -> bool:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", str(path)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return bool(listed.stdout)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere_on_github(page):
    text = page.read_text()
    faults = {link: said for link in links(text) if (said := fault(page, link))}
    assert faults == {}
    used, given = (
        {name for name, colon in FOOTNOTE.findall(prose(text)) if bool(colon) is of_definition}
        for of_definition in (False, True)
    )
    assert used == given, "footnotes"


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("gates.md", ""),
        ("../README.md#the-graph", ""),
        ("#what-is-checked-first", ""),
        ("gate.md", "no such file"),
        ("gates.md#the-check", "no such heading"),
        ("#nowhere", "no such heading"),
        ("../../elsewhere.md", "leaves the repository"),
        ("/docs/gates.md", "leaves the repository"),
        ("https://dvc.org/doc", ""),
        ("https://dvc/doc", "no address of a page"),
        ("file:///etc/hosts", "no address of a page"),
    ],
)
def test_a_dead_link_is_found(link, said):
    assert fault(ROOT / "docs" / "predicting.md", link) == said


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Loading with MLflow's own tools", "loading-with-mlflows-own-tools"),
        ("`verify` and [links](a.md)", "verify-and-links"),
        ("Two  blanks, a dash – and_more", "two--blanks-a-dash--and_more"),
        ("3. Promote it", "3-promote-it"),
    ],
)
def test_headings_have_githubs_names(heading, anchor):
    assert github_anchor(heading) == anchor


def test_headings_of_one_text_are_numbered():
    text = "# One\n## Two\n```\n# no heading\n```\n## Two\n"
    assert anchors(text) == {"one", "two", "two-1"}


def test_links_of_every_form_are_found():
    text = (
        '[a](a.md "A") ![b](b.png) [c]: c.md\n[d]: d.md\n<a href="e.md"><img src="f.png" alt="F">'
        "</a> `[g](g.md)`\n```\n[h](h.md)\n```\n"
    )
    assert links(text) == ["a.md", "b.png", "d.md", "e.md", "f.png"]


def test_the_readme_stays_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= LINES
    assert [line for line in lines if len(line) > LINES and not line.startswith("|")] == []


def test_the_picture_is_small():
    assert (ROOT / "docs" / "images" / "report.png").stat().st_size < 200_000


def test_each_page_is_in_the_overview():
    """The folder's README is the overview, on GitHub and in the site."""
    overview = ROOT / "docs" / "README.md"
    linked = {link.partition("#")[0] for link in links(overview.read_text())}
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.parent != ROOT}
    assert pages - linked == {"README.md"}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # The tests' own HOME has no settings of git, which mkdocs does not need either.
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Page(HTMLParser):
    """What a page of the site fetches, and the names of its elements."""

    def __init__(self, text: str) -> None:
        """Read all of the page."""
        super().__init__()
        self.fetched: list[str] = []
        self.names: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.names |= {given[key] for key in ("id", "name") if key in given}
        if tag == "a":
            self.links += [given["href"]] if "href" in given else []
        elif tag == "link":
            self.fetched += [given["href"]] if given.get("rel") != "canonical" else []
        elif "src" in given:
            self.fetched.append(given["src"])


def test_the_site_has_each_page_and_fetches_nothing_from_elsewhere(site):
    pages = {path.stem: Page(path.read_text()) for path in site.glob("*.html")}
    wanted = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"README"} | {"index", "404"}
    assert set(pages) == wanted
    fetched = {source for page in pages.values() for source in page.fetched}
    assert fetched
    assert [source for source in fetched if urlsplit(source).netloc] == []
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", styles) == []


def test_each_link_of_the_site_leads_somewhere(site):
    pages = {path: Page(path.read_text()) for path in site.glob("*.html") if path.stem != "404"}
    dead = [
        (path.name, link)
        for path, page in pages.items()
        for link in page.links
        if not urlsplit(link).netloc and not leads(path, link, pages)
    ]
    assert dead == []


def leads(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(link)
    target = path if parts.path in ("", ".") else (path.parent / parts.path).resolve()
    if target.is_dir():
        target /= "index.html"
    if target not in pages:
        return target.is_file()
    return not parts.fragment or unquote(parts.fragment) in pages[target].names
