/* PyTorch beside us in the same run, if it is installed: a Python program, a script of bench/torch, does what it is told
 * through a pipe, and says how long it took. It gets a line "NAME RUNS" and answers with the seconds of one run. */
#ifndef BENCH_TORCH_H
#define BENCH_TORCH_H

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common.h"

typedef struct bench_torch {
    pid_t pid;
    FILE *to, *from; /* NULL: there is no PyTorch */
    char version[64];
} bench_torch;

static inline const char *bench_torch_python_(void) {
    static const char *const pythons[] = {"python3", "/usr/bin/python3"};
    for (int i = 0; i < 2; i++) {
        char command[256];
        snprintf(
            command, sizeof command,
            "%s -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec(\"torch\") is None)' 2>/dev/null",
            pythons[i]);
        if (system(command) == 0) return pythons[i];
    }
    return NULL;
}

/* Starts a script; prints a line on what is there. Memory that PyTorch gives back stays with its process: where page faults are
 * slow, on virtual machines, steps would otherwise take up to three times as long, some of the time. */
static inline bench_torch bench_torch_start(const char *script) {
    bench_torch t = {0};
    const char *python = bench_torch_python_();
    int ends[2];
    char path[1024];
    snprintf(path, sizeof path, "%s/torch/%s", BENCH_FOLDER, script);
    if (python == NULL || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
        printf("   no PyTorch (python3-torch) to compare with\n");
        return t;
    }
    signal(SIGPIPE, SIG_IGN);
    t.pid = fork();
    if (t.pid == 0) {
        dup2(ends[1], 0);
        dup2(ends[1], 1);
        close(ends[0]);
        setenv("MALLOC_TRIM_THRESHOLD_", "4000000000", 0);
        setenv("MALLOC_MMAP_THRESHOLD_", "4000000000", 0);
        execlp(python, python, path, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    t.to = fdopen(ends[0], "w");
    t.from = fdopen(dup(ends[0]), "r");
    if (t.pid < 0 || fgets(t.version, sizeof t.version, t.from) == NULL) bench_wrong("%s does not start", path);
    printf("   beside %s", t.version);
    return t;
}

/* Seconds of one run of what the script calls `name`, of so many in a row. */
static inline double bench_torch_time(const bench_torch *t, const char *name, int runs) {
    char line[64];
    fprintf(t->to, "%s %d\n", name, runs);
    fflush(t->to);
    if (fgets(line, sizeof line, t->from) == NULL) bench_wrong("PyTorch's script ended at %s", name);
    return strtod(line, NULL);
}

static inline void bench_torch_stop(bench_torch *t) {
    if (t->to == NULL) return;
    fclose(t->to);
    fclose(t->from);
    waitpid(t->pid, NULL, 0);
}

/* A task that the script does; -1 if there is no PyTorch. */
static inline int bench_add_torch(bench_set *set, const bench_torch *t, const char *name) {
    return t->to == NULL ? -1 : bench_add(set, name, NULL, NULL);
}

/* The most memory of this process so far, in bytes; 0 where that is not known. */
static inline double bench_peak_(void) {
    char line[256];
    double kilobytes = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0) kilobytes = strtod(line + 6, NULL);
    if (f != NULL) fclose(f);
    return 1024 * kilobytes;
}

/* By how many bytes work(large) raises the peak of memory in a process of its own, after work(small), by which code and
 * pools of threads are there; or after nothing, if small is NULL. To be asked before threads run. */
static inline double bench_growth(void (*work)(const void *context), const void *small, const void *large) {
    int ends[2];
    double bytes = NAN;
    fflush(stdout);
    if (pipe(ends) != 0) return bytes;
    pid_t child = fork();
    if (child == 0) {
        if (small != NULL) work(small);
        FILE *f = fopen("/proc/self/clear_refs", "w");
        if (f != NULL) fputs("5", f), fclose(f); /* the peak is what there is now */
        double before = bench_peak_();
        work(large);
        bytes = bench_peak_() - before;
        _exit(write(ends[1], &bytes, sizeof bytes) != sizeof bytes);
    }
    close(ends[1]);
    if (child > 0 && read(ends[0], &bytes, sizeof bytes) != sizeof bytes) bench_wrong("a process ended in between");
    close(ends[0]);
    if (child > 0) waitpid(child, NULL, 0);
    return bytes;
}

/* bench_run where tasks without a function are the script's. */
static inline void bench_run_beside(bench_set *set, const bench_torch *t, int rounds, double slice) {
    set->rounds = rounds < BENCH_MAX_ROUNDS ? rounds : BENCH_MAX_ROUNDS;
    bench_clock_ = CLOCK_MONOTONIC;
    for (int r = -2; r < set->rounds; r++)
        for (int i = 0; i < set->tasks; i++) {
            bench_task *task = &set->task[i];
            int at = r < 0 ? 0 : r;
            if (r < 0) set->repeat[i] = 1;
            if (task->run == NULL) task->total[at] = bench_torch_time(t, task->name, set->repeat[i]);
            else bench_sample(task, set->repeat[i], at);
            double runs = slice / (task->total[at] + 1e-9);
            if (r == -1) set->repeat[i] = runs < 1 ? 1 : runs > 1e6 ? 1000000 : (int)runs;
        }
}

#endif
