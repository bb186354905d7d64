"""How use cases tell what they are doing. The CLI prints it; they themselves never print."""

from typing import Protocol


class Progress(Protocol):
    """Told what happens while it happens."""

    def step(self, text: str) -> None:
        """Something was done."""
        ...

    def waiting(self, text: str) -> None:
        """Something takes its time; called again and again while it does."""
        ...
