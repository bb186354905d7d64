"""Who listens to events: they are told in order; one that does not keep up is dropped by its own connection."""

from collections.abc import Callable

from shiftboss.api.calls import Event

Listener = Callable[[Event], None]


class Hub:
    """Hands each event to every listener."""

    def __init__(self) -> None:
        self._listeners: dict[int, Listener] = {}
        self._next = 0

    def publish(self, event: Event) -> None:
        """Tell every listener."""
        for listener in list(self._listeners.values()):
            listener(event)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; return what removes it."""
        self._next += 1
        number = self._next
        self._listeners[number] = listener
        return lambda: self._listeners.pop(number, None) and None
