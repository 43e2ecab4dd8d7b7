/* One thread and two: programs over many rows, and programs of large tensors. What they compute has to have the same bits
 * for either number. Time is the wall's, the least of many rounds: whatever else runs takes a processor from two threads. */
#include "blas.h"
#include "recorded_functions.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

enum { SIDE = 1000, LENGTH = 2000000, ROWS = 400000, MOST_PORTS = 4 };

/* ---- what is run ------------------------------------------------------------------------------------------------- */

static void products(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_sum(ag_square(ag_matmul(x[0], x[1])));
}
static void elements(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_sum(ag_mul(ag_tanh(ag_mul(x[0], x[1])), ag_exp(ag_neg(ag_square(x[1])))));
}
static void reductions(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_add(ag_sum(ag_max_over(x[0], AG_AXES(1), false)), ag_vdot(x[0], x[1]));
}

typedef struct job {
    const char *name;
    ag_model model;
    int64_t rows, columns; /* of both inputs; 0: the camera, for many rows */
    bool sums;             /* of the camera: the gradient is a sum over rows; else each row has its own */
} job;
static const job jobs[] = {
    {"rows: camera, gradient summed over 400000", camera_row_model, 0, 0, true},
    {"rows: camera, gradients of each of 400000", camera_row_model, 0, 0, false},
    {"tensors: products 1000 x 1000", products, SIDE, SIDE, false},
    {"tensors: elementwise, 2000000", elements, LENGTH / 1000, 1000, false},
    {"tensors: reductions, 2000000", reductions, LENGTH / 1000, 1000, false},
};
enum { JOBS = sizeof jobs / sizeof *jobs };

typedef struct work {
    const job *job;
    ag_program *gradient;
    ag_runner *runner;
    double *in[MOST_PORTS], *out[MOST_PORTS];
    size_t size[MOST_PORTS]; /* of the outputs */
    int threads;
} work;

static size_t elements_of(ag_shape shape) {
    size_t n = 1;
    for (int i = 0; i < shape.rank; i++) n *= (size_t)shape.dim[i];
    return n;
}

static work *work_new(const job *j) {
    work *w = bench_alloc(1, sizeof *w);
    w->job = j;
    ag_port two[] = {ag_in("a", AG_SHAPE(j->rows, j->columns)), ag_in("b", AG_SHAPE(j->rows, j->columns))};
    ag_port row[] = {ag_in("camera", AG_SHAPE(CAMERA)), ag_in("point", AG_SHAPE(3)), ag_in("seen", AG_SHAPE(2))};
    ag_program *p = j->rows ? ag_program_trace(AG_F64, j->model, NULL, two, 2, NULL, 1)
                            : ag_program_trace(AG_F64, j->model, NULL, row, 3, NULL, 1);
    w->gradient = ag_program_gradient(p, (int[]){0, 1}, j->rows ? 2 : 1);
    ag_program_free(p);
    if (ag_program_status(w->gradient) != AG_OK) bench_wrong("%s", ag_program_message(w->gradient));
    w->runner = ag_runner_new(w->gradient);
    for (int k = 0; k < ag_program_inputs(w->gradient); k++) {
        size_t n = elements_of(ag_program_input(w->gradient, k).shape) * (j->rows || k == 0 ? 1 : ROWS);
        w->in[k] = bench_alloc(n, sizeof(double));
        bench_fill(w->in[k], n, 0.1, 0.9);
    }
    for (int k = 0; k < ag_program_outputs(w->gradient); k++) {
        w->size[k] = elements_of(ag_program_output(w->gradient, k).shape) * (j->rows || j->sums ? 1 : ROWS);
        w->out[k] = bench_alloc(w->size[k], sizeof(double));
    }
    return w;
}
static void work_free(work *w) {
    ag_runner_free(w->runner);
    ag_program_free(w->gradient);
    for (int k = 0; k < MOST_PORTS; k++) {
        free(w->in[k]);
        free(w->out[k]);
    }
    free(w);
}

static void set_threads(int n) {
#if defined(_OPENMP)
    omp_set_num_threads(n);
#endif
#if defined(OPENBLAS_VERSION)
    openblas_set_num_threads(n);
#endif
}

static void run(void *context, double *lap) {
    work *w = context;
    (void)lap;
    set_threads(w->threads);
    ag_status status;
    if (w->job->rows) {
        status = ag_run(w->runner, (const double *const *)w->in, w->out);
    } else {
        ag_column x[] = {ag_shared(w->in[0]), ag_each(w->in[1]), ag_each(w->in[2])};
        ag_along along = w->job->sums ? AG_SHARED : AG_EACH;
        ag_column y[] = {ag_column_of_(w->out[0], along, NULL), ag_column_of_(w->out[1], along, NULL)};
        status = ag_run_rows(w->runner, ROWS, x, y);
    }
    if (status != AG_OK) bench_wrong("%s: %s", w->job->name, ag_runner_message(w->runner));
}

/* How many elements of the outputs have other bits. */
static double different(const work *a, const work *b) {
    double count = 0;
    for (int k = 0; k < MOST_PORTS; k++)
        for (size_t i = 0; i < a->size[k]; i++) count += memcmp(&a->out[k][i], &b->out[k][i], sizeof(double)) != 0;
    return count;
}

static double least(const bench_set *set, int task) {
    double seconds = INFINITY;
    for (int r = 0; r < set->rounds; r++)
        if (set->task[task].total[r] < seconds) seconds = set->task[task].total[r];
    return seconds;
}

static void measure(const job *j, int rounds) {
    work *one = work_new(j), *two = work_new(j);
    one->threads = 1;
    two->threads = 2;
    bench_set set = {.wall = true};
    bench_add(&set, "one", run, one);
    bench_add(&set, "two", run, two);
    bench_run(&set, rounds, 1e-3);
    double a = least(&set, 0), b = least(&set, 1);
    bench_row(j->name, (double[]){a * 1e3, b * 1e3, a / b, different(one, two)}, 4);
    work_free(one);
    work_free(two);
}

int main(int argc, char **argv) {
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    bench_threads(argv, "2");
    bench_title_threads("One thread and two",
                        "gradients, by programs; milliseconds of the wall, the least of many rounds", "two threads");
    bench_print_blas();
    bench_heading("", (const char *[]){"1 thread ms", "2 threads ms", "speedup", "other bits"}, 4);
    for (int i = 0; i < JOBS; i++) measure(&jobs[i], quick ? 3 : 51);
    return 0;
}
