"""Norms in one kernel: only where a module's arithmetic is that kernel's, and within rounding of it."""

import pytest

torch = pytest.importorskip("torch")

from semievol.local.norms import fuse_norms  # noqa: E402


class PlainRMSNorm(torch.nn.Module):
    """As Llama has it: in float32, rounded before the weight."""

    def __init__(self, dtype: "torch.dtype" = torch.float32) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(0.5, 2, 32, dtype=dtype))
        self.variance_epsilon = 1e-5

    def forward(self, x: "torch.Tensor") -> "torch.Tensor":
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * normed.to(x.dtype)


class AddsOneRMSNorm(PlainRMSNorm):
    """As Gemma has it."""

    def forward(self, x: "torch.Tensor") -> "torch.Tensor":
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return (normed * (1 + self.weight.float())).to(x.dtype)


class GatedRMSNorm(PlainRMSNorm):
    def forward(self, x: "torch.Tensor", gate: "torch.Tensor | None" = None) -> "torch.Tensor":
        return super().forward(x) if gate is None else super().forward(x) * gate


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_plain_norm_and_its_gradients_are_the_kernels_within_rounding(dtype: "torch.dtype") -> None:
    plain, fused = PlainRMSNorm(dtype), PlainRMSNorm(dtype)
    assert fuse_norms(torch.nn.Sequential(fused)) == 1
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = fused(one), plain(other)
    weights = torch.linspace(-1, 1, 32)
    (found.float() * weights).sum().backward()
    (expected.float() * weights).sum().backward()
    close = {"rtol": 2**-6, "atol": 2**-7} if dtype is torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-6}
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, **close)
    torch.testing.assert_close(one.grad, other.grad, **close)


def test_the_kernel_keeps_its_type_under_autocast() -> None:
    fused = PlainRMSNorm(torch.bfloat16)
    fuse_norms(torch.nn.Sequential(fused))
    with torch.autocast("cpu", torch.bfloat16):
        assert fused(torch.ones(2, 32, dtype=torch.bfloat16)).dtype is torch.bfloat16


def test_another_type_than_the_weights_takes_the_modules_own_way() -> None:
    plain, fused = PlainRMSNorm(torch.float32), PlainRMSNorm(torch.float32)
    fuse_norms(torch.nn.Sequential(fused))
    x = torch.linspace(-2, 2, 64, dtype=torch.bfloat16).view(2, 32)
    torch.testing.assert_close(fused(x), plain(x), rtol=0, atol=0)


@pytest.mark.parametrize("norm", [AddsOneRMSNorm, GatedRMSNorm, torch.nn.LayerNorm])
def test_a_norm_that_computes_something_else_stays(norm: type) -> None:
    module = torch.nn.Sequential(norm(32) if norm is torch.nn.LayerNorm else norm())
    assert fuse_norms(module) == 0
    assert "forward" not in vars(module[0])
