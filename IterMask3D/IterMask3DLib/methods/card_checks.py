"""What a method whose networks see one channel asks of a card."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.settings import changed

Choices = TypeVar("Choices")


def check_card(card: ModelCard, title: str, networks: Collection[str], dimensions: int, multiple: int = 1) -> None:
    """Raises `UserError` where a card has other networks, several inputs, or a grid that does not fit.

    Args:
        title: of the method; dimensions: of its grid; multiple: of what the sides of the grid must be.
    """
    where = f"model {card.name}"
    if set(card.networks) != set(networks):
        raise UserError(f"{where}: networks must hold {' and '.join(networks)} and nothing else.")
    if len(card.inputs) != 1:
        raise UserError(f"{where}: {title} takes one input, not {len(card.inputs)}.")
    if len(card.grid.shape) != dimensions or card.grid.multiple % multiple:
        sides = f" whose sides are multiples of {multiple}" if multiple > 1 else ""
        raise UserError(f"{where}: {title} needs a {dimensions}D grid{sides}.")


def choices_of(card: ModelCard, network: str, usual: Choices, names: Collection[str]) -> Choices:
    """`usual` with the choices of these names that a card has for a network, once they go together."""
    where, config = f"model {card.name}", card.networks[network].config
    chosen: Any = changed(usual, {name: config[name] for name in names if name in config}, where)
    if hasattr(chosen, "check"):
        chosen.check(where)
    found: Choices = chosen
    return found
