"""The methods that experiments compare: each is a change of the config and a model of the run that is measured."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from semievol.config import PRESETS, Config, JustifyConfig, SelectConfig
from semievol.config.options import Baseline, CollaborateConfig, EvolveConfig

Model = Literal["base", "warm", "evolved"] | Baseline


@dataclass(frozen=True)
class Method:
    """One method of an experiment."""

    name: str
    """What tables call it."""
    model: Model
    """Whose answers to the test rows count."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """How its config differs from the user's."""
    evolve_recipe: Literal["searched", "own"] = "searched"
    """Whether evolution takes the recipe that the search found, or the one of `options`."""
    truth: bool = False
    """Trained on the labeled rows and the unlabeled ones with their true answers."""
    series: str = ""
    """The line or group of a figure that it belongs to."""
    x: float | None = None
    """Where it stands on the figure's axis."""

    def config_options(self) -> dict[str, Any]:
        """`options`, with nothing else measured than the one model."""
        is_model = self.model not in get_args(Baseline)
        section = {"models": [self.model] if is_model else [], "baselines": [] if is_model else [self.model]}
        return {**self.options, "evaluate": {**self.options.get("evaluate", {}), **section}}


_UNTRAINED = {"data": {"unlabeled": None}, "warmup": {"enabled": False}, "evolve": {"start_from": "base"}}

VANILLA = Method("vanilla", "base", _UNTRAINED)
SFT = Method("SFT", "warm", {"data": {"unlabeled": None}, "warmup": {"enabled": True}})
SEMIEVOL = Method("SemiEvol", "evolved")
LOGISTIC_REGRESSION = Method("logistic regression on embeddings", "logistic_regression", _UNTRAINED)
SELF_TRAINED = Method(
    "self-trained logistic regression",
    "self_trained_logistic_regression",
    {"warmup": {"enabled": False}, "evolve": {"enabled": False, "start_from": "base"}},
)
"""It sees the unlabeled rows as SemiEvol does: what a language model adds shows beside it."""
SETFIT = Method("SetFit", "setfit", _UNTRAINED)
PSEUDO_LABEL_ALL = Method(
    "pseudo-label everything",
    "evolved",
    {
        "warmup": {"folds": 0},
        "collaborate": {"enabled": False, "how": "sample"},
        "justify": {"mode": "majority"},
        "select": {"enabled": False, "rule": "theta", "criterion": "auto"},
        "rounds": 1,
    },
)
"""Self-training at its simplest: the warm model answers greedily, and every answer is kept."""


def _released() -> dict[str, Any]:
    """The preset over the defaults of every option that says how the method goes; how long an answer may be, and the
    recipe if the preset leaves it open, are the user's.
    """
    preset = PRESETS["released"]
    method = {"enabled", "how", "temperature", "top_p"}
    return {
        **preset,
        "preset": "released",
        "rounds": 1,
        "warmup": {"enabled": True, "folds": 0},
        "collaborate": CollaborateConfig().model_dump(mode="json", include=method) | preset["collaborate"],
        "justify": JustifyConfig().model_dump(mode="json"),
        "select": SelectConfig().model_dump(mode="json") | preset["select"],
        "evolve": EvolveConfig().model_dump(mode="json", exclude={"training"}) | preset["evolve"],
    }


RELEASED = Method("released recipe", "evolved", _released(), evolve_recipe="own")
"""What a config has beyond the authors' code is not taken over."""
TRUSTED = Method("trusted", "evolved", {**PRESETS["trusted"], "preset": "trusted", "rounds": 1})
"""What the preset leaves open, such as recipes, is the user's."""


def trusted(name: str, **changes: Mapping[str, Any]) -> Method:
    """The trusted preset with some options changed."""
    options = {section: {**PRESETS["trusted"].get(section, {}), **change} for section, change in changes.items()}
    return dataclasses.replace(TRUSTED, name=f"trusted, {name}", options={**TRUSTED.options, **options})


TRUSTED_PARTS = (
    trusted("committee alone", justify={"views": []}),
    trusted("logistic regression alone beside it", justify={"views": ["logistic_regression"]}),
    trusted("nearest neighbours alone beside it", justify={"views": ["nearest_neighbours"]}),
    trusted("all rows count alike", select={"rule": "theta", "enabled": False}),
    trusted(
        "surest 60 % of each answer",
        select={"rule": "theta", "criterion": "probability", "theta": 0.6, "per_answer": True},
    ),
    trusted("precision 0.95", select={"rule": "precision", "precision": 0.95}),
    trusted("at most 5 % wrong", select={"rule": "max_error", "max_error": 0.05}),
)
"""Each part of the preset switched off or exchanged."""
ORACLE = Method(
    "oracle (all true answers)", "warm", {"data": {"unlabeled": None}, "warmup": {"enabled": True}}, truth=True
)
MEMORY = Method(
    "nearest labeled example as memory (MemoryLLM's place)", "base", {**_UNTRAINED, "evaluate": {"examples": 1}}
)

ABLATIONS = (
    Method(
        "without in-weight propagation", "evolved", {"warmup": {"enabled": False}, "evolve": {"start_from": "base"}}
    ),
    Method("without in-context propagation", "evolved", {"retrieval": {"enabled": False}}),
    Method("without collaborative learning", "evolved", {"collaborate": {"enabled": False}}),
    Method("without adaptive selection", "evolved", {"select": {"enabled": False}}),
)


def rag(config: Config, kind: str, name: str) -> Method:
    """The base model with the k nearest labeled examples in its prompt."""
    changes = {"evaluate": {"examples": config.retrieval.k}, "retrieval": {"kind": kind}}
    return Method(name, "base", {**_UNTRAINED, **changes})


def sft_for(epochs: int) -> Method:
    """SFT with so many epochs, whatever a search says: does its result rest on how long it trained?"""
    options = {**SFT.options, "warmup": {"enabled": True, "training": {"num_train_epochs": epochs}}}
    return dataclasses.replace(SFT, name=f"SFT, {epochs} epochs", options=options)


def checkpoint(model: str) -> Method:
    """Another model, evaluated as it is."""
    return Method(model, "base", {**_UNTRAINED, "model": {"name": model, "revision": None, "dtype": "auto"}})


def told(method: Method, number: int, instruction: str) -> Method:
    """The method's model, told something else at the test than in training."""
    evaluate = {**method.options.get("evaluate", {}), "instruction": instruction}
    return dataclasses.replace(
        method,
        name=f"{method.name}, instruction {number}",
        options={**method.options, "evaluate": evaluate},
        series=method.name,
        x=float(number),
    )
