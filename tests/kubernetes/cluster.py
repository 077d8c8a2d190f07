"""Run a real etcd and kube-apiserver on loopback: TLS, RBAC, service account tokens, and what is needed to break them.

There is no controller, scheduler or kubelet: a test plays their part by writing objects and their status through the API. The
programs are built by scripts/build-apiserver.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tests.exporting.certificates import Authority

READY: Final = 60.0
"""Seconds that a server may take to start."""
_RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_AUDITED: Final = "system:serviceaccount:"
_AUDIT_POLICY: Final = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, userGroups: ["system:serviceaccounts"]}
  - {level: None}
"""


class Refused(Exception):
    """Report an answer of the API that is no success."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body[:400]}")
        self.status, self.body = status, body


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody listened on a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Asked(NamedTuple):
    """One kind of request that a service account has made, by RBAC's words, and whether RBAC let it pass."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    allowed: bool


class Cluster:
    """A control plane without controllers, below `directory`; a context manager that ends what it began."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self.programs, self.directory = programs, directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port, self._etcd_port, self._peer_port = free_ports(3)
        self.server = f"https://127.0.0.1:{self.port}"
        authority = Authority(directory / "certificates", "kubernetes")
        self.authority_file = authority.file
        self._serving = authority.issue("apiserver", ("localhost", "kubernetes.default.svc"))
        self._admin = authority.issue("admin", organization="system:masters")
        self._accounts = authority.issue("service-accounts")
        self._tls = ssl.create_default_context(cafile=authority.file)
        self._tls.load_cert_chain(self._admin.cert_file, self._admin.key_file)
        self._audit_policy, self._audit = directory / "audit-policy.yaml", directory / "audit.log"
        self._audit_policy.write_text(_AUDIT_POLICY)
        self._etcd: subprocess.Popen[bytes] | None = None
        self._apiserver: subprocess.Popen[bytes] | None = None
        self.kubeconfig = self.write_kubeconfig("admin", {"client-certificate": "admin.pem", "client-key": "admin.key"})

    def __enter__(self) -> Cluster:
        try:
            self.start_etcd()
            self.start_apiserver()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_apiserver(signal.SIGKILL)
        _end(self._etcd, signal.SIGKILL)
        self._etcd = None

    # --- the servers ----------------------------------------------------------------------------------------------------

    def start_etcd(self) -> None:
        """Start etcd and wait for it."""
        url, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        self._etcd = self._start(
            "etcd",
            f"--data-dir={self.directory}/etcd",
            *(f"--listen-client-urls={url}", f"--advertise-client-urls={url}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"),
            *("--unsafe-no-fsync", "--logger=zap", "--log-level=warn"),
        )
        self._wait(self._etcd, "etcd", lambda: urllib.request.urlopen(f"{url}/health", timeout=5).read())

    def start_apiserver(self, *options: str) -> None:
        """Start kube-apiserver with further options and wait until it is ready."""
        accounts = self._accounts
        self._apiserver = self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={self.port}"),
            *(f"--tls-cert-file={self._serving.cert_file}", f"--tls-private-key-file={self._serving.key_file}"),
            *(f"--client-ca-file={self.authority_file}", f"--cert-dir={self.directory}/generated"),
            *("--authorization-mode=RBAC", "--anonymous-auth=false", "--service-cluster-ip-range=10.96.0.0/16"),
            *("--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={accounts.cert_file}"),
            f"--service-account-signing-key-file={accounts.key_file}",
            # Without a controller nobody makes the service accounts that this one asks for.
            "--disable-admission-plugins=ServiceAccount",
            *(f"--audit-policy-file={self._audit_policy}", f"--audit-log-path={self._audit}"),
            *("--endpoint-reconciler-type=none", "--profiling=false", "--watch-cache=true", "--min-request-timeout=300"),
            *options,
        )
        self._wait(self._apiserver, "kube-apiserver", lambda: self.request("GET", "/readyz"))

    def stop_apiserver(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End kube-apiserver; safe when it does not run."""
        _end(self._apiserver, how)
        self._apiserver = None

    def restart_apiserver(self, *options: str, how: signal.Signals = signal.SIGKILL) -> None:
        """End kube-apiserver and start it on the same port, etcd and certificates."""
        self.stop_apiserver(how)
        self.start_apiserver(*options)

    def pause_apiserver(self) -> None:
        """Let kube-apiserver stand still: connections stay open and nothing is said."""
        assert self._apiserver is not None
        os.kill(self._apiserver.pid, signal.SIGSTOP)

    def resume_apiserver(self) -> None:
        """Let kube-apiserver go on."""
        assert self._apiserver is not None
        os.kill(self._apiserver.pid, signal.SIGCONT)

    def compact(self) -> None:
        """Compact etcd up to now, so that every earlier resourceVersion is really gone (410) once the watch cache is too."""
        status = self._etcd_request("/v3/maintenance/status", {})
        self._etcd_request("/v3/kv/compaction", {"revision": status["header"]["revision"], "physical": True})

    def _etcd_request(self, path: str, body: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self._etcd_port}{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def _start(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{program}.log").open("ab") as log:
            return subprocess.Popen([self.programs / program, *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _wait(self, process: subprocess.Popen[bytes], name: str, ask: Any) -> None:
        deadline = time.monotonic() + READY
        while True:
            try:
                ask()
            except (OSError, Refused) as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    log = (self.directory / f"{name}.log").read_text(errors="replace")
                    raise RuntimeError(f"{name} did not become ready ({error}):\n{log[-4000:]}") from error
                time.sleep(0.1)
            else:
                return

    # --- the API --------------------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """Ask the API as an administrator; raises `Refused`."""
        text = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server + path, text, {"Content-Type": content_type}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._tls) as answer:
                got = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")) from None
        return json.loads(got) if got.startswith((b"{", b"[")) else got.decode()

    def create(self, path: str, body: Mapping[str, Any]) -> Any:
        """Create an object in a collection; its status, which creation leaves out, is written as well."""
        made = self.request("POST", path, body)
        if status := body.get("status"):
            made = self.patch(f"{path}/{made['metadata']['name']}/status", {"status": status})
        return made

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change an object, or its status, by a merge patch."""
        return self.request("PATCH", path, body, "application/merge-patch+json")

    def delete(self, path: str) -> Any:
        """Delete an object, or a collection, at once."""
        return self.request("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})

    def namespace(self, name: str, labels: Mapping[str, str] | None = None) -> str:
        """Create a namespace unless it is there; returns its name."""
        with contextlib.suppress(Refused):
            self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": dict(labels or {})}})
        return name

    def service_account(self, name: str, namespace: str = "default", seconds: int = 3600) -> str:
        """Create a service account unless it is there; returns a new token of it. The API grants no less than 600 seconds."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        with contextlib.suppress(Refused):
            self.request("POST", path, {"metadata": {"name": name}})
        asked = {"spec": {"expirationSeconds": seconds}}
        token: str = self.request("POST", f"{path}/{name}/token", asked)["status"]["token"]
        return token

    def allow(self, account: str, rules: list[dict[str, Any]], namespace: str = "default", only_in: str = "") -> None:
        """Give a service account these rules: in the whole cluster, or `only_in` one namespace; replaces what it had."""
        kind, where = ("Role", f"{_RBAC}/namespaces/{only_in}") if only_in else ("ClusterRole", _RBAC)
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": account}
        self._put(f"{where}/{kind.lower()}s", {"metadata": {"name": account}, "rules": rules})
        self._put(f"{where}/{kind.lower()}bindings", {"metadata": {"name": account}, "subjects": [subject], "roleRef": role})
        self._await_rules(account, rules, namespace, only_in)

    def apply(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Create or replace objects of any kind, as `kubectl apply` does with a file of them."""
        for one in objects:
            group, kind, metadata = one["apiVersion"], one["kind"], one["metadata"]
            root = f"/apis/{group}" if "/" in group else f"/api/{group}"
            where = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
            self._put(f"{root}{where}/{kind.lower()}s", one)

    def may(self, account: str, verb: str, resource: str, group: str = "", namespace: str = "default", **where: str) -> bool:
        """Tell whether a service account may do something; `where` is a `namespace_of` it or a `name`."""
        asked = {"verb": verb, "resource": resource, "group": group, "name": where.get("name", "")}
        spec = {
            "user": f"{_AUDITED}{namespace}:{account}",
            "groups": ["system:serviceaccounts"],
            "resourceAttributes": asked | {"namespace": where.get("namespace_of", "")},
        }
        answer = self.request("POST", _REVIEWS, {"spec": spec})
        return bool(answer["status"]["allowed"])

    def _await_rules(self, account: str, rules: list[dict[str, Any]], namespace: str, only_in: str) -> None:
        """Wait until the server goes by new rules: it takes a moment."""
        deadline = time.monotonic() + READY
        for rule in rules:
            where = {"namespace_of": only_in, "name": rule.get("resourceNames", [""])[0]}
            for verb, group, resource in itertools.product(rule["verbs"], rule["apiGroups"], rule["resources"]):
                while not self.may(account, verb, resource, group, namespace, **where):
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"{account} still may not {verb} {resource}")
                    time.sleep(0.02)

    def asked(self, account: str, namespace: str = "default") -> set[Asked]:
        """Return what a service account has asked for so far, as the server's audit log has it."""
        user, found = f"{_AUDITED}{namespace}:{account}", set()
        for line in self._audit.read_text().splitlines() if self._audit.exists() else ():
            entry = json.loads(line)
            what = entry.get("objectRef", {})
            if entry["user"].get("username") == user:
                allowed = entry.get("annotations", {}).get("authorization.k8s.io/decision") == "allow"
                names = [what.get(part, "") for part in ("apiGroup", "resource", "namespace", "name")]
                found.add(Asked(entry["verb"], *names, allowed))
        return found

    def _put(self, path: str, body: Mapping[str, Any]) -> None:
        try:
            self.request("POST", path, body)
        except Refused as error:
            if error.status != 409:
                raise
            self.request("PUT", f"{path}/{body['metadata']['name']}", body)

    def write_kubeconfig(self, name: str, user: Mapping[str, Any]) -> Path:
        """Write a kubeconfig whose user is this; relative files are below the certificates' directory."""
        directory = Path(self.authority_file).parent
        where = {"server": self.server, "certificate-authority": self.authority_file}
        context = {"cluster": "test", "user": name, "namespace": "default"}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": "test", "cluster": where}],
            "users": [{"name": name, "user": dict(user)}],
            "contexts": [{"name": name, "context": context}],
        }
        path = directory / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(content))
        path.chmod(0o600)
        return path

    def write_account_directory(self, account: str, namespace: str = "default", token: str = "") -> Path:
        """Write token, CA and namespace as a kubelet mounts them in a pod; returns the directory."""
        directory = self.directory / "mounted" / f"{namespace}-{account}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "token").write_text(token or self.service_account(account, namespace))
        (directory / "ca.crt").write_bytes(Path(self.authority_file).read_bytes())
        (directory / "namespace").write_text(namespace)
        return directory


def _end(process: subprocess.Popen[bytes] | None, how: signal.Signals) -> None:
    if process is None:
        return
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)  # one that stands still cannot be asked to end
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
