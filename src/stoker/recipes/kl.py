"""Kullback-Leibler divergence of two next-token distributions of which only the top tokens are known.

For the reference P with its top set A and the candidate Q with its top set B, the vocabulary is cut into the cells
``{a} for a in A`` and one cell for all the rest ("tail"), and

    KL = sum over a in A of p(a) ln(p(a) / q(a))  +  p_tail ln(p_tail / q_tail)

where a token of A that Q did not list gets the most it can have: the least listed q, and together with the other
unlisted ones no more than the mass B leaves over. By the data processing inequality cells can only lose divergence,
and so can giving q the most it can have: the figure is at most the true KL, and near it when A holds most of P.
Unit: nats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

_LEAST = 1e-9  # mass below the rounding of the logprobs that servers print


def divergence(reference: Mapping[int, float], candidate: Mapping[int, float]) -> float:
    """KL(reference || candidate) from two maps of token id to logprob, each the top of its distribution."""
    p = {token: math.exp(logprob) for token, logprob in reference.items()}
    q = _filled({token: math.exp(logprob) for token, logprob in candidate.items()}, list(p))
    named = sum(mass * (reference[token] - math.log(q[token])) for token, mass in p.items() if mass > 0)
    p_tail = max(1.0 - sum(p.values()), 0.0)
    q_tail = max(1.0 - sum(q.values()), _LEAST)
    tail = p_tail * math.log(p_tail / q_tail) if p_tail > _LEAST else 0.0
    return max(named + tail, 0.0)


def _filled(listed: Mapping[int, float], wanted: list[int]) -> dict[int, float]:
    """q of every wanted token: as listed, or the most an unlisted one can have."""
    unlisted = [token for token in wanted if token not in listed]
    left = max(1.0 - sum(listed.values()), _LEAST)
    most = max(min(min(listed.values(), default=1.0), left / max(len(unlisted), 1)), _LEAST)
    return {token: max(listed.get(token, most), _LEAST) for token in wanted}
