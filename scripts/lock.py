"""Writes `requirements.lock` from what `pip lock` prints: each tested version with the SHA-256 of its wheel.

    pip lock --no-deps -r constraints.txt -o - | python scripts/lock.py > requirements.lock

It is of the platform and the Python that it is made on, and says so. torch is left out: which build fits depends on the
machine, and the indexes that have them have hashes of their own.
"""

import platform
import sys
import tomllib

HEAD = f"""# Tested versions with the hashes of their wheels, for {platform.system()} {platform.machine()}, Python \
{".".join(platform.python_version_tuple()[:2])}; written by make lock.
#
#     pip install torch==TORCH
#     pip install --require-hashes --no-deps -r requirements.lock
#     pip install --no-deps semievol
"""


def main() -> None:
    """Reads a lock file of PEP 751 from standard input."""
    packages = tomllib.loads(sys.stdin.read())["packages"]
    torch = next((package["version"] for package in packages if package["name"] == "torch"), "")
    print(HEAD.replace("TORCH", torch.partition("+")[0]), end="")
    for package in packages:
        files = [*package.get("wheels", ()), *filter(None, [package.get("sdist"), package.get("archive")])]
        hashes = sorted({file["hashes"]["sha256"] for file in files})
        if package["name"] != "torch" and hashes:
            print(f"{package['name']}=={package['version']}", *(f"--hash=sha256:{one}" for one in hashes))


if __name__ == "__main__":
    main()
