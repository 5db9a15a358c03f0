"""One file per scenario: the steps that it is made of, in order."""
