/* A fuzzer of the public API: bytes are read as calls, with any arguments that the header allows.
 *
 * With libFuzzer: clang -fsanitize=fuzzer,address,undefined, over this file and the library's sources. test_fuzz_replay.c
 * runs it on saved and on pseudo-random inputs.
 *
 * After every call: a tape in error gives inert vars, a good one does not; shapes and counts agree. Now and then:
 * <w, J v> is the same by ag_vjp and ag_jvp; ag_gradient gives what ag_backward does; reading agrees with ag_at.
 * What does not hold ends the program by abort(). */
#include <autograd/autograd.h>

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    POOL = 24,
    TAPES = 3,
    MARKS = 6,
    MOST_CALLS = 160,
    MOST_ELEMENTS = 1024, /* of a var that is computed with; others are only looked at */
    MOST_DERIVATIVES = 6, /* recorded: each may double the tape */
    MOST_SLOTS_TO_DERIVE = 20000,
    LIST = 4,                 /* vars handed over at once */
    ORDER = MOST_ELEMENTS * 4 /* labels, indices */
};
#define MOST_BYTES ((size_t)1 << 22) /* that a tape may ask for at once */
#define ALL_BYTES ((size_t)1 << 25)  /* and in its life */

#define HOLDS(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) broken(#condition, __LINE__);                                                                \
    } while (0)

static const uint8_t *call_from, *call_to; /* bytes of the call */

static void broken(const char *what, int line) {
    fprintf(stderr, "fuzz_api.c:%d: does not hold: %s\nin the call", line, what);
    for (const uint8_t *b = call_from; b && b < call_to; b++) fprintf(stderr, " %d", *b);
    fprintf(stderr, "\n");
    abort();
}

typedef struct fuzz_budget {
    size_t total;
    uint32_t random, refuse; /* one request in `refuse`; 0: none */
} fuzz_budget;

typedef struct fuzz_place {
    ag_var v;
    bool aliased; /* several of its elements may be one slot */
} fuzz_place;

typedef struct fuzz {
    const uint8_t *next, *end;
    ag_tape *tape[TAPES];
    fuzz_budget budget[TAPES];
    bool changed[TAPES]; /* values were set since they were used: derivatives are of a mixture */
    bool kept[TAPES];    /* inputs' adjoints were accumulated */
    fuzz_place pool[POOL];
    int newest;
    ag_mark mark[MARKS];
    int derivatives;
} fuzz;

/* ---- arguments ---- */

static unsigned byte(fuzz *f) {
    unsigned b = f->next < f->end ? *f->next++ : 0;
    call_to = f->next;
    return b;
}
static bool flag(fuzz *f) { return byte(f) & 1; }

static int64_t hostile(fuzz *f) {
    static const int64_t list[] = {0,
                                   1,
                                   -1,
                                   -2,
                                   -3,
                                   8,
                                   9,
                                   16,
                                   63,
                                   64,
                                   65,
                                   255,
                                   256,
                                   1000,
                                   4097,
                                   INT64_C(1) << 20,
                                   INT32_MAX,
                                   INT32_MIN,
                                   UINT32_MAX,
                                   INT64_C(1) << 31,
                                   INT64_C(1) << 32,
                                   INT64_C(1) << 40,
                                   INT64_C(1) << 61,
                                   INT64_C(1) << 62,
                                   INT64_MAX / 2,
                                   INT64_MAX / 3,
                                   INT64_MAX - 1,
                                   INT64_MAX,
                                   INT64_MIN,
                                   INT64_MIN + 1,
                                   -INT64_MAX / 2,
                                   -(INT64_C(1) << 32),
                                   3037000500,
                                   6074001000};
    return list[byte(f) % (sizeof list / sizeof *list)];
}

/* Mostly from lo to hi. */
static int64_t integer(fuzz *f, int lo, int hi) {
    unsigned b = byte(f);
    return b < 240 ? lo + (int64_t)(b % (unsigned)(hi - lo + 1)) : hostile(f);
}

static int small(fuzz *f, int lo, int hi) {
    int64_t i = integer(f, lo, hi);
    return i < INT_MIN ? INT_MIN : i > INT_MAX ? INT_MAX : (int)i;
}

static double number(fuzz *f) {
    static const double list[] = {0,      -0.0,   1,     -1,   2,   0.5, 1e308, -1e308,
                                  1e-310, 1e-150, 1e150, 1e10, 150, -20, 0.25,  3};
    unsigned b = byte(f);
    if (b < 230) return ((int)b - 100) / 37.0;
    b = byte(f) % 20;
    return b == 16 ? (double)NAN : b == 17 ? (double)INFINITY : b == 18 ? -(double)INFINITY : b == 19 ? 1e-6 : list[b];
}

static ag_shape shape(fuzz *f) {
    static const int64_t square[4] = {2, 2, 2, 2};
    unsigned b = byte(f);
    if (b < 40) return AG_SHAPE(3, 3);
    if (b < 60) return AG_SHAPE(2, 2, 2);
    if (b < 64) return ag_make_shape_((int)(b % 5), square);
    if (b < 68) return b < 66 ? AG_SHAPE(20, 24) : AG_SHAPE(2, 300);
    ag_shape s = {.rank = b < 230 ? (int)(b % 4) : b < 250 ? (int)(b % 9) : small(f, 7, 10)};
    if (b >= 220 && b < 226) { /* empty and huge */
        for (int i = 0; i < 3; i++) s.dim[i] = integer(f, 0, 2) ? hostile(f) : 2;
        s.rank = 3;
        s.dim[b % 3] = 0;
        return s;
    }
    for (int i = 0; i < AG_MAX_RANK && i < s.rank; i++) s.dim[i] = integer(f, b < 245 ? 1 : 0, 4);
    int64_t dims[12] = {2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1};
    return s.rank == 10 ? ag_make_shape_(12, dims) : s;
}

static ag_axes axes(fuzz *f) {
    ag_axes a = {.count = small(f, 0, 2)};
    for (int i = 0; i < AG_MAX_RANK && i < a.count; i++) a.axis[i] = small(f, -3, 2);
    return a;
}

static ag_tape *tape(fuzz *f) { return f->tape[byte(f) % TAPES]; }

static int tape_number(const fuzz *f, const ag_tape *t) {
    for (int i = 0; i < TAPES; i++)
        if (f->tape[i] == t) return i;
    return -1;
}

static fuzz_place *any(fuzz *f) {
    unsigned b = byte(f);
    return &f->pool[b < 128 ? ((unsigned)(f->newest + POOL) - b % 6) % POOL : b % POOL];
}

/* The number of elements, those of axes of length 0 left out: so much may be looped over. */
static bool is_small(ag_var v) {
    ag_shape s = ag_shape_of(v);
    int64_t count = 1;
    for (int i = 0; i < s.rank; i++) {
        if (s.dim[i] > MOST_ELEMENTS) return false;
        count *= s.dim[i] ? s.dim[i] : 1;
        if (count > MOST_ELEMENTS) return false;
    }
    return true;
}

/* A var to compute with: of few elements, though perhaps with a huge axis beside an axis of length 0. */
static ag_var var(fuzz *f) {
    unsigned b = byte(f);
    if (b >= 250) return ag_num(number(f));
    if (b == 249) return (ag_var){0};
    ag_var v = any(f)->v;
    return ag_count(v) <= MOST_ELEMENTS ? v : ag_num(2);
}

static int list(fuzz *f, ag_var v[LIST], int most) {
    for (int i = 0; i < LIST; i++) v[i] = i < most ? var(f) : (ag_var){0};
    unsigned b = byte(f);
    return b < 250 ? (int)(b % (unsigned)(most + 1)) : b == 251 ? INT_MIN : b == 252 ? -7 : b == 253 ? -1000000 : -1;
}

static const int64_t *order(fuzz *f, int most) {
    static int64_t table[ORDER];
    unsigned mix = byte(f), step = byte(f);
    for (int i = 0; i < ORDER; i++) table[i] = (int64_t)((mix + (unsigned)i * step) % (unsigned)most);
    if (step > 200) table[byte(f) % 8] = hostile(f);
    return table;
}

/* ---- what has to hold ---- */

static void check_var(ag_var r) {
    ag_shape s = ag_shape_of(r);
    int64_t count = ag_count(r);
    if (!ag_tape_of(r)) {
        HOLDS(!ag_is_inert(r) && count == 1 && s.rank == 0);
        return;
    }
    HOLDS(ag_is_inert(r) == (ag_tape_status(ag_tape_of(r)) != AG_OK));
    HOLDS(s.rank >= 0 && s.rank <= AG_MAX_RANK && count >= 0);
    if (ag_is_inert(r)) {
        HOLDS(ag_tape_message(ag_tape_of(r))[0] != '\0');
        return;
    }
    uint64_t product = 1;
    for (int i = 0; i < s.rank; i++) product *= (uint64_t)s.dim[i];
    HOLDS((int64_t)product == count);
}

static bool permit(void *context, size_t bytes) {
    fuzz_budget *b = context;
    b->random = b->random * 1664525u + 1013904223u;
    if (b->refuse && (b->random >> 12) % b->refuse == 0) return false;
    if (bytes > MOST_BYTES || b->total + bytes > ALL_BYTES) return false;
    b->total += bytes;
    return true;
}

static void keep(fuzz *f, ag_var r, bool aliased) {
    check_var(r);
    f->newest = (f->newest + 1) % POOL;
    f->pool[f->newest] = (fuzz_place){r, aliased};
}

/* ---- reading ---- */

static bool same_number(double a, double b) { return a == b || (isnan(a) && isnan(b)); }

/* Every way to read a var; the buffers are as long as they have to be, for the sanitizer. */
static void read_all(ag_var v) {
    int64_t count = ag_count(v);
    if (count > MOST_ELEMENTS) return;
    double *out = malloc((size_t)count * sizeof *out + !count);
    float *out_f32 = malloc((size_t)count * sizeof *out_f32 + !count);
    HOLDS(out && out_f32);
    for (int64_t i = 0; i < count; i++) out[i] = 0;
    ag_read_grad(v, out);
    ag_read_grad_f32(v, out_f32);
    ag_read_f32(v, out_f32);
    ag_read(v, out);
    const void *values = ag_data(v), *adjoints = ag_grad_data(v);
    ag_type type = ag_tape_type(ag_tape_of(v));
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        if (values)
            HOLDS(
                same_number(out[i], type == AG_F64 ? ((const double *)values)[i] : (double)((const float *)values)[i]));
        if (adjoints) sum += type == AG_F64 ? ((const double *)adjoints)[i] : (double)((const float *)adjoints)[i];
    }
    if (count == 1 && !ag_is_inert(v)) HOLDS(same_number(ag_value(v), out[0]));
    if (ag_is_inert(v) && ag_tape_status(ag_tape_of(v)) == AG_OK) HOLDS(isnan(ag_value(v)) && isnan(ag_grad(v)));
    (void)sum;
    free(out);
    free(out_f32);
}

static void check_at(fuzz *f) {
    ag_var v = var(f);
    int64_t count = ag_count(v);
    if (!ag_tape_of(v) || ag_is_inert(v) || count < 1) return;
    double values[MOST_ELEMENTS], adjoints[MOST_ELEMENTS];
    int64_t i = (int64_t)byte(f) % count;
    ag_read(v, values);
    ag_read_grad(v, adjoints);
    ag_var e = ag_at(v, i);
    if (ag_tape_status(ag_tape_of(v)) != AG_OK) return;
    HOLDS(same_number(ag_value(e), values[i]));
    HOLDS(same_number(ag_grad(e), adjoints[i]));
    ag_var c = ag_contiguous(v);
    if (ag_tape_status(ag_tape_of(v)) != AG_OK) return;
    HOLDS(ag_data(c) != NULL && ag_count(c) == count);
    ag_read(c, adjoints);
    HOLDS(same_number(adjoints[i], values[i]));
}

/* ---- own operations ---- */

/* params[0] * the sum of operands of one shape */
static bool scale_shape(ag_call *c) {
    if (c->n < 1 || c->params_size != sizeof(double)) {
        ag_fail(c->tape, AG_ERR_VALUE, "scale: %d operands", c->n);
        return false;
    }
    c->shape.rank = c->in[0].view->rank;
    for (int i = 0; i < c->shape.rank; i++) c->shape.dim[i] = c->in[0].view->dim[i];
    for (int k = 1; k < c->n; k++) {
        bool same = c->in[k].view->rank == c->shape.rank;
        for (int i = 0; same && i < c->shape.rank; i++) same = c->in[k].view->dim[i] == c->shape.dim[i];
        if (same) continue;
        ag_fail(c->tape, AG_ERR_SHAPE, "scale: shapes differ");
        return false;
    }
    return true;
}

static double own_get(const ag_call *c, ag_array a, int64_t i) {
    return c->type == AG_F64 ? ((const double *)a.data)[i] : (double)((const float *)a.data)[i];
}

static void own_put(const ag_call *c, ag_array a, int64_t i, double value, bool add) {
    if (add) value += own_get(c, a, i);
    if (c->type == AG_F64) ((double *)a.data)[i] = value;
    else ((float *)a.data)[i] = (float)value;
}

static bool scale_forward(const ag_call *c) {
    double p = *(const double *)c->params;
    for (int64_t i = 0; i < c->out.view->count; i++) {
        double sum = 0;
        for (int k = 0; k < c->n; k++) sum += own_get(c, c->in[k], i);
        own_put(c, c->out, i, p * sum, false);
    }
    return true;
}

static bool scale_adjoint(const ag_call *c) {
    double p = *(const double *)c->params;
    for (int k = 0; k < c->n; k++) {
        if (!c->in_adjoint[k].data) continue;
        bool fresh = k < 32 && (c->fresh >> k & 1);
        for (int64_t i = 0; i < c->out.view->count; i++)
            own_put(c, c->in_adjoint[k], i, p * own_get(c, c->out_adjoint, i), !fresh);
    }
    return true;
}

static ag_var scale_tangent(const ag_rule *r, const ag_var *tangents) {
    ag_var sum = ag_num(0);
    for (int k = 0; k < r->n; k++)
        if (!ag_is_zero(tangents[k])) sum = ag_is_zero(sum) ? tangents[k] : ag_add(sum, tangents[k]);
    return ag_is_zero(sum) ? sum : ag_mul(sum, *(const double *)r->params);
}

static void scale_record(const ag_rule *r, ag_var w, ag_var *contributions) {
    for (int k = 0; k < r->n; k++)
        if (r->wanted[k]) contributions[k] = ag_mul(w, *(const double *)r->params);
}

/* x * x, from what forward saved */
static bool saved_shape(ag_call *c) {
    if (c->n != 1) {
        ag_fail(c->tape, AG_ERR_VALUE, "saved: %d operands", c->n);
        return false;
    }
    c->shape.rank = 1;
    c->shape.dim[0] = c->in[0].view->count;
    c->saved_size = (size_t)c->in[0].view->count * sizeof(double);
    return true;
}

static bool saved_forward(const ag_call *c) {
    for (int64_t i = 0; i < c->out.view->count; i++) {
        double x = own_get(c, c->in[0], i);
        ((double *)c->saved)[i] = x;
        own_put(c, c->out, i, x * x, false);
    }
    return true;
}

static bool saved_adjoint(const ag_call *c) {
    for (int64_t i = 0; c->in_adjoint[0].data && i < c->out.view->count; i++)
        own_put(c, c->in_adjoint[0], i, 2 * ((const double *)c->saved)[i] * own_get(c, c->out_adjoint, i), true);
    return true;
}

static void saved_record(const ag_rule *r, ag_var w, ag_var *contributions) {
    contributions[0] = ag_mul(ag_mul(ag_reshape(w, ag_shape_of(r->in[0])), r->in[0]), 2.0);
}

/* One that does something wrong, as its parameter says. */
typedef struct bad_params {
    unsigned what;
    int64_t size;
    ag_tape *other;
} bad_params;

static bool bad_shape(ag_call *c) {
    const bad_params *p = c->params;
    c->shape.rank = 1;
    c->shape.dim[0] = 3;
    if (p->what == 0) ag_fail(c->tape, AG_ERR_VALUE, "bad: shape");
    if (p->what == 1) c->shape.dim[0] = p->size;
    if (p->what == 2) c->shape.rank = p->size > 100 ? INT_MAX : p->size < -100 ? INT_MIN : (int)p->size;
    if (p->what == 3) c->saved_size = (size_t)p->size;
    for (int i = 1; i < c->shape.rank && i < AG_MAX_RANK; i++) c->shape.dim[i] = p->size;
    return p->what != 0;
}

static bool bad_forward(const ag_call *c) {
    const bad_params *p = c->params;
    for (int64_t i = 0; i < c->out.view->count && i < MOST_ELEMENTS; i++) own_put(c, c->out, i, (double)i, false);
    if (p->what == 4) ag_fail(c->tape, AG_ERR_VALUE, "bad: forward");
    return p->what != 4;
}

static bool bad_adjoint(const ag_call *c) {
    const bad_params *p = c->params;
    if (p->what == 5) ag_fail(c->tape, AG_ERR_VALUE, "bad: adjoint");
    return p->what != 5;
}

static ag_var bad_result(const bad_params *p, ag_var good, ag_tape *t) {
    if (p->what == 6) return ag_num(1);
    if (p->what == 7) return ag_zeros(t, AG_SHAPE(2, 5));
    if (p->what == 8) return ag_input(p->other, 1);
    if (p->what == 9) {
        ag_fail(t, AG_ERR_VALUE, "bad: rule");
        return ag_num(0);
    }
    return p->what == 10 ? good : ag_num(0);
}

static ag_var bad_tangent(const ag_rule *r, const ag_var *tangents) {
    return bad_result(r->params, tangents[0], r->tape);
}

static void bad_record(const ag_rule *r, ag_var w, ag_var *contributions) {
    for (int k = 0; k < r->n; k++)
        if (r->wanted[k]) contributions[k] = bad_result(r->params, w, r->tape);
}

static const ag_operation own_operations[] = {
    {.name = "scale",
     .shape = scale_shape,
     .forward = scale_forward,
     .adjoint = scale_adjoint,
     .tangent = scale_tangent,
     .record = scale_record,
     .stores = true},
    {.name = "scale_plain", .shape = scale_shape, .forward = scale_forward, .adjoint = scale_adjoint},
    {.name = "saved", .shape = saved_shape, .forward = saved_forward, .adjoint = saved_adjoint, .record = saved_record},
    {.name = "saved_plain", .shape = saved_shape, .forward = saved_forward, .adjoint = saved_adjoint},
    {.name = "bad",
     .shape = bad_shape,
     .forward = bad_forward,
     .adjoint = bad_adjoint,
     .tangent = bad_tangent,
     .record = bad_record,
     .strided = true},
    {.name = "bad_reverse", .shape = bad_shape, .forward = bad_forward, .adjoint = bad_adjoint, .record = bad_record}};

static ag_var own_operation(fuzz *f) {
    unsigned which = byte(f) % (sizeof own_operations / sizeof *own_operations);
    ag_var v[LIST];
    int n = list(f, v, LIST);
    if (which < 4) {
        double p = number(f);
        return ag_apply(&own_operations[which], v, which < 2 ? n : n > 0 ? 1 : n, &p, sizeof p);
    }
    ag_tape *other = f->tape[byte(f) % TAPES];
    bad_params p;
    memset(&p, 0, sizeof p);
    p.what = byte(f) % 11;
    p.size = hostile(f);
    p.other = other;
    return ag_apply(&own_operations[which], v, n, &p, sizeof p);
}

/* ---- elementwise operations ---- */

static ag_var (*const unary[])(ag_var) = {
#define AG_OP1(NAME, name, ...) ag_##name,
#define AG_OP2(...)
#define AG_OP3(...)
#include <autograd/ops/elementwise.def>
#undef AG_OP1
#undef AG_OP2
};
static const ag_opcode binary[] = {
#define AG_OP1(...)
#define AG_OP2(NAME, ...) AG_##NAME,
#include <autograd/ops/elementwise.def>
#undef AG_OP2
#undef AG_OP3
};
static const ag_opcode ternary[] = {
#define AG_OP2(...)
#define AG_OP3(NAME, ...) AG_##NAME,
#include <autograd/ops/elementwise.def>
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3
};

static ag_var elementwise(fuzz *f) {
    unsigned kind = byte(f) % 12, which = byte(f);
    ag_var x = var(f);
    if (kind < 4) return unary[which % (sizeof unary / sizeof *unary)](x);
    ag_var y = var(f);
    switch (kind) {
    case 4: return ag_add(x, y);
    case 5: return ag_mul(x, y);
    case 6: return which & 1 ? ag_sub(x, 0.5) : ag_sub(2, x);
    case 7: return which & 1 ? ag_div(x, y) : ag_div(1.5, x);
    case 8:
    case 9: return ag_apply2_(binary[which % (sizeof binary / sizeof *binary)], x, y);
    case 10: return which & 1 ? ag_fma(x, y, var(f)) : ag_fnma(x, y, var(f));
    default: return ag_apply3_(ternary[which % (sizeof ternary / sizeof *ternary)], x, y, var(f));
    }
}

/* ---- tensor operations ---- */

static ag_var view(fuzz *f, bool *aliased) {
    unsigned kind = byte(f) % 13;
    fuzz_place *p = any(f);
    ag_var x = p->v;
    *aliased = p->aliased || kind == 6;
    switch (kind) {
    case 0: {
        ag_shape s = shape(f);
        if (s.rank > 0 && flag(f)) s.dim[byte(f) % AG_MAX_RANK] = -1;
        return ag_count(x) <= MOST_ELEMENTS ? ag_reshape(x, s) : x;
    }
    case 1: return ag_transpose(x);
    case 2: return ag_permute(x, axes(f));
    case 3: {
        ag_axes order = {.count = ag_shape_of(x).rank};
        unsigned shift = byte(f);
        for (int i = 0; i < order.count; i++) order.axis[i] = (i + (int)shift) % order.count;
        return ag_permute(x, order);
    }
    case 4: {
        int axis = small(f, -2, 2);
        int64_t start = integer(f, -3, 3), stop = integer(f, -3, 4), step = integer(f, -2, 2);
        return ag_slice(x, axis, start, flag(f) ? AG_END : stop, step ? step : (int64_t)byte(f) % 3);
    }
    case 5: return ag_index(x, small(f, -2, 2), integer(f, -2, 2));
    case 6: return ag_expand(x, shape(f));
    case 7: return ag_squeeze(x, small(f, -2, 2));
    case 8: return ag_unsqueeze(x, small(f, -3, 3));
    case 9: return ag_flip(x, small(f, -2, 2));
    case 10: return ag_diagonal(x);
    case 11: return ag_at(x, integer(f, 0, 5));
    default: return ag_count(x) <= MOST_ELEMENTS ? ag_contiguous(x) : x;
    }
}

static ag_var reduction(fuzz *f) {
    static ag_var (*const over[])(ag_var, ag_axes, bool) = {ag_sum_over, ag_mean_over, ag_prod_over,     ag_max_over,
                                                            ag_min_over, ag_norm_over, ag_logsumexp_over};
    static ag_var (*const whole[])(ag_var) = {ag_sum, ag_mean, ag_prod, ag_norm, ag_logsumexp, ag_trace};
    static ag_var (*const along[])(ag_var, int) = {ag_argmax, ag_cumsum, ag_softmax, ag_log_softmax};
    unsigned kind = byte(f) % 4, which = byte(f);
    ag_var x = var(f);
    if (kind < 2) {
        ag_axes a = axes(f);
        return over[which % 7](x, a, flag(f));
    }
    return kind == 2 ? whole[which % 6](x) : along[which % 4](x, small(f, -2, 2));
}

static ag_var assembled(fuzz *f) {
    unsigned kind = byte(f) % 8;
    ag_var x = var(f), v[LIST];
    int axis = small(f, -2, 2);
    switch (kind) {
    case 0: {
        const int64_t *indices = order(f, 3);
        return ag_gather(x, axis, indices, byte(f) < 250 ? (int64_t)(byte(f) % 6) : -(int64_t)byte(f));
    }
    case 1: {
        const int64_t *indices = order(f, 3);
        return is_small(x) ? ag_scatter_add(x, axis, indices, integer(f, 0, 5)) : x;
    }
    case 2: {
        int n = list(f, v, LIST);
        return ag_concat(v, n, axis);
    }
    case 3: {
        int n = list(f, v, LIST);
        return ag_stack(v, n, axis);
    }
    case 4: {
        int64_t before = integer(f, 0, 2);
        return ag_pad(x, axis, before, integer(f, 0, 2));
    }
    case 5: return ag_tile(x, axis, integer(f, 0, 3));
    case 6: return ag_tril(x, integer(f, -2, 2));
    default: return ag_triu(x, integer(f, -2, 2));
    }
}

/* A matrix that is not singular, made of a square one. */
static ag_var regular(ag_var x) {
    ag_shape s = ag_shape_of(x);
    if (s.rank < 2 || s.dim[s.rank - 1] != s.dim[s.rank - 2]) return x;
    return ag_add(ag_mul(ag_tanh(x), 0.2), ag_mul(ag_eye(ag_tape_of(x), s.dim[s.rank - 1]), 1.5));
}

static ag_var matrices(fuzz *f) {
    unsigned kind = byte(f) % 13;
    ag_var x = var(f), y = kind < 8 ? var(f) : x;
    if (kind >= 4 && kind < 12 && (byte(f) & 3)) x = regular(x);
    switch (kind) {
    case 0:
    case 1: return ag_matmul(x, y);
    case 2: return ag_vdot(x, y);
    case 3: return ag_outer(x, y);
    case 4: return ag_solve(x, y);
    case 5: return ag_solve_triangular(x, y, flag(f));
    case 6: return ag_cross_entropy_soft(x, y);
    case 7: return ag_matmul(ag_transpose(x), y);
    case 8: return ag_cholesky(x);
    case 9: return ag_inverse(x);
    case 10: return ag_logdet(x);
    case 11: return ag_det(x);
    default: {
        const int64_t *labels = order(f, 3);
        return is_small(x) ? ag_cross_entropy(x, labels) : x;
    }
    }
}

/* ---- leaves and values ---- */

static void numbers(fuzz *f, double out[MOST_ELEMENTS], float out_f32[MOST_ELEMENTS]) {
    double a = number(f), b = number(f);
    unsigned mix = byte(f);
    for (int i = 0; i < MOST_ELEMENTS; i++) {
        mix = mix * 75 + 74;
        out[i] = a + b * (double)(mix >> 8 & 255) / 256 + (i % 4 == 0 ? 2 : 0);
        out_f32[i] = (float)out[i];
    }
}

static ag_var leaf(fuzz *f) {
    ag_tape *t = tape(f);
    unsigned kind = byte(f) % 14;
    double data[MOST_ELEMENTS];
    float data_f32[MOST_ELEMENTS];
    if (kind == 0) return ag_input(t, number(f));
    if (kind == 1) return ag_constant(t, number(f));
    if (kind == 2) return ag_eye(t, integer(f, 0, 4));
    if (kind == 3) {
        double start = number(f), step = number(f);
        return ag_arange(t, start, step, integer(f, 0, 5));
    }
    if (kind == 4) {
        const int64_t *labels = order(f, 3);
        int64_t n = (int64_t)byte(f) % 6;
        if (byte(f) > 250) n = flag(f) ? -1 : INT64_MIN;
        return ag_one_hot(t, labels, n, integer(f, 0, 4));
    }
    ag_shape s = shape(f);
    int64_t count = 1;
    bool good = s.rank >= 0 && s.rank <= AG_MAX_RANK;
    for (int i = 0; good && i < s.rank; i++)
        good = s.dim[i] >= 0 && s.dim[i] <= MOST_ELEMENTS && (count *= s.dim[i]) <= MOST_ELEMENTS;
    if (kind == 5) {
        double value = number(f);
        return ag_full(t, value, s);
    }
    if (kind == 6) return ag_zeros(t, s);
    if (kind == 7) return ag_ones(t, s);
    numbers(f, data, data_f32);
    if (kind == 8) return ag_constant_tensor(t, good ? data : NULL, s);
    if (kind == 9) return ag_constant_tensor_f32(t, good ? data_f32 : NULL, s);
    if (kind == 10) return ag_tensor_f32(t, good ? data_f32 : NULL, s);
    return ag_tensor(t, good ? data : NULL, s);
}

static void change(fuzz *f) {
    unsigned kind = byte(f) % 4;
    ag_var x = var(f);
    double data[MOST_ELEMENTS];
    float data_f32[MOST_ELEMENTS];
    numbers(f, data, data_f32);
    int i = tape_number(f, ag_tape_of(x));
    if (kind == 0) ag_set(x, flag(f) ? data : NULL);
    if (kind == 1) ag_set_f32(x, data_f32);
    if (kind == 2) ag_step(x, number(f));
    if (kind == 3) ag_name(x, &"a \"name\" \\ %s \n<b>{|}\xff"[byte(f) % 16]);
    else if (i >= 0) f->changed[i] = true;
}

/* ---- derivatives ---- */

static bool may_derive(const fuzz *f, ag_tape *t) {
    return f->derivatives < MOST_DERIVATIVES && (!t || ag_tape_stats(t).slots < MOST_SLOTS_TO_DERIVE);
}

static void sweep(fuzz *f) {
    unsigned kind = byte(f) % 4;
    ag_var y[LIST], s[LIST];
    if (kind < 2) {
        y[0] = var(f);
        ag_backward(y[0]);
    } else {
        int n = list(f, y, LIST);
        list(f, s, LIST);
        bool accumulate = flag(f), forget = kind == 3;
        if (accumulate && n > 0)
            for (int i = 0; i < TAPES; i++) f->kept[i] = true;
        ag_sweep(y, flag(f) ? s : NULL, n,
                 accumulate ? forget ? AG_ACCUMULATE_FORGET : AG_ACCUMULATE
                 : forget   ? AG_RESET_FORGET
                            : AG_RESET);
    }
}

static bool may_derive_all(const fuzz *f, const ag_var *v, int n) {
    for (int i = 0; i < n; i++)
        if (!may_derive(f, ag_tape_of(v[i]))) return false;
    return true;
}

static void derivative(fuzz *f) {
    unsigned kind = byte(f) % 6;
    ag_var y[LIST], w[LIST], x[LIST], out[LIST];
    int ny = list(f, y, LIST), nx = list(f, x, LIST), n = 1;
    list(f, w, LIST);
    if (!may_derive_all(f, y, LIST) || !may_derive_all(f, x, LIST) || !may_derive_all(f, w, LIST)) return;
    f->derivatives++;
    for (int i = 0; i < LIST; i++) out[i] = ag_num(0);
    switch (kind) {
    case 0: ag_gradient(y[0], x, n = nx, out); break;
    case 1: ag_vjp(y, w, ny, x, n = nx, out); break;
    case 2: ag_jvp(y, n = ny, x, w, nx, out); break;
    case 3: out[0] = ag_hvp(y[0], x[0], w[0]); break;
    case 4:
        if (ag_count(y[0]) > 8 && ag_count(x[0]) > 8) return;
        out[0] = ag_jacobian(y[0], x[0]);
        break;
    default:
        if (ag_count(x[0]) > 6) return;
        out[0] = ag_hessian(y[0], x[0]);
    }
    for (int i = 0; i < n; i++) keep(f, out[i], true);
}

static bool moderate(double x) { return fabs(x) < 1e5; }

static bool all_moderate(const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!moderate(x[i])) return false;
    return true;
}

/* Whether derivatives by x of y can be compared. */
static bool comparable(fuzz *f, ag_var y, const fuzz_place *x) {
    int i = tape_number(f, ag_tape_of(y));
    return i >= 0 && ag_tape_of(y) && ag_tape_of(y) == ag_tape_of(x->v) && !f->changed[i] && !x->aliased &&
           !ag_is_inert(y) && !ag_is_inert(x->v) && ag_count(x->v) <= 64 && ag_count(y) <= 64 &&
           ag_tape_type(ag_tape_of(y)) == AG_F64 && may_derive(f, ag_tape_of(y));
}

/* A var to differentiate y by. */
static bool find_x(fuzz *f, ag_var y, ag_var *x) {
    unsigned from = byte(f);
    for (unsigned k = 0; k < POOL; k++) {
        const fuzz_place *p = &f->pool[(from + k) % POOL];
        *x = p->v;
        if (comparable(f, y, p) && !ag_is_constant(p->v)) return true;
    }
    return false;
}

static double dot(const double *a, const double *b, int64_t n, double *scale) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i], *scale += fabs(a[i] * b[i]);
    return sum;
}

/* <w, J v> both ways. */
static void check_transposes(fuzz *f) {
    ag_var y = var(f), x, g, d;
    if (!find_x(f, y, &x)) return;
    f->derivatives++;
    double w[MOST_ELEMENTS], v[MOST_ELEMENTS], jw[64], jv[64], scale = 1;
    float w_f32[MOST_ELEMENTS];
    numbers(f, w, w_f32);
    for (int i = 0; i < MOST_ELEMENTS; i++) v[i] = 0.3 - w[(i * 7 + 3) % MOST_ELEMENTS];
    if (!all_moderate(w, MOST_ELEMENTS)) return;
    ag_var along = ag_constant_tensor(ag_tape_of(y), v, ag_shape_of(x)),
           weights = ag_constant_tensor(ag_tape_of(y), w, ag_shape_of(y));
    ag_vjp(&y, &weights, 1, &x, 1, &g);
    ag_jvp(&y, 1, &x, &along, 1, &d);
    check_var(d);
    if (ag_tape_status(ag_tape_of(y)) != AG_OK) return;
    HOLDS(ag_count(g) == ag_count(x) && ag_count(d) == ag_count(y));
    ag_read(g, jw);
    ag_read(d, jv);
    if (!all_moderate(jw, ag_count(g)) || !all_moderate(jv, ag_count(d))) return;
    double a = dot(w, jv, ag_count(d), &scale), b = dot(v, jw, ag_count(g), &scale);
    if (!(fabs(a - b) <= 1e-6 * scale)) fprintf(stderr, "forward %.17g, reverse %.17g\n", a, b);
    HOLDS(fabs(a - b) <= 1e-6 * scale);
}

/* ag_gradient against ag_backward. */
static void check_sweep(fuzz *f) {
    ag_var y = var(f), x, g;
    if (!find_x(f, y, &x)) return;
    f->derivatives++;
    if (ag_count(y) != 1) y = ag_sum(ag_tanh(y));
    double swept[64], recorded[64];
    ag_backward(y);
    if (ag_tape_status(ag_tape_of(y)) != AG_OK) return;
    ag_read_grad(x, swept);
    ag_gradient(y, &x, 1, &g);
    if (ag_tape_status(ag_tape_of(y)) != AG_OK) return;
    ag_read(g, recorded);
    int64_t n = ag_count(x);
    HOLDS(ag_count(g) == n);
    if (!all_moderate(swept, n) || !all_moderate(recorded, n)) return;
    for (int64_t i = 0; i < n; i++) {
        double error = fabs(swept[i] - recorded[i]), most = fmax(1, fmax(fabs(swept[i]), fabs(recorded[i])));
        if (!(error <= 1e-6 * most))
            fprintf(stderr, "element %d: swept %.17g, recorded %.17g\n", (int)i, swept[i], recorded[i]);
        HOLDS(error <= 1e-6 * most);
    }
}

typedef struct checked {
    unsigned what;
    ag_var other;
} checked;

static ag_var checked_function(ag_tape *t, const ag_var *x, int n, void *context) {
    const checked *c = context;
    if (n < 1) return c->what & 1 ? ag_constant(t, 1) : c->other;
    switch (c->what % 7) {
    case 0: return ag_mul(x[0], x[n - 1]);
    case 1: return ag_sum(ag_exp(x[0]));
    case 2: return c->other;
    case 3: return ag_num(3);
    case 4: return ag_matmul(x[0], x[n - 1]);
    case 5: return unary[c->what % (sizeof unary / sizeof *unary)](x[0]);
    default: ag_tape_clear(t); return x[0];
    }
}

static void check_function(fuzz *f, FILE *out) {
    ag_var v[LIST];
    int n = list(f, v, 2);
    checked c = {byte(f), f->pool[byte(f) % POOL].v};
    for (int i = 0; i < 2; i++)
        if (ag_count(v[i]) > 6) return;
    if (f->derivatives > MOST_DERIVATIVES) return;
    f->derivatives++;
    ag_report r = ag_check_gradient(checked_function, &c, v, n, byte(f) & 1 ? 0 : number(f));
    HOLDS(r.checked >= 0 && r.wrong <= r.checked);
    ag_report_write(&r, out);
}

/* ---- tapes ---- */

static ag_tape *new_tape(fuzz *f, int i) {
    unsigned b = byte(f);
    f->budget[i] = (fuzz_budget){.random = byte(f), .refuse = b >= 200 ? 2 + byte(f) : 0};
    f->changed[i] = f->kept[i] = false;
    if (b == 199) return NULL;
    ag_options o = {
        .type = b & 1 ? AG_F32 : AG_F64, .permit = permit, .context = &f->budget[i], .no_reserve = (b & 6) != 0};
    ag_tape *t = ag_tape_new_with(&o);
    HOLDS(t != NULL);
    return t;
}

static void forget_tape(fuzz *f, int i) {
    for (int k = 0; k < POOL; k++)
        if (ag_tape_of(f->pool[k].v) == f->tape[i] || f->tape[i] == NULL) f->pool[k] = (fuzz_place){{0}, true};
    ag_tape_free(f->tape[i]);
    f->tape[i] = NULL;
}

static void lifecycle(fuzz *f, FILE *out) {
    unsigned kind = byte(f) % 20, which = byte(f) % TAPES;
    ag_tape *t = f->tape[which];
    int times = byte(f) > 250 ? 70 : 6;
    switch (kind) {
    case 0:
    case 1:
    case 2: f->mark[byte(f) % MARKS] = ag_tape_mark(t); break;
    case 3:
    case 4:
    case 5: ag_tape_rewind(t, f->mark[byte(f) % MARKS]); break;
    case 6: ag_pause(t); break;
    case 7:
    case 8: ag_resume(t); break;
    case 9: ag_tape_trim(t); break;
    case 10:
        if (flag(f)) ag_tape_clear(t);
        f->changed[which] = false;
        break;
    case 11:
        if (byte(f) < 100) break;
        forget_tape(f, (int)which);
        f->tape[which] = new_tape(f, (int)which);
        break;
    case 12: ag_fail(t, (ag_status)(byte(f) % 9), "by the caller: %d", (int)byte(f)); break;
    case 13:
        if (ag_tape_stats(t).slots < MOST_SLOTS_TO_DERIVE) (void)ag_dot(t, out);
        break;
    case 14: ag_tape_summary(t, out); break;
    case 15: {
        ag_stats s = ag_tape_stats(t);
        HOLDS(s.held_bytes < ALL_BYTES && s.value_bytes <= s.held_bytes);
        break;
    }
    case 16: ag_tape_rewind(t, (ag_mark){byte(f), byte(f)}); break;
    case 17: {
        ag_mark m = ag_tape_mark(t);
        for (int i = 0; i < times; i++) ag_tape_rewind(t, m);
        break;
    }
    case 18:
        for (int i = 0; i < 6 && byte(f) > 200; i++) ag_tape_clear(t);
        break;
    default:
        HOLDS(strlen(ag_tape_message(t)) < 1000 && strlen(ag_status_text(ag_tape_status(t))) > 0);
        HOLDS((ag_tape_message(t)[0] == '\0') == (ag_tape_status(t) == AG_OK) || kind == 19);
    }
}

static void one_call(fuzz *f, FILE *out) {
    unsigned kind = byte(f);
    bool aliased = false;
    if (kind < 40) keep(f, leaf(f), false);
    else if (kind < 80) keep(f, elementwise(f), false);
    else if (kind < 120) {
        ag_var r = view(f, &aliased);
        keep(f, r, aliased);
    } else if (kind < 145) keep(f, reduction(f), false);
    else if (kind < 165) keep(f, assembled(f), true);
    else if (kind < 185) keep(f, matrices(f), true);
    else if (kind < 192) keep(f, own_operation(f), false);
    else if (kind < 200) sweep(f);
    else if (kind < 208) derivative(f);
    else if (kind < 216) check_transposes(f);
    else if (kind < 224) check_sweep(f);
    else if (kind < 228) change(f);
    else if (kind < 231) keep(f, ag_detach(var(f)), true);
    else if (kind < 236) check_at(f);
    else if (kind < 238) check_function(f, out);
    else if (kind < 242) read_all(any(f)->v);
    else lifecycle(f, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static FILE *out;
    if (!out) out = fopen("/dev/null", "w");
    if (!out) return 0;
    fuzz *f = calloc(1, sizeof *f);
    if (!f) return 0;
    f->next = data;
    f->end = data + size;
    for (int i = 0; i < TAPES; i++) f->tape[i] = new_tape(f, i);
    for (int calls = 0; f->next < f->end && calls < MOST_CALLS; calls++) {
        call_from = f->next;
        one_call(f, out);
        for (int i = 0; i < TAPES; i++)
            if (ag_tape_status(f->tape[i]) != AG_OK && (byte(f) & 7)) ag_tape_recover(f->tape[i]);
    }
    for (int k = 0; k < POOL; k++) read_all(f->pool[k].v);
    for (int i = 0; i < TAPES; i++) ag_tape_free(f->tape[i]);
    free(f);
    return 0;
}
