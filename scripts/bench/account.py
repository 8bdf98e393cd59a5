"""Runs commands one after another and tells what each of them used.

Commands come as JSON on standard input, `[{"name", "argv"}]`; the figures go to file descriptor 3 as JSON.
They are the kernel's own accounting of an ended process and of every child it has waited for (wait4): nothing is loaded
into the measured programs, and a shell script's work is counted like that of one program. Ends with the exit code of
the first command that fails.
"""

import json
import os
import sys
import time

FIGURES = 3


def main() -> int:
    os.set_inheritable(FIGURES, False)
    commands = json.load(sys.stdin)
    figures = []
    code = 0
    for command in commands:
        used, code = account(command)
        figures.append(used)
        if code != 0:
            break
    with os.fdopen(FIGURES, "w") as out:
        json.dump(figures, out)
    return code if code >= 0 else 128 - code


def account(command):
    argv = command["argv"]
    begin = time.monotonic()
    # A child of posix_spawn begins with the peak memory of this small process, not with that of a Node.
    pid = os.posix_spawnp(argv[0], argv, os.environ)
    _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - begin
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    figures = {
        "name": command["name"],
        "wallMs": wall * 1000,
        "cpuMs": (usage.ru_utime + usage.ru_stime) * 1000,
        "peakRssBytes": usage.ru_maxrss * unit,
    }
    return figures, os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
