"""A parsed HTML page, for tests that ask what a page holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html.parser import HTMLParser

_VOID = frozenset(("meta", "input", "br", "img", "link", "hr"))


class Element:
    """A node: tag, attributes, and children that are elements or text."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag, self.attributes = tag, attributes
        self.children: list[Element | str] = []

    def __iter__(self) -> Iterator[Element]:
        """All elements below, in document order."""
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child

    @property
    def text(self) -> str:
        """All text below, as it stands; style and script left out."""
        return "".join(
            child if isinstance(child, str) else child.text
            for child in self.children
            if isinstance(child, str) or child.tag not in ("style", "script", "title", "desc")
        )

    @property
    def words(self) -> str:
        """All text below with runs of white space folded."""
        return " ".join(self.text.split())

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Elements below of this tag with these attributes; `class_` asks for one of the classes."""
        wanted: list[Callable[[Element], bool]] = []
        for name, value in attributes.items():
            if name == "class_":
                wanted.append(lambda e, value=value: value in e.attributes.get("class", "").split())
            else:
                wanted.append(lambda e, n=name, v=value: e.attributes.get(n.replace("_", "-")) == v)
        return [e for e in self if e.tag == tag and all(is_so(e) for is_so in wanted)]

    def one(self, tag: str, **attributes: str) -> Element:
        """The only such element."""
        (found,) = self.all(tag, **attributes)
        return found

    def by_id(self, name: str) -> Element:
        """The element with this id."""
        (found,) = [e for e in self if e.attributes.get("id") == name]
        return found

    def section(self, heading: str) -> Element:
        """The section labelled by the heading with this id."""
        return self.one("section", aria_labelledby=heading)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> repeats an attribute"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        element = self.open.pop()
        assert element.tag == tag, f"</{tag}> closes <{element.tag}>"

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(html: str) -> Element:
    """The page as a tree. Fails where a tag is not closed by its own."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert parser.open == [parser.root], f"<{parser.open[-1].tag}> is never closed"
    return parser.root
