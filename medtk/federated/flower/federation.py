"""Put a run up, let hospitals join it, look at it, take it down: folders and processes, no mathematics."""

import dataclasses
import json
import secrets
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from medtk import privacy
from medtk.errors import BadParameter, DataUnavailable, MedtkError
from medtk.federated.flower import processes, security
from medtk.federated.flower.plan import Plan
from medtk.federated.flower.progress import read, write
from medtk.federated.flower.site import Source, invitation

PAUSE = 0.2  # seconds between two looks at what a process has written
_PACKAGE = "medtk.federated.flower"


def up(folder: Path, plan: Plan | None = None, *, address: str = "", port: int | None = None, listen: str = "") -> Plan:
    """Make the folder of a run, unless it is there, and start its server: a SuperLink and the coordinator.

    The folder holds ``plan.json``; ``ca.pem`` and the certificate and keys of the server; ``keys/<name>.pub`` of each
    hospital; ``invitations/<name>/``, which goes to the hospital; ``rounds.npz``, the state after the last round;
    ``history.json``; logs. A hospital whose ``keys/<name>.pub`` is there before makes its invitation without a private
    key: it has one. A run that was stopped goes on after its last round.

    Parameters
    ----------
    folder : Path
        Of a run, or not there yet.
    plan : Plan, optional
        Needed for a new run. After the first round only the timeouts may change, and `rounds` upwards.
    address : str
        Name or IP address by which the hospitals reach this machine; as last time unless told, at first 127.0.0.1.
    port : int, optional
        Port that they reach, 1 to 65535; as last time unless told, at first 8000.
    listen : str
        Address to listen at; as last time, or this machine's own for a loopback `address`, else all.

    Returns
    -------
    Plan
        As stored.

    Raises
    ------
    BadParameter
        If the plan is missing, or is not the one in the folder.
    MedtkError
        If Flower is not installed, the port is taken, the server is up already, or does not start.
    """
    processes.check_flower()
    if plan and plan.noise_multiplier:
        privacy.epsilon(plan.noise_multiplier, 1.0, 1, plan.delta)  # says now if there is no accountant
    folder = Path(folder).resolve()
    if any(processes.running(folder).values()):
        raise MedtkError(f"The run in {folder} is up already; `medtk federate down {folder}` stops it.")
    last = read(folder, "server", {"address": "127.0.0.1", "port": 8000, "listen": ""})
    listen = listen or (last["listen"] if address in ("", last["address"]) else "")
    address, port = address or last["address"], port or last["port"]
    loopback = address == "localhost" or address.startswith("127.")
    listen = listen or ("127.0.0.1" if loopback else "0.0.0.0")
    processes.check_port(listen, port)
    plan = _planned(folder, plan)
    contact = f"{'127.0.0.1' if listen in ('0.0.0.0', '127.0.0.1') else listen}:{port}"
    write(folder, "server", {"address": address, "port": port, "listen": listen, "contact": contact})
    _secured(folder, plan, address, port, listen)
    write(folder, "progress", {"state": "starting", "said": ""})
    certificate = [f"--ssl-{kind}={folder / name}" for kind, name in _FILES.items()]
    options = [f"--host={listen}", f"--port={port}", f"--database={folder / 'superlink.db'}", *certificate]
    options += ["--enable-supernode-auth", "--isolation=process", f"--superexec-auth-secret-file={folder / 'secret'}"]
    processes.start(folder, "superlink", f"{_PACKAGE}.superlink", options)
    try:
        _listening(folder, contact)
        (folder / "nodes.json").unlink(missing_ok=True)
        processes.start(folder, "coordinator", f"{_PACKAGE}.work", ["coordinator", str(folder)])
        _wait(folder, lambda: (folder / "nodes.json").is_file())  # hospitals whose keys are not known are turned away
    except BaseException:
        processes.stop(folder)
        raise
    return plan


_FILES = {"certfile": "server.pem", "keyfile": "server_key.pem", "ca-certfile": "ca.pem"}


def _planned(folder: Path, plan: Plan | None) -> Plan:
    path = folder / "plan.json"
    if not path.is_file():
        if plan is None:
            raise BadParameter(f"There is no run in {folder}, so a plan is needed: at least hospitals and classes.")
        if folder.exists() and any(entry.name != "keys" for entry in folder.iterdir()):
            raise BadParameter(f"{folder} holds something else than a run; name another folder.")
        stored = dataclasses.replace(plan, run=uuid.uuid4().hex)
    else:
        stored = Plan.read(path.read_text(encoding="utf-8"))
        given = dataclasses.asdict(plan or stored) | {"run": stored.run}
        was = dataclasses.asdict(stored)
        free = {name: given[name] for name in ("rounds", "round_timeout", "start_timeout")}
        other = [f"{k} {was[k]}, not {v}" for k, v in given.items() if was[k] != v and k not in free]
        begun = (folder / "rounds.npz").is_file()
        if begun and (other or given["rounds"] < stored.rounds):
            raise BadParameter(
                f"The run in {folder} has {'; '.join(other) or f'{stored.rounds} rounds already'}. Only more rounds "
                "may be asked of it; name another folder for another run."
            )
        stored = Plan(**given)
    security.write_private(path, stored.text().encode())
    return stored


def _secured(folder: Path, plan: Plan, address: str, port: int, listen: str) -> None:
    """Certificates, keys and invitations that are not there yet; an address that is new needs a new certificate."""
    addresses = sorted({address, "127.0.0.1", "localhost"} | ({listen} - {"0.0.0.0", "::"}))
    if read(folder, "certified") != addresses:
        security.make_certificates(folder, addresses)
        write(folder, "certified", addresses)
    if not (folder / "secret").is_file():
        security.write_private(folder / "secret", secrets.token_bytes(32))
    for name in plan.hospitals:
        home = folder / "invitations" / name
        if not (folder / "keys" / f"{name}.pub").is_file():
            security.make_node_key(home / "node_key", folder / "keys" / f"{name}.pub")
        security.write_private(home / "ca.pem", (folder / "ca.pem").read_bytes())
        asked = {"name": name, "address": address, "port": port, "size": plan.size}
        write(home, "invitation", asked | {"class_names": plan.class_names})


def _listening(folder: Path, contact: str, seconds: float = 300) -> None:
    host, _, port = contact.rpartition(":")
    end = time.monotonic() + seconds
    while True:
        try:
            return security.check_server(host, int(port), folder / "ca.pem")
        except MedtkError as error:
            if not processes.running(folder)["superlink"]:
                said = processes.last_words(folder, "superlink")
                raise MedtkError(f"The server does not start. It says: {said}") from error
            if time.monotonic() > end:
                raise
            time.sleep(PAUSE)


def join(folder: Path, source: Source, *, heartbeat: float = 30) -> None:
    """Start a hospital in the background: a SuperNode, and the process that trains. `ready` waits for them.

    Parameters
    ----------
    folder : Path
        The invitation; with ``node_key``, the hospital's private key.
    source : Source
        Where its images are.
    heartbeat : float
        Seconds between two signs of life, at least 10; after twice that without one, the server counts it as gone.

    Raises
    ------
    BadParameter, DataUnavailable, UnknownName
        If the folder is no invitation or the images are not there.
    MedtkError
        If Flower is not installed, the server does not answer or is not the one that invited.
    """
    processes.check_flower()
    folder = Path(folder).resolve()
    asked = invitation(folder)
    if any(processes.running(folder).values()):
        raise MedtkError(f"{asked['name']} has joined already; `medtk federate down {folder}` stops it.")
    if not (folder / "node_key").is_file():
        raise DataUnavailable(f"The private key of {asked['name']} is missing: put it into {folder / 'node_key'}.")
    if not heartbeat >= 10:
        raise BadParameter(f"heartbeat must be at least 10 seconds, not {heartbeat}.")
    source.check(asked["name"])
    security.check_server(asked["address"], asked["port"], folder / "ca.pem")
    write(folder, "hospital", dataclasses.asdict(source))
    if not (folder / "secret").is_file():
        security.write_private(folder / "secret", secrets.token_bytes(32))
    port = processes.free_port()
    write(folder, "runtime", {"address": f"127.0.0.1:{port}"})
    write(folder, "progress", {"state": "starting", "said": ""})
    options = [f"--superlink={asked['address']}:{asked['port']}", f"--root-certificates={folder / 'ca.pem'}"]
    options += [f"--auth-supernode-private-key={folder / 'node_key'}", "--isolation=process", f"--port={port}"]
    options += [f"--superexec-auth-secret-file={folder / 'secret'}", f"--node-config=folder={json.dumps(str(folder))}"]
    processes.start(folder, "supernode", f"{_PACKAGE}.supernode", [str(heartbeat), *options])
    processes.start(folder, "hospital", f"{_PACKAGE}.work", ["hospital", str(folder)])


def ready(folder: Path, seconds: float = 600) -> str:
    """Wait until a server has begun to look for its hospitals, or a hospital is read and let in; what it says then.

    Raises
    ------
    MedtkError
        If the network cannot be built, the images cannot be read, the server does not know the hospital's key, or
        it takes too long. All that runs from the folder is stopped then.
    """
    folder = Path(folder).resolve()
    try:
        _wait(folder, lambda: read(folder, "progress")["state"] != "starting" and _let_in(folder), seconds)
    except MedtkError:
        processes.stop(folder)
        raise
    found = read(folder, "progress")
    return f"{found['state']} {found['said']}".strip()


def _wait(folder: Path, done: Callable[[], bool], seconds: float = 300) -> None:
    """Wait for something that processes of a folder do; `MedtkError` if they fail or need too long."""
    end = time.monotonic() + seconds
    while not (why := _trouble(folder)):
        if done():
            return
        if time.monotonic() > end:
            why = f"{folder.name} was not ready after {seconds:g} s; see {folder / 'logs'}."
            break
        time.sleep(PAUSE)
    raise MedtkError(why)


def _let_in(folder: Path) -> bool:
    log = folder / "logs" / "supernode.log"
    return not log.is_file() or "SuperNode ID" in log.read_text(encoding="utf-8", errors="replace")


def _trouble(folder: Path) -> str:
    """What has gone wrong with the processes of a folder, in words; empty if nothing has."""
    # In this order: a process that ends writes why before it is gone.
    alive, found = processes.running(folder), read(folder, "progress")
    if found["state"] == "failed":
        return found["said"]
    gone = [name for name in _workers(folder) if not alive.get(name)]
    if not gone or found["state"] == "finished":
        return ""
    said = f"It says: {processes.last_words(folder, gone[0])}"
    if gone[0] == "supernode" and not _let_in(folder):
        return f"The server does not let {folder.name} in; most likely it does not know the key in node_key. {said}"
    return f"The {gone[0]} of {folder.name} has stopped. {said}"


def status(folder: Path) -> dict:
    """How a run, or one hospital of it, goes: read from its folder.

    Returns
    -------
    dict
        ``kind`` (``server`` or ``hospital``), ``state`` (``starting``, ``waiting``, ``running``, ``finished``,
        ``failed``, ``ready``; ``stopped`` where a process is missing before the end), ``said`` in words, ``processes``
        (name and whether it runs), and for a server ``rounds``, ``hospitals`` and ``history``, as
        `medtk.federated.rows` takes it. With noise also ``epsilon``: of a hospital what it has spent, of a server the
        most that each can have spent, None where the server does not know.
    """
    folder = Path(folder).resolve()
    found = read(folder, "progress")
    if found is None:
        raise DataUnavailable(f"{folder} is the folder of no run and of no hospital that has joined one.")
    alive = processes.running(folder)
    if found["state"] not in ("finished", "failed") and not all(alive.get(name) for name in _workers(folder)):
        found = {"state": "stopped", "said": f"last seen {found['state']} {found['said']}".strip()}
    shown = {"kind": "hospital", **found, "processes": alive}
    if (folder / "plan.json").is_file():
        plan = Plan.read((folder / "plan.json").read_text(encoding="utf-8"))
        shown |= {"kind": "server", "rounds": plan.rounds, "hospitals": list(plan.hospitals)}
        shown["history"] = read(folder, "history", [])
        shown |= {"epsilon": read(folder, "spent")} if plan.noise_multiplier else {}
    elif account := read(folder, "account"):
        shown["epsilon"] = account["epsilon"]
    return shown


def _workers(folder: Path) -> tuple[str, ...]:
    return ("superlink", "coordinator") if (folder / "plan.json").is_file() else ("supernode", "hospital")


def down(folder: Path) -> list[str]:
    """Stop what `up` or `join` started from a folder, and hospitals that joined from inside it; names of processes."""
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise DataUnavailable(f"There is no folder {folder}.")
    stopped = []
    for place in [*sorted((folder / "invitations").glob("*")), folder]:
        stopped += [f"{name} of {place.name}" for name in processes.stop(place)]
    return stopped


def result(folder: Path):
    """`medtk.federated.Result` of a run, after its last stored round, as the in-process engine gives it.

    What hospitals keep to themselves is not in it.
    """
    from medtk.federated import state
    from medtk.federated.engine import as_server
    from medtk.federated.result import Result

    folder = Path(folder).resolve()
    if not (folder / "rounds.npz").is_file():
        raise DataUnavailable(f"No round of a run is stored in {folder}.")
    plan = Plan.read((folder / "plan.json").read_text(encoding="utf-8"))
    now = state.restore(folder / "rounds.npz", lambda found: "server" in found)
    if now is None:
        raise MedtkError(f"The state in {folder} was damaged; `medtk federate up {folder}` begins again.")
    model = plan.model()
    return Result(as_server(now["server"]), now["history"], {}, plan.mask(model), model.get_weights(), True)
