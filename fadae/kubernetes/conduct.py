"""The conductor: makes each stage's objects when its turn comes, and takes away what served it.

So nothing is held for a stage that waits. All it knows is in the Jobs: killed, it goes on from
them. A newer generation's conductor ends the older one and all that it made, before it begins.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from fadae.errors import UsageError
from fadae.kubernetes.api import Api
from fadae.kubernetes.pods import COMPONENT, WORKSPACE, Document

log = logging.getLogger("fadae.kubernetes")

STAGES_FILE = "stages.json"


class Stage(TypedDict):
    """What a stage is made of: what its Jobs need beside them, and the Jobs in their order."""

    beside: list[Document]
    jobs: list[Document]


def conduct(
    api: Api,
    stages: Sequence[Stage],
    name: str,
    *,
    every_seconds: float = 5.0,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Run the stages one after another as the conductor of a Job's name; return the Jobs' names.

    Raises UsageError where a Job failed for good, TransientError while the API server is away.
    """
    own: Any = api.get("Job", name)
    if own is None:
        raise UsageError(f"no Job {name}: the conductor is to run as one")
    _supersede(api, own, lambda: sleep(every_seconds))
    done = []
    for stage in stages:
        for job in stage["jobs"]:
            _run(api, _owned(job, own), stage, own, lambda: sleep(every_seconds))
            done.append(_name(job))
        _clear(api, stage)
    return done


def _clear(api: Api, stage: Stage) -> None:
    """Take away what a stage's Jobs had beside them."""
    for beside in stage["beside"]:
        api.delete(str(beside["kind"]), _name(beside))


def _run(
    api: Api, job: Document, stage: Stage, own: Mapping[str, Any], pause: Callable[[], None]
) -> None:
    """Return once a Job is complete: made, with what it needs, unless it was before."""
    name = _name(job)
    found = api.get("Job", name)
    if found is None or not _ended(found):
        for beside in stage["beside"]:
            api.create(_owned(beside, own))
        if found is None:
            log.info("starting %s", name)
            api.create(job)
    while not (condition := _ended(api.get("Job", name))):
        pause()
    if condition["type"] == "Failed":
        _clear(api, stage)
        raise UsageError(
            f"{name} failed: {condition.get('message', condition.get('reason', ''))}; "
            f"see kubectl logs job/{name}, then apply with corrected settings or another generation"
        )
    log.info("%s is complete", name)


def _supersede(api: Api, own: Mapping[str, Any], pause: Callable[[], None]) -> None:
    """End older generations: two at once would work on one workspace."""
    uid = own["metadata"]["uid"]
    place = {WORKSPACE: own["metadata"]["labels"][WORKSPACE]}
    while others := [job for job in api.jobs(place) if not _ended(job) and not _belongs(job, uid)]:
        for other in others:
            about: Any = other["metadata"]
            older = about["creationTimestamp"] <= own["metadata"]["creationTimestamp"]
            conducts = about["labels"].get(COMPONENT) == "conductor"
            if conducts and older and "deletionTimestamp" not in about:
                log.info("ending %s, of an older generation", about["name"])
                api.delete("Job", about["name"])
            elif conducts and not older:
                raise UsageError(f"{about['name']} is newer: this generation ends")
        pause()


def _belongs(job: Document, uid: str) -> bool:
    """Return whether a Job is the conductor's own, or one that it made."""
    about: Any = job["metadata"]
    owners = [owner["uid"] for owner in about.get("ownerReferences", [])]
    return about["uid"] == uid or uid in owners


def _owned(document: Document, own: Mapping[str, Any]) -> Document:
    """Return a document that goes when the conductor's Job does."""
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": own["metadata"]["name"],
        "uid": own["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }
    about: Any = document["metadata"]
    return {**document, "metadata": {**about, "ownerReferences": [owner]}}


def _name(document: Document) -> str:
    about: Any = document["metadata"]
    return str(about["name"])


def _ended(job: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the condition that ended a Job; empty while it runs, or where it is gone."""
    conditions = ((job or {}).get("status") or {}).get("conditions") or []
    for condition in conditions:
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return dict(condition)
    return {}
