"""How the tables of a catalogue came to be what ``aggregator.schema`` says, one file for every change."""
