import os
import subprocess

import pytest


@pytest.fixture
def redis(request):
    """Asks the Redis that all workers share, as a client with a key of its own."""
    url = os.environ.get("REDIS_URL")
    if url is None:
        pytest.fail("there is no Redis: run the tests by ./run, which is: procref with redis -- pytest -n 4")

    def ask(*words):
        answer = subprocess.run(["redis-cli", "-u", url, *words], capture_output=True, text=True, check=True)
        return answer.stdout.strip()

    note_for_recipes_run(ask("info", "server"))
    key = request.node.name
    ask("del", key)
    ask.key = key
    return ask


def note_for_recipes_run(server):
    """Which server it was: recipes/run checks that there was only one."""
    if path := os.environ.get("RECIPE_SEEN"):
        (run_id,) = [line for line in server.split() if line.startswith("run_id:")]
        with open(path, "a") as file:
            file.write(f"{os.getpid()} {run_id}\n")
