"""Reason codes in words: what is wrong with so many children, and what would change it. Pure data.

A new reason code of a filter gets a line in both, or only in the first where nothing but another placement helps.
"""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "NOT_LISTED": "are not listed",
    "LABELS": "do not match the labels",
    "NO_GROUP": "are in no affinity group",
    "EXPRESSION": "do not satisfy the expression",
    "EXPRESSION_BROKEN": "lack what the expression needs",
    "LOST": "are lost",
    "STALE": "have not reported lately",
    "CORDONED": "are cordoned",
    "EXCLUDED": "are excluded",
    "CAPPED": "said that they can place no more of it",
    "TAINTED": "are tainted",
    "TAINTED_NO_EXECUTE": "are tainted",
    "NO_KIND": "lack an API kind",
    "KINDS_UNKNOWN": "have not said which kinds they serve",
    "NOT_COMPLIANT": "do not prove what they must",
    "NO_SPREAD_LABEL": "lack a label to spread over",
    "NO_SUCH_GPU": "have no such GPU",
    "FULL": "have too few free GPUs",
    "IN_PIECES": "have free GPUs only in small pieces",
    "RESERVED": "are reserved for other work",
    "NO_CPU_OR_MEMORY": "have too little CPU or memory",
    "QUOTA": "are over the queue's quota",
}

HELPS: Mapping[str, str] = {
    "LOST": "{n} lost children coming back",
    "STALE": "new reports of {n} children",
    "CORDONED": "uncordoning {n} children",
    "CAPPED": "another capacity of {n} hubs that could not place it",
    "TAINTED": "taints of {n} children being removed or tolerated",
    "TAINTED_NO_EXECUTE": "taints of {n} children being removed or tolerated",
    "FULL": "GPUs becoming free in {n} children",
    "IN_PIECES": "GPUs of one node becoming free together in {n} children",
    "RESERVED": "reservations of {n} children ending",
    "NO_CPU_OR_MEMORY": "CPU or memory becoming free in {n} children",
    "QUOTA": "quota for {n} children",
    "NO_SPREAD_LABEL": "labels on {n} children",
    "EXCLUDED": "new capacity reports of {n} excluded children",
}
