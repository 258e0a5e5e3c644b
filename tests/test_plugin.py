"""A distribution of a third party plugs in one thing of each kind; it is really installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"
USE = """
import json, sys
from pathlib import Path
from ipo_dspy import CLIPClassifier, IPOOptimizer, load_encoder, offline_lm, registry
from ipo_dspy.exports.base import Found
from ipo_dspy.testing import COLOURS, check_backend, check_exporter, check_strategy, colour_examples

encoder = load_encoder("plugged")
program = CLIPClassifier(tuple(COLOURS), encoder, "a dull <CLASS>")
optimizer = IPOOptimizer(strategy="plugged", prompt_model=offline_lm(), describer="none", steps=3)
best = optimizer.compile(program, trainset=colour_examples())
exporter = registry.find("exports", "plugged")()
exporter.write(Path("found.txt"), Found(best))
check_strategy(lambda: registry.find("strategies", "plugged")(prompts_per_step=1, seed=0))
Path("check").mkdir()
check_exporter(exporter, Found(best), Path("check"))
Path("pictures").mkdir()
check_backend(registry.find("backends", "plugged")(), Path("pictures"))
print(json.dumps({
    "spec": encoder.spec,
    "calls": best.total_calls,
    "template": best.template.text,
    "kept": registry.find("optimizers", "plugged")().compile(best).template.text,
    "written": Path("found.txt").read_text(),
    "plugged": [kind for kind in registry.KINDS if "plugged" in registry.names(kind)],
}))
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the plug-in, on top of the one that runs the tests."""
    folder = tmp_path_factory.mktemp("environment")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--target", str(folder), str(PLUGIN)], check=True, timeout=240)
    return folder


@pytest.mark.slow
def test_one_plug_in_of_each_kind_is_found_and_used(scratch: Path, tmp_path: Path) -> None:
    path = os.pathsep.join(filter(None, [str(scratch), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["plugged"] == ["strategies", "encoders", "exports", "backends", "optimizers"]
    assert told["spec"] == "plugged"
    assert told["calls"] == 0
    assert told["template"] == told["kept"] == "a crisp flat <CLASS>"
    assert told["written"] == "a crisp flat <CLASS>\n"
