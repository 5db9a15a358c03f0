"""Training of networks on a site's images: augmentation, search, and the engine, without policy or Flower."""

IMAGES_FOLDER = "images"
"""Where decoded images are kept, below a site's state folder or a step's own."""
