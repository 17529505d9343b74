"""Each deployment is what its platform reads, and asks for settings that there are."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import kubernetes_validate
import pytest
import yaml

from bridge.store.inspect import METRICS, PREFIX
from tests.support import docs
from tests.support.processes import ROOT, procfile

DEPLOY = ROOT / "deploy"
MANIFESTS = sorted(DEPLOY.glob("kubernetes/*.yaml"))
SMALL = DEPLOY / "kubernetes-one.yaml"
SECRET = DEPLOY / "kubernetes-settings.yaml"
OPTIONS = {option.name: option for option in docs.options()}

TWO = [procfile()[name] for name in ("web", "worker")]
ONE = ["python -m bridge run"]


def read(path: str | Path) -> Any:
    """A file of the repository, as what its name says it is; documents of YAML in a list."""
    text = (ROOT / path).read_text(encoding="utf-8")
    loads = {".toml": tomllib.loads, ".json": json.loads}
    return loads.get(Path(path).suffix, lambda text: [*yaml.safe_load_all(text)])(text)


class Made(NamedTuple):
    """What a deployment says."""

    settings: dict[str, str | None]
    """Those with a value, and those that it gets or asks for (None)."""
    commands: list[str]


GIVEN: dict[str, str | None] = {"REDIS_URL": None, "VITALLY_API_KEY": None}
"""What docs/deploy.md sets by a command, or in a file made of deploy/env.example."""


def heroku() -> Made:
    app = read("app.json")
    env = {name: one.get("value") for name, one in app["env"].items()}
    assert "false" == env["REDIS_TLS_VERIFY"]  # it signs its certificate itself
    assert ["heroku-redis"] == [one["plan"].partition(":")[0] for one in app["addons"]]
    return Made(
        {"REDIS_URL": None, **env}, [procfile()[name] for name in app["formation"]]
    )


def render(name: str) -> Made:
    (made,) = read(name)
    groups = {one["name"]: one["envVars"] for one in made.get("envVarGroups", ())}
    services = [one for one in made["services"] if "startCommand" in one]
    rows = [row for one in services for row in one["envVars"]]
    own = [one for row in rows for one in groups.get(row.get("fromGroup"), [row])]
    settings = {one["key"]: one.get("value") for one in own}
    return Made(settings, [one["startCommand"] for one in services])


def fly(name: str) -> Made:
    made = read(name)
    return Made(GIVEN | made["env"], [*made["processes"].values()])


def railway(*names: str) -> Made:
    files = [read(f"deploy/railway/{name}.json") for name in names]
    return Made(GIVEN, [one["deploy"]["startCommand"] for one in files])


def compose(*names: str) -> Made:
    files = [read(f"deploy/{name}.yaml")[0]["services"] for name in names]
    web, worker = (
        {k: v for one in files for k, v in one[part].items()}
        for part in ("web", "worker")
    )
    begun = [one["command"] for one in (web, worker) if one.get("scale", 1)]
    return Made(
        GIVEN | web["environment"] | worker["environment"], [*map(shlex.join, begun)]
    )


def kubernetes(*paths: Path) -> Made:
    (secret,) = (one for one in objects(*paths) if one["kind"] == "Secret")
    ours = [one for _, one in containers(*paths) if "envFrom" in one]
    return Made(secret["stringData"], [shlex.join(one["command"]) for one in ours])


def systemd(*names: str) -> Made:
    text = "\n".join(
        (DEPLOY / f"systemd/vitally-bridge{n}.service").read_text() for n in names
    )
    starts = re.findall(r"^ExecStart=\S+ (.*)$", text, re.MULTILINE)
    return Made(GIVEN, [f"python {line}" for line in starts])


def objects(*paths: Path) -> Iterator[dict[str, Any]]:
    """The objects of these manifests."""
    for path in paths:
        yield from read(path)


def containers(*paths: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each pod's specification in these manifests, with each of its containers."""
    for one in objects(*paths):
        pod = one.get("spec", {}).get("template", {}).get("spec", {})
        yield from ((pod, container) for container in pod.get("containers", ()))


DEPLOYMENTS = {
    "heroku": (heroku(), TWO),  # its one is a line of the Procfile: docs/deploy.md
    "render": (render("render.yaml"), TWO),
    "render, one": (render("deploy/render-one.yaml"), ONE),
    "fly": (fly("deploy/fly.toml"), TWO),
    "fly, one": (fly("deploy/fly-one.toml"), ONE),
    "railway": (railway("web", "worker"), TWO),
    "railway, one": (railway("one"), ONE),
    "compose": (compose("compose"), TWO),
    "compose, one": (compose("compose", "compose.one"), ONE),
    "kubernetes": (kubernetes(SECRET, *MANIFESTS), TWO),
    "kubernetes, one": (kubernetes(SECRET, SMALL), ONE),
    "systemd": (systemd("-web", "-worker"), TWO),
    "systemd, one": (systemd(""), ONE),
}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_runs_all_and_sets_what_there_is_to_values_it_takes(
    name: str,
) -> None:
    made, commands = DEPLOYMENTS[name]
    required = {option.name for option in OPTIONS.values() if option.required}

    assert commands == made.commands
    assert set() == set(made.settings) - set(OPTIONS)
    assert set() == required - set(made.settings)
    assert made.settings.get("BRIDGE_DRY_RUN") in {None, "true"}  # look first
    for setting, value in made.settings.items():
        if value is not None:
            OPTIONS[setting].parse(value)


KINDS = {"text": str, "whole": int, "flag": bool}
PLATFORMS = yaml.safe_load(Path(__file__).with_name("platforms.yaml").read_text())


def strange(given: Any, form: Any, place: str = "") -> Iterator[str]:
    """The places of *given* that are not of the *form*; see platforms.yaml."""
    if isinstance(form, dict) and isinstance(given, dict):
        for key, value in given.items():
            yield from strange(
                value, form.get(key, form.get("*", "")), f"{place}/{key}"
            )
    elif isinstance(form, list) and isinstance(given, list):
        for number, value in enumerate(given):
            yield from strange(value, form[0], f"{place}/{number}")
    elif type(given) is not KINDS.get(str(form)) and given not in str(form).split(
        " | "
    ):
        yield f"{place}: {given}"


@pytest.mark.parametrize("page", PLATFORMS)
def test_a_file_has_only_keys_that_its_platform_describes(page: str) -> None:
    for name in PLATFORMS[page]["files"]:
        made = read(name)
        made = made[0] if isinstance(made, list) else made
        assert [] == list(strange(made, PLATFORMS[page]["form"]))


def test_a_form_refuses_what_is_not_of_it() -> None:
    form = {"a": [{"b": "x | z"}], "c": "whole"}
    given = {"a": [{"b": "y"}, {"d": "x"}, {"b": "z"}], "c": True, "e": 0}

    assert ["/a/0/b: y", "/a/1/d: x", "/c: True", "/e: 0"] == list(strange(given, form))


CHECKERS = {
    "compose*.yaml": "-m check_jsonschema --builtin-schema vendor.compose-spec",
    "Dockerfile": "hadolint",
    "systemd/*": "systemd-analyze verify --man=no",
    "systemd/vitally*": "systemd-analyze security --offline=yes --threshold=20",
}


@pytest.mark.parametrize("pattern", CHECKERS)
def test_the_platform_s_own_checker_finds_no_fault(
    pattern: str, tmp_path: Path
) -> None:
    python = Path(sys.executable)
    for path in DEPLOY.glob(pattern):
        # systemd wants the program to be there.
        text = path.read_text().replace(
            "/opt/vitally-bridge/.venv/bin/python", str(python)
        )
        (tmp_path / path.name).write_text(text)
    program, *words = CHECKERS[pattern].split()
    command = [str(python), program] if program == "-m" else [program]
    environ = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    installed = shutil.which(command[0], path=environ["PATH"])
    assert installed, f"{command[0]} is missing; .ci/run installs it"
    done = subprocess.run(
        [*command, *words, *sorted(tmp_path.iterdir())],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    # systemd ignores a line that it does not understand, with a word about it.
    ignored = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert (0, []) == (done.returncode, ignored), done.stdout + done.stderr


@pytest.mark.parametrize(
    "path", [*MANIFESTS, SMALL, SECRET], ids=lambda path: path.stem
)
def test_a_manifest_has_the_form_of_its_kind(path: Path) -> None:
    for one in objects(path):
        kubernetes_validate.validate(one, "1.34", strict=True)


def test_pods_may_little_and_are_asked_and_given_time() -> None:
    found = list(containers(*MANIFESTS, SMALL))
    for pod, container in found:
        context = container["securityContext"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert ["ALL"] == context["capabilities"]["drop"]
        assert 25 <= pod["terminationGracePeriodSeconds"]
    ours = [(pod, one) for pod, one in found if "envFrom" in one]
    for pod, container in ours:
        # They would be settings that there are not: VITALLY_BRIDGE_PORT.
        assert not pod["enableServiceLinks"]
        # What makes all pods unready at once would refuse what could be taken.
        assert "/readyz" not in str(container)
        assert {"startupProbe", "livenessProbe"} <= set(container)

    assert (4, 3) == (len(found), len(ours))


def test_a_redis_is_open_only_where_nobody_else_reaches_it() -> None:
    """The file is also for a host; and applying a folder replaces no Secret of yours."""
    assert "protected-mode no" not in (DEPLOY / "redis.conf").read_text()
    for place in ("compose.yaml", "fly-redis.toml", "kubernetes/redis.yaml"):
        text = re.sub(r'[",]', "", (DEPLOY / place).read_text())
        assert "--protected-mode no" in text
    assert "Secret" not in [one["kind"] for one in objects(*MANIFESTS)]


def test_workers_become_more_by_metrics_that_there_are() -> None:
    (rule,) = read("deploy/prometheus-adapter.yaml")[0]["rules"]["external"]
    (scaler,) = read("deploy/kubernetes/autoscale.yaml")
    (metric,) = scaler["spec"]["metrics"]
    known = {metric.full_name for metric in METRICS if metric.kind == "gauge"}
    plain = set(re.findall(rf"\(({PREFIX}\w+)\)", rule["metricsQuery"]))
    (other,) = re.findall(r'__name__=~"([^"]+)"', rule["metricsQuery"])

    assert rule["name"]["as"] == metric["external"]["metric"]["name"]
    assert plain == known & plain
    assert 3 == len([name for name in known if re.fullmatch(other, name)])


def test_the_page_names_files_that_there_are() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<!com/)deploy/[\w./-]*\w", page))

    assert [] == [name for name in named if not (ROOT / name).exists()]
    assert {"deploy/fly.toml", "deploy/railway/one.json"} <= named
