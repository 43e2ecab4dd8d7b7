/* Cost as problems grow, from 10^3 operations to 10^8: what an operation costs in time and memory should stay the same.
 * Each size runs in a process of its own, whose memory is what the system says it had at most. `--quick` stops at 10^6. */
#include "blas.h"
#include "held.h"
#include "recorded_functions.h"

#include <sys/resource.h>
#include <sys/wait.h>

enum { MOST_TIMES = 3 };

/* What a process reports: seconds of MOST_TIMES parts, bytes at most, operations that it did; of scans also the bytes that
 * their runners hold: states, and what a step needs. */
typedef struct report {
    double seconds[MOST_TIMES], bytes, operations, held;
} report;

static double resident(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%*s %ld", &pages) != 1) bench_wrong("no /proc/self/statm");
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}
static double most_resident(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return 1024.0 * (double)usage.ru_maxrss;
}
static double available(void) {
    char line[128];
    double kb = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "MemAvailable: %lf", &kb) == 1) break;
    if (f != NULL) fclose(f);
    return 1024 * kb;
}

/* The least of a few runs of something: seconds. */
static double least(void (*run)(void *), void *context, double operations) {
    double best = INFINITY, total = 0;
    for (int i = 0; i < 2 || (total < 0.02 && i < 1000); i++) {
        double start = bench_now();
        run(context);
        double seconds = bench_now() - start;
        total += seconds;
        best = seconds < best ? seconds : best;
        if (operations >= 1e8 && i == 1) break;
    }
    return best;
}

/* ---- a tape ------------------------------------------------------------------------------------------------------ */

static report grow_tape(double operations) {
    int steps = (int)(operations / CHAIN_OPERATIONS);
    ag_tape *t = ag_tape_new(AG_F64);
    report r = {{INFINITY, INFINITY, NAN}, NAN, (double)steps * CHAIN_OPERATIONS, NAN};
    for (int i = 0; i < 2 || (i < 50 && operations < 1e6); i++) {
        double start = bench_now(), lap[2] = {0};
        ag_tape_clear(t);
        ag_var x[CHAIN_INPUTS];
        for (int k = 0; k < CHAIN_INPUTS; k++) x[k] = ag_input(t, chain_inputs[k]);
        ag_var y = chain_tape(x, steps);
        bench_lap(&lap[0], &start);
        ag_backward(y);
        bench_lap(&lap[1], &start);
        for (int k = 0; k < 2; k++) r.seconds[k] = lap[k] < r.seconds[k] ? lap[k] : r.seconds[k];
    }
    if (ag_tape_status(t) != AG_OK) bench_wrong("%s", ag_tape_message(t));
    ag_tape_free(t);
    return r;
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

typedef struct running {
    ag_runner *runner;
    const double *const *xs;
    double *const *ys;
} running;
static void run(void *context) {
    running *r = context;
    if (ag_run(r->runner, r->xs, r->ys) != AG_OK) bench_wrong("%s", ag_runner_message(r->runner));
}

static void chain_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t;
    y[0] = chain_tape(x, *(const int *)context);
}
/* Seconds: to trace, to differentiate, to run the gradient. */
static report grow_program(double operations) {
    int steps = (int)(operations / CHAIN_OPERATIONS);
    report r = {{0}, NAN, (double)steps * CHAIN_OPERATIONS, NAN};
    const ag_shape scalar = {.rank = 0};
    ag_port in[] = {ag_in("x", scalar), ag_in("p", scalar), ag_in("q", scalar)};
    double y, grad[CHAIN_INPUTS], start = bench_now();
    ag_program *p = ag_program_trace(AG_F64, chain_model, &steps, in, CHAIN_INPUTS, NULL, 1);
    bench_lap(&r.seconds[0], &start);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    bench_lap(&r.seconds[1], &start);
    if (ag_program_status(g) != AG_OK) bench_wrong("%s", ag_program_message(g));
    running job = {ag_runner_new(g), (const double *[]){chain_inputs, chain_inputs + 1, chain_inputs + 2},
                   (double *[]){&y, grad, grad + 1, grad + 2}};
    r.seconds[2] = least(run, &job, operations);
    ag_runner_free(job.runner);
    ag_program_free(g);
    ag_program_free(p);
    return r;
}

static void elementwise(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_sum(ag_mul(ag_sin(x[0]), ag_exp(ag_neg(ag_square(x[0])))));
}
enum { ELEMENTWISE = 6 };
static report grow_tensors(double operations) {
    size_t n = (size_t)(operations / ELEMENTWISE);
    report r = {{NAN, NAN, 0}, NAN, (double)n * ELEMENTWISE, NAN};
    ag_program *p =
        ag_program_trace(AG_F64, elementwise, NULL, &(ag_port){.name = "x", .shape = AG_SHAPE((int64_t)n)}, 1, NULL, 1);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    if (ag_program_status(g) != AG_OK) bench_wrong("%s", ag_program_message(g));
    double *x = bench_alloc(n, sizeof *x), *grad = bench_alloc(n, sizeof *grad), y;
    bench_fill(x, n, -1, 1);
    running job = {ag_runner_new(g), (const double *[]){x}, (double *[]){&y, grad}};
    r.seconds[2] = least(run, &job, operations);
    ag_runner_free(job.runner);
    ag_program_free(g);
    ag_program_free(p);
    free(x);
    free(grad);
    return r;
}

/* ---- a map over rows --------------------------------------------------------------------------------------------- */

static void camera_rows_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_along in[] = {AG_SHARED, AG_EACH, AG_EACH}, out[] = {AG_SHARED};
    ag_map(t, camera_row, *(const int64_t *)context, x, in, out, y);
}
static report grow_map(double operations) {
    ag_tape *t = ag_tape_new(AG_F64);
    camera_constants(t); /* traces the program of a row */
    ag_tape_free(t);
    double a_row = (double)ag_program_size(camera_row);
    int64_t rows = (int64_t)(operations / a_row);
    report r = {{NAN, NAN, 0}, NAN, (double)rows * a_row, NAN};
    ag_port in[] = {ag_in("camera", AG_SHAPE(CAMERA)), ag_in("points", AG_SHAPE(rows, 3)),
                    ag_in("seen", AG_SHAPE(rows, 2))};
    ag_program *p = ag_program_trace(AG_F64, camera_rows_model, &rows, in, 3, NULL, 1);
    ag_program *g = ag_program_gradient(p, (int[]){0}, 1);
    if (ag_program_status(g) != AG_OK) bench_wrong("%s", ag_program_message(g));
    double camera_in[CAMERA], y, grad[CAMERA];
    double *points = bench_alloc((size_t)rows * 3, sizeof *points), *seen = bench_alloc((size_t)rows * 2, sizeof *seen);
    bench_fill(camera_in, CAMERA, 0.1, 0.3);
    bench_fill(points, (size_t)rows * 3, 0.5, 1.5);
    bench_fill(seen, (size_t)rows * 2, -0.3, 0.3);
    running job = {ag_runner_new(g), (const double *[]){camera_in, points, seen}, (double *[]){&y, grad}};
    r.seconds[2] = least(run, &job, operations);
    ag_runner_free(job.runner);
    ag_program_free(g);
    ag_program_free(p);
    free(points);
    free(seen);
    return r;
}

/* ---- a scan: heat in a rod, explicit steps ------------------------------------------------------------------------ */

enum { CELLS = 10000, HEAT = 5 }; /* operations of a cell and step */

static void heat_step(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    (void)t, (void)context;
    ag_var u = in[0], left = ag_slice(u, 0, 0, CELLS - 2, 1), right = ag_slice(u, 0, 2, CELLS, 1);
    ag_var middle = ag_slice(u, 0, 1, CELLS - 1, 1);
    ag_var next = ag_fma(in[1], ag_sub(ag_add(left, right), ag_mul(2, middle)), middle);
    out[0] = ag_concat((ag_var[]){ag_slice(u, 0, 0, 1, 1), ag_mul(next, ag_sub(1, ag_mul(1e-3, next))),
                                  ag_slice(u, 0, CELLS - 1, CELLS, 1)},
                       3, 0);
}

typedef struct heat_run {
    int64_t steps, states;
    ag_program *step;
} heat_run;

static void heat_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const heat_run *h = context;
    ag_var last;
    ag_scan(t, h->step, h->steps, 1, x, (ag_along[]){AG_SHARED, AG_SHARED}, &(ag_scan_options){.states = h->states},
            &last);
    y[0] = ag_sum(ag_square(last));
}
static report grow_scan(double operations, int64_t states) {
    heat_run h = {.steps = (int64_t)(operations / (CELLS * HEAT)), .states = states};
    report r = {{NAN, NAN, 0}, NAN, (double)h.steps * CELLS * HEAT, 0};
    ag_port in[] = {ag_in("u", AG_SHAPE(CELLS)), ag_in("k", (ag_shape){.rank = 0})};
    h.step = ag_program_trace(AG_F64, heat_step, NULL, in, 2, NULL, 1);
    ag_program *p = ag_program_trace(AG_F64, heat_model, &h, in, 2, NULL, 1), *g = ag_program_gradient(p, NULL, 0);
    if (ag_program_status(g) != AG_OK) bench_wrong("%s", ag_program_message(g));
    double u[CELLS], k = 0.2, y, grad[CELLS], by_k;
    bench_fill(u, CELLS, -1, 1);
    running job = {ag_runner_new(g), (const double *[]){u, &k}, (double *[]){&y, grad, &by_k}};
    r.seconds[2] = least(run, &job, operations);
    r.held = (double)held_by(job.runner, g).bytes;
    ag_runner_free(job.runner);
    ag_program_free(g);
    ag_program_free(p);
    ag_program_free(h.step);
    return r;
}
static int64_t states_permitted; /* 0: all */
static report grow_scan_permitted(double operations) { return grow_scan(operations, states_permitted); }

/* ---- processes and tables ----------------------------------------------------------------------------------------- */

/* Memory is counted from what the process has after it did the smallest size: libraries, the allocator's first pages. */
static report apart(report (*grow)(double operations), double smallest, double operations) {
    int ends[2];
    report r = {{NAN, NAN, NAN}, NAN, NAN, NAN};
    if (pipe(ends) != 0) bench_wrong("no pipe");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        grow(smallest);
        double before = resident();
        report mine = grow(operations);
        mine.bytes = most_resident() - before;
        _exit(write(ends[1], &mine, sizeof mine) == (ssize_t)sizeof mine ? 0 : 1);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &r, sizeof r) != (ssize_t)sizeof r)
        bench_wrong("the process for %.0f operations ended early", operations);
    close(ends[0]);
    waitpid(child, NULL, 0);
    return r;
}

typedef struct subject {
    const char *name;
    report (*grow)(double operations);
    double first, last;
    int64_t states; /* that a scan may keep; 0: all */
} subject;
static const subject subjects[] = {
    {"tape: record, sweep", grow_tape, 1e3, 1e8, 0},
    {"program of scalars: trace, derive, run", grow_program, 1e3, 1e7, 0},
    {"program of tensors: run", grow_tensors, 1e3, 1e8, 0},
    {"map over rows: run", grow_map, 1e3, 1e8, 0},
    {"scan, all states kept: run", grow_scan_permitted, 1e5, 1e8, 0},
    {"scan, 50 states kept: run", grow_scan_permitted, 1e5, 1e8, 50},
};
enum { COLUMNS = 7 };
static const char *const columns[COLUMNS] = {"1st ns/op", "2nd ns/op",    "run ns/op", "bytes/op",
                                             "MB",        "MB permitted", "MB held"};

/* Bytes of the states that a scan may keep. */
static double bytes_permitted(const report *r, int64_t states) {
    double steps = r->operations / (CELLS * HEAT), kept = states > 0 && (double)states < steps ? (double)states : steps;
    return kept * CELLS * sizeof(double);
}

static void print(const char *name, const report *r, bool scan, int64_t states) {
    double ns = 1e9 / r->operations;
    double cells[COLUMNS] = {r->seconds[0] * ns, r->seconds[1] * ns,
                             r->seconds[2] * ns, r->bytes / r->operations,
                             r->bytes / 1e6,     bytes_permitted(r, states) / 1e6,
                             r->held / 1e6};
    bench_row(name, cells, scan ? COLUMNS : COLUMNS - 2);
}

static void table(const subject *s, double most) {
    bool scan = s->grow == grow_scan_permitted;
    double a_byte = 0;
    states_permitted = s->states;
    bench_heading(s->name, columns, scan ? COLUMNS : COLUMNS - 2);
    for (double n = s->first; n <= s->last * 1.01 && n <= most * 1.01; n *= 10) {
        char name[32];
        snprintf(name, sizeof name, "%.0e", n);
        if (1.3 * a_byte * n > 0.7 * available()) {
            printf("%s left out: it takes %.1f GB of memory, and %.1f are available\n", name, a_byte * n / 1e9,
                   available() / 1e9);
            continue;
        }
        report r = apart(s->grow, s->first, n);
        if (n >= 1e6) a_byte = r.bytes / r.operations;
        print(name, &r, scan, s->states);
    }
}

/* The same scan with other bounds: what is held are the states that may be kept, and what a run needs beside. */
static void bounds(double operations) {
    static const int64_t states[] = {0, 500, 200, 100, 50, 25};
    bench_heading("scan, by states that may be kept: run", columns, COLUMNS);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        states_permitted = states[i];
        report r = apart(grow_scan_permitted, 1e5, operations);
        char name[48];
        snprintf(name, sizeof name, states[i] ? "%lld" : "all", (long long)states[i]);
        print(name, &r, true, states[i]);
    }
}

int main(int argc, char **argv) {
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    bench_one_thread(argv);
    bench_title("Cost as problems grow",
                "ns and bytes an operation of the function; memory at most, of all that is done");
    bench_clock_ = CLOCK_PROCESS_CPUTIME_ID;
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) table(&subjects[i], quick ? 1e6 : 1e8);
    bounds(quick ? 1e7 : 1e8);
    return 0;
}
