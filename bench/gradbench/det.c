/* The determinant of a matrix by expansion along its first row, again and again: many scalar operations. */
#include "gradbench.h"

enum { MOST_ROWS = 16 };

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

/* The expansion of n x n matrices. */
typedef struct expansion {
    int n;
    const ag_program *minor; /* the same of n - 1, of the elements; NULL for n = 1 */
} expansion;

/* The elements without row 0 and column j. */
static void strike(const ag_var *a, int n, int j, ag_var *minor) {
    for (int i = 1; i < n; i++)
        for (int k = 0; k < n; k++)
            if (k != j) *minor++ = a[i * n + k];
}

static ag_var expand(ag_tape *tape, const expansion *e, const ag_var *a) {
    ag_var elements[MOST_ROWS * MOST_ROWS], minor, sum = a[0];
    for (int j = 0; j < e->n && e->n > 1; j++) {
        strike(a, e->n, j, elements);
        ag_program_call(tape, e->minor, elements, &minor);
        sum = j == 0 ? ag_mul(a[j], minor) : j % 2 ? ag_fnma(a[j], minor, sum) : ag_fma(a[j], minor, sum);
    }
    return sum;
}

static void trace_elements(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    out[0] = expand(tape, context, in);
}

/* A program's input is the matrix, its output the determinant. */
static void trace_matrix(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    const expansion *e = context;
    ag_var elements[MOST_ROWS * MOST_ROWS];
    for (int i = 0; i < e->n * e->n; i++) elements[i] = ag_at(in[0], i);
    out[0] = expand(tape, e, elements);
}

/* The expansion of each size is recorded once, and called by the next for each of its minors: a recursion that was recorded
 * to its end would be 2.7 n! operations, of which n 2^(n - 1) differ. */
static bool prepare(gb_run *run, int wrt) {
    det *d = run->state;
    expansion e = {.n = 1};
    ag_program *minor = NULL;
    for (; e.n < d->n; e.n++) {
        ag_port in[MOST_ROWS * MOST_ROWS] = {{0}};
        ag_program *larger = ag_program_trace(AG_F64, trace_elements, &e, in, e.n * e.n, NULL, 1);
        ag_program_free(minor);
        e.minor = minor = larger;
    }
    d->runner = gb_trace(run, trace_matrix, &e, (ag_port[]){ag_in("A", AG_SHAPE(e.n, e.n))}, 1, wrt);
    ag_program_free(minor);
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
