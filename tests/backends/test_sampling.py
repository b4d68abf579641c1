"""How the next token is drawn."""

import pytest

from semievol.records import Sampling

torch = pytest.importorskip("torch")

from semievol.backends.sampling import draw  # noqa: E402

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -3.0])
DRAWS = 4000


def frequencies(temperature: float, top_p: float = 1.0) -> "torch.Tensor":
    samplings = [Sampling(temperature=temperature, top_p=top_p, seed=seed) for seed in range(DRAWS)]
    tokens, _ = draw(LOGITS.expand(DRAWS, -1), samplings, step=0)
    return torch.bincount(tokens, minlength=len(LOGITS)) / DRAWS


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampled_tokens_are_as_frequent_as_the_softmax_says(temperature: float) -> None:
    expected = (LOGITS / temperature).softmax(dim=-1)
    deviation = (expected * (1 - expected) / DRAWS).sqrt()
    assert bool(((frequencies(temperature) - expected).abs() < 4 * deviation + 1e-4).all())


def test_the_nucleus_holds_the_fewest_likeliest_tokens_of_its_share() -> None:
    kept = LOGITS[:2].softmax(dim=-1)  # 64 % and 24 %: the first alone is less than 0.7
    found = frequencies(1.0, top_p=0.7)
    assert found[2:].sum() == 0
    assert found[:2].tolist() == pytest.approx(kept.tolist(), abs=0.03)


def test_a_nucleus_smaller_than_the_likeliest_token_still_holds_it() -> None:
    assert frequencies(1.0, top_p=0.01)[0] == 1


def test_temperature_zero_takes_the_likeliest_token() -> None:
    tokens, _ = draw(LOGITS[None], [Sampling(temperature=0, seed=3)], step=0)
    assert tokens.tolist() == [0]


def test_log_probabilities_are_those_of_temperature_one_without_a_nucleus() -> None:
    samplings = [Sampling(temperature=3.0, top_p=0.9, seed=seed) for seed in range(20)]
    tokens, logprobs = draw(LOGITS.expand(20, -1), samplings, step=0)
    torch.testing.assert_close(logprobs, LOGITS.log_softmax(dim=-1)[tokens])


def test_a_draw_depends_on_its_own_seed_and_step_alone() -> None:
    flat = torch.zeros(1, 1000)
    mine = Sampling(temperature=1.0, seed=2**70 + 5)
    alone, _ = draw(flat, [mine], step=3)
    torch.manual_seed(99)
    among, _ = draw(flat.expand(3, -1), [Sampling(temperature=1.0, seed=1), Sampling(), mine], 3)
    later, _ = draw(flat, [mine], step=4)
    assert among[2] == alone[0] != later[0]
