"""How long the pipes may fill before they are drained: long enough to find much, short enough to find room."""

TICK = 0.008  # from the first byte to the drain
WAIT_TICK = 0.016  # for what must be asked again
HOT_BYTES = 16 * 1024  # a pipe that gives so much in a tick is drained at every hot tick from then on
_SLOW_TICK = 0.032  # while programs print a little all the time
_FIRST_HOT, _LEAST_HOT = 0.0005, 0.00002
_SILENCE = 0.1  # after so long without output the next one is news
_WIDE, _NARROW = 0.4, 0.15  # the part of a pipe that a hot tick may find filled


class Ticks:
    """`tick` seconds pass before quiet pipes are drained, `hot_tick` before busy ones."""

    def __init__(self) -> None:
        self.tick, self.hot_tick = TICK, TICK

    def after_silence(self, seconds: float) -> None:
        """Output comes after so long without."""
        if seconds > _SILENCE:
            self.tick = TICK

    def heat(self) -> None:
        """One more pipe became busy."""
        self.hot_tick = min(self.hot_tick, _FIRST_HOT)

    def after_pass(self, largest: int, fullest: float) -> None:
        """Adapt to the most bytes that a pipe had, and the largest part of a pipe that was filled."""
        self.tick = _SLOW_TICK if 0 < largest < HOT_BYTES // 4 else TICK
        if fullest > _WIDE:
            self.hot_tick = max(self.hot_tick / 2, _LEAST_HOT)
        elif fullest < _NARROW:
            self.hot_tick = min(self.hot_tick * 1.25, TICK)
