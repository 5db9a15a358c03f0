"""What runs inside a hospital: reading images, extracting features, sketching and releasing."""
