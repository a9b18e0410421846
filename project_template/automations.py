"""Jobs of this project, each a plain function. Run one with `python automations.py NAME`, for example from cron."""

import subprocess
import sys
from pathlib import Path

MANAGE = Path(__file__).resolve().parent / "backend" / "manage.py"


def clear_sessions():
    """Delete the sessions that have expired from Django's database."""
    subprocess.run([sys.executable, str(MANAGE), "clearsessions"], check=True)


JOBS = {function.__name__: function for function in (clear_sessions,)}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in JOBS:
        sys.exit(f"usage: python automations.py {'|'.join(JOBS)}")
    JOBS[sys.argv[1]]()
