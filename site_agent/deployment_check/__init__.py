"""Whether a site is ready to serve: hub, clock, machine, keys, documents and data, each in plain words."""
