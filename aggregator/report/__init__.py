"""The catalogue of a consortium as one HTML file that opens anywhere, offline."""

from aggregator.report.data import MissingTask, ReportData, TaskEntry
from aggregator.report.render import render_report, write_report

__all__ = ["MissingTask", "ReportData", "TaskEntry", "render_report", "write_report"]
