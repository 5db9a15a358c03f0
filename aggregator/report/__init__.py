"""The catalogue of a consortium as one HTML file that opens anywhere, offline."""
