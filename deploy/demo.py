"""The embedded demo: a consortium of real images that ship inside installable packages."""

from pathlib import Path

from deploy.demo_images import write_demo_consortium
from deploy.federation_file import ConsortiumConfig, FederationConfig, SpaceConfig
from federation.trust import TrustMode
from site_agent.config import SiteConfig
from site_agent.dataset_config import FolderConfig


def demo_federation(output: Path) -> FederationConfig:
    """Write the demo's images below ``output`` and return its federation.

    Raises:
        ConfigError: If the packages that hold the images are not installed.
    """
    sites = write_demo_consortium(output / "images")
    return FederationConfig(
        consortium=ConsortiumConfig(name="Demo consortium", output=output),
        space=SpaceConfig(samples="all"),
        site=tuple(
            SiteConfig(
                name=site.site,
                trust=TrustMode.OPEN,
                dataset=tuple(
                    FolderConfig(
                        format="folder",
                        task=task.task,
                        root=task.folder,
                        title=task.title,
                        modality=task.modality,
                        body_part="" if task.body_part == "-" else task.body_part,
                        keywords=task.keywords,
                        properties=task.properties.to_json(),
                        licence=task.licence,
                    )
                    for task in site.tasks
                ),
            )
            for site in sites
        ),
    )
