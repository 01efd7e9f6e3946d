"""Run a notebook and write its page: python docs/executed.py NOTEBOOK FOLDER.

A notebook is a Python script whose cells begin with `# %%`, those of text with `# %% [markdown]`. FOLDER gets
NAME.md, which shows what cells print and the value of a last expression, and NAME-1.png … for pictures.
"""

import ast
import contextlib
import io
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Cell(NamedTuple):
    """A cell: code, or the text of one in Markdown."""

    text: str
    code: bool


def cells(source: str) -> list[Cell]:
    """Return the cells of a notebook."""
    heads = re.split(r"^# %%(.*)\n", source, flags=re.MULTILINE)[1:]
    return [_cell(kind.strip(), text.strip()) for kind, text in zip(heads[::2], heads[1::2], strict=True)]


def executed(notebook: Path, folder: Path) -> str:
    """Return a notebook as Markdown with what its cells show; pictures are written to `folder`."""
    names: dict[str, Any] = {"__name__": "__main__"}
    parts, pictures = [], 0
    for number, cell in enumerate(cells(notebook.read_text(encoding="utf-8")), 1):
        if not cell.code:
            parts.append(cell.text)
            continue
        parts.append(f"```python\n{cell.text}\n```")
        printed, value = _run(cell.text, names, f"{notebook}, cell {number}")
        if (picture := _picture(value)) is None:
            printed += "" if value is None else f"{value!r}\n"
        parts.append(f"```text\n{printed.rstrip()}\n```" if printed.strip() else "")
        if picture is not None:
            pictures += 1
            (folder / f"{notebook.stem}-{pictures}.png").write_bytes(picture)
            parts.append(f"![What the cell above shows]({notebook.stem}-{pictures}.png)")
    return "\n\n".join(filter(None, parts)) + "\n"


def _cell(kind: str, text: str) -> Cell:
    if kind == "[markdown]":
        return Cell(re.sub(r"^# ?", "", text, flags=re.MULTILINE), code=False)
    return Cell(text, code=True)


def _picture(value: Any) -> bytes | None:
    """Return an image of Pillow or a figure of Matplotlib as PNG; None for other values."""
    save = getattr(value, "savefig", None) or (
        getattr(value, "save", None) if hasattr(value, "_repr_png_") else None
    )
    if save is None:
        return None
    save(content := io.BytesIO(), format="png")
    return content.getvalue()


def _run(code: str, names: dict[str, Any], where: str) -> tuple[str, Any]:
    """Run a cell; return what it prints, and the value of its last line where that is an expression."""
    body = ast.parse(code, where).body
    last = [body.pop()] if body and isinstance(body[-1], ast.Expr) else []
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(ast.Module(body, []), where, "exec"), names)
        value = eval(compile(ast.Expression(last[0].value), where, "eval"), names) if last else None
    return printed.getvalue(), value


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    link = f"*The notebook [{source.name}]({source.name}), as it was run when this site was built.*\n"
    (target / f"{source.stem}.md").write_text(f"{executed(source, target)}\n{link}", encoding="utf-8")
