"""What Kubernetes' pods can be told to be in trouble for: read from the source of the modules that classify it.

They put each sentence together where they find its cause, so there is no list to print; but each is a ``Trouble``, a tuple of
(words, key, next step), or assigned to ``words``, and none can be added that this does not see.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from types import ModuleType

from tables import table

from clusterhub_backends.kubernetes import containers, creation, pods, scheduling

MODULES = (creation, scheduling, containers, pods)
"""In the order in which a pod meets them: is it made, has it a node, do its containers run, did its worker come."""


def pod_troubles() -> str:
    """Every sentence, with its key and its next step where they are always the same."""
    known: dict[str, tuple[str, str]] = {}
    for module in MODULES:
        for words, key, step in troubles(module):
            if words not in known or not any(known[words]):
                known[words] = (key, step)
    rows = ((words, f"`{key}`" if key else "", step) for words, (key, step) in known.items())
    return table(("it says", "the key that decides", "what to do"), rows)


def troubles(module: ModuleType) -> Iterator[tuple[str, str, str]]:
    """The sentences of one module; what is put in at run time is an ellipsis."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Trouble":
            given = dict(zip(("words", "source", "because", "next_step"), node.args, strict=False))
            given |= {each.arg: each.value for each in node.keywords if each.arg}
            rest = [next(iter(_texts(given[name])), "") if name in given else "" for name in ("because", "next_step")]
            yield from ((words, rest[0], rest[1]) for words in _texts(given["words"]))
        elif isinstance(node, ast.Tuple) and len(node.elts) >= 3:
            yield from _of_tuple(node)
        elif isinstance(node, ast.Assign) and any(
            isinstance(name, ast.Name) and name.id == "words" for name in node.targets
        ):
            yield from ((words, "", "") for words in _texts(node.value))
        elif isinstance(node, ast.Dict):
            texts = [text for value in node.values for text in _texts(value)]
            yield from ((text, "", "") for text in texts if " " in text)


def _of_tuple(node: ast.Tuple) -> Iterator[tuple[str, str, str]]:
    first, second, third = node.elts[:3]
    if isinstance(first, ast.Call) and _texts(second):  # a pattern, then why an image cannot be pulled, then what to do
        yield f"image … cannot be pulled: {_texts(second)[0]}", "kubernetes.image", "".join(_texts(third)[:1])
        return
    words, key = _texts(first), _texts(second)
    if words and " " in words[0] and key and " " not in key[0]:
        yield from ((each, key[0], "".join(_texts(third)[:1])) for each in words)


def _texts(node: ast.expr) -> list[str]:
    """The texts that an expression can be; none where that cannot be told, or where nothing but what is put in is said."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value.replace("{0}", "…")]
    if isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        text = re.sub(r"…(?: ?…)+", "…", text).removeprefix("…; ")
        return [text] if text.strip("… ;()") else []
    return []
