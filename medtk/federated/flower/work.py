"""The processes that compute: ``python -m medtk.federated.flower.work coordinator|hospital FOLDER``.

They do what Flower's SuperExec does, take a task and run an app, with two differences. They stay: TensorFlow is
imported, the images read and the step compiled once, not for each message. And they run medtk's apps only: the code
that a Flower server hands out with a run is never unpacked here.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from flwr.app import Message
from flwr.app.error import Error
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import ErrorCode, SubStatus
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest, StartRunRequest
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.run import Run
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid
from flwr.supernode.runtime import run_clientapp

from medtk.errors import MedtkError
from medtk.federated.flower.processes import running
from medtk.federated.flower.progress import read, write
from medtk.federated.flower.security import public_key

PAUSE = 0.2  # seconds between two looks for a task
# Flower wants an app with each run; ours names what is installed on each machine, and holds no code.
APP = """
[project]
name = "medtk-federated"
version = "1.0.0"
description = "Federated learning of medtk"
license = "MIT"
[tool.flwr.app]
publisher = "medtk"
[tool.flwr.app.components]
serverapp = "medtk.federated.flower.coordinator:app"
clientapp = "medtk.federated.flower.hospital:app"
[tool.flwr.app.config]
folder = ""
"""


def _version() -> RuntimeVersionHttpInterceptor:
    return RuntimeVersionHttpInterceptor(component_name="medtk")


def tasks(address: str, authority: bytes | None, secret: bytes, kind: TaskType, alive=lambda: True) -> Iterator[str]:
    """Tokens of tasks as they come, as long as `alive` says so; the secret shows that they are ours to take."""
    sign = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods={"/flwr.proto.Runtime/AcquireTask"})
    line = RuntimeHttpClient.from_server_address(address, authority is None, authority, [_version(), sign])
    while alive():
        try:
            found = line.AcquireTask(AcquireTaskRequest(supported_task_types=[kind]))
        except httpx.TransportError:  # it is just starting, or just stopping
            found = None
        if found is not None and found.token:
            yield found.token
        else:
            time.sleep(PAUSE)


@contextlib.contextmanager
def pulsing(line: RuntimeHttpClient) -> Iterator[None]:
    """Tell Flower every ten seconds that the task is worked on; whether it hears us is not our concern.

    Flower's own sender draws its pauses from Python's random numbers, which the first weights of a network come from
    too: what a thread draws while a network is built changes the run.
    """
    over = threading.Event()

    def beat() -> None:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                line.SendTaskHeartbeat(SendTaskHeartbeatRequest())
            if over.wait(10):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def hospital(folder: Path) -> None:
    """Serve one hospital until its SuperNode is gone."""
    from medtk.federated.flower import hospital as own

    own.images(folder)
    write(folder, "progress", {"state": "ready", "said": f"{len(own.images(folder).train)} training images"})
    address, secret = read(folder, "runtime")["address"], (folder / "secret").read_bytes()
    for token in tasks(address, None, secret, TaskType.CLIENT_APP, lambda: running(folder).get("supernode")):
        try:
            _answer(address, token, own.app)
        except httpx.HTTPError as error:  # the run was stopped meanwhile, or the server is not there
            print(f"A task could not be finished: {error}", flush=True)


def _answer(address: str, token: str, app) -> None:
    given = [_version(), RuntimeTokenHttpInterceptor(token)]
    line = RuntimeHttpClient.from_server_address(address, True, None, given)
    with pulsing(line):
        message, context, _, _ = run_clientapp.pull_task_input(line)
        said = SubStatus.COMPLETED, ""
        try:
            reply = app(message, context)
        except Exception as error:  # the server is told, the next round is another chance
            said = SubStatus.FAILED, f"{type(error).__name__}: {error}"
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, said[1]), reply_to=message)
        print(f"round {message.metadata.group_id}, {message.metadata.message_type}: {said[1] or 'done'}", flush=True)
        run_clientapp.push_message(line, reply, context)
        run_clientapp.push_task_output(line, context, *said)


def coordinator(folder: Path) -> None:
    """Register the hospitals' keys, start a run, and carry it out."""
    from medtk.federated.flower import coordinator as own

    server, authority = read(folder, "server"), (folder / "ca.pem").read_bytes()
    control = ControlHttpClient.from_server_address(server["contact"], False, authority, [_version()])
    nodes = registered(control, folder)
    write(folder, "nodes", nodes)
    content, _ = build_fab_from_files({"pyproject.toml": APP.encode()})
    run_id = control.StartRun(StartRunRequest(fab=fab_to_proto(Fab("", content, {})))).run_id
    secret = (folder / "secret").read_bytes()
    for token in tasks(server["contact"], authority, secret, TaskType.SERVER_APP):
        grid = HttpGrid(server["contact"], False, authority, token=token)
        task = grid._runtime_client.PullTaskInput(PullTaskInputRequest())
        if task.run.run_id == run_id:  # and not one that was left over, or that somebody else has started
            break
        grid._runtime_client.PushTaskOutput(PushTaskOutputRequest(sub_status=SubStatus.FAILED, details="not ours"))
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = task.task_id, run_id, task.context.node_id
    said = SubStatus.FAILED, "stopped"
    try:
        with pulsing(grid._runtime_client):
            grid.set_run(Run.create_empty(run_id))
            own.serve(grid, folder, nodes, tell=lambda sentence: print(sentence, flush=True))
        said = SubStatus.COMPLETED, ""
    finally:
        grid._runtime_client.PushTaskOutput(PushTaskOutputRequest(sub_status=said[0], details=said[1]))
        grid.close()


def registered(control: ControlHttpClient, folder: Path) -> dict[str, int]:
    """Flower's number of each hospital, whose key is registered if it is not yet."""
    known = {bytes(node.public_key): node.node_id for node in control.ListNodes(ListNodesRequest()).nodes_info}
    nodes = {}
    for path in sorted((folder / "keys").glob("*.pub")):
        key = public_key(path)
        request = RegisterNodeRequest(public_key=key, name=path.stem)
        nodes[path.stem] = known.get(key) or control.RegisterNode(request).node_id
    return nodes


if __name__ == "__main__":
    what, where = sys.argv[1], Path(sys.argv[2])
    try:
        {"coordinator": coordinator, "hospital": hospital}[what](where)
    except MedtkError as error:
        write(where, "progress", {"state": "failed", "said": str(error)})
        sys.exit(f"medtk: {error}")
    except Exception as error:
        write(where, "progress", {"state": "failed", "said": f"{type(error).__name__}: {error}"})
        raise
