"""All benchmarks, one after the other: python -m tests.benchmarks"""

import subprocess
import sys
from pathlib import Path

failed = []
for path in sorted(Path(__file__).parent.glob("bench_*.py")):
    print(f"\n=== {path.stem}", flush=True)
    command = [sys.executable, "-m", f"tests.benchmarks.{path.stem}"]
    if subprocess.run(command, check=False).returncode:
        failed.append(path.stem)
if failed:
    sys.exit(f"failed: {', '.join(failed)}")
