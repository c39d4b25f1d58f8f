"""Errors a user can act on: one sentence that says what, where and what to do."""


class SonobalanceError(Exception):
    """Base of every error whose message is meant for the user; the command exits with code 2."""


class InputError(SonobalanceError):
    """The data, a file or an argument is not what the stage needs."""


class SettingsError(SonobalanceError):
    """A setting is unknown, out of range, or contradicts another."""


class LeakError(SonobalanceError):
    """An image, a relative of one, or a synthetic image would reach a part it must not."""


class StaleError(SonobalanceError):
    """A finished stage was made from other inputs or settings than those given now."""


class CollapseError(SonobalanceError):
    """The generator stopped making different images and no good snapshot exists to go back to."""
