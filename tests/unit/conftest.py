"""Rules of the unit tests."""

from hypothesis import settings

# On a machine that others use too, a slow example says nothing about the code; pytest's own timeout ends a test that hangs.
settings.register_profile("shiftboss", deadline=None)
settings.load_profile("shiftboss")
