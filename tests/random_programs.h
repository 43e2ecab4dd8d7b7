/* Random programs: expressions over scalars and tensors, views, broadcasts, reductions, products and maps, the same for a
 * seed on every tape. Which step comes next never depends on values, and bounds are kept on all of them. Each step has
 * random numbers of its own, so that a program is still one without some of its steps. */
#ifndef RANDOM_PROGRAMS_H
#define RANDOM_PROGRAMS_H

#include "derivatives.h"

enum { POOL = 48, PROGRAM_INPUTS = 5, TOTAL = 1 + 1 + 3 + 6 + 3 };

/* Where each input is when they lie one after the other. */
static const int START[PROGRAM_INPUTS + 1] = {0, 1, 2, 5, 11, TOTAL};

typedef struct program {
    uint64_t state;
    bool kinks; /* differences of it are not its derivative */
    int count;
    ag_var pool[POOL];
    double bound[POOL]; /* of its absolute values */
    ag_tape *t;
    uint64_t skipped; /* bit i: without step i */
    int steps;
} program;

static const double INPUT_BOUND = 1.5;

static UNUSED_OK ag_shape program_input_shape(int k) {
    switch (k) {
    case 0:
    case 1: return (ag_shape){0};
    case 2: return AG_SHAPE(3);
    case 3: return AG_SHAPE(2, 3);
    default: return AG_SHAPE(3, 1);
    }
}

static int pick(program *p, int n) { return (int)random_number(&p->state, 0, n); }

static void keep(program *p, ag_var x, double bound) {
    while (ag_count(x) > 48) x = ag_mean_over(x, AG_AXES(0), false);
    if (bound > 4) {
        x = pick(p, 2) ? ag_tanh(ag_mul(x, 0.5)) : ag_sin(x);
        bound = 1;
    }
    int at = p->count < POOL ? p->count++ : PROGRAM_INPUTS + pick(p, POOL - PROGRAM_INPUTS);
    p->pool[at] = x;
    p->bound[at] = bound;
}

/* Newer results are picked more often, so that programs get deep. */
static int pick_operand(program *p) {
    int i = pick(p, p->count), j = pick(p, p->count);
    return i > j ? i : j;
}

static void unary_step(program *p) {
    int k = pick_operand(p);
    ag_var x = p->pool[k];
    double b = p->bound[k];
    switch (pick(p, 20)) {
    case 0: keep(p, ag_sin(x), 1); break;
    case 1: keep(p, ag_cos(x), 1); break;
    case 2: keep(p, ag_tanh(x), 1); break;
    case 3: keep(p, ag_exp(ag_mul(x, 0.25)), exp(b / 4)); break;
    case 4: keep(p, ag_log(ag_add(ag_square(x), 1)), b); break;
    case 5: keep(p, ag_sqrt(ag_add(ag_square(x), 0.5)), b + 1); break;
    case 6: keep(p, ag_sigmoid(x), 1); break;
    case 7: keep(p, ag_softplus(x), b + 1); break;
    case 8: keep(p, ag_gelu(x), b); break;
    case 9: keep(p, ag_mish(x), b); break;
    case 10: keep(p, ag_atan(x), 1.6); break;
    case 11: keep(p, ag_div(x, ag_add(ag_cos(x), 2)), b); break;
    case 12: keep(p, ag_pow(ag_add(ag_square(x), 0.5), 0.75), pow(b * b + 0.5, 0.75)); break;
    case 13: keep(p, ag_neg(x), b); break;
    case 14: keep(p, ag_lgamma(ag_add(ag_square(x), 1)), b * b * b + 1); break;
    case 15: keep(p, ag_recip(ag_add(ag_square(x), 1)), 1); break;
    case 16: p->kinks = true, keep(p, ag_mul(ag_detach(x), x), b * b); break; /* differences see both factors */
    case 17: p->kinks = true, keep(p, ag_relu(x), b); break;
    case 18: p->kinks = true, keep(p, ag_abs(x), b); break;
    default: p->kinks = true, keep(p, ag_clip(x, -0.5, 0.75), 0.75); break;
    }
}

static bool broadcasts(ag_shape a, ag_shape b) {
    for (int i = 1; i <= a.rank && i <= b.rank; i++) {
        int64_t d = a.dim[a.rank - i], e = b.dim[b.rank - i];
        if (d != e && d != 1 && e != 1) return false;
    }
    return true;
}

static void binary_step(program *p) {
    int k = pick_operand(p), l = pick_operand(p);
    ag_var x = p->pool[k], y = p->pool[l];
    double b = p->bound[k], c = p->bound[l];
    if (!broadcasts(ag_shape_of(x), ag_shape_of(y))) y = ag_mean(y);
    double number = (double)(float)random_number(&p->state, -1, 1);
    switch (pick(p, 14)) {
    case 0: keep(p, ag_add(x, y), b + c); break;
    case 1: keep(p, ag_sub(x, y), b + c); break;
    case 2:
    case 3: keep(p, ag_mul(x, y), b * c); break;
    case 4: keep(p, ag_div(x, ag_add(ag_square(y), 1)), b); break;
    case 5: keep(p, ag_fma(x, y, x), b * c + b); break;
    case 6: keep(p, ag_fnma(x, number, y), b + c); break;
    case 7: keep(p, ag_hypot(ag_add(x, 2 * b + 1), y), 3 * b + c + 1); break;
    case 8: keep(p, ag_atan2(x, ag_add(ag_square(y), 1)), 1.6); break;
    case 9: keep(p, ag_add(x, number), b + 1); break;
    case 10: keep(p, ag_mul(number, y), c); break;
    case 11: keep(p, ag_bce_logits(x, ag_sigmoid(y)), 2 * b + 1); break;
    case 12: p->kinks = true, keep(p, ag_max(x, y), b + c); break;
    default: p->kinks = true, keep(p, ag_select(ag_gt(x, number), y, x), b + c); break;
    }
}

static void view_step(program *p) {
    int k = pick_operand(p);
    ag_var x = p->pool[k];
    double b = p->bound[k];
    ag_shape s = ag_shape_of(x);
    int axis = s.rank ? pick(p, s.rank) : 0;
    int64_t n = s.rank ? s.dim[axis] : 1;
    switch (pick(p, 10)) {
    case 0: keep(p, ag_transpose(x), b); break;
    case 1: keep(p, s.rank ? ag_flip(x, axis) : ag_expand(x, AG_SHAPE(2)), b); break;
    case 2: keep(p, s.rank && n > 1 ? ag_slice(x, axis, 1, AG_END, 1) : x, b); break;
    case 3: keep(p, s.rank ? ag_index(x, axis, pick(p, (int)n)) : x, b); break;
    case 4: keep(p, ag_at(x, pick(p, (int)ag_count(x))), b); break;
    case 5: keep(p, s.rank < 4 ? ag_unsqueeze(x, pick(p, s.rank + 1)) : x, b); break;
    case 6: keep(p, ag_reshape(x, AG_SHAPE(-1)), b); break;
    case 7: keep(p, s.rank > 1 ? ag_diagonal(x) : ag_reshape(x, AG_SHAPE(1, -1)), b); break;
    case 8:
        if (s.rank > 3) break;
        for (int i = s.rank++; i > 0; i--) s.dim[i] = s.dim[i - 1];
        s.dim[0] = 2;
        keep(p, ag_expand(x, s), b);
        break;
    default: keep(p, s.rank && n > 2 ? ag_slice(x, axis, -1, AG_END, -2) : x, b); break;
    }
}

static void structural_step(program *p) {
    int k = pick_operand(p);
    ag_var x = p->pool[k];
    double b = p->bound[k];
    ag_shape s = ag_shape_of(x);
    int axis = s.rank ? pick(p, s.rank) : 0;
    if (s.rank == 0) {
        ag_var two[2] = {x, p->pool[pick(p, 2)]};
        keep(p, ag_stack(two, 2, 0), fmax(b, INPUT_BOUND));
        return;
    }
    double n = (double)s.dim[axis];
    const int64_t indices[3] = {0, s.dim[axis] - 1, 0};
    bool kept = pick(p, 2);
    switch (pick(p, 13)) {
    case 0: keep(p, ag_sum_over(x, AG_AXES(axis), kept), b * n); break;
    case 1: keep(p, ag_mean_over(x, AG_AXES(axis), kept), b); break;
    case 2: keep(p, ag_sum(x), b * (double)ag_count(x)); break;
    case 3: keep(p, ag_logsumexp_over(x, AG_AXES(axis), kept), b + 4); break;
    case 4: keep(p, ag_norm_over(ag_add(x, b + 0.5), AG_AXES(axis), kept), 3 * b * n + 1); break;
    case 5: keep(p, ag_softmax(x, axis), 1); break;
    case 6: keep(p, ag_log_softmax(x, axis), 2 * b + 4); break;
    case 7: keep(p, ag_cumsum(x, axis), b * n); break;
    case 8: keep(p, ag_gather(x, axis, indices, 3), b); break;
    case 9: keep(p, ag_concat((ag_var[]){x, ag_sin(x)}, 2, axis), fmax(b, 1)); break;
    case 10: keep(p, ag_matmul(x, s.rank > 1 ? ag_transpose(x) : x), b * b * (double)s.dim[s.rank - 1]); break;
    case 11: keep(p, ag_prod_over(ag_tanh(x), AG_AXES(axis), kept), 1); break;
    default: keep(p, s.rank > 1 ? ag_tril(x, 0) : ag_pad(x, 0, 1, 0), b); break;
    }
}

/* Scalars in a row: the inline path. */
static void scalar_step(program *p) {
    ag_var x = p->pool[pick(p, 2)], y = p->pool[pick_operand(p)];
    if (ag_count(y) > 1) y = ag_at(y, pick(p, (int)ag_count(y)));
    else y = ag_reshape(y, (ag_shape){0});
    ag_var z = x;
    int n = 2 + pick(p, 6);
    for (int i = 0; i < n; i++) {
        double c = (double)(float)random_number(&p->state, -0.5, 0.5);
        switch (pick(p, 4)) {
        case 0: z = ag_mul(ag_sin(z), y); break;
        case 1: z = ag_add(ag_mul(z, c), ag_mul(c, y)); break;
        case 2: z = ag_div(z, ag_add(ag_mul(y, y), 1.5)); break;
        default: z = ag_fma(z, c, ag_sub(1, ag_exp(ag_mul(ag_tanh(y), c)))); break;
        }
        z = ag_tanh(z);
    }
    keep(p, z, 1);
}

/* ---- programs in programs ---- */

static void row_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_mul(ag_sin(x[0]), x[1]);
    y[1] = ag_tanh(ag_add(ag_square(x[0]), ag_mul(x[1], 0.5)));
}

/* Of two scalars; made once a precision. */
static const ag_program *row_program(ag_type type) {
    static ag_program *made[2];
    const ag_port in[2] = {{.name = "a"}, {.name = "b"}};
    if (!made[type]) made[type] = ag_program_trace(type, row_model, NULL, in, 2, NULL, 2);
    return made[type];
}

/* The program on two scalars, or for each element of a tensor, with the other operand shared and one result summed. */
static void program_step(program *p) {
    const ag_program *rows = row_program(ag_tape_type(p->t));
    ag_var x = p->pool[pick_operand(p)], y[2], in[2];
    bool shared = pick(p, 2), summed = pick(p, 2);
    int64_t n = ag_count(x);
    in[0] = ag_reshape(x, AG_SHAPE(-1));
    in[1] = shared ? ag_mul(ag_reshape(p->pool[pick(p, 2)], (ag_shape){0}), 0.5) : ag_flip(in[0], 0);
    if (pick(p, 3) == 0) {
        const ag_var one[2] = {ag_at(in[0], n - 1), ag_at(in[0], 0)};
        ag_program_call(p->t, rows, one, y);
    } else {
        const ag_along in_along[2] = {AG_EACH, shared ? AG_SHARED : AG_EACH};
        const ag_along out_along[2] = {AG_EACH, summed ? AG_SHARED : AG_EACH};
        ag_map(p->t, rows, n, in, in_along, out_along, y);
    }
    keep(p, ag_sin(y[0]), 1);
    keep(p, y[1], (double)n);
}

/* The program of a seed on x[0..PROGRAM_INPUTS-1]; its result is the weighted mean of the pool's last third. */
static UNUSED_OK ag_var run_program_without(program *p, int seed, uint64_t skipped, ag_tape *t, const ag_var *x) {
    *p = (program){.state = (uint64_t)seed * 1000003, .t = t, .skipped = skipped};
    for (int k = 0; k < PROGRAM_INPUTS; k++) keep(p, x[k], INPUT_BOUND);
    p->steps = 6 + pick(p, 34);
    for (int i = 0; i < p->steps && ag_tape_status(t) == AG_OK; i++) {
        p->state = (uint64_t)seed * 1000003 + (uint64_t)i * 0x5851f42d4c957f2du + 1;
        if (skipped >> i & 1) continue;
        switch (pick(p, 13)) {
        case 0:
        case 1: unary_step(p); break;
        case 2:
        case 3:
        case 4:
        case 5: binary_step(p); break;
        case 6:
        case 7: view_step(p); break;
        case 8:
        case 9: structural_step(p); break;
        case 10: program_step(p); break;
        default: scalar_step(p); break;
        }
    }
    ag_var sum = ag_mul(p->pool[0], 0.125);
    p->state = (uint64_t)seed;
    for (int i = p->count * 2 / 3; i < p->count; i++)
        sum = ag_add(sum, ag_mul(ag_mean(p->pool[i]), (double)(float)random_number(&p->state, -1, 1)));
    return sum;
}

static UNUSED_OK ag_var run_program(program *p, int seed, ag_tape *t, const ag_var *x) {
    return run_program_without(p, seed, 0, t, x);
}

/* Leaves out one step after the other, as long as what is left still fails: the steps without which it does. */
typedef bool program_fails(uint64_t skipped, void *context);
static UNUSED_OK uint64_t without_steps(uint64_t skipped, int steps, program_fails *fails, void *context) {
    for (bool smaller = true; smaller;) {
        smaller = false;
        for (int i = 0; i < steps; i++) {
            uint64_t next = skipped | (uint64_t)1 << i;
            if (next == skipped || !fails(next, context)) continue;
            skipped = next;
            smaller = true;
        }
    }
    return skipped;
}

/* ---- inputs and what belongs to each of them, one after the other ---- */

static UNUSED_OK void make_inputs(ag_tape *t, const double *data, bool constant, ag_var *x) {
    for (int k = 0; k < PROGRAM_INPUTS; k++) {
        ag_shape s = program_input_shape(k);
        if (constant) x[k] = s.rank ? ag_constant_tensor(t, data + START[k], s) : ag_constant(t, data[START[k]]);
        else x[k] = s.rank ? ag_tensor(t, data + START[k], s) : ag_input(t, data[START[k]]);
    }
}

static UNUSED_OK void read_all(const ag_var *x, double *out) {
    for (int k = 0; k < PROGRAM_INPUTS; k++) ag_read(x[k], out + START[k]);
}

/* sum_k <g[k], v[k]> */
static UNUSED_OK ag_var weighted(const ag_var *g, const ag_var *v) {
    ag_var sum = ag_num(0);
    for (int k = 0; k < PROGRAM_INPUTS; k++) sum = ag_add(sum, ag_vdot(g[k], v[k]));
    return sum;
}

#endif
