"""Attention in blocks of queries, held against the same over the whole square."""

import pytest

torch = pytest.importorskip("torch")

from semievol.local.attention import BLOCK, KEPT, Block, blocks, fused, stepwise  # noqa: E402

CPU = torch.device("cpu")
DEPTHS = [[*range(9, 20)], [*range(3, 12), 11, 11], [*range(0, 7), 6, 6, 6, 6]]
"""Of 11 queries, those of the second and third sequence padded."""


def parts(monkeypatch: pytest.MonkeyPatch, size: int) -> list[Block]:
    monkeypatch.setattr("semievol.local.attention.BLOCK", size)
    return blocks(DEPTHS, CPU, torch.float32)


def inputs() -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    torch.manual_seed(0)
    shapes = (3, 11, 6, 8), (3, 20, 2, 8), (3, 20, 2, 8)
    query, key, value = (torch.randn(shape, requires_grad=True) for shape in shapes)
    return query, key, value


@pytest.mark.parametrize("size", [1, 4, 11])
@pytest.mark.parametrize("kept", [0, KEPT])
def test_blocks_give_what_torch_gives_for_the_whole_and_the_same_gradients(
    monkeypatch: pytest.MonkeyPatch, size: int, kept: int
) -> None:
    monkeypatch.setattr("semievol.local.attention.KEPT", kept)
    found = []
    for way, block in ((fused, 11), (stepwise, size)):
        tensors = inputs()
        result = way(*tensors, parts(monkeypatch, block), 0.3)
        (result * torch.linspace(-1, 1, result.numel()).view_as(result)).sum().backward()
        found.append((result, *(each.grad for each in tensors)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_long_prompt_computes_little_more_than_half_of_the_square() -> None:
    length = 8 * BLOCK
    pairs = sum(part.pairs for part in blocks([[*range(length)]], CPU, torch.float32))
    assert length**2 / 2 < pairs < 0.57 * length**2


def test_an_accelerator_computes_one_block() -> None:
    (whole,) = blocks([[*range(8 * BLOCK)]], torch.device("meta"), torch.float32)
    assert (whole.start, whole.end, whole.seen, whole.keys) == (0, 8 * BLOCK, 0, 8 * BLOCK)


def test_keys_that_a_block_sees_whole_have_no_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semievol.local.attention.BLOCK", 4)
    last = blocks([[*range(10, 20)]], CPU, torch.float32)[-1]
    assert last.bias.shape == (1, 2, 20 - last.seen)
    assert last.seen == 18


@pytest.mark.parametrize("kept", [0, KEPT])
def test_a_long_block_keeps_no_weights_for_the_backward_pass(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr("semievol.local.attention.KEPT", kept)
    saved: list[int] = []

    def keep(tensor: "torch.Tensor") -> "torch.Tensor":
        saved.append(tensor.numel())
        return tensor

    tensors = inputs()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        stepwise(*tensors, parts(monkeypatch, 11), 0.3)
    weights = 3 * 6 * 11 * 20
    assert (weights in saved) == (kept > 0)
    assert saved
