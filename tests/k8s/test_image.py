"""The image by reading what it is built from; tests/k8s/image.py builds and runs it."""

from __future__ import annotations

import re

import yaml

from fadae._version import __version__
from tests.k8s.containerfile import (
    CONTAINERFILE,
    ROOT,
    Instruction,
    files_seen,
    instructions,
    is_seen,
    patterns,
)

STEPS = instructions(CONTAINERFILE.read_text())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))


def named(name: str, stage: int | None = None) -> list[Instruction]:
    return [step for step in STEPS if step.name == name and stage in (None, step.stage)]


def test_one_base_in_one_place() -> None:
    (base,) = [step.value for step in named("ARG", -1)]
    assert re.fullmatch(r"PYTHON=[\w./-]+:3\.(11|13)-slim-\w+(@sha256:[0-9a-f]{64})?", base)
    assert [step.value.split(" AS ")[0] for step in named("FROM")] == ["${PYTHON}"] * 2


def test_every_install_is_of_pinned_releases() -> None:
    commands = [part for step in named("RUN") for part in step.value.split("&&")]
    installs = [command for command in commands if re.search(r"\bpip\b.* install\b", command)]
    assert len(installs) == 3
    assert all(" -c /pins.txt " in command for command in installs)
    builds = [command for command in commands if " wheel " in command]
    # An isolated build would fetch a setuptools of its own choice.
    assert all("--no-build-isolation" in command and "--no-deps" in command for command in builds)
    for pins in ("constraints.txt", "constraints-3.13.txt"):
        assert re.search(r"^setuptools==", (ROOT / pins).read_text(), re.M)


def test_what_runs_is_not_root_and_needs_no_shell() -> None:
    last = len(named("FROM")) - 1
    assert not named("RUN", last)
    assert [step.value for step in named("USER", last)] == ["10001:10001"]
    assert [step.value for step in named("ENTRYPOINT", last)] == ['["fadae"]']
    assert [step.value for step in named("COPY", last)] == ["--from=build /opt/fadae /opt/fadae"]


def test_its_labels_say_what_it_is() -> None:
    (label,) = named("LABEL")
    told = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]*)"', label.value))
    assert told["version"] == __version__
    assert told["licenses"] == "MIT"
    assert set(told) > {"title", "description", "source", "revision", "base.name"}


def test_a_build_sees_what_it_copies_and_nothing_else() -> None:
    copied = {word for step in named("COPY", 0) for word in step.value.split()[:-1]}
    for path in files_seen():
        assert path.split("/")[0] in copied, path
        assert "__pycache__" not in path
    folder = [path for path in (ROOT / "fadae").rglob("*") if path.is_file()]
    needed = {p.relative_to(ROOT).as_posix() for p in folder if "__pycache__" not in p.parts}
    assert needed | {"pyproject.toml", "constraints.txt", "constraints-3.13.txt"} <= set(
        files_seen()
    )
    for path in (".git/config", ".venv/bin/python", "build/lib/a.py", "tests/a.py", "demo/a.ogg"):
        assert not is_seen(path, patterns()), path


def test_workflows_pin_their_actions_and_their_rights() -> None:
    assert WORKFLOWS
    for file in WORKFLOWS:
        flow = yaml.safe_load(file.read_text())
        assert flow["permissions"] == {"contents": "read"}
        # Named, it fails where any part of a pipe does.
        assert flow["defaults"] == {"run": {"shell": "bash"}}
        # YAML 1.1 reads the key `on` as true.
        assert flow[True]
        for job in flow["jobs"].values():
            assert job["timeout-minutes"] <= 60
            assert not job["runs-on"].endswith("-latest")
            for step in job["steps"]:
                assert ("run" in step) != ("uses" in step), step
                if "uses" in step:
                    assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", step["uses"]), step
                assert not re.search(r"\$\{\{.*github\.(event|head_ref)", step.get("run", ""))


def test_the_cluster_workflow_runs_the_users_own_commands() -> None:
    (kind,) = (file for file in WORKFLOWS if file.stem == "kind")
    text = kind.read_text()
    assert "untested" in text.lower()
    for command in (
        "-f k8s/image/Containerfile",
        "kind load ",
        "apply -k k8s/volume",
        "fadae kubernetes job.toml",
        "k8s/overlays/local.toml",
        "wait --for=condition=complete",
    ):
        assert command in text, command
