"""docs/ray.md: its files parse, its commands exist."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from semievol.arguments import parser
from semievol.config import load

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ray.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "examples" / "ray"
CONFIG = ROOT / "configs" / "llama31-8b-ray.yaml"


def commands() -> list[str]:
    """The lines of the page's shell blocks, continued ones joined."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip()]


def test_the_config_is_for_eight_workers_with_a_gpu_each():
    config = load(CONFIG)
    assert (config.executor.kind, config.backend.kind) == ("ray", "vllm")
    assert (config.executor.ray.workers, config.executor.ray.num_gpus) == (8, 1)
    assert (config.training.launcher, config.training.num_workers) == ("ray", 8)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_a_cluster_file_parses(path):
    assert list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def test_ray_takes_the_cluster_file_for_aws():
    util = pytest.importorskip("ray.autoscaler._private.util", reason="ray is not installed")
    pytest.importorskip("jsonschema", reason="the schema is checked with jsonschema")
    assert "s/AMI_OF_TODAY/" in PAGE
    cluster = yaml.safe_load((EXAMPLES / "aws.yaml").read_text(encoding="utf-8"))
    util.validate_config(util.prepare_config(cluster))
    nodes = cluster["available_node_types"]
    assert cluster["head_node_type"] in nodes
    assert cluster["max_workers"] >= nodes["gpu"]["max_workers"] == 8


def test_the_raycluster_has_eight_pods_of_one_gpu_and_a_head_without():
    spec = yaml.safe_load((EXAMPLES / "kuberay.yaml").read_text(encoding="utf-8"))["spec"]
    (group,) = spec["workerGroupSpecs"]
    (worker,) = group["template"]["spec"]["containers"]
    (head,) = spec["headGroupSpec"]["template"]["spec"]["containers"]
    assert (group["minReplicas"], group["maxReplicas"]) == (0, 8)
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in head["resources"]["limits"]
    assert worker["image"] == head["image"]


def test_every_file_names_the_same_release_of_ray():
    named = {path.name: path.read_text(encoding="utf-8") for path in EXAMPLES.iterdir()}
    versions = {name: set(re.findall(r"\d\.\d\d\.\d", text)) for name, text in named.items() if name != "slurm.sh"}
    assert versions == {name: {"2.60.0"} for name in versions}
    assert "ray[default]==2.60.0" in PAGE


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_slurm_script_is_valid_for_bash():
    subprocess.run(["bash", "-n", EXAMPLES / "slurm.sh"], check=True)


def test_the_semievol_commands_of_page_and_files_are_some():
    actions = parser()._actions
    known = next(set(action.choices) for action in actions if isinstance(action.choices, dict))
    said = "\n".join([*commands(), (EXAMPLES / "slurm.sh").read_text(encoding="utf-8")])
    named = set(re.findall(r"semievol (run|plan|check|\w+) +\S*configs/", said))
    assert named == {"run"} <= known


def test_the_ray_commands_of_page_and_files_are_some():
    scripts = pytest.importorskip("ray.scripts.scripts", reason="ray is not installed")
    said = "\n".join([*commands(), (EXAMPLES / "slurm.sh").read_text(encoding="utf-8")])
    named = set(re.findall(r"^\s*ray ([a-z-]+)", said, re.MULTILINE))
    assert {"up", "down", "job", "dashboard", "symmetric-run"} <= named
    assert named <= set(scripts.cli.commands)


def test_every_file_that_the_page_names_is_there():
    named = set(re.findall(r"(?:examples|configs|benchmarks)/[\w./-]+\w", PAGE))
    links = set(re.findall(r"\]\(((?!http)[^)#]+)", PAGE))
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
