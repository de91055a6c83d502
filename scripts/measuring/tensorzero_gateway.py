"""TensorZero's gateway from its Python package, which brings it along: prints its base URL, serves until stdin ends.

Runs in an environment of its own (see `scripts/bench_peers.py`): python tensorzero_gateway.py CONFIG
"""

import sys

from openai import OpenAI
from tensorzero import patch_openai_client

client = patch_openai_client(OpenAI(api_key="none"), config_file=sys.argv[1], async_setup=False)
print(client.base_url, flush=True)
sys.stdin.read()
