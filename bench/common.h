/* What the benchmarks share: a clock, interleaved rounds, medians, a line on the machine, tables. C11 and C++17.
 *
 * Machines are noisy and change speed while they work, so what is compared runs in turn, A B C A B C ..., in one
 * process; a time is the median over the rounds, and a ratio is the median of the rounds' ratios, not the ratio of two
 * medians. Other programs' time is kept out: see bench_clock_ and bench_sample.
 *
 * For programs that read it, each number of each table is also appended to the file that BENCH_TSV in the environment
 * names, on a line of its own, with tabs between: title, table, row, column, number. bench/plot.sh draws from that. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BENCH_LAPS = 3, BENCH_MAX_ROUNDS = 101, BENCH_MAX_TASKS = 24 };

#if defined(__GNUC__)
#define BENCH_NOINLINE __attribute__((noinline, unused))
#define BENCH_FORMAT(f, a) __attribute__((format(printf, f, a)))
#else
#define BENCH_NOINLINE
#define BENCH_FORMAT(f, a)
#endif

static inline double bench_read_(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
/* The clock of the set that is measured: that of the wall, which is quick to read, or, for tasks so long that other
 * programs are bound to come in between, that of the time this program had the processor. */
static clockid_t bench_clock_ = CLOCK_MONOTONIC;
static inline double bench_now(void) { return bench_read_(bench_clock_); }

/* ---- interleaved rounds ------------------------------------------------------------------------------------------ */

/* One of the things that are compared. `run` does it once; it may add the seconds of its parts to lap[0], lap[1], ...
 * (recording, sweeping), as bench_lap does. */
typedef struct bench_task {
    const char *name;
    void (*run)(void *context, double *lap);
    void *context;
    double total[BENCH_MAX_ROUNDS]; /* seconds of one run, for each round */
    double lap[BENCH_LAPS][BENCH_MAX_ROUNDS];
} bench_task;

typedef struct bench_set {
    int rounds, tasks;
    bool wall;                   /* several threads work: only the clock of the wall tells how long that takes */
    int repeat[BENCH_MAX_TASKS]; /* runs of a task in a round */
    bench_task task[BENCH_MAX_TASKS];
} bench_set;

/* Adds the time since *start to *lap and starts anew. */
static inline void bench_lap(double *lap, double *start) {
    double now = bench_now();
    *lap += now - *start;
    *start = now;
}

static inline int bench_add(bench_set *set, const char *name, void (*run)(void *, double *), void *context) {
    if (set->tasks == BENCH_MAX_TASKS) {
        fprintf(stderr, "too many tasks in one benchmark\n");
        exit(1);
    }
    bench_task *task = &set->task[set->tasks];
    task->name = name;
    task->run = run;
    task->context = context;
    return set->tasks++;
}

/* Runs a task `repeat` times and stores the seconds of one run as round `round`; again, a few times, if other programs
 * had the processor meanwhile: if the time that passed is not the time that this program ran. */
static inline void bench_sample(bench_task *task, int repeat, int round) {
    for (int attempt = 0; attempt < 8; attempt++) {
        double lap[BENCH_LAPS] = {0};
        double cpu = bench_read_(CLOCK_PROCESS_CPUTIME_ID), start = bench_now();
        for (int i = 0; i < repeat; i++) task->run(task->context, lap);
        double passed = bench_now() - start;
        cpu = bench_read_(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        task->total[round] = passed / repeat;
        for (int k = 0; k < BENCH_LAPS; k++) task->lap[k][round] = lap[k] / repeat;
        if (passed < 1.03 * cpu + 2e-5) break;
    }
}

/* Runs every task once unmeasured, sees how many runs of it take `slice` seconds, then measures `rounds` rounds. Slices
 * of less than a millisecond or two fit between two visits of other programs. */
static inline void bench_run(bench_set *set, int rounds, double slice) {
    set->rounds = rounds < BENCH_MAX_ROUNDS ? rounds : BENCH_MAX_ROUNDS;
    bench_clock_ = set->wall ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID;
    double longest = 0;
    for (int i = 0; i < set->tasks; i++) {
        bench_task *task = &set->task[i];
        bench_sample(task, 1, 0);
        bench_sample(task, 1, 0);
        double runs = slice / (task->total[0] + 1e-9);
        set->repeat[i] = runs < 1 ? 1 : runs > 1e6 ? 1000000 : (int)runs;
        longest = task->total[0] > longest ? task->total[0] : longest;
    }
    if (longest < 2e-3) bench_clock_ = CLOCK_MONOTONIC;
    for (int r = 0; r < set->rounds; r++)
        for (int i = 0; i < set->tasks; i++) bench_sample(&set->task[i], set->repeat[i], r);
}

static inline int bench_order_(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static inline double bench_median(const double *x, int n) {
    double copy[BENCH_MAX_ROUNDS];
    memcpy(copy, x, (size_t)n * sizeof *x);
    qsort(copy, (size_t)n, sizeof *copy, bench_order_);
    return n % 2 ? copy[n / 2] : 0.5 * (copy[n / 2 - 1] + copy[n / 2]);
}
/* Seconds of one run of a task. */
static inline double bench_time(const bench_set *set, int task) {
    return bench_median(set->task[task].total, set->rounds);
}
static inline double bench_lap_time(const bench_set *set, int task, int lap) {
    return bench_median(set->task[task].lap[lap], set->rounds);
}
/* Median over the rounds of x[r] / y[r]. */
static inline double bench_quotient(const double *x, const double *y, int rounds) {
    double q[BENCH_MAX_ROUNDS];
    for (int r = 0; r < rounds; r++) q[r] = x[r] / y[r];
    return bench_median(q, rounds);
}
static inline double bench_ratio(const bench_set *set, int task, int base) {
    return bench_quotient(set->task[task].total, set->task[base].total, set->rounds);
}
static inline double bench_lap_ratio(const bench_set *set, int task, int base, int lap) {
    return bench_quotient(set->task[task].lap[lap], set->task[base].lap[lap], set->rounds);
}

/* ---- the machine ------------------------------------------------------------------------------------------------- */

#if defined(BENCH_FLAGS)
#define BENCH_FLAGS_ BENCH_FLAGS
#elif defined(__OPTIMIZE__)
#define BENCH_FLAGS_ "optimised"
#else
#define BENCH_FLAGS_ "NOT OPTIMISED"
#endif
#if defined(__AVX512F__)
#define BENCH_ISA_ "AVX-512"
#elif defined(__AVX2__)
#define BENCH_ISA_ "AVX2"
#else
#define BENCH_ISA_ "baseline instructions"
#endif
#if defined(__clang__)
#define BENCH_COMPILER_ "clang " __clang_version__
#elif defined(__GNUC__)
#define BENCH_COMPILER_ "gcc " __VERSION__
#else
#define BENCH_COMPILER_ "unknown compiler"
#endif

static inline void bench_cpu_(char *name, size_t size) {
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "unknown processor");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL) continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(name, size, "%s", colon + 2);
        break;
    }
    if (f != NULL) fclose(f);
}

static const char *bench_title_ = "", *bench_table_ = "";

/* Title, what is run, and the machine. */
static inline void bench_title_threads(const char *title, const char *sizes, const char *threads) {
    char cpu[128];
    bench_cpu_(cpu, sizeof cpu);
    bench_title_ = title;
    printf("== %s\n   %s\n", title, sizes);
    printf("   %s; %s; %s, %s; %s\n", cpu, BENCH_COMPILER_, BENCH_FLAGS_, BENCH_ISA_, threads);
}
static inline void bench_title(const char *title, const char *sizes) {
    bench_title_threads(title, sizes, "one thread");
}

/* ---- tables and checks ------------------------------------------------------------------------------------------- */

enum { BENCH_NAME_WIDTH = 46, BENCH_COLUMN_WIDTH = 12 };

static char bench_columns_[16][32]; /* names, of the table that is being printed */

/* A heading: the name of the table and its columns. The name lives as long as rows are printed. */
static inline void bench_heading(const char *name, const char *const *columns, int n) {
    bench_table_ = name;
    for (int i = 0; i < n && i < 16; i++) snprintf(bench_columns_[i], sizeof bench_columns_[i], "%s", columns[i]);
    printf("\n%-*s", BENCH_NAME_WIDTH, name);
    for (int i = 0; i < n; i++) printf(" %*s", BENCH_COLUMN_WIDTH, columns[i]);
    printf("\n");
}
static inline void bench_append_(const char *name, const double *cells, int n) {
    const char *path = getenv("BENCH_TSV");
    FILE *f = path == NULL ? NULL : fopen(path, "a");
    for (int i = 0; f != NULL && i < n && i < 16; i++)
        if (!isnan(cells[i]))
            fprintf(f, "%s\t%s\t%s\t%s\t%.6g\n", bench_title_, bench_table_, name, bench_columns_[i], cells[i]);
    if (f != NULL) fclose(f);
}
/* A row of numbers; NaN prints as nothing. */
static inline void bench_row(const char *name, const double *cells, int n) {
    printf("%-*s", BENCH_NAME_WIDTH, name);
    for (int i = 0; i < n; i++) {
        if (isnan(cells[i])) {
            printf(" %*s", BENCH_COLUMN_WIDTH, "");
        } else {
            printf(" %*.*f", BENCH_COLUMN_WIDTH, cells[i] < 10 ? 3 : 1, cells[i]);
        }
    }
    printf("\n");
    fflush(stdout);
    bench_append_(name, cells, n);
}

/* Stops the program, loudly. A benchmark of wrong numbers says nothing. */
BENCH_FORMAT(1, 2) static inline void bench_wrong(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "WRONG: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}
/* Greatest |got - right| / max(1, |right|) must be within tolerance; NaN fails. */
static inline void bench_check(const char *what, const double *got, const double *right, size_t n, double tolerance) {
    for (size_t i = 0; i < n; i++) {
        double size = fabs(right[i]) > 1 ? fabs(right[i]) : 1;
        if (!(fabs(got[i] - right[i]) <= tolerance * size))
            bench_wrong("%s: element %zu is %.17g, should be %.17g", what, i, got[i], right[i]);
    }
}

static inline void *bench_alloc(size_t count, size_t size) {
    void *p = calloc(count, size);
    if (p == NULL) bench_wrong("out of memory for %zu x %zu bytes", count, size);
    return p;
}
/* Reproducible numbers in (lo, hi); any state but 0 will do. */
static inline double bench_random(uint64_t *state, double lo, double hi) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return lo + (hi - lo) * ((double)(*state >> 11) + 0.5) * 0x1p-53;
}
static inline void bench_fill(double *x, size_t n, double lo, double hi) {
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < n; i++) x[i] = bench_random(&state, lo, hi);
}

#endif
