"""The site's ledger: what was spent of whose privacy, signed, chained and durable before anything leaves."""

from site_agent.ledger.book import Ledger
from site_agent.ledger.budget import Budget, Charge, Scope
from site_agent.ledger.entry import Entry

__all__ = ["Budget", "Charge", "Entry", "Ledger", "Scope"]
