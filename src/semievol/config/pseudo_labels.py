"""The options of how pseudo-labels are settled and selected."""

from typing import Annotated, Literal

from pydantic import Field

from semievol.config.section import Section, Share


class JustifyConfig(Section):
    """Self-justification (Eq. 5): M_warm sees the candidate answers and gives the final one."""

    mode: Literal["disagreements", "all", "majority", "pool"] = "disagreements"
    """Which rows are asked again; `majority` asks none and takes the most frequent answer. `pool` asks none and takes
    the likeliest answer by all collaborators and `views` together, with its calibrated probability (beyond the paper;
    needs `collaborate.how: score`, and `warmup.folds` to be calibrated on)."""
    calibrate: bool = False
    """With the other modes: how likely each settled answer is right, by logistic regression on its agreement, its H and
    what `views` make of it (beyond the paper). It is learned from the labeled rows, which are answered and justified
    as the unlabeled ones are, each by the adapter of `warmup.folds` that has not seen it; without a warm-up by the
    base model, each without itself among the examples."""
    views: tuple[str, ...] = ("logistic_regression", "nearest_neighbours")
    """With `mode: pool` or `calibrate`: what tells answers beside the collaborators, learned from the labeled rows.
    Logistic regression and nearest neighbours over the embeddings of `retrieval.embedder`, for tasks whose answers are
    one closed set; or `my_package.module:Class`."""
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Sampling temperature of the final answer."""

    @property
    def calibrates(self) -> bool:
        """Whether each answer gets a calibrated probability."""
        return self.calibrate or self.mode == "pool"


class SelectConfig(Section):
    """Adaptive selection (Eq. 6-8): rows whose H is at most the θ-th percentile are kept."""

    enabled: bool = True
    """Off: every row with an answer is kept (the ablation)."""
    rule: Literal["theta", "precision", "max_error", "weights"] = "theta"
    """Which rows are kept. `theta`: a share of them, as in the paper. Beyond it, with `justify.mode: pool` or
    `justify.calibrate`: `precision`: as many as are expected to be right in the share `precision`; `max_error`: as many
    as conformal selection allows, so that on average over draws of the labels at most the share `max_error` is wrong;
    `weights`: all of them. By all three, a row counts in the training by its calibrated probability."""
    precision: Share = 0.95
    """What `rule: precision` aims at."""
    max_error: Share = 0.05
    """What `rule: max_error` keeps to."""
    criterion: Literal["auto", "nll", "agreement", "probability"] = "auto"
    """What `rule: theta` keeps rows by. `nll`: H, as in the paper. `agreement`: the share of collaborators that gave
    the answer (beyond the paper); for services without log-probabilities. `probability`: that of `justify.mode: pool`
    or `justify.calibrate`. `auto`: H, unless the engine gave none at all."""
    theta: Share = 0.5
    """Share of the rows that are kept: τ is this quantile of H, or of one minus the agreement."""
    scope: Literal["all", "justified"] = "all"
    """`justified`: unanimous rows are all kept and only justified ones are filtered (the released recipe)."""
    per_answer: bool = False
    """One τ for each answer instead of a global one: a guard against the easy class taking over
    (beyond the paper)."""
    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The least share of collaborators that must have given the answer (beyond the paper)."""
