"""The other end of bench/torch.h."""
import os
import re
import sys
import time

import torch


def peak():
    """The most memory of this process so far, in bytes."""
    with open("/proc/self/status") as f:
        return 1024 * int(re.search(r"VmHWM:\s*(\d+)", f.read()).group(1))


def growth(warm_up, work):
    """As bench_growth in bench/torch.h: by how much `work` raises the peak, after code and pools of threads are there."""
    def measure():
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            warm_up()
            with open("/proc/self/clear_refs", "w") as f:
                f.write("5")  # the peak is what there is now
            before = peak()
            work()
            os.write(write, str(peak() - before).encode())
            os._exit(0)
        os.waitpid(child, 0)
        return float(os.read(read, 64))

    measure.answers = True
    return measure


def few(step):
    """What peak memory is asked of."""
    for _ in range(5):
        step()


def lazily(make):
    """A task that is made when it is first run."""
    made = []

    def run():
        if not made:
            made.append(make())
        made[0]()

    return run


def timed(run, runs):
    """Seconds of one run; measured again, a few times, if other programs had the processor: bench_sample."""
    for _ in range(8):
        cpu, start = time.process_time(), time.perf_counter()
        for _ in range(runs):
            run()
        passed, cpu = time.perf_counter() - start, time.process_time() - cpu
        if passed < 1.03 * cpu + 2e-5:
            break
    return passed / runs


def serve(tasks):
    """tasks: name -> function. Says the version, then does what lines "NAME RUNS" ask for."""
    print("PyTorch", torch.__version__, "with", torch.get_num_threads(), "thread(s)", flush=True)
    for line in sys.stdin:
        name, runs = line.split()
        run = tasks[name]
        if getattr(run, "answers", False):
            print(run(), flush=True)
        else:
            print(timed(run, int(runs)), flush=True)
