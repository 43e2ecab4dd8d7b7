/* The determinant of a matrix by expansion along its first row, again and again: many scalar operations. */
#include "gradbench.h"

enum { MOST_ROWS = 12 }; /* n rows take about 2.7 n! operations */

typedef struct det {
    int64_t n;
    double *matrix; /* n x n */
    double value, *gradient;
    ag_runner *runner;
} det;

static bool parse(gb_run *run, const json_t *input) {
    det *d = run->state;
    int64_t count;
    d->n = gb_integer(run, input, "ell", 1, MOST_ROWS);
    count = d->n * d->n;
    d->matrix = gb_tensor(run, input, "A", 1, &count);
    d->gradient = GB_DOUBLES(run, count);
    return d->matrix && d->gradient;
}

/* The minor of the last `rows` rows of an n x n matrix and of as many columns. */
static ag_var minor_of(const ag_var *a, int n, int rows, const int *columns) {
    const ag_var *first = a + (n - rows) * n;
    if (rows == 1) return first[columns[0]];
    int others[MOST_ROWS];
    memcpy(others, columns + 1, (size_t)(rows - 1) * sizeof *others); /* without column j, for j = 0, 1, ... */
    ag_var sum = ag_mul(first[columns[0]], minor_of(a, n, rows - 1, others));
    for (int j = 1; j < rows; j++) {
        others[j - 1] = columns[j - 1];
        ag_var minor = minor_of(a, n, rows - 1, others);
        sum = j % 2 ? ag_fnma(first[columns[j]], minor, sum) : ag_fma(first[columns[j]], minor, sum);
    }
    return sum;
}

/* A program's input is the matrix, its output the determinant. */
static void trace_determinant(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    ag_var elements[MOST_ROWS * MOST_ROWS];
    int columns[MOST_ROWS], n = *(const int *)context;
    (void)tape;
    for (int i = 0; i < n * n; i++) elements[i] = ag_at(in[0], i);
    for (int j = 0; j < n; j++) columns[j] = j;
    out[0] = minor_of(elements, n, n, columns);
}

static bool prepare(gb_run *run, int wrt) {
    det *d = run->state;
    int n = (int)d->n;
    d->runner = gb_trace(run, trace_determinant, &n, (ag_port[]){ag_in("A", AG_SHAPE(n, n))}, 1, wrt);
    return d->runner != NULL;
}
static bool prepare_primal(gb_run *run) { return prepare(run, 0); }
static bool prepare_gradient(gb_run *run) { return prepare(run, 1); }

static void primal(gb_run *run) {
    det *d = run->state;
    gb_check(run, d->runner, ag_run(d->runner, (const double *[]){d->matrix}, (double *[]){&d->value}));
}

static void gradient(gb_run *run) {
    det *d = run->state;
    gb_check(run, d->runner, ag_run(d->runner, (const double *[]){d->matrix}, (double *[]){&d->value, d->gradient}));
}

static json_t *print_value(gb_run *run) { return json_real(((det *)run->state)->value); }

static json_t *print_gradient(gb_run *run) {
    det *d = run->state;
    return gb_vector(d->gradient, d->n * d->n);
}

const gb_function gb_det[] = {{"det", "primal", sizeof(det), parse, prepare_primal, primal, print_value},
                              {"det", "gradient", sizeof(det), parse, prepare_gradient, gradient, print_gradient},
                              {0}};
