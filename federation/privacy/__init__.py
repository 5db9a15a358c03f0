"""Patient-level differential privacy: noise, accounting, and what a fingerprint says about them."""
