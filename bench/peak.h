/* Peak memory of a task: how far the resident memory of a process that does nothing else grows. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include <sys/wait.h>

#include "common.h"

/* Kilobytes on a line of /proc/self/status, "VmRSS:" or "VmHWM:" (the greatest that VmRSS was); NaN where there is none. */
static inline double bench_status_(const char *name) {
    char line[256];
    double kilobytes = (double)NAN;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, name, strlen(name)) == 0) kilobytes = strtod(line + strlen(name), NULL);
    if (f != NULL) fclose(f);
    return kilobytes;
}

/* Megabytes by which memory grows at most while `run` does its work, in a process of its own: to be called before this
 * process has memory that it freed. NaN where the system does not tell. */
static inline double bench_peak(void (*run)(void *), void *context) {
    int ends[2];
    double growth = (double)NAN;
    if (pipe(ends) != 0) return growth;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        FILE *f = fopen("/proc/self/clear_refs", "w"); /* 5: the greatest is the present */
        if (f != NULL) fputs("5", f), fclose(f);
        double before = bench_status_("VmRSS:");
        run(context);
        growth = (bench_status_("VmHWM:") - before) / 1024;
        _exit(write(ends[1], &growth, sizeof growth) == sizeof growth ? 0 : 1);
    }
    close(ends[1]);
    if (pid < 0 || read(ends[0], &growth, sizeof growth) != sizeof growth) growth = (double)NAN;
    close(ends[0]);
    if (pid > 0) waitpid(pid, NULL, 0);
    return growth;
}

#endif
