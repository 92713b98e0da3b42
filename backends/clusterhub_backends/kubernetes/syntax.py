"""What Kubernetes takes for a name, a label, an image or a quantity: its own rules, known before anything is sent.

They follow Kubernetes' documentation, "Object Names and IDs", "Labels and Selectors" and "Quantity", and hold on all versions.
Each function returns what it was given; its ValueError says what is allowed.
"""

from __future__ import annotations

import hashlib
import re

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_WORD = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_QUANTITY = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|u|n|k|M|G|T|P|E|[KMGTPE]i|[eE][+-]?[0-9]+)?")
# The grammar of the distribution project's `reference` package, which kubelets read images by.
_HOST = (
    r"(?:[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(:[0-9]+)?"
)
_PATH = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"({_HOST}/)?{_PATH}(/{_PATH})*(:\w[\w.-]{{0,127}})?(@[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]{{32,}})?"
)

LONGEST_LABEL = 63
LONGEST_NAME = 253


def dns_label(text: str) -> str:
    """The name of a namespace, a container or a volume."""
    if len(text) > LONGEST_LABEL or not _DNS_LABEL.fullmatch(text):
        raise ValueError(
            f"{_shown(text)} must be 1 to 63 lower-case letters, digits and -, and neither begin nor end with -"
        )
    return text


def dns_subdomain(text: str) -> str:
    """The name of most things."""
    if len(text) > LONGEST_NAME or not _DNS_SUBDOMAIN.fullmatch(text):
        raise ValueError(
            f"{_shown(text)} must be 1 to 253 lower-case letters, digits, - and ., and each part between dots begin and end with"
            " a letter or digit"
        )
    return text


def is_service_name(text: str) -> bool:
    """Whether a Service can be called so; stricter than for other names: it begins with a letter."""
    return len(text) <= LONGEST_LABEL and _SERVICE.fullmatch(text) is not None


def label_key(text: str) -> str:
    """The key of a label or an annotation: ``app``, ``example.org/app``."""
    prefix, slash, name = text.rpartition("/")
    if slash:
        dns_subdomain(prefix)
    if len(name) > LONGEST_LABEL or not _WORD.fullmatch(name):
        raise ValueError(
            f"{_shown(text)} is no key of labels; write up to 63 letters, digits, -, _ and ., that begin and end with a letter or"
            " digit, and before it at most a domain and /"
        )
    return text


def label_value(text: str) -> str:
    """The value of a label, or what a node selector compares with one."""
    if text and (len(text) > LONGEST_LABEL or not _WORD.fullmatch(text)):
        raise ValueError(
            f"{_shown(text)} is no value of labels; write up to 63 letters, digits, -, _ and ., that begin and end with a letter"
            " or digit"
        )
    return text


def image(text: str) -> str:
    """The name of a container image."""
    if not _IMAGE.fullmatch(text):
        raise ValueError(
            f"{_shown(text)} is no name of an image; write it as registry.example.org/team/image:tag, in lower case"
        )
    return text


def quantity(value: object) -> object:
    """An amount as Kubernetes writes it: ``500m``, ``2``, ``16Gi``."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not _QUANTITY.fullmatch(str(value)):
        hint = "; Kubernetes writes 16Gi for 16 GiB, and 16G for 16 GB" if str(value).endswith(("B", "b")) else ""
        raise ValueError(f"{_shown(str(value))} is no quantity of Kubernetes, as 500m, 2 or 16Gi{hint}")
    return value


def as_label_value(text: str) -> str:
    """A label's value that stands for ``text`` and for nothing else, and is ``text`` itself where that can be one."""
    if not text or (len(text) <= LONGEST_LABEL and _WORD.fullmatch(text)):
        return text
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")[:50]
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}".lstrip("-")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
