"""The config: what it accepts, what it refuses and in which words."""

from pathlib import Path

import pytest
import yaml

from semievol import config
from semievol.config.starter import template, write_config
from semievol.errors import ConfigError
from semievol.stages.warmup import recipe_key


def test_the_dumped_config_loads_as_the_same_config() -> None:
    made = config.build({"preset": "released", "select": {"theta": 0.2}})
    assert config.build(yaml.safe_load(config.dump(made))) == made


def test_an_unknown_option_names_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"select\.teta: unknown option; did you mean theta\?"):
        config.build({"select": {"teta": 0.3}})


def test_an_unknown_option_without_a_near_one_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"justify\.xyz: unknown option; known here: mode, calibrate, views, temperature"
    ):
        config.build({"justify": {"xyz": 1}})


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("select.theta=0", "select.theta: Input should be greater than 0"),
        ("select.theta=1.5", "select.theta: Input should be less than or equal to 1"),
        ("collaborate.n=none", "collaborate.n: Input should be a valid integer"),
        ("rounds=0", "rounds: Input should be greater than or equal to 1"),
        ("evolve.training={learning_rate: 7}", "evolve.training.learning_rate: Input should be less than 1"),
        ("warmup.training.epochs=3", "warmup.training.epochs: unknown option"),
        ("preset=paperr", "preset: 'paperr' is not one of paper, released"),
        ("theta", "expected section.option=value"),
        ("select.theta=[", "not valid YAML"),
    ],
)
def test_an_impossible_value_is_refused_with_its_place(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.build({}, [override])
    assert words in str(caught.value)


def test_an_override_wins_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("preset: released\nselect: {theta: 0.4}\n", encoding="utf-8")
    assert config.load(path).select.theta == 0.4
    assert config.load(path).select.scope == "justified"
    assert config.load(path, ["select.theta=0.9"]).select.theta == 0.9


def test_the_released_preset_is_the_recipe_of_the_authors_code() -> None:
    made = config.build({"preset": "released"})
    crew = [(one.weights, one.examples) for one in made.collaborate.collaborators]
    assert crew == [("warm", 0)] * 4
    assert (made.select.scope, made.select.theta) == ("justified", 0.3)
    assert (made.evolve.start_from, made.evolve.include_labeled) == ("warm", False)
    assert made.recipe("evolve").learning_rate == 1e-6
    assert made.recipe("warmup").learning_rate == 1e-4


def test_the_default_is_the_paper() -> None:
    made = config.build({})
    assert (made.collaborate.n, made.retrieval.k, made.collaborate.temperature, made.select.theta) == (4, 3, 1.0, 0.5)
    assert made.recipe("warmup") == made.recipe("evolve")
    recipe = made.recipe("warmup")
    assert (recipe.num_train_epochs, recipe.learning_rate, recipe.gradient_accumulation_steps) == (2, 1e-4, 8)


def test_a_collaborator_may_not_want_more_examples_than_are_retrieved() -> None:
    with pytest.raises(ConfigError, match=r"wants 5 examples and retrieval\.k is 3"):
        config.build({"collaborate": {"collaborators": [{"examples": 5}]}})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [1", "not valid YAML"),
        (b"- 1", "expected sections with options, found list"),
        (b"\xff\xfe\x00", "not UTF-8 text at byte 0"),
    ],
)
def test_a_file_that_is_no_config_says_why(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        config.load(path)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        config.load("nowhere.yaml")


def test_a_byte_order_mark_is_no_part_of_the_config(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("seed: 3\n", encoding="utf-8-sig")
    assert config.load(path).seed == 3


def test_an_empty_section_means_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("select:\nseed: 3\n", encoding="utf-8")
    assert config.load(path).select == config.SelectConfig()


def test_the_template_of_init_is_a_config_and_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    write_config(path)
    made = config.load(path)
    assert made.data.columns.prompt == "question"
    assert "semievol run mine.yaml" in path.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="is there already"):
        write_config(path)


def test_every_option_that_the_template_only_mentions_exists_too() -> None:
    lines = []
    for line in template().splitlines():
        bare = line.replace("# ", "", 1) if line.lstrip().startswith("# ") and ": " in line else line
        lines.append(bare if bare.split(":")[0].strip().isidentifier() else line)
    text = "\n".join(line for line in lines if not line.startswith("name: meta"))
    assert "test: test.csv" in text
    assert config.build(yaml.safe_load(text)).data.columns.category == "subject"


def test_every_option_of_every_section_is_explained() -> None:
    schema = config.schema()
    sections = [schema, *schema["$defs"].values()]
    silent = [
        f"{section.get('title')}.{name}"
        for section in sections
        for name, option in section.get("properties", {}).items()
        if "description" not in option and "$ref" not in option
    ]
    assert silent == []


def test_a_key_in_the_config_is_refused_and_not_repeated() -> None:
    for key in ("sk-proj-abc123", "gsk_abc123", "d0ffeeb1"):
        with pytest.raises(
            ConfigError, match=r"backend\.service\.api_key_env: name the environment variable"
        ) as caught:
            config.build({"backend": {"service": {"api_key_env": key}}})
        assert key not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8000", "https://me:secret@host/v1", "https://host/v1?api-key=secret"])
def test_an_address_without_a_scheme_or_with_a_key_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"backend\.service\.base_url") as caught:
        config.build({"backend": {"service": {"base_url": url}}})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"num_workers": 2}, "num_workers is 2 and launcher is inline; set launcher to accelerate or ray"),
        ({"fsdp": True}, "fsdp is True and launcher is inline"),
        ({"launcher": "ray", "kind": "hosted"}, "launcher is ray and kind is hosted; only local training is launched"),
        ({"launcher": "ray", "fsdp": True}, "fsdp is true and num_workers is 1"),
        (
            {"launcher": "accelerate", "num_workers": 3},
            "3 workers cannot share a step of gradient_accumulation_steps 8",
        ),
    ],
)
def test_a_training_that_cannot_be_launched_is_refused(training: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.build({"training": training})
    with pytest.raises(ConfigError, match=message):
        config.build({"evolve": {"training": training}})


@pytest.mark.parametrize(
    ("batch", "passes", "workers", "each"),
    [(1, 8, 4, (1, 2)), (4, 1, 2, (2, 1)), (2, 2, 4, (1, 1)), (3, 4, 6, (1, 2)), (2, 3, 1, (2, 3))],
)
def test_workers_share_the_passes_of_a_step_and_then_its_batches(
    batch: int, passes: int, workers: int, each: tuple[int, int]
) -> None:
    recipe = config.build(
        {"training": {"per_device_train_batch_size": batch, "gradient_accumulation_steps": passes}}
    ).training
    assert recipe.batches_of(workers) == each


def test_a_launcher_stands_in_no_key_and_takes_the_cluster_of_the_executor() -> None:
    plain = config.build({}).recipe("warmup")
    launched = config.build(
        {
            "training": {"launcher": "ray", "num_workers": 2},
            "executor": {"ray": {"address": "auto"}},
            "evolve": {"training": {"ray": {"num_cpus": 3}}},
        }
    )
    assert recipe_key(launched.recipe("warmup")) == recipe_key(plain)
    assert launched.recipe("warmup").ray == launched.executor.ray
    assert launched.recipe("evolve").ray == config.RayConfig(num_cpus=3)


def test_words_and_numbers_are_the_text_that_stands_there(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "task: {labels: [yes, no, on, 0, -1, +1, 1.50, 010, 1e-4, 2024-01-01], label_names: {yes: +1}}\n"
        "select: {enabled: no}\n",
        encoding="utf-8",
    )
    made = config.load(file)
    assert made.task.labels == ("yes", "no", "on", "0", "-1", "+1", "1.50", "010", "1e-4", "2024-01-01")
    assert made.task.label_names == {"yes": "+1"}
    assert made.select.enabled is False
    file.write_text(config.dump(made), encoding="utf-8")
    assert config.load(file) == made


@pytest.mark.parametrize("label", ["true", "null", "~"])
def test_a_label_that_yaml_reads_as_something_else_is_to_be_quoted(tmp_path: Path, label: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"task: {{labels: [{label}, other]}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"task\.labels\.0: .* quote it\)"):
        config.load(file)
    file.write_text(f"task: {{labels: ['{label}', other]}}\n", encoding="utf-8")
    assert config.load(file).task.labels == (label, "other")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("select: {theta: 0.5}\nseed: 1\nselect: {per_answer: true}\n", "'select' stands twice, on lines 1 and 3"),
        ("task:\n  labels: [a, b]\n  labels: [c, d]\n", "'labels' stands twice, on lines 2 and 3"),
    ],
)
def test_an_option_that_stands_twice_is_refused_with_both_lines(tmp_path: Path, text: str, lines: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=lines):
        config.load(file)
