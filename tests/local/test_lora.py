"""The fused LoRA layers: PEFT's numbers, and PEFT's own layers if they are more than an update."""

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch", reason="needs the extra `local`")
peft = pytest.importorskip("peft", reason="needs the extra `local`")

from semievol.local.lora import fuse  # noqa: E402


@pytest.fixture(autouse=True)
def fixed_seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def adapted(bias: bool = False, **options: object) -> torch.nn.Module:
    """Two linear layers with LoRA beside them that has learned something."""
    layers = torch.nn.Sequential(torch.nn.Linear(12, 8, bias=bias), torch.nn.SiLU(), torch.nn.Linear(8, 5, bias=bias))
    model = peft.get_peft_model(
        layers, peft.LoraConfig(r=3, lora_alpha=6, target_modules=["0", "2"], **options), autocast_adapter_dtype=True
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    return model


def fused(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers that compute base and update together."""
    fuse(model)
    return [layer for layer in model.modules() if "forward" in vars(layer)]


def step(model: torch.nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A forward pass, and the gradients of the input and of LoRA's weights."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    found = model(x)
    found.pow(2).sum().backward()
    weights = [weight.grad for weight in model.parameters() if weight.requires_grad]
    assert len(weights) == 4
    return found.detach(), [x.grad, *weights]


def test_fused_layers_compute_what_peft_computes_forward_and_backward() -> None:
    model, x = adapted(), torch.randn(2, 7, 12)
    expected = step(model, x)
    assert len(fused(model)) == 2
    found = step(model, x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_in_bfloat16_the_weights_of_the_update_keep_float32_and_get_its_gradients() -> None:
    x = torch.randn(2, 7, 12)
    exact = adapted()
    expected = step(exact, x)
    rough = adapted()
    for layer in (rough.base_model.model[0], rough.base_model.model[2]):
        layer.base_layer.to(torch.bfloat16)
    rough.load_state_dict(exact.state_dict())
    fused(rough)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = step(rough, x.to(torch.bfloat16))
    torch.testing.assert_close(found[0].float(), expected[0], rtol=0.05, atol=0.2)
    assert [g.dtype for g in found[1]] == [torch.bfloat16] + [torch.float32] * 4
    for one, other in zip(found[1], expected[1], strict=True):
        assert torch.nn.functional.cosine_similarity(one.float().flatten(), other.flatten(), dim=0) > 0.99


@pytest.mark.parametrize(
    "options", [{"lora_dropout": 0.1}, {"use_dora": True}, {"bias": True}], ids=lambda o: next(iter(o))
)
def test_a_layer_that_is_more_than_an_update_is_left_to_peft(options: dict[str, object]) -> None:
    assert fused(adapted(**options)) == []


def test_an_input_of_another_type_is_left_to_peft() -> None:
    model, x = adapted(), torch.randn(2, 12)
    expected = model(x)
    fused(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(x.to(torch.bfloat16)).dtype == torch.bfloat16
    with model.disable_adapter():
        assert not torch.equal(model(x), expected)
    torch.testing.assert_close(model(x), expected)


def test_unloading_leaves_the_base_as_it_was() -> None:
    base = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False))
    before, x = base[0].weight.clone(), torch.randn(3, 4)
    expected = base(x)
    model = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["0"]))
    assert len(fused(model)) == 1
    unloaded = model.unload()
    assert torch.equal(unloaded(x), expected)
    assert torch.equal(unloaded[0].weight, before)
