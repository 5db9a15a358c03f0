"""HTML as a tree, read strictly: every element that opens must close."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "input", "br", "hr", "img", "link"}


@dataclass(eq=False)
class Element:
    tag: str
    attributes: dict[str, str]
    nodes: "list[Element | str]" = field(default_factory=list)

    def all(self, tag: str = "", **wanted: str) -> "list[Element]":
        """Every element below this one with this tag and these attributes, in document order."""
        return [e for e in self.walk() if tag in ("", e.tag) and wanted.items() <= e.attributes.items()]

    def one(self, tag: str = "", **wanted: str) -> "Element":
        (found,) = self.all(tag, **wanted)
        return found

    def walk(self) -> "Iterator[Element]":
        for node in self.nodes:
            if isinstance(node, Element):
                yield node
                yield from node.walk()

    @property
    def text(self) -> str:
        """The text in document order, elements apart, white space as one space."""
        return " ".join(" ".join(n if isinstance(n, str) else n.text for n in self.nodes).split())

    @property
    def raw(self) -> str:
        """The text of an element without elements in it, to the letter."""
        return "".join(str(node) for node in self.nodes)


class Page(HTMLParser):
    """A document tree; asserts that every element that opens also closes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(html)
        self.close()
        assert self.open == [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> repeats an attribute"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].nodes.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].nodes.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].nodes.append(data)


def parse(html: str) -> Element:
    """Return the root above a document's elements."""
    return Page(html).root
