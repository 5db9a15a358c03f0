import re
from pathlib import Path

import pytest
import yaml
from deploy_tools import DEPLOY, run

from aggregator.operations import collector as hub_collector
from federation.operations import families
from site_agent.operations import collector as site_collector

RULES = DEPLOY / "prometheus" / "alerts.yaml"


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_prometheus_understands_the_rules():
    assert f"{len(rules())} rules found" in run("promtool", "check", "rules", RULES)


def test_the_rules_fire_when_they_should():
    run("promtool", "test", "rules", RULES.with_name("alerts.test.yaml"))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_is_about_metrics_that_exist_and_says_what_to_do(rule):
    sources = "".join(
        Path(module.__file__).read_text() for module in (hub_collector, site_collector, families)
    )
    for name in re.findall(r"fedprint_[a-z_]+", rule["expr"]):
        known = name.removesuffix("_total")
        column = known.removeprefix("fedprint_site_budget_")
        assert f'"{known}"' in sources or f'"{column}"' in sources, name
    assert set(rule["annotations"]) == {"summary", "action"}
