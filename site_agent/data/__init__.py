"""From a hospital's files to decoded images: one interface over folders, tables, DICOM trees and arrays."""

from site_agent.data.folder import open_folder
from site_agent.data.npz import open_npz
from site_agent.data.source import ImageSource
from site_agent.data.splits import require_two_classes, select_split
from site_agent.data.table import open_csv
from site_agent.dataset_config import CsvConfig, DatasetConfig, DicomConfig, FolderConfig, NpzConfig

__all__ = ["ImageSource", "open_source"]


def open_source(config: DatasetConfig) -> ImageSource:
    """List the images of a configured dataset, in its chosen split.

    Args:
        config: The dataset, with paths already resolved (``config.resolve(folder)``).

    Raises:
        DataError: If it cannot be used; the message names the file or folder and the remedy.
    """
    return require_two_classes(select_split(_open(config), config.split))


def _open(config: DatasetConfig) -> ImageSource:
    match config:
        case FolderConfig():
            return open_folder(config)
        case CsvConfig():
            return open_csv(config)
        case DicomConfig():
            from site_agent.data.dicom import open_dicom  # slow to import, and seldom needed

            return open_dicom(config)
        case NpzConfig():
            return open_npz(config)
