"""Flower's SuperNode, with a pulse of its own: ``python -m medtk.federated.flower.supernode SECONDS`` and its options.

A hospital that does not show a sign of life for twice this long counts as gone.
"""

import sys

from flwr.supercore import heartbeat
from flwr.supernode import fleet_http_connection
from flwr.supernode.cli import flower_supernode

if __name__ == "__main__":
    seconds = float(sys.argv.pop(1))
    heartbeat.HEARTBEAT_DEFAULT_INTERVAL = fleet_http_connection.HEARTBEAT_DEFAULT_INTERVAL = seconds
    flower_supernode()
