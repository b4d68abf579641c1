"""Passes over a tree of tokens, held against the same model called for each sequence alone."""

import pytest

from tiny import save_tiny_model

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from semievol.config import ModelConfig  # noqa: E402
from semievol.local.batches import Batch, tree  # noqa: E402
from semievol.local.even import EvenPasses, Interface  # noqa: E402
from semievol.local.packed import Packing  # noqa: E402
from semievol.local.passes import PaddedPasses, Passes, TreePasses, Work  # noqa: E402
from semievol.local.tree import similar  # noqa: E402
from semievol.local.ways import way_of  # noqa: E402
from semievol.models.loading import load_model  # noqa: E402
from semievol.training.rows import TokenisedRow  # noqa: E402

ROOT, STEM = tuple(range(10, 20)), tuple(range(20, 32))
ROWS = [
    TokenisedRow(prompt, response, 1.0)
    for prompt, response in [
        (ROOT + STEM + (1, 2, 3), (4, 5)),
        (ROOT + STEM + (6,), (4,)),
        ((*ROOT, 7, 8), (5, 5, 5)),
        ((*ROOT, 7, 8), (5, 5, 5)),
        ((*ROOT, 9), ()),
    ]
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return ModelConfig(name=save_tiny_model(tmp_path_factory.mktemp("tiny")), dtype="float32", device="cpu")


def passes(config: ModelConfig, way: str) -> tuple[Passes, Batch[TokenisedRow]]:
    model = load_model(config)
    if way == "padded":
        return PaddedPasses(model, Work(), pad=0), tree(ROWS, share=False)
    if way == "even":
        return EvenPasses(model, Work(), Interface.of(model)), tree(ROWS)
    if way == "anew":
        return EvenPasses(model, Work(), Interface(keeps=False, cache=None)), tree(ROWS, share=False)
    assert way_of(model, 256).name == "tree"
    return TreePasses(model, Work()), tree(ROWS)


def alone(config: ModelConfig, tokens: tuple[int, ...]) -> "torch.Tensor":
    with torch.inference_mode():
        return load_model(config)(torch.tensor([tokens])).logits[0]


@pytest.fixture(params=["one block", "many blocks"])
def _block_sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention as short sequences take it, and as long ones do."""
    if request.param == "many blocks":
        monkeypatch.setattr("semievol.local.attention.BLOCK", 2)
        monkeypatch.setattr("semievol.local.attention.KEPT", 0)


def flash(query, key, value, query_starts, key_starts, most_queries, most_keys, scale, window_size, enable_gqa):
    """What torch's kernel for packed sequences computes, sequence by sequence."""
    assert window_size == (-1, 0)
    assert enable_gqa
    queries, keys = query_starts.diff().tolist(), key_starts.diff().tolist()
    assert (max(queries), max(keys)) == (most_queries, most_keys)
    found = []
    for q, k, v in zip(query.split(queries), key.split(keys), value.split(keys), strict=True):
        sharing = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(sharing, dim=1), v.repeat_interleave(sharing, dim=1)
        seen = torch.ones(len(q), len(k), dtype=torch.bool).tril(len(k) - len(q))
        scores = torch.einsum("qhd,khd->hqk", q, k) * scale
        found.append(torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen, -torch.inf).softmax(-1), v))
    return torch.cat(found)


@pytest.fixture
def _packing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card's way through the tree, with its kernel's arithmetic on a CPU."""
    monkeypatch.setattr("semievol.local.packed.varlen_attn", flash)
    monkeypatch.setattr("semievol.local.packed._CAUSAL", {"window_size": (-1, 0)})
    monkeypatch.setattr("semievol.local.packed._GROUPED", {"enable_gqa": True})
    monkeypatch.setattr("semievol.local.tree.packs", lambda query: True)


@pytest.mark.usefixtures("_packing")
def test_packed_sequences_give_the_logits_of_each_alone_and_go_on_as_each_would(config: ModelConfig) -> None:
    test_the_logits_are_those_of_each_sequence_alone(config, "tree")
    test_rows_go_on_as_each_would_alone(config, "tree")


@pytest.mark.usefixtures("_packing")
def test_gradients_flow_back_through_packed_sequences(config: ModelConfig) -> None:
    test_gradients_flow_back_through_what_is_shared(config)


@pytest.mark.usefixtures("_packing")
def test_a_single_sequence_is_computed_whole(config: ModelConfig) -> None:
    row = tree(ROWS[:1])
    computed = TreePasses(passes(config, "tree")[0]._model, Work())
    with torch.inference_mode():
        found = computed.prefill(row, [2])
    torch.testing.assert_close(found, alone(config, ROWS[0].prompt + ROWS[0].response)[-2:])


def test_packed_sequences_that_share_nothing_are_not_copied() -> None:
    assert Packing([([], [0, 1]), ([], [2])], torch.device("cpu")).places is None
    assert Packing([([], [0, 1]), ([0], [2])], torch.device("cpu")).places.tolist() == [0, 1, 0, 2]


@pytest.mark.usefixtures("_block_sizes")
@pytest.mark.parametrize("way", ["tree", "padded", "even", "anew"])
def test_the_logits_are_those_of_each_sequence_alone(config: ModelConfig, way: str) -> None:
    computed, batch = passes(config, way)
    wanted = [min(len(leaf), 2) for leaf in batch.leaves]
    with torch.inference_mode():
        found = torch.split(computed.prefill(batch, wanted), wanted)
    for row, leaf in zip(batch.rows, batch.leaf_of_row, strict=True):
        torch.testing.assert_close(found[leaf], alone(config, row.prompt + row.response)[-wanted[leaf] :])


@pytest.mark.usefixtures("_block_sizes")
@pytest.mark.parametrize("way", ["tree", "padded", "even", "anew"])
def test_rows_go_on_as_each_would_alone(config: ModelConfig, way: str) -> None:
    computed, batch = passes(config, way)
    with torch.inference_mode():
        computed.prefill(batch, [1] * len(batch.leaves), room=3)
        first = computed.step([30 + row for row in range(5)])
        computed.select([4, 0, 2])
        computed.step([40, 41, 42])
        last = computed.step([50, 51, 52])
    for index, row in enumerate(batch.rows):
        so_far = row.prompt + row.response + (30 + index,)
        torch.testing.assert_close(first[index], alone(config, so_far)[-1])
        if index in (4, 0, 2):
            place = (4, 0, 2).index(index)
            torch.testing.assert_close(last[place], alone(config, (*so_far, 40 + place, 50 + place))[-1])


def test_sequences_of_similar_size_are_padded_together() -> None:
    sizes = [(3, 10), (30, 40), (0, 7), (4, 9), (28, 45), (3, 90)]
    assert similar(sizes, 20_000) == [[1, 4, 3, 5, 0]]
    assert similar(sizes, 0) == [[1], [4], [3], [5], [0]]
    assert similar(sizes, 30 * 45 * 2 - 30 * 40 - 28 * 45) == [[1, 4], [3], [5, 0]]
    assert similar([(0, 3)], 100) == []


def test_the_padding_of_attention_is_bounded(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semievol.local.tree.MOST_PADDED", 0)
    computed, batch = passes(config, "tree")
    with torch.inference_mode():
        computed.prefill(batch, [1] * len(batch.leaves), room=1)
        found = computed.step([30] * len(batch.rows))
    monkeypatch.undo()
    computed, batch = passes(config, "tree")
    with torch.inference_mode():
        computed.prefill(batch, [1] * len(batch.leaves), room=1)
        torch.testing.assert_close(computed.step([30] * len(batch.rows)), found)


@pytest.mark.usefixtures("_block_sizes")
def test_gradients_flow_back_through_what_is_shared(config: ModelConfig) -> None:
    def gradient(way: str) -> "torch.Tensor":
        computed, batch = passes(config, way)
        layer = computed._model.model.layers[0].self_attn.k_proj.weight.requires_grad_(True)
        wanted = [1] * len(batch.leaves)
        logits = computed.prefill(batch, wanted)[batch.leaf_of_row]
        order = sorted(range(len(ROWS)), key=lambda row: (batch.rows[row].prompt, batch.rows[row].response))
        weights = torch.linspace(-1, 1, logits.numel() // len(ROWS))
        sum((row + 1) * (logits[index] * weights).sum() for row, index in enumerate(order)).backward()
        return layer.grad

    torch.testing.assert_close(gradient("tree"), gradient("padded"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("window", [4, 4096])
def test_a_model_with_a_sliding_window_takes_no_trees(config: ModelConfig, window: int) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = MistralForCausalLM(
        MistralConfig(vocab_size=99, num_key_value_heads=2, sliding_window=window, **sizes)
    ).eval()
    usual = model.config._attn_implementation
    assert way_of(model, 4096).name == "padded"
    assert model.config._attn_implementation == usual


def test_a_model_with_soft_caps_takes_no_trees() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    layers = ["full_attention", "full_attention"]
    model = Gemma2ForCausalLM(
        Gemma2Config(vocab_size=99, num_key_value_heads=2, head_dim=8, layer_types=layers, **sizes)
    ).eval()
    assert way_of(model, 4096).name == "padded"
