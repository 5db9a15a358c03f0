"""Training of networks on a site's images: augmentation, search, and the engine, without policy or Flower."""
