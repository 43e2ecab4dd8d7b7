"""The other end of bench/torch.h."""
import sys
import time

import torch


def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


def serve(tasks, before=None):
    """tasks: name -> function. Says the version, then does what lines "NAME RUNS" ask for. "peak 0": answers by how many
    megabytes memory grew at most since `before`, an answer of start_peak."""
    print("PyTorch", torch.__version__, "with", torch.get_num_threads(), "thread(s)", flush=True)
    for line in sys.stdin:
        name, runs = line.split()
        if name == "peak":
            print((status("VmHWM:") - before) / 1024, flush=True)
            continue
        run = tasks[name]
        start = time.perf_counter()
        for _ in range(int(runs)):
            run()
        print((time.perf_counter() - start) / int(runs), flush=True)


def start_peak():
    """To be called when everything is imported and nothing made."""
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")
    return status("VmRSS:")
