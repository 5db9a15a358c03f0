"""What a simulation prints when it is done, and the report it leaves."""

import json

from rich.console import Console
from rich.markup import escape

from aggregator.report.catalogue import report_data
from aggregator.report.data import ReportData
from aggregator.report.render import write_report
from aggregator.report.words import is_exact, say_cost, say_noise
from aggregator.store import Catalogue
from aggregator.tables import matrix_table, recommendations_text
from deploy.federation_file import FederationConfig
from deploy.simulation import Simulation, SiteProblem
from federation.names import task_key
from federation.trust import MEMBERSHIP_WARNING, TrustMode
from site_agent.config import SiteConfig
from site_agent.state import SiteState

TOP = 3
_SHOWN_FILES = 5


def show_results(config: FederationConfig, run: Simulation, console: Console) -> bool:
    """Print matrix, recommendations and problems, and write the report.

    Returns:
        Whether every site and task is there.
    """
    catalogue = Catalogue(run.catalogue)
    try:
        data = report_data(catalogue, config.distance)
        if data.tasks:
            _show_matrix_and_sources(data, console)
        else:
            console.print(
                "no task released a fingerprint, so there is nothing to compare; "
                "trust mode 'listen', which releases nothing, is the default"
            )
        _show_local_rankings(config, run.job_id, console)
        _show_problems(run.problems, console)
        for gone in data.missing:
            console.print(f"[bold red]missing[/bold red] {_name(gone.site, gone.task)}: {gone.reason}")
        path = config.consortium.output / "report.html"
        write_report(data, path)
    finally:
        catalogue.close()
    if any(is_exact(task.privacy) for task in data.tasks):
        console.print(f"[yellow]note:[/yellow] {MEMBERSHIP_WARNING}")
    _show_noise(data, console)
    console.print(f"catalogue: {run.catalogue}\nreport:    {path}")
    return not data.missing


def _show_matrix_and_sources(data: ReportData, console: Console) -> None:
    keys = [task.key for task in data.tasks]
    values, errors = data.matrices[data.distance], data.standard_errors.get(data.distance)
    console.print(matrix_table(data.distance, keys, values, console.width, errors))
    console.print("\nWhich sources to try first for each target:")
    console.print(recommendations_text([data.recommendations[key][:TOP] for key in keys]))


def _show_noise(data: ReportData, console: Console) -> None:
    for task in data.tasks:
        stated = task.privacy
        if not stated.is_exact:
            console.print(f"{task.key} left with noise {say_noise(stated)}: {say_cost(stated)}")


def _show_local_rankings(config: FederationConfig, job_id: str, console: Console) -> None:
    for site in config.site:
        state = SiteState(config.consortium.output / "sites" / site.name)
        ranked = [e["task"] for e in state.events() if e["event"] == "ranked" and e["job"] == job_id]
        for task in ranked:
            choices = json.loads(state.ranking_path(task).read_bytes())[:TOP]
            best = ", ".join(choice["source"] for choice in choices) or "nothing, as nobody has released"
            console.print(f"{task_key(site.name, task)} {_what_left(site, task)}; it ranks: {best}")


def _what_left(site: SiteConfig, task: str) -> str:
    """Return in words what a site that ranks for itself let others see of a task."""
    pooled = any(d.task == task and site.mode(d) is TrustMode.POOLED for d in site.dataset)
    return "is seen only in the sum of its cohort" if pooled else "listened and released nothing"


def _show_problems(problems: tuple[SiteProblem, ...], console: Console) -> None:
    for problem in problems:
        if not problem.image:
            console.print(f"[red]{_name(problem.site, problem.task)}[/red] {escape(problem.text)}")
    unreadable = [problem for problem in problems if problem.image]
    for problem in unreadable[:_SHOWN_FILES]:
        console.print(
            f"[yellow]left out[/yellow] {problem.site}/{problem.task}: "
            f"{escape(problem.image)} {escape(problem.text)}"
        )
    if len(unreadable) > _SHOWN_FILES:
        console.print(f"… and {len(unreadable) - _SHOWN_FILES} more; every one is in the site's log.jsonl")


def _name(site: str, task: str) -> str:
    """Return what a problem is about: a task, or a whole site."""
    return task_key(site, task) if task else site
