/* Programs with programs in them, and with guards: what tests of printing, files and failing memory are given. */
#ifndef NESTED_PROGRAMS_H
#define NESTED_PROGRAMS_H

#include "autograd/autograd.h"

#include <math.h>

/* ---- guards ---- */

/* x < 0 ? -x : log(x) * w, by a branch. */
static void branching(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    if (ag_guard(ag_lt(x[0], 0), "x < 0 */ or \\\n")) y[0] = ag_neg(x[0]);
    else y[0] = ag_mul(ag_log(x[0]), x[1]);
}

static inline ag_program *branching_at(ag_type type, double x) {
    double w = 2;
    ag_port in[] = {{"x", {.rank = 0}, &x}, {"w", {.rank = 0}, &w}};
    return ag_program_trace(type, branching, NULL, in, 2, NULL, 1);
}

/* Guards on elements of tensors, after a loop, on a value that is also an output, in a part of a long program. */
static void many_guards(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    int length = *(const int *)context;
    (void)t;
    ag_var a = ag_square(x[0]), s = ag_sum(a);
    if (ag_guard(ag_gt(ag_at(a, 1), 0.25), NULL)) s = ag_mul(s, x[1]);
    ag_var condition = ag_le(ag_at(x[0], 2), 5.0);
    if (ag_guard(condition, "last")) s = ag_add(s, ag_sum(ag_exp(a)));
    for (int i = 0; i < length; i++) s = ag_add(ag_sin(s), ag_mul(s, ag_at(a, i % 3)));
    if (ag_guard(s, "s")) s = ag_add(s, 1);
    y[0] = s;
    y[1] = condition;
}

static inline ag_program *many(int length) {
    static const double x[] = {1, 1, 1}, one = 1;
    ag_port in[] = {{"x", AG_SHAPE(3), x}, {"w", {.rank = 0}, &one}};
    return ag_program_trace(AG_F64, many_guards, &length, in, 2, NULL, 2);
}

/* ---- scans ---- */

/* State h (2), count; rows u (2); shared W (2, 2). Gives the state, and a row. */
static void step(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_tanh(ag_add(ag_matmul(ag_mul(x[3], 0.25), x[0]), x[2]));
    y[1] = ag_add(x[1], ag_sum(y[0]));
    y[2] = ag_mul(x[2], x[1]);
}

typedef struct scanning {
    ag_program *step;
    int64_t steps;
    ag_scan_options options;
    bool transposed; /* rows that are not row-major */
} scanning;

static void scan_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const scanning *s = context;
    ag_var zero = ag_num(0), ys[3] = {zero, zero, zero},
           in[4] = {x[0], x[1], s->transposed ? ag_transpose(x[2]) : x[2], x[3]};
    ag_scan(t, s->step, s->steps, 2, in, (ag_along[]){AG_SHARED, AG_SHARED, AG_EACH, AG_SHARED}, &s->options, ys);
    y[0] = ag_add(ag_sum(ys[0]), ag_add(ys[1], ag_sum(ag_sin(ys[2]))));
    y[1] = ys[2];
    y[2] = ys[0];
}

static inline ag_program *trace_step(ag_type type) {
    ag_port in[] = {
        {"h", AG_SHAPE(2), NULL}, {"n", {.rank = 0}, NULL}, {"u", AG_SHAPE(2), NULL}, {"W", AG_SHAPE(2, 2), NULL}};
    return ag_program_trace(type, step, NULL, in, 4, NULL, 3);
}

static inline ag_program *trace_scan(ag_type type, const scanning *s) {
    ag_port in[] = {{"h", AG_SHAPE(2), NULL},
                    {"n", {.rank = 0}, NULL},
                    {"u", AG_SHAPE(s->steps, 2), NULL},
                    {"W", AG_SHAPE(2, 2), NULL}};
    if (s->transposed) in[2].shape = AG_SHAPE(2, s->steps);
    return ag_program_trace(type, scan_model, (void *)(uintptr_t)s, in, 4, NULL, 3);
}

enum { FORWARDS, BACKWARDS, OF_NO_STEPS, WITH_FEW_STATES, SCANS };

/* Uses scans of every kind (backwards: with rows that are not row-major), in both types; `first` has the first output. */
static inline void each_scan(void (*use)(int kind, ag_program *p, ag_program *first)) {
    for (int type = AG_F64; type <= AG_F32; type++) {
        ag_program *step = trace_step((ag_type)type);
        const scanning all[SCANS] = {[FORWARDS] = {step, 11, {0}, false},
                                     [BACKWARDS] = {step, 11, {.backward = true}, true},
                                     [OF_NO_STEPS] = {step, 0, {0}, false},
                                     [WITH_FEW_STATES] = {step, 13, {.states = 5}, false}};
        for (int kind = 0; kind < SCANS; kind++) {
            ag_program *p = trace_scan((ag_type)type, &all[kind]), *first = ag_program_select(p, (int[]){0}, 1);
            use(kind, p, first);
            ag_program_free(first);
            ag_program_free(p);
        }
        ag_program_free(step);
    }
}

/* A guard in a step, in a map. */
static void guarded_scan(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_var in[] = {ag_num(0.5), x[0], x[1]}, ys[2] = {in[0], in[0]};
    ag_scan(t, context, 3, 1, in, (ag_along[]){AG_SHARED, AG_SHARED, AG_SHARED}, NULL, ys);
    y[0] = ag_add(ys[0], ag_sum(ys[1]));
}

static void guarded_step(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_mul(x[0], x[1]);
    if (ag_guard(ag_lt(y[0], 10), "small")) y[0] = ag_add(y[0], x[2]);
    y[1] = ag_square(y[0]);
}

static inline ag_program *trace_guarded_scan(void) {
    static const double one[] = {1, 1, 1};
    ag_port in[] = {{"s", {.rank = 0}, one}, {"x", {.rank = 0}, one}, {"w", {.rank = 0}, one}};
    ag_program *q = ag_program_trace(AG_F64, guarded_step, NULL, in, 3, NULL, 2);
    ag_program *p = ag_program_trace(AG_F64, guarded_scan, q, in + 1, 2, NULL, 1);
    ag_program_free(q);
    return p;
}

/* ---- roots ---- */

static void cubic(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_sub(ag_add(ag_mul(ag_square(x[0]), x[0]), x[0]), ag_mul(x[1], x[2]));
}

static void contraction(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_mul(ag_cos(x[0]), ag_mul(x[1], x[2]));
    y[1] = ag_exp(x[0]);
}

typedef struct solving {
    ag_program *f;
    bool fixed;
    ag_root_options options;
} solving;

static void root_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const solving *s = context;
    ag_var in[] = {ag_mul(x[1], 0.5), x[0], x[1]}, all[] = {ag_mul(x[1], ag_ones(t, AG_SHAPE(2))), x[0], x[1]};
    ag_var *start = ag_program_input(s->f, 0).shape.rank ? all : in;
    y[0] = ag_sum(s->fixed ? ag_fixed_point(t, s->f, start, &s->options) : ag_root(t, s->f, start, &s->options));
}

enum { SCALAR_ROOT, SCALAR_FIXED_POINT, VECTOR_FIXED_POINT, RESIDUALS };

/* What is solved for, by its number. */
static inline ag_program *trace_residual(ag_type type, int which) {
    ag_port in[] = {{"x", {.rank = 0}, NULL}, {"a", {.rank = 0}, NULL}, {"b", {.rank = 0}, NULL}};
    if (which == VECTOR_FIXED_POINT) in[0].shape = AG_SHAPE(2);
    return ag_program_trace(type, which == SCALAR_ROOT ? cubic : contraction, NULL, in, 3, NULL,
                            which == SCALAR_ROOT ? 1 : 2);
}

static inline ag_program *trace_root(ag_type type, const solving *s) {
    ag_port in[] = {{"a", {.rank = 0}, NULL}, {"b", {.rank = 0}, NULL}};
    return ag_program_trace(type, root_model, (void *)(uintptr_t)s, in, 2, NULL, 1);
}

#endif
