"""A demo consortium made of real pictures that ship inside installed packages.

Ten invented institutions hold fourteen small labelled datasets, cut from pictures in scikit-image,
scikit-learn and pydicom. Most datasets have a twin at another site, from another part of the same picture
or another picture of the same kind, so a person sees at a glance whether a recommendation makes sense.
"""

from deploy.demo_images.consortium import DemoSite, DemoTask, write_demo_consortium

__all__ = ["DemoSite", "DemoTask", "write_demo_consortium"]
