"""How well selectors of transfer sources agree with measured transfer."""
