"""Seconds a round beside Flower's own simulation: ``python benchmarks/simulation.py``.

The same network, images, client step (`medtk.federated.train`) and averaging by images, once in this project's engine
and once in ``flwr.simulation.run_simulation``, which keeps its clients in the worker processes of Ray. Ray is large and
nothing else here uses it, so it is not among the project's packages: ``pip install ray==2.55.1`` beside it first.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from federated import hospitals
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from saving import save

from medtk import federated, models

MADE = []


def prepared(chosen: argparse.Namespace) -> tuple:
    """Model and hospitals, made once a process: a worker of Ray keeps its modules from one message to the next."""
    import simulation  # in a worker this file is no longer the main one, and only an imported module is kept

    if not simulation.MADE:
        shape = (chosen.side, chosen.side, 3)
        model = models.build_hospital(chosen.network, input_shape=shape, weights="random")
        simulation.MADE[:] = model, hospitals(chosen.images, chosen.hospitals, chosen.side)
    return tuple(simulation.MADE)


def client_app(chosen: argparse.Namespace, settings: federated.Settings) -> ClientApp:
    """A client that does one hospital's step."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        model, members = prepared(chosen)
        member = members[context.node_config["partition-id"]]
        update = federated.train(model, message.content["arrays"].to_numpy_ndarrays(), member.train, settings)
        counted = MetricRecord({"num-examples": len(member.train)})
        content = RecordDict({"arrays": ArrayRecord(update.weights), "metrics": counted})
        return Message(content=content, reply_to=message)

    return app


def simulated(chosen: argparse.Namespace, settings: federated.Settings) -> list[float]:
    """Seconds of each round by the server's clock."""
    ends = []
    app = ServerApp()

    def clocked(round_: int, arrays: ArrayRecord) -> None:
        ends.append(time.perf_counter())

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        model, _ = prepared(chosen)
        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=chosen.hospitals, min_available_nodes=chosen.hospitals)
        strategy.start(grid, ArrayRecord(model.get_weights()), settings.rounds, evaluate_fn=clocked)

    resources = {"client_resources": {"num_cpus": os.cpu_count() / chosen.workers, "num_gpus": 0.0}}
    run_simulation(app, client_app(chosen, settings), chosen.hospitals, backend_config=resources)
    return list(np.diff(ends))


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="small", choices=list(models.HOSPITAL_NETWORKS))
    parser.add_argument("--images", type=int, default=600, help="of all hospitals together")
    parser.add_argument("--side", type=int, default=100, help="pixels a side")
    parser.add_argument("--hospitals", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=6, help="the first, in which steps are compiled, is not counted")
    parser.add_argument("--workers", type=int, default=1, help="processes of Ray that share the processor's cores")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/simulation-<network>.json")
    chosen = parser.parse_args()
    # Nothing is to leave this machine; the workers of Ray take their environment from here.
    os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])
    settings = federated.Settings(rounds=chosen.rounds)
    model, members = prepared(chosen)
    ours = federated.run(model, members, settings, validate=False, keep=False, progress=False)
    began = time.perf_counter()
    theirs = simulated(chosen, settings)
    row = {
        "engine_round_s": statistics.median(entry["seconds"] for entry in ours.history[1:]),
        "simulation_round_s": statistics.median(theirs[1:]),
        "simulation_first_round_s": float(theirs[0]),
        "simulation_whole_s": time.perf_counter() - began,
    }
    row["ratio"] = row["simulation_round_s"] / row["engine_round_s"]
    print(
        f"{chosen.network}, {chosen.hospitals} hospitals, {chosen.images} images of {chosen.side} x {chosen.side} x 3"
    )
    print(
        f"a round: {row['engine_round_s']:.3f} s in the engine, {row['simulation_round_s']:.3f} s in "
        f"Flower's simulation (ratio {row['ratio']:.1f}), whose first took {row['simulation_first_round_s']:.1f} s"
    )
    if chosen.save:
        save(f"simulation-{chosen.network}", vars(chosen), row)


if __name__ == "__main__":
    main()
