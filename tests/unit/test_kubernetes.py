"""The Kubernetes manifests fit the published schemas, and say what a pod needs to be left alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from config.load import load
from daemon.share.tokens import BOTH, read_tokens

FOLDER = Path(__file__).resolve().parents[2] / "docker" / "k8s"
# The oldest release that its makers still mend, and the newest whose schemas are here.
VERSIONS = ("1.33", "1.37")
# Lets somebody in, beside the policy of the intake pod; what that pod may reach stays as it is.
CONSOLE_POLICY = "NetworkPolicy/console"


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def kustomization() -> dict[str, Any]:
    (found,) = documents(FOLDER / "kustomization.yaml")
    return found


def component() -> dict[str, Any]:
    """What brings the console, where a site names it."""
    (document,) = documents(FOLDER / "console" / "kustomization.yaml")
    return document


def resources() -> list[dict[str, Any]]:
    """Everything, with the console."""
    made = [document for name in kustomization()["resources"] for document in documents(FOLDER / name)]
    made += [document for name in component()["resources"] for document in documents(FOLDER / "console" / name)]
    patches = [p for patch in component()["patches"] for p in documents(FOLDER / "console" / patch["path"])]
    for patch in patches:
        assert named(patch) in map(named, made)
        made = [patched(document, patch) if named(document) == named(patch) else document for document in made]
    return made


def patched(document: Any, patch: Any) -> Any:
    """As kustomize merges: tables by key, lists of what has a name by that name, everything else replaced."""
    if isinstance(document, dict) and isinstance(patch, dict):
        merged = {key: patched(document[key], value) if key in document else value for key, value in patch.items()}
        return document | merged
    if isinstance(document, list) and all("name" in item for item in [*document, *patch]):
        by_name = {item["name"]: item for item in document}
        return list((by_name | {item["name"]: patched(by_name.get(item["name"]), item) for item in patch}).values())
    return patch


def named(document: dict[str, Any]) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for document in resources():
        if document["kind"] in ("Deployment", "StatefulSet"):
            yield named(document), document["spec"]["template"]["spec"]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods():
        yield from ((f"{name}/{container['name']}", container) for container in pod["containers"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", resources(), ids=named)
def test_every_manifest_fits_the_published_schema(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_would_notice_a_misspelt_key() -> None:
    document = next(d for d in resources() if d["kind"] == "Deployment")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {**document, "spec": {**document["spec"], "replica": 2}}, VERSIONS[-1], strict=True
        )


def test_kustomize_finds_every_file_and_every_file_is_used() -> None:
    found = kustomization()
    assert found["kind"] == "Kustomization"
    named_files = {*found["resources"], *(f for g in found["configMapGenerator"] for f in g["files"])}
    assert named_files == {path.name for path in FOLDER.iterdir() if path.is_file()} - {"kustomization.yaml"}
    files = {*component()["resources"], *(patch["path"] for patch in component()["patches"])}
    assert files == {path.name for path in (FOLDER / "console").iterdir()} - {"kustomization.yaml"}


def test_the_console_is_off_until_a_site_names_it() -> None:
    assert "components" not in kustomization()
    assert "# components: [console]" in (FOLDER / "kustomization.yaml").read_text(encoding="utf-8")
    assert component()["kind"] == "Component"


def test_every_process_that_a_site_needs_is_there() -> None:
    commands = {" ".join(container["args"]) for _, container in containers()}
    assert commands == {
        "listen", "work --role analyse", "work --role deliver", "work --role sweep", "beat", "observe", "console"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "container"), list(containers()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_container_has_probes_limits_and_no_rights(name: str, container: dict[str, Any]) -> None:
    assert "livenessProbe" in container
    assert "startupProbe" in container or "readinessProbe" in container
    for bound in ("requests", "limits"):
        assert {"cpu", "memory"} <= set(container["resources"][bound])
    rights = container["securityContext"]
    assert rights["readOnlyRootFilesystem"]
    assert not rights["allowPrivilegeEscalation"]
    assert rights["capabilities"] == {"drop": ["ALL"]}


def test_a_worker_is_stopped_by_its_own_limit_before_the_kernel_kills_it() -> None:
    (container,) = (c for name, c in containers() if name.endswith("/analyse"))
    own = next(int(e["value"]) for e in container["env"] if e["name"] == "AXRAD_WORK__MAX_MEMORY_BYTES")
    assert container["resources"]["limits"]["memory"] == "4Gi"
    assert own < 4 * 1024**3


def test_pods_run_as_nobody_and_do_not_talk_to_the_cluster() -> None:
    for _, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]


def test_labels_that_select_pods_are_on_them() -> None:
    labels = [
        d["spec"]["template"]["metadata"]["labels"] for d in resources() if d["kind"] in ("Deployment", "StatefulSet")
    ]
    for document in resources():
        spec = document.get("spec", {})
        wanted = spec.get("selector", {})
        wanted = wanted.get("matchLabels", wanted)
        if document["kind"] == "NetworkPolicy":
            wanted = spec["podSelector"].get("matchLabels", {})
        if wanted:
            assert any(wanted.items() <= found.items() for found in labels), named(document)


def test_what_is_mounted_is_a_volume_and_secrets_are_read_from_one_secret() -> None:
    for document in resources():
        if document["kind"] not in ("Deployment", "StatefulSet"):
            continue
        pod = document["spec"]["template"]["spec"]
        claims = {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", ())}
        volumes = claims | {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            for variable in container["env"]:
                assert set(variable) == {"name", "value"}, "secrets come as files"


@pytest.mark.parametrize(
    ("name", "container"), list(containers()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_settings_of_each_container_are_settings(name: str, container: dict[str, Any], tmp_path: Path) -> None:
    secrets = {
        "share-read": "r" * 16,
        "share-write": "w" * 16,
        "ledger-url": "postgresql://h/d",
        "broker-url": "redis://h",
    }
    for secret, content in secrets.items():
        (tmp_path / secret).write_text(content)
    for certificate in ("tls.crt", "tls.key"):
        (tmp_path / certificate).touch()
    places = re.compile("/run/secrets/axrad|/etc/axrad-console")
    environ = {e["name"]: places.sub(str(tmp_path), e["value"]) for e in container["env"]}
    settings = load(FOLDER / "axrad.toml", environ=environ)
    assert settings.listen.port == 11112
    assert all(token.scopes != BOTH for token in read_tokens(settings.spool)), "one token reads, another writes"


def test_every_pod_has_a_policy_for_what_it_may_reach_and_the_workers_reach_no_archive() -> None:
    policies = [d["spec"] for d in resources() if d["kind"] == "NetworkPolicy" and named(d) != CONSOLE_POLICY]
    assert all(set(spec["policyTypes"]) == {"Ingress", "Egress"} and spec["egress"] for spec in policies)
    workers = next(spec for spec in policies if "matchExpressions" in spec["podSelector"])
    ports = {port["port"] for rule in workers["egress"] for port in rule["ports"]}
    assert ports == {53, 5432, 6379, 6380, 11190}


def test_every_policy_lets_out_to_the_ports_of_the_urls_that_the_first_steps_name() -> None:
    steps = (FOLDER / "kustomization.yaml").read_text(encoding="utf-8")
    named = {int(port) for port in re.findall(r"-url=\w+://\S+?:(\d+)/", steps)}
    assert len(named) == 2
    for policy in (d for d in resources() if d["kind"] == "NetworkPolicy" and "egress" in d["spec"]):
        assert named <= {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
