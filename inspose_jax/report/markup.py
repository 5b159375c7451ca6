"""A self-contained HTML page and its building blocks; readable on paper and on a phone."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; color: #1c2733; background: #fff; margin: 0; }
main { max-width: 1000px; margin: 0 auto; padding: 2rem 1.1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .7rem; }
section { border-top: 1px solid #dfe4ea; padding-top: 1.1rem; margin-top: 1.6rem; }
p { margin: .5rem 0; max-width: 75ch; overflow-wrap: anywhere; }
p.note, figcaption { color: #56657a; font-size: .9rem; }
dl.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .9rem; margin: 1.2rem 0; }
dl.facts div { display: flex; flex-direction: column; justify-content: space-between; }
dl.facts dt { color: #56657a; font-size: .85rem; }
dl.facts dd { margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.gallery { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(var(--least), 100%), 1fr)); }
.gallery + .gallery { margin-top: 1.4rem; }
figure { margin: 0; break-inside: avoid; }
figcaption { white-space: pre-line; overflow-wrap: anywhere; }
ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; font-size: .9rem; }
ul.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em; }
img { max-width: 100%; max-height: 17rem; display: block; }  /* upright images leave no holes beside lying ones */
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1rem .3rem 0; text-align: right; border-bottom: 1px solid #e8ecf0; vertical-align: top; }
th { font-weight: 600; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.scroll td { white-space: nowrap; }
table.fields { width: 100%; table-layout: fixed; font-size: .88rem; margin-bottom: 1.2rem; }
table.fields td { text-align: left; overflow-wrap: anywhere; }
table.fields caption { text-align: left; font-weight: 600; padding: .2rem 0; }
table.fields tr { break-inside: avoid; }
table.fields small { color: #56657a; }
.columns { columns: 2 21rem; column-gap: 2.5rem; }
@media (max-width: 600px) { table { font-size: .88rem; } th, td { padding-right: .7rem; } }
@media print { body { font-size: 10pt; } main { max-width: none; padding: 0; } h2 { break-after: avoid; } }
"""


def page(title: str, lead: str, facts: dict[str, str], sections: Sequence[tuple[str, str]]) -> str:
    """A page: a title, a lead sentence, a few key numbers, and sections of (heading, HTML)."""
    numbers = "".join(f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd></div>" for k, v in facts.items())
    numbers = f'<dl class="facts">{numbers}</dl>' if numbers else ""
    body = "".join(f"<section><h2>{html.escape(heading)}</h2>{content}</section>" for heading, content in sections)
    content = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f"<body><main><h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p>"
        f"{numbers}{body}</main></body></html>\n"
    )
    return content.encode(errors="backslashreplace").decode()  # a file name may not be valid text


def table(header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """A table of numbers whose first column names the rows; on a narrow screen it scrolls separately."""
    head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def fields(tables: Mapping[str, Sequence[tuple[str, str, str]]]) -> str:
    """Titled tables of (name, value, remark), side by side if there is room; rows with a remark are bold."""
    parts = []
    for title, rows in tables.items():
        lines = [
            f"<tr><td><b>{html.escape(name)}</b></td><td><b>{html.escape(value)}</b> "
            f"<small>{html.escape(remark)}</small></td></tr>"
            if remark
            else f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"
            for name, value, remark in rows
        ]
        caption = f"<caption>{html.escape(title)}</caption>" if title else ""
        parts.append(f'<table class="fields">{caption}{"".join(lines)}</table>')
    return f'<div class="columns">{"".join(parts)}</div>'


def note(text: str) -> str:
    """An explanatory paragraph."""
    return f'<p class="note">{html.escape(text)}</p>'


def legend(names: Sequence[str], colours: Sequence[tuple[int, int, int]]) -> str:
    """Each name beside a dot of its RGB colour."""
    entries = [
        f'<li><i style="background: rgb{colour}"></i>{html.escape(name)}</li>'
        for name, colour in zip(names, colours, strict=True)
    ]
    return f'<ul class="legend">{"".join(entries)}</ul>'


def gallery(figures: Sequence[tuple[str, str]], least: str) -> str:
    """Images (from `photo` or `drawing`) with captions, in as many columns as fit at the CSS width `least`."""
    parts = [f"<figure>{image}<figcaption>{html.escape(text)}</figcaption></figure>" for image, text in figures]
    return f'<div class="gallery" style="--least: {least}">{"".join(parts)}</div>'


def photo(image: UInt8[np.ndarray, "H W 3"], alternative: str) -> str:
    """A raster image, embedded in the page."""
    target = io.BytesIO()
    Image.fromarray(image).save(target, "JPEG", quality=88, subsampling=0)
    return embedded(target.getvalue(), "image/jpeg", alternative)


def drawing(svg: bytes, alternative: str) -> str:
    """A vector image, embedded in the page."""
    return embedded(svg, "image/svg+xml", alternative)


def embedded(content: bytes, kind: str, alternative: str) -> str:
    """An `img` element that embeds the bytes of an image file."""
    data = base64.b64encode(content).decode()
    return f'<img src="data:{kind};base64,{data}" alt="{html.escape(alternative)}">'
