/* What a gradient costs in units of the function: known functions in plain C, with gradients by hand, recorded an
 * operation at a time, and recorded as a whole (tensors, a map, a scan). Theory bounds the operations of a reverse sweep with its recording by
 * four to five times those of the function (Griewank and Walther, Evaluating Derivatives, 2008, section 3.4); a tape
 * adds what it costs to write down an operation. Everything is recorded and swept every time. */
#include "blas.h"
#include "recorded_functions.h"

static void run_value(void *context, double *lap) {
    recording *r = context;
    (void)lap;
    r->y = r->p->value(r->point);
}
static void run_gradient(void *context, double *lap) {
    recording *r = context;
    (void)lap;
    r->p->gradient(r->point, r->grad);
}
static void run_record(void *context, double *lap) {
    recording *r = context;
    (void)lap;
    r->y = ag_value(recording_function(r));
}
static void run_sweep(void *context, double *lap) {
    recording *r = context;
    double start = bench_now();
    ag_var y = recording_function(r);
    bench_lap(&lap[0], &start);
    recording_sweep(r, y);
    bench_lap(&lap[1], &start);
    r->y = ag_value(y);
}

/* The gradient by hand against central differences, a tape's against that by hand. */
static void check(const problem *p, recording *tapes) {
    double hand[MOST_VARIABLES], by_differences[MOST_VARIABLES], lap[BENCH_LAPS] = {0};
    size_t n = (size_t)p->n;
    p->gradient(tapes[0].point, hand);
    differences(p, tapes[0].point, by_differences);
    bench_check(p->name, hand, by_differences, n, 1e-5);
    for (int k = 0; k < 2; k++) {
        double right = p->value(tapes[k].point);
        run_sweep(&tapes[k], lap);
        if (ag_tape_status(tapes[k].tape) != AG_OK) bench_wrong("%s: %s", p->name, ag_tape_message(tapes[k].tape));
        bench_check(p->name, &tapes[k].y, &right, 1, 1e-10);
        bench_check(p->name, tapes[k].grad, hand, n, 1e-10);
    }
}

enum { COLUMNS = 5 };
static const char *const columns[COLUMNS] = {"record us", "sweep us", "total us", "/ function", "/ recording"};

static void row(const bench_set *set, int task, int taping) {
    bool taped = taping >= 0;
    double none = (double)NAN;
    double cells[COLUMNS] = {taped ? bench_lap_time(set, task, 0) * 1e6 : none,
                             taped ? bench_lap_time(set, task, 1) * 1e6 : none, bench_time(set, task) * 1e6,
                             bench_ratio(set, task, 0), taped ? bench_ratio(set, task, taping) : none};
    bench_row(set->task[task].name, cells, COLUMNS);
}

static void measure(const problem *p) {
    recording *tapes = bench_alloc(2, sizeof *tapes);
    for (int k = 0; k < 2; k++) recording_open(&tapes[k], p, k == 1);
    check(p, tapes);
    bench_set set = {0};
    bench_add(&set, "function, plain C", run_value, &tapes[0]);
    bench_add(&set, "gradient by hand", run_gradient, &tapes[0]);
    bench_add(&set, "recorded as scalars", run_record, &tapes[0]);
    bench_add(&set, "recorded as scalars, swept", run_sweep, &tapes[0]);
    char name[2][40];
    snprintf(name[0], sizeof *name, "recorded as %s", p->what);
    snprintf(name[1], sizeof *name, "recorded as %s, swept", p->what);
    bench_add(&set, name[0], run_record, &tapes[1]);
    bench_add(&set, name[1], run_sweep, &tapes[1]);
    bench_run(&set, 31, 2e-3);
    bench_heading(p->name, columns, COLUMNS);
    row(&set, 0, -1);
    row(&set, 1, -1);
    row(&set, 2, -1);
    row(&set, 3, 2);
    row(&set, 4, -1);
    row(&set, 5, 4);
    for (int k = 0; k < 2; k++) ag_tape_free(tapes[k].tape);
    free(tapes);
}

int main(int argc, char **argv) {
    (void)argc;
    bench_one_thread(argv);
    bench_title("Gradient time / function time", "theory: under 4 to 5, counted in operations");
    bench_print_blas();
    problems_begin();
    for (int i = 0; i < PROBLEMS; i++) measure(&problems[i]);
    problems_end();
    return 0;
}
