/* What a gradient costs in units of the function: known functions in plain C, with gradients by hand, recorded an
 * operation at a time, and recorded as a whole (tensors, a map, a scan). Theory bounds the operations of a reverse sweep with its recording by
 * four to five times those of the function (Griewank and Walther, Evaluating Derivatives, 2008, section 3.4); a tape
 * adds what it costs to write down an operation. Everything is recorded and swept every time. */
#include "blas.h"
#include "recorded_functions.h"

typedef struct measured {
    const problem *p;
    bool whole;
    ag_tape *tape;
    ag_mark mark;
    ag_var vector, *x;
    double *point, *grad, value;
} measured;

static void run_value(void *context, double *lap) {
    measured *m = context;
    (void)lap;
    m->value = m->p->value(m->point);
}
static void run_gradient(void *context, double *lap) {
    measured *m = context;
    (void)lap;
    m->p->gradient(m->point, m->grad);
}
static ag_var record(measured *m) {
    ag_tape_rewind(m->tape, m->mark);
    return m->whole ? m->p->whole(m->tape, m->vector) : m->p->scalar(m->x);
}
static void run_record(void *context, double *lap) {
    measured *m = context;
    (void)lap;
    m->value = ag_value(record(m));
}
static void run_sweep(void *context, double *lap) {
    measured *m = context;
    double start = bench_now();
    ag_var y = record(m);
    bench_lap(&lap[0], &start);
    ag_backward(y);
    if (m->whole) {
        ag_read_grad(m->vector, m->grad);
    } else {
        for (int i = 0; i < m->p->n; i++) m->grad[i] = ag_grad(m->x[i]);
    }
    bench_lap(&lap[1], &start);
    m->value = ag_value(y);
}

static measured *measured_new(const problem *p, bool whole) {
    measured *m = bench_alloc(1, sizeof *m);
    size_t n = (size_t)p->n;
    m->p = p;
    m->whole = whole;
    m->point = bench_alloc(n, sizeof *m->point);
    m->grad = bench_alloc(n, sizeof *m->grad);
    m->x = bench_alloc(n, sizeof *m->x);
    bench_fill(m->point, n, p->lo, p->hi);
    m->tape = ag_tape_new(AG_F64);
    if (whole) {
        m->vector = ag_tensor(m->tape, m->point, AG_SHAPE(p->n));
        if (p->constants != NULL) p->constants(m->tape);
    } else {
        for (size_t i = 0; i < n; i++) m->x[i] = ag_input(m->tape, m->point[i]);
    }
    m->mark = ag_tape_mark(m->tape);
    return m;
}
static void measured_free(measured *m) {
    ag_tape_free(m->tape);
    free(m->point);
    free(m->grad);
    free(m->x);
    free(m);
}

/* The gradient by hand against central differences, a tape's against that by hand. */
static void check(const problem *p, measured *tapes[2]) {
    double x[MOST_VARIABLES], hand[MOST_VARIABLES], differences[MOST_VARIABLES], lap[BENCH_LAPS] = {0};
    size_t n = (size_t)p->n;
    memcpy(x, tapes[0]->point, n * sizeof *x);
    p->gradient(x, hand);
    for (size_t i = 0; i < n; i++) {
        double keep = x[i], h = 1e-5 * (p->hi - p->lo);
        x[i] = keep + h;
        double up = p->value(x);
        x[i] = keep - h;
        differences[i] = (up - p->value(x)) / (2 * h);
        x[i] = keep;
    }
    bench_check(p->name, hand, differences, n, 1e-5);
    for (int k = 0; k < 2; k++) {
        double right = p->value(x);
        run_sweep(tapes[k], lap);
        if (ag_tape_status(tapes[k]->tape) != AG_OK) bench_wrong("%s: %s", p->name, ag_tape_message(tapes[k]->tape));
        bench_check(p->name, &tapes[k]->value, &right, 1, 1e-10);
        bench_check(p->name, tapes[k]->grad, hand, n, 1e-10);
    }
}

enum { COLUMNS = 5 };
static const char *const columns[COLUMNS] = {"record us", "sweep us", "total us", "/ function", "/ recording"};

static void row(const bench_set *set, int task, int recording) {
    bool taped = recording >= 0;
    double none = (double)NAN;
    double cells[COLUMNS] = {taped ? bench_lap_time(set, task, 0) * 1e6 : none,
                             taped ? bench_lap_time(set, task, 1) * 1e6 : none, bench_time(set, task) * 1e6,
                             bench_ratio(set, task, 0), taped ? bench_ratio(set, task, recording) : none};
    bench_row(set->task[task].name, cells, COLUMNS);
}

static void measure(const problem *p) {
    measured *tapes[2] = {measured_new(p, false), measured_new(p, true)};
    check(p, tapes);
    bench_set set = {0};
    bench_add(&set, "function, plain C", run_value, tapes[0]);
    bench_add(&set, "gradient by hand", run_gradient, tapes[0]);
    bench_add(&set, "recorded as scalars", run_record, tapes[0]);
    bench_add(&set, "recorded as scalars, swept", run_sweep, tapes[0]);
    char name[2][40];
    snprintf(name[0], sizeof *name, "recorded as %s", p->what);
    snprintf(name[1], sizeof *name, "recorded as %s, swept", p->what);
    bench_add(&set, name[0], run_record, tapes[1]);
    bench_add(&set, name[1], run_sweep, tapes[1]);
    bench_run(&set, 31, 2e-3);
    bench_heading(p->name, columns, COLUMNS);
    row(&set, 0, -1);
    row(&set, 1, -1);
    row(&set, 2, -1);
    row(&set, 3, 2);
    row(&set, 4, -1);
    row(&set, 5, 4);
    measured_free(tapes[0]);
    measured_free(tapes[1]);
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
