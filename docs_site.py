"""What the site has beside ``docs/``: the files at the root, the examples, Mermaid; and docstrings as Markdown."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import griffe
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent
PACKAGE = ROOT / ".mermaid" / "package"
MERMAID = {"mermaid.min.js": PACKAGE / "dist" / "mermaid.min.js", "mermaid.license.txt": PACKAGE / "LICENSE"}

AT_THE_ROOT = {
    **{"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"},
    "SECURITY.md": "security.md",
}
EXAMPLES = {
    path.relative_to(ROOT).as_posix(): f"examples/{path.stem}.md"
    for path in sorted((ROOT / "example_dags").rglob("*.py"))
}
PAGES = AT_THE_ROOT | EXAMPLES
"""What else is a page, by its path in the repository."""

LINK = re.compile(r"(!?)\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose files are not in ``docs/``, and Mermaid."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if source in EXAMPLES:
            text = f"# {PurePosixPath(source).name}\n\n```python\n{text}```\n"
        files.append(File.generated(config, page, content=text))
    for name, path in MERMAID.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files of the repository lead to their pages; those to files without one become their words."""
    sources = {page: source for source, page in PAGES.items()}
    here = PurePosixPath(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")).parent
    up = "../" * (len(PurePosixPath(page.file.src_uri).parts) - 1)

    def led(link: re.Match[str]) -> str:
        mark, words, target, anchor = link.groups()
        path = (ROOT / here / target).resolve()
        if not path.is_relative_to(ROOT) or not path.exists():
            return link[0]  # which ends the build
        source = path.relative_to(ROOT).as_posix()
        if source in PAGES:
            return f"{mark}[{words}]({up}{PAGES[source]}{anchor or ''})"
        if source.startswith("docs/"):
            return f"{mark}[{words}]({up}{source.removeprefix('docs/')}{anchor or ''})"
        return words

    return LINK.sub(led, markdown)


class PlainDocstrings(griffe.Extension):
    """Reads the few roles of Sphinx that our docstrings have, and a base class's options as a class's own."""

    def on_instance(self, *, obj: griffe.Object | griffe.Alias, **kwargs: Any) -> None:
        """Rewrite an object's docstring before it is parsed."""
        if not obj.is_alias and obj.docstring:
            text = re.sub(r":(?:class|func|meth|attr|data):`~?([^`]+)`", _role, obj.docstring.value)
            obj.docstring.value = re.sub(r"(?m)(?:^|(?<=:)):\n\n(?=    )|^::\n\n(?=    )", "\n\n", text)

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Give each constructor the options that it hands on to a base class of ours."""
        _adopt(pkg)


def _adopt(scope: griffe.Module | griffe.Class) -> None:
    for it in scope.members.values():
        if it.is_alias:
            continue
        if isinstance(it, griffe.Class):
            for base in it.resolved_bases:
                _inherit(it, base)  # of one base of ours, as all have
        if isinstance(it, griffe.Module | griffe.Class):
            _adopt(it)


def _inherit(heir: griffe.Class, base: griffe.Object) -> None:
    mine, theirs = (it.members.get("__init__") for it in (heir, base))
    if isinstance(mine, griffe.Function) and isinstance(theirs, griffe.Function):
        *own, rest = mine.parameters
        if rest.kind is griffe.ParameterKind.var_keyword:
            known = {it.name for it in own}
            mine.parameters = griffe.Parameters(*own, *(it for it in theirs.parameters if it.name not in known))


def _role(role: re.Match[str]) -> str:
    return f"``{role[1].rpartition('.')[2]}``"
