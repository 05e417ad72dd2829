"""What can go wrong with a measurement."""


class Failure(Exception):
    """A system, or what measures it, did not do what it should. The text says what was seen."""
