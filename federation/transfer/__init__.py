"""The shared language of transfer experiments: recipes, steps, models that travel, augmentation policies."""
