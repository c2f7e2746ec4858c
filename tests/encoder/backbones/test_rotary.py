import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.encoder.backbones.rotary import rotary_turn, rotate, turn_


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_rotary_products_depend_on_distance_only(first, second, shift):
    torch.manual_seed(0)
    qkv = torch.randn(2, 3, 1, 8)

    def product(positions):
        turned = rotate(qkv, rotary_turn(torch.tensor(positions), 8))
        assert torch.equal(turned[:, 2], qkv[:, 2])
        return (turned[0, 0] * turned[1, 1]).sum()

    torch.testing.assert_close(product([first, second]), product([first + shift, second + shift]), rtol=1e-3, atol=1e-3)


def test_in_place_it_is_the_same_and_back_again():
    torch.manual_seed(0)
    qkv = torch.randn(50, 3, 2, 8)
    turn = rotary_turn(torch.arange(50), 8)
    turned = qkv.clone()
    turn_(turned[:, :2], turn)
    torch.testing.assert_close(turned, rotate(qkv, turn))
    turn_(turned[:, :2], turn, back=True)
    torch.testing.assert_close(turned, qkv)


def test_it_is_the_matrix_of_the_paper():
    qkv = torch.arange(24.0).view(1, 3, 1, 8)
    turned = rotate(qkv, rotary_turn(torch.tensor([7]), 8))[0, 0, 0]
    for pair in range(4):
        angle = torch.tensor(7 * 10_000.0 ** (-2 * pair / 8))
        matrix = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
        torch.testing.assert_close(turned[2 * pair : 2 * pair + 2], matrix @ qkv[0, 0, 0, 2 * pair : 2 * pair + 2])
