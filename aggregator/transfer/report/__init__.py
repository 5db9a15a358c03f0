"""What transfer experiments found, as one offline page and as tables: docs/transfer-report.md."""

from aggregator.transfer.report.write import report_plan, write_report

__all__ = ["report_plan", "write_report"]
