/* The two scalar computations that tapes are measured with, in C11 and C++17: plain, with a gradient written by hand,
 * and recorded with autograd.
 *
 * det    the determinant of an n x n matrix by expansion along its first row, without reuse of minors: about 2.7 n!
 *        multiplications and additions in a recursion, the `det` of GradBench and cmpad.
 * chain  s = sum of x_k, x_{k+1} = 1.5 - x_k / (exp(0.5 sin(p x_k)) + q): long, with plain numbers as operands. */
#ifndef BENCH_SCALAR_CASES_H
#define BENCH_SCALAR_CASES_H

#include <autograd/autograd.h>

#include "common.h"

enum { DET_MAX = 10 };

/* ---- determinant, plain ------------------------------------------------------------------------------------------ */

/* Multiplications and additions of an m x m determinant. */
static inline double det_operations(int m) { return m == 1 ? 0 : m * det_operations(m - 1) + 2 * m - 1; }

/* The columns still in form a list: next[j] follows j, next[n] is the first. */
static inline void det_columns(int *next, int n) {
    for (int j = 0; j < n; j++) next[j] = j + 1;
    next[n] = 0;
}

/* Determinant of the last m rows and the columns in the list. */
static inline double det_minor(const double *a, int n, int m, int *next) {
    const double *row = a + (n - m) * n;
    int before = n, j = next[n];
    if (m == 1) return row[j];
    double det = 0;
    for (int k = 0; k < m; k++) {
        next[before] = next[j];
        double product = row[j] * det_minor(a, n, m - 1, next);
        next[before] = j;
        det = k == 0 ? product : k % 2 ? det - product : det + product;
        before = j;
        j = next[j];
    }
    return det;
}
static inline double det_plain(const double *a, int n) {
    int next[DET_MAX + 1];
    det_columns(next, n);
    return det_minor(a, n, n, next);
}

/* ---- determinant, gradient by hand ------------------------------------------------------------------------------- */

/* Minors with m - 1 rows and all below them, stored in the order of the recursion: how many a determinant of size m
 * has. */
static inline size_t det_stored(int m) { return m == 1 ? 0 : (size_t)m * (1 + det_stored(m - 1)); }

/* As det_minor; stores each minor before those that it is made of. `size` is det_stored(m - 1) + 1, and so on down. */
static inline double det_store(const double *a, int n, int m, int *next, double *store, const size_t *size) {
    const double *row = a + (n - m) * n;
    int before = n, j = next[n];
    if (m == 1) return row[j];
    double det = 0;
    for (int k = 0; k < m; k++, store += size[m]) {
        next[before] = next[j];
        *store = det_store(a, n, m - 1, next, store + 1, size);
        next[before] = j;
        det = k == 0 ? row[j] * *store : k % 2 ? det - row[j] * *store : det + row[j] * *store;
        before = j;
        j = next[j];
    }
    return det;
}
/* Adds w times the derivative of that determinant to grad. */
static inline void det_adjoint(const double *a, int n, int m, int *next, const double *store, const size_t *size,
                               double w, double *grad) {
    int row = (n - m) * n;
    int before = n, j = next[n];
    if (m == 1) {
        grad[row + j] += w;
        return;
    }
    for (int k = 0; k < m; k++, store += size[m], w = -w) {
        grad[row + j] += w * *store;
        next[before] = next[j];
        det_adjoint(a, n, m - 1, next, store + 1, size, w * a[row + j], grad);
        next[before] = j;
        before = j;
        j = next[j];
    }
}
/* `store`: det_stored(n) numbers. */
static inline double det_by_hand(const double *a, int n, double *store, double *grad) {
    int next[DET_MAX + 1];
    size_t size[DET_MAX + 1] = {0};
    for (int m = 2; m <= n; m++) size[m] = 1 + det_stored(m - 1);
    det_columns(next, n);
    double det = det_store(a, n, n, next, store, size);
    memset(grad, 0, (size_t)(n * n) * sizeof *grad);
    det_adjoint(a, n, n, next, store, size, 1, grad);
    return det;
}

/* The gradient by the formula det(A) A^-T, by elimination with pivots: what the others are checked against. */
static inline void det_formula(const double *a, int n, double *grad) {
    double m[DET_MAX][2 * DET_MAX], det = 1;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            m[i][j] = a[i * n + j];
            m[i][n + j] = i == j;
        }
    for (int k = 0; k < n; k++) {
        int pivot = k;
        for (int i = k + 1; i < n; i++)
            if (fabs(m[i][k]) > fabs(m[pivot][k])) pivot = i;
        if (pivot != k) det = -det;
        for (int j = 0; j < 2 * n; j++) {
            double t = m[k][j];
            m[k][j] = m[pivot][j];
            m[pivot][j] = t;
        }
        det *= m[k][k];
        for (int i = 0; i < n; i++) {
            double factor = m[i][k] / m[k][k];
            for (int j = 0; j < 2 * n && i != k; j++) m[i][j] -= factor * m[k][j];
        }
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) grad[j * n + i] = det * m[i][n + j] / m[i][i];
}

/* ---- determinant, recorded --------------------------------------------------------------------------------------- */

static inline ag_var det_tape_muladd(const ag_var *a, int n, int m, int *next) {
    const ag_var *row = a + (n - m) * n;
    int before = n, j = next[n];
    if (m == 1) return row[j];
    ag_var det = ag_num(0);
    for (int k = 0; k < m; k++) {
        next[before] = next[j];
        ag_var product = ag_mul(row[j], det_tape_muladd(a, n, m - 1, next));
        next[before] = j;
        det = k == 0 ? product : k % 2 ? ag_sub(det, product) : ag_add(det, product);
        before = j;
        j = next[j];
    }
    return det;
}
static inline ag_var det_tape_fma(const ag_var *a, int n, int m, int *next) {
    const ag_var *row = a + (n - m) * n;
    int before = n, j = next[n];
    if (m == 1) return row[j];
    ag_var det = ag_num(0);
    for (int k = 0; k < m; k++) {
        next[before] = next[j];
        ag_var sub = det_tape_fma(a, n, m - 1, next);
        next[before] = j;
        det = k == 0 ? ag_mul(row[j], sub) : k % 2 ? ag_fnma(row[j], sub, det) : ag_fma(row[j], sub, det);
        before = j;
        j = next[j];
    }
    return det;
}

/* ---- chain ------------------------------------------------------------------------------------------------------- */

enum { CHAIN_OPERATIONS = 8, CHAIN_INPUTS = 3 }; /* a step's; x_0, p, q */
static const double chain_inputs[CHAIN_INPUTS] = {0.7, 0.9, 1.1};

BENCH_NOINLINE static double chain_plain(const double *in, int steps) {
    double x = in[0], p = in[1], q = in[2], s = 0;
    for (int k = 0; k < steps; k++) {
        x = 1.5 - x / (exp(0.5 * sin(p * x)) + q);
        s += x;
    }
    return s;
}

/* `store`: 4 numbers a step. */
BENCH_NOINLINE static double chain_by_hand(const double *in, int steps, double *store, double *grad) {
    double x = in[0], p = in[1], q = in[2], s = 0;
    for (int k = 0; k < steps; k++) {
        double *keep = store + 4 * (size_t)k;
        keep[0] = x;
        keep[1] = p * x;
        keep[2] = exp(0.5 * sin(keep[1]));
        keep[3] = 1 / (keep[2] + q);
        x = 1.5 - x * keep[3];
        s += x;
    }
    double gx = 0, gp = 0, gq = 0;
    for (int k = steps - 1; k >= 0; k--) {
        const double *keep = store + 4 * (size_t)k;
        gx += 1;                                       /* from the sum */
        double ge = gx * keep[0] * keep[3] * keep[3];  /* by the denominator */
        double gt = ge * keep[2] * 0.5 * cos(keep[1]); /* by p x */
        gx = gt * p - gx * keep[3];
        gp += gt * keep[0];
        gq += ge;
    }
    grad[0] = gx;
    grad[1] = gp;
    grad[2] = gq;
    return s;
}

static inline ag_var chain_tape(const ag_var *in, int steps) {
    ag_var x = in[0], p = in[1], q = in[2], s = x;
    for (int k = 0; k < steps; k++) {
        x = ag_sub(1.5, ag_div(x, ag_add(ag_exp(ag_mul(0.5, ag_sin(ag_mul(p, x)))), q)));
        s = k == 0 ? x : ag_add(s, x);
    }
    return s;
}

/* ---- recording and sweeping -------------------------------------------------------------------------------------- */

typedef enum tape_kind { TAPE_MULADD, TAPE_FMA, TAPE_CHAIN } tape_kind;

/* One case on one tape. */
typedef struct tape_case {
    ag_tape *tape;
    tape_kind kind;
    int n;               /* of det: rows; of chain: steps */
    bool rewind;         /* inputs stay, the rest is rewound; else the tape is cleared and inputs recorded anew */
    const double *input; /* `inputs` numbers */
    int inputs;
    ag_mark mark;
    ag_var x[DET_MAX * DET_MAX];
    double value, grad[DET_MAX * DET_MAX];
    double bytes; /* of instructions and values */
} tape_case;

static inline void tape_begin(tape_case *c) {
    for (int i = 0; i < c->inputs; i++) c->x[i] = ag_input(c->tape, c->input[i]);
    c->mark = ag_tape_mark(c->tape);
}
static inline ag_var tape_function(tape_case *c) {
    int next[DET_MAX + 1];
    if (c->kind == TAPE_CHAIN) return chain_tape(c->x, c->n);
    det_columns(next, c->n);
    return c->kind == TAPE_FMA ? det_tape_fma(c->x, c->n, c->n, next) : det_tape_muladd(c->x, c->n, c->n, next);
}
/* A task: lap 0 records, lap 1 sweeps and reads the gradient. */
BENCH_NOINLINE static void tape_run(void *context, double *lap) {
    tape_case *c = (tape_case *)context;
    double start = bench_now();
    if (c->rewind) {
        ag_tape_rewind(c->tape, c->mark);
    } else {
        ag_tape_clear(c->tape);
        tape_begin(c);
    }
    ag_var y = tape_function(c);
    bench_lap(&lap[0], &start);
    ag_backward(y);
    for (int i = 0; i < c->inputs; i++) c->grad[i] = ag_grad(c->x[i]);
    bench_lap(&lap[1], &start);
    c->value = ag_value(y);
}

static inline tape_case *tape_case_new(tape_kind kind, int n, bool rewind, const double *input, int inputs) {
    tape_case *c = (tape_case *)bench_alloc(1, sizeof *c);
    c->tape = ag_tape_new(AG_F64);
    c->kind = kind;
    c->n = n;
    c->rewind = rewind;
    c->input = input;
    c->inputs = inputs;
    tape_begin(c);
    double lap[BENCH_LAPS] = {0};
    tape_run(c, lap);
    if (ag_tape_status(c->tape) != AG_OK) bench_wrong("%s", ag_tape_message(c->tape));
    ag_stats stats = ag_tape_stats(c->tape);
    c->bytes = (double)(stats.instruction_bytes + stats.value_bytes);
    return c;
}
static inline void tape_case_free(tape_case *c) {
    ag_tape_free(c->tape);
    free(c);
}

#endif
