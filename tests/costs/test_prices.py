"""Prices: the table, what the config overrides, and what the docs say."""

import re
from pathlib import Path
from typing import Any

import pytest

from semievol.config import build
from semievol.costs.prices import LIST_PRICES, Price, dollars, price_of

PAGE = Path(__file__).parents[2] / "docs" / "hosted-training.md"
MINI = "gpt-4o-mini-2024-07-18"


def price(model: str = MINI, service: dict[str, Any] | None = None, **sections: Any) -> Price | None:
    return price_of(
        build({"model": {"name": model}, "backend": {"kind": "openai", "service": service or {}}, **sections})
    )


def test_openais_models_have_its_list_prices() -> None:
    found = price()
    assert found is not None
    assert (found.input, found.output, found.tuned_input, found.tuned_output, found.training) == (
        0.15,
        0.6,
        0.3,
        1.2,
        3,
    )
    assert re.search(r"developers\.openai\.com.*as of 20\d\d-\d\d-\d\d", found.source)
    assert found.answering("base") == (0.15, 0.6)
    assert found.answering("evolved") == (0.3, 1.2)


def test_a_model_or_a_service_that_is_not_listed_has_no_price() -> None:
    assert price("gpt-unknown") is None
    assert price(service={"base_url": "http://localhost:8000/v1"}) is None


def test_the_batch_mode_has_its_share_of_the_price_and_training_has_not() -> None:
    found = price(service={"mode": "batch"})
    assert found is not None
    assert (found.input, found.tuned_output, found.training) == (0.075, 0.6, 3)


def test_the_config_wins_over_the_table_and_stands_where_there_is_none() -> None:
    found = price(costs={"prices": {"input": 9}})
    assert found is not None
    assert (found.input, found.output) == (9, 0.6)
    assert "costs.prices in the config" in found.source
    own = price("mine", {"base_url": "http://localhost:1/v1"}, costs={"prices": {"input": 0, "output": 1}})
    assert own is not None
    assert (own.input, own.output, own.tuned_input, own.training) == (0, 1, None, None)


def test_a_training_elsewhere_has_the_price_of_where_it_is() -> None:
    model = "meta-llama/Meta-Llama-3.1-8B-Instruct-Reference"
    service = {"base_url": "https://api.together.xyz/v1", "api_key_env": "TOGETHER_API_KEY"}
    hosted = {"kind": "hosted", "hosted": {"provider": "together", "service": service}}
    found = price(model, {"base_url": "http://localhost:8000/v1"}, training=hosted)
    assert found is not None
    assert (found.input, found.training) == (None, 0.48)


def test_dollars_are_per_million_tokens() -> None:
    assert dollars(500_000, 3.0) == 1.5
    assert dollars(5, None) is None


@pytest.mark.parametrize("host", LIST_PRICES)
def test_the_page_in_docs_has_every_price(host: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for model, each in LIST_PRICES[host].items():
        figures = (each.input, each.output, each.tuned_input, each.tuned_output, each.training)
        cells = ["" if figure is None else f"{figure:.2f}" for figure in figures]
        batch = f"{each.batch:g}" if each.input is not None else ""
        assert f"| `{model}` | {' | '.join(cells)} | {batch} | {each.source} |" in text
