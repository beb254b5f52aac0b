"""How far a bandit lets a trial be from the best; pure."""

import math
import sys
from fractions import Fraction

_LEAST = -Fraction(sys.float_info.max)


def slackened(
    best: float, value: float, *, factor: float | None, amount: float | None
) -> tuple[float, bool]:
    """The threshold, and whether the value is worse.

    What is compared are the decimal fractions as they were logged: 0.8 is within 0.1 of 0.7,
    though their binary fractions are not.

    Args:
        best: of all; more is better, and -inf is no number.
        value: of the trial.
        factor: the slack as a part of the best.
        amount: the slack itself, if there is no factor.
    """
    if math.isinf(best):
        return best, False
    threshold = _threshold(_exact(best), factor, amount)
    # Two of the largest numbers may come to more than a float holds.
    shown = float(max(threshold, _LEAST))
    return shown, math.isinf(value) or _exact(value) < threshold


def _threshold(best: Fraction, factor: float | None, amount: float | None) -> Fraction:
    if amount is not None:
        return best - _exact(amount)
    assert factor is not None
    slack = 1 + _exact(factor)
    # The contract's best / (1 + slack), and to be minimised best · (1 + slack), are for values
    # above zero. Below it they change places, or the best would be too far from itself.
    return best / slack if best >= 0 else best * slack


def _exact(number: float) -> Fraction:
    return Fraction(repr(number))
