"""Links in a reply: what chat programs turn into one, and which host it really leads to."""

from __future__ import annotations

import re
from collections.abc import Iterable

_END = r"(?![\w@-])(?!\.\w)"
_ANY_CASE = "com|net|org|info|biz|app|dev|xyz|shop|store|site|online|link|click|club|top|vip|icu|page"
_LOWER_CASE = (
    "ac|ai|at|au|be|ca|cc|cf|ch|cn|co|cz|de|dk|ee|es|eu|fi|fr|ga|gg|gl|gr|hk|hu|id|ie|il|im|in|io|ir|is|it|jp|ke|kr"
    "|li|lt|lu|lv|ly|me|ml|mx|my|ng|nl|no|nu|nz|pe|ph|pk|pl|pm|pt|pw|re|ro|rs|ru|sa|se|sg|sh|si|sk|so|su|th|tk|to|tr"
    "|tv|tw|ua|ug|uk|us|uy|vn|wf|ws|za"
)
"""Words of languages among them: two sentences without a space between them are no link."""
_BARE = rf"""(?<![\w@.-])(?:[\w-]+\.)+
         (?: [^\W\d_]{{2,24}}(?::\d+)?[/?\#][^\s<>()"']*
           | (?:{_ANY_CASE}){_END}
           | (?-i:{_LOWER_CASE}){_END})"""
"""A host with a path, or one that ends as those of the web do: chat programs link these without a scheme, too."""
BARE = re.compile(_BARE, re.IGNORECASE | re.VERBOSE)
LINK = re.compile(
    rf"""(?:[a-z][a-z0-9+.-]{{0,20}}://|www\.)[^\s<>()"']+|{_BARE}""", re.IGNORECASE | re.VERBOSE
)
_PLACE = re.compile(r"[\w.-]+(?::\d*)?")
_AFTER_A_LINK = ".,;:!?…*_~]}»”’|"
"""Signs that end a sentence or an emphasis and not an address."""
_NO_SPACES = re.compile("^.*[\u0e00-\u0eff\u3000-\u9fff\uac00-\ud7a3\uff00-\uffef]")
"""Scripts that put no space before an address: it begins after them."""
UNREADABLE = "an unreadable address"


def hosts(text: str) -> list[str]:
    """The host of each link in `text`, `UNREADABLE` where programs may not agree on it."""
    marked = "://" in text or "www." in text.lower()  # looking for the unmarked alone takes half the time
    return [host(link) for link in (LINK if marked else BARE).findall(text)]


def host(link: str) -> str:
    """The host a link leads to, without `www.`, in lower case.

    Addresses with a user, a backslash or anything else in front of the path that no host name holds are
    `UNREADABLE`: one program reads `https://a.example\\\\@b.example` as a.example, the next as b.example.
    """
    scheme, sign, rest = link.rstrip(_AFTER_A_LINK).partition("://")
    place = re.split(r"[/?#]", rest if sign else scheme, maxsplit=1)[0]
    if not sign:
        place = _NO_SPACES.sub("", place)
    if not _PLACE.fullmatch(place):
        return UNREADABLE
    return place.partition(":")[0].lower().rstrip(".").removeprefix("www.") or UNREADABLE


def strange(text: str, allowed: Iterable[str]) -> str | None:
    """The first host that `text` links to and that is neither one of `allowed` nor under one; else None."""
    good = {host(one) for one in allowed} - {UNREADABLE}
    return next((found for found in hosts(text) if not _under(found, good)), None)


def _under(found: str, good: set[str]) -> bool:
    labels = found.split(".")
    return any(".".join(labels[start:]) in good for start in range(len(labels)))
