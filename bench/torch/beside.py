"""The other end of bench/torch.h."""
import sys
import time

import torch


def serve(tasks):
    """tasks: name -> function. Says the version, then does what lines "NAME RUNS" ask for."""
    print("PyTorch", torch.__version__, "with", torch.get_num_threads(), "thread(s)", flush=True)
    for line in sys.stdin:
        name, runs = line.split()
        run = tasks[name]
        start = time.perf_counter()
        for _ in range(int(runs)):
            run()
        print((time.perf_counter() - start) / int(runs), flush=True)
