"""`make monitor-demo`: the world changes, an alarm, a retrain, a promotion, and no alarm."""

import re
import subprocess
import sys

import pytest
from tests.monitoring.conftest import PROJECT

STORY = (
    r"✓ credit-risk-model version 1: None → Production",
    r"monitor.py --problem credit_risk --until 2025-02-01   \(exit code 0\)",
    r"no alarm",
    r"\(exit code 3\)",
    r"alarm: outcomes: \d+ of [\d,]+ labelled rows are positive in the last 2 months with enough ",
    r"What to do next: retrain \(\d features? changed, so newer data are needed\)",
    r"  python scripts/retrain_model.py --problem credit_risk --through 2025-\d\d\n",
    r"--retrain   \(exit code 3\)\nRetrained credit_risk: run ",
    r"gates of credit-risk-model version 2, against 1: passed; champion: roc_auc ",
    r"  it stays in Staging; promotion is left to a person\n",
    r"version 2 in the shadow of version 1: 2,000 rows of 50 requests\n",
    r"  approve → reject: \d+ rows\n",
    r"labels: roc_auc \+0\.\d+ \(95 % \+0\.\d+ … \+0\.\d+\): better\n",
    r"✓ credit-risk-model version 2: Staging → Production\n",
    r"\(exit code 0\)\n2025-\d\d: 2,000 rows, [\d,]+ labels\nno alarm\n",
    r"the clone is removed\n",
)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_demo_tells_the_whole_story():
    done = subprocess.run(
        [sys.executable, "scripts/monitor_demo.py"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    place = 0
    for line in STORY:
        found = re.compile(line).search(done.stdout, place)
        assert found, f"{line} does not follow in:\n{done.stdout}"
        place = found.end()
