"""Transfer experiments at a site: what it takes part in, what it keeps, what leaves."""
