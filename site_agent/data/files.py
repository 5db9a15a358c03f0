"""Datasets whose images are files: what folder and CSV listings share."""

from collections.abc import Sequence

from PIL import Image

from site_agent.data.decode import decode_image
from site_agent.data.source import ImageSource, Listing
from site_agent.data.tree import FileTree


class FileSource(ImageSource):
    """Image files of a tree, one image each.

    Args:
        tree: The files.
        paths: Path of each image in the tree.
        listing: What is known of each image.
        bit_depth: Bits that 16-bit images really use.
    """

    def __init__(self, tree: FileTree, paths: Sequence[str], listing: Listing, bit_depth: int) -> None:
        super().__init__(tree.root, listing, {"bit_depth": bit_depth})
        self._tree = tree
        self._paths = tuple(paths)
        self._bit_depth = bit_depth

    def load(self, index: int, *, min_side: int | None = None) -> Image.Image:
        """Decode one image file into mode "RGB"."""
        with self._tree.open(self._paths[index]) as file:
            return decode_image(file, self.name(index), bit_depth=self._bit_depth, min_side=min_side)
