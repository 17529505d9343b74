"""The pages of what needs a hand: clusters by cause, and one action for all of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import request, url_for

from bridge import actions
from bridge.attention import clusters
from bridge.domain.clusters import FAILED_JOB, MASS_CHANGE, Cluster
from bridge.errors import BridgeError
from bridge.ingest import Ingress
from bridge.plan import queue_accounts
from bridge.sources import every
from bridge.store import operator
from bridge.store.quarantine import Quarantine
from bridge.store.samples import marks
from bridge.web.console.pages import Data, Done, Pages, console
from bridge.wording import count

pages = Pages("attention", "Needs a hand")

EXAMPLES = 5
"""Things of a cluster on the page of all clusters."""

SHOWN = 100
"""Things on a page of one cluster."""

REPLAYED = 500
"""Most deliveries that one click reads again: each is work of this process."""

SURE = frozenset({"discard", "drop", "release"})
"""Actions that nobody can take back: they are asked for once more."""


@pages.page("/attention", "attention.html")
def attention() -> Data:
    """All clusters, the largest first."""
    found = _clusters()
    return {
        "clusters": [_shown(one, one.things[:EXAMPLES]) for one in found],
        "total": sum(one.size for one in found),
    }


@pages.page("/attention/<id_>", "cluster.html")
def cluster(id_: str) -> Data | None:
    """One cluster, with all its things, page by page."""
    found, page = _cluster(id_), request.args.get("page", 1, int)
    if found is None:
        return None
    pages_ = -(-found.size // SHOWN)
    page = min(max(1, page), pages_)
    some = found.things[(page - 1) * SHOWN : page * SHOWN]
    return _shown(found, some) | {"page": page, "pages": pages_}


@pages.page("/attention/<id_>/<action>", "sure.html")
def sure(id_: str, action: str) -> Data | None:
    """The question before what nobody can take back."""
    found = _cluster(id_)
    if found is None or action not in SURE.intersection(found.actions):
        return None
    return {"action": action, **_shown(found, found.things[:EXAMPLES])}


@pages.action("/do/cluster")
def act() -> Done:
    """Do with all things of a cluster what the form says."""
    found, action = _cluster(request.form.get("id", "")), request.form.get("do", "")
    if found is None:
        raise BridgeError("nothing waits for this cause any more")
    if action not in found.actions or action not in ACTIONS:
        raise BridgeError(f"{action} is nothing that can be done with {found.title}")
    if action in SURE and request.form.get("sure") != "yes":
        raise BridgeError(f"{action} cannot be taken back, and was not confirmed")
    done = ACTIONS[action](found)
    return Done(f"{done} ({found.kind}: {found.title})", url_for(".attention"))


def _clusters() -> list[Cluster]:
    redis = console().redis
    return clusters(redis, console().config.by_hand, marks(redis))


def _cluster(id_: str) -> Cluster | None:
    return next((one for one in _clusters() if one.id == id_), None)


def _shown(found: Cluster, some: Any) -> dict[str, Any]:
    data = found._asdict() | {"count": found.size, "things": some}
    return {**data, "certain": sorted(SURE.intersection(found.actions))}


# --- What is done with all of a cluster ------------------------------------------------


def _names(found: Cluster) -> list[str]:
    return [one.name for one in found.things]


def _retry(found: Cluster) -> str:
    names = _names(found)
    if found.kind == FAILED_JOB:
        return f"{count(actions.clear(console().redis, names), 'failed job')} cleared"
    tried = actions.retry_all(console().redis, names)
    return f"{tried:,} of {count(len(names), 'party', 'parties')} tried again"


def _release(_: Cluster) -> str:
    released = actions.release(console().redis)
    return f"{count(len(released), 'change')} released"


def _discard(found: Cluster) -> str:
    if found.kind == MASS_CHANGE:  # the hold ends with it
        discarded = len(actions.discard_mass(console().redis))
        return f"{count(discarded, 'change')} discarded"
    discarded = operator.discard_all(console().redis, _names(found))
    return f"{count(discarded, 'event')} discarded"


def _replay(found: Cluster) -> str:
    redis, settings = console().redis, console().settings
    ingress = Ingress(settings, redis, every(settings.sources))
    quarantine, left, names = Quarantine(redis), 0, _names(found)
    for id_ in names[:REPLAYED]:
        if kept := quarantine.get(id_):
            left += actions.replay(ingress, kept).receipt == "quarantined"
    tried = len(names[:REPLAYED])
    more = f", {len(names) - tried:,} more to go" if len(names) > tried else ""
    return f"{tried - left:,} of {count(tried, 'delivery', 'deliveries')} read{more}"


def _fix(found: Cluster) -> str:
    names = sorted({*_names(found)})
    queued = queue_accounts(console().redis, console().settings, names)
    return f"{count(len(queued.parties), 'party', 'parties')} written anew"


def _drop(found: Cluster) -> str:
    quarantine, names = Quarantine(console().redis), _names(found)
    for id_ in names:
        quarantine.drop(id_)
    return f"{count(len(names), 'delivery', 'deliveries')} dropped"


ACTIONS: Mapping[str, Callable[[Cluster], str]] = {
    "retry": _retry,
    "discard": _discard,
    "replay": _replay,
    "drop": _drop,
    "fix": _fix,
    "release": _release,
}
"""Name of an action -> what does it, and says what it did."""
