"""The version, in a file of its own: packages' `__init__` stay empty so that a start stays cheap."""

VERSION = "0.1.0"
