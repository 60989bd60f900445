"""Request bodies that are not JSON."""

from __future__ import annotations

NOT_JSON = {
    "text": b"title=x",
    "cut short": b'{"title": "x"',
    "two documents": b'{"title": "x"} {"title": "y"}',
    "a comma too many": b'{"title": "x",}',
    "single quotes": b"{'title': 'x'}",
    "NaN": b'{"title": "x", "n": NaN}',
    "Infinity": b'{"title": "x", "n": Infinity}',
    "-Infinity": b'{"title": "x", "n": -Infinity}',
    "NaN beside a surrogate": b'{"title": "\\ud800", "n": NaN}',
    "NaN alone": b"NaN",
    "nested deep": b'{"title": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "nested deep, objects": b'{"title":' * 6000 + b"1" + b"}" * 6000,
    "nested deep, never closed": b"[" * 60_000,
    "nested deep beside a surrogate": b'{"t": "\\ud800", "x": ' + b"[" * 1500 + b"]" * 1500 + b"}",
    "a control character": b'{"title": "a\nb"}',
    "a raw NUL": b'{"title": "a\0b"}',
    "a bad escape": b'{"title": "\\x41"}',
    "half an escape": b'{"title": "\\u12"}',
    "a BOM": b'\xef\xbb\xbf{"title": "x"}',
    "UTF-16": '{"title": "x"}'.encode("utf-16"),
    "Latin-1": '{"title": "é"}'.encode("latin-1"),
    "a raw surrogate": b'{"title": "\xed\xa0\x80"}',
    "only white space": b"  \n ",
}
