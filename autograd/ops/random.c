/* Dropout, and random numbers, as functions of a key and a clock: the number of the step, which is a var, so that a
 * program that is run again draws others. */

#include "builtin_impl.h"
#include "c_form_impl.h"
#include "structural_impl.h"
#include <math.h>

enum { DRAWN = 8 * AG_RANDOM_BLOCK, LEAST_WORK = 1 << 16 }; /* numbers at a time; that are worth a thread */

/* The clock's bits, whatever number it is. */
static uint64_t clock_of(const ag_call *call, int operand) {
    double clock = ag_load(call->type, call->in[operand].data, 0);
    uint64_t bits;
    memcpy(&bits, &clock, sizeof bits);
    return bits;
}

enum { DROPOUT, UNIFORM, NORMAL, KINDS };

/* Work on `count` numbers in pieces of DRAWN, shared by threads. */
typedef struct drawing {
    const ag_kernels *kernels;
    ag_type type;
    uint64_t key, clock;
    int64_t count;
    int threads, kind;
    uint32_t threshold;
    double scale;
    const void *x;
    void *to;
    bool add;
} drawing;

static void draw(drawing *d, void (*work)(void *context, int thread)) {
    int64_t pieces = (d->count + DRAWN - 1) / DRAWN;
    int most = d->count < LEAST_WORK ? 1 : ag_threads();
    d->threads = pieces < most ? (int)pieces : most;
    if (d->threads > 0) ag_parallel(d->threads, work, d);
}

/* The pieces of one thread. */
static inline void draw_pieces(const drawing *d, int thread,
                               void (*piece)(const drawing *d, int64_t first, size_t n, const uint32_t *bits)) {
    uint32_t bits[DRAWN];
    for (int64_t first = thread * (int64_t)DRAWN; first < d->count; first += d->threads * (int64_t)DRAWN) {
        size_t n = (size_t)(d->count - first < DRAWN ? d->count - first : DRAWN);
        size_t blocks = d->kind == NORMAL ? DRAWN / AG_RANDOM_BLOCK : (n + AG_RANDOM_BLOCK - 1) / AG_RANDOM_BLOCK;
        d->kernels->random_bits(d->key, d->clock, (uint64_t)first / AG_RANDOM_BLOCK, blocks, bits);
        piece(d, first, n, bits);
    }
}

/* ---- dropout ---- */

typedef struct dropping {
    double p;
    uint64_t key;
} dropping;

static bool dropout_shape(ag_call *call) {
    call->shape = ag_dims_of(call->in[0].view);
    if (call->in[1].view->count == 1) return true;
    ag_fail(call->tape, AG_ERR_SHAPE, "dropout: a clock of shape %s is not one number",
            ag_show_view(call->in[1].view).text);
    return false;
}

static void drop_piece(const drawing *d, int64_t first, size_t n, const uint32_t *bits) {
    d->kernels->keep(n, ag_element(d->type, d->to, first), ag_element(d->type, (void *)(uintptr_t)d->x, first), bits,
                     d->threshold, d->scale, d->add);
}
static void drop_pieces(void *context, int thread) { draw_pieces(context, thread, drop_piece); }

/* Bits below it drop a number. */
static uint32_t threshold_of(double p) { return (uint32_t)fmin(p * 0x1p32, 0x1p32 - 1); }

/* to = (or +=) x where it is kept, over the probability of that. */
static void drop(const ag_call *call, const void *x, void *to, bool add) {
    const dropping *p = call->params;
    drawing d = {.kernels = ag_kernels_for(call->type),
                 .type = call->type,
                 .key = p->key,
                 .clock = clock_of(call, 1),
                 .count = call->out.view->count,
                 .threshold = threshold_of(p->p),
                 .scale = 1 / (1 - p->p),
                 .x = x,
                 .to = to,
                 .add = add};
    draw(&d, drop_pieces);
}

static bool dropout_forward(const ag_call *call) {
    drop(call, call->in[0].data, call->out.data, false);
    return true;
}

static bool dropout_adjoint(const ag_call *call) {
    if (call->fresh & 2 && call->in_adjoint[1].data) ag_store(call->type, call->in_adjoint[1].data, 0, 0);
    if (call->in_adjoint[0].data) drop(call, call->out_adjoint.data, call->in_adjoint[0].data, !(call->fresh & 1));
    return true;
}

static const ag_operation dropout;

static ag_var drop_var(const ag_rule *rule, ag_var x) {
    return ag_apply(&dropout, (ag_var[]){x, rule->in[1]}, 2, rule->params, rule->params_size);
}
static ag_var dropout_tangent(const ag_rule *rule, const ag_var *tangents) {
    return ag_is_zero(tangents[0]) ? ag_num(0) : drop_var(rule, tangents[0]);
}
static void dropout_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    contributions[1] = ag_num(0);
    if (rule->wanted[0]) contributions[0] = drop_var(rule, w);
}

static bool dropout_valid(const ag_call *call) {
    const dropping *p = call->params;
    return call->params_size == sizeof *p && p->p >= 0 && p->p < 1;
}

/* Opens loops over blocks and counters; number i1 of a counter's four is element `at`. */
static void open_words(const ag_c_form *f, uint64_t key, int clock, int64_t count) {
    ag_c_need(f, "random");
    ag_c_open(f, 0, (count + AG_RANDOM_BLOCK - 1) / AG_RANDOM_BLOCK * (AG_RANDOM_BLOCK / 4));
    ag_c_line(f, "unsigned long long ad_word[4];");
    ag_c_line(f, "ad_random%s(%lluu, (double)%s[0], i, ad_word);", f->suffix, (unsigned long long)key, f->in[clock]);
    ag_c_open(f, 1, 4);
    ag_c_line(f, "const long at = i / %d * %d + i1 * %d + i %% %d;", AG_RANDOM_BLOCK / 4, AG_RANDOM_BLOCK,
              AG_RANDOM_BLOCK / 4, AG_RANDOM_BLOCK / 4);
}

static bool dropout_c_form(const ag_c_form *f) {
    const dropping *p = f->params;
    int64_t count = f->views[0]->count;
    open_words(f, p->key, 1, count);
    ag_c_line(f, "if (at < %lld) %s[at] = ad_word[i1] < %luu ? 0 : %s[at] * %s%.17g;", (long long)count, f->out,
              (unsigned long)threshold_of(p->p), f->in[0], f->type == AG_F32 ? "(float)" : "", 1 / (1 - p->p));
    ag_c_close(f, 2);
    return true;
}

static const ag_operation dropout = {
    .name = "dropout",
    .shape = dropout_shape,
    .forward = dropout_forward,
    .adjoint = dropout_adjoint,
    .tangent = dropout_tangent,
    .record = dropout_record,
    .stores = true,
    .c_form = dropout_c_form,
    .valid = dropout_valid,
};
const ag_operation *const ag_builtin_dropout = &dropout;

ag_var ag_dropout(ag_var x, double p, uint64_t key, ag_var clock) {
    ag_tape *tape = ag_tape_of(x) ? ag_tape_of(x) : ag_tape_of(clock);
    if (!tape || !ag_usable_on(tape, x, "dropout") || !ag_usable_on(tape, clock, "dropout")) return ag_inert(tape);
    if (!(p >= 0 && p < 1)) {
        ag_fail(tape, AG_ERR_VALUE, "dropout: a probability of %g is outside 0..1, or is 1", p);
        return ag_inert(tape);
    }
    return ag_apply(&dropout, (ag_var[]){x, clock}, 2, &(dropping){p, key}, sizeof(dropping));
}

/* ---- random numbers ---- */

typedef struct random_params {
    uint64_t key;
    int64_t kind, rank, dim[AG_MAX_RANK];
} random_params;

static bool random_shape(ag_call *call) {
    const random_params *p = call->params;
    int64_t count;
    call->shape.rank = (int)p->rank;
    memcpy(call->shape.dim, p->dim, sizeof p->dim);
    if (call->in[0].view->count == 1) return ag_checked_count(call->tape, "random", call->shape, &count);
    ag_fail(call->tape, AG_ERR_SHAPE, "random: a clock of shape %s is not one number",
            ag_show_view(call->in[0].view).text);
    return false;
}

/* Uniform in (0, 1); normal from pairs of those, in the first and the second half of a piece: Box and Muller, A note on
 * the generation of random normal deviates, 1958. */
static void random_piece(const drawing *d, int64_t first, size_t n, const uint32_t *bits) {
    enum { HALF = DRAWN / 2 };
    double numbers[2][DRAWN]; /* of either type */
    size_t size = ag_type_size(d->type);
    char *u = (char *)numbers[0], *second = u + HALF * size, *r = (char *)numbers[1];
    const ag_kernels *kernels = d->kernels;
    for (size_t i = 0; i < (d->kind == NORMAL ? DRAWN : n); i++)
        ag_store(d->type, u, (int64_t)i,
                 d->type == AG_F64 ? (bits[i] + 0.5) * 0x1p-32 : ((bits[i] >> 9) + 0.5) * 0x1p-23);
    if (d->kind == NORMAL) {
        kernels->value[AG_LOG](HALF, r, u, NULL, NULL);
        kernels->scale(HALF, r, -2, r);
        kernels->value[AG_SQRT](HALF, r, r, NULL, NULL);
        kernels->scale(HALF, second, 6.283185307179586, second);
        kernels->value[AG_COS](HALF, u, second, NULL, NULL);
        kernels->value[AG_SIN](HALF, second, second, NULL, NULL);
        kernels->value[AG_MUL](HALF, u, u, r, NULL);
        kernels->value[AG_MUL](HALF, second, second, r, NULL);
    }
    memcpy(ag_element(d->type, d->to, first), u, n * size);
}
static void random_pieces(void *context, int thread) { draw_pieces(context, thread, random_piece); }

static bool random_forward(const ag_call *call) {
    const random_params *p = call->params;
    drawing d = {.kernels = ag_kernels_for(call->type),
                 .type = call->type,
                 .key = p->key,
                 .clock = clock_of(call, 0),
                 .count = call->out.view->count,
                 .kind = (int)p->kind,
                 .to = call->out.data};
    draw(&d, random_pieces);
    return true;
}

/* Nothing depends on the clock smoothly. */
static bool random_adjoint(const ag_call *call) {
    (void)call;
    return true;
}
static ag_var random_tangent(const ag_rule *rule, const ag_var *tangents) {
    (void)rule, (void)tangents;
    return ag_num(0);
}
static void random_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    (void)rule, (void)w;
    contributions[0] = ag_num(0);
}

/* "((double)WORD + 0.5) * 2^-32" */
static ag_c_text uniform_text(const ag_c_form *f, const char *word) {
    ag_c_text t;
    if (f->type == AG_F64) snprintf(t.text, sizeof t.text, "((double)%s + 0.5) * 2.3283064365386963e-10", word);
    else snprintf(t.text, sizeof t.text, "(float)(((double)(%s >> 9) + 0.5) * 1.1920928955078125e-07)", word);
    return t;
}

static bool random_c_form(const ag_c_form *f) {
    const random_params *p = f->params;
    long long count = ag_count_dims(f->shape.dim, 0, f->shape.rank);
    const char *cast = f->type == AG_F32 ? "(float)" : "";
    if (p->kind == UNIFORM) {
        open_words(f, p->key, 0, count);
        ag_c_line(f, "if (at < %lld) %s[at] = %s;", count, f->out, uniform_text(f, "ad_word[i1]").text);
        ag_c_close(f, 2);
        return true;
    }
    /* a counter of the first half of a piece, and its partner in the second */
    enum { HALF = DRAWN / 2, COUNTERS = AG_RANDOM_BLOCK / 4, OF_HALF = HALF / 4 };
    ag_c_need(f, "random");
    ag_c_open(f, 0, (count + DRAWN - 1) / DRAWN);
    ag_c_open(f, 1, OF_HALF);
    char second[24];
    snprintf(second, sizeof second, " + %d", OF_HALF);
    ag_c_line(f, "unsigned long long ad_word[4], ad_other[4];");
    for (int k = 0; k < 2; k++)
        ag_c_line(f, "ad_random%s(%lluu, (double)%s[0], i * %d + i1%s, %s);", f->suffix, (unsigned long long)p->key,
                  f->in[0], 2 * OF_HALF, k ? second : "", k ? "ad_other" : "ad_word");
    ag_c_open(f, 2, 4);
    ag_c_line(f, "const long at = i * %d + i1 / %d * %d + i2 * %d + i1 %% %d;", DRAWN, COUNTERS, AG_RANDOM_BLOCK,
              COUNTERS, COUNTERS);
    ag_c_line(f, "const %s scale = sqrt%s(-2 * log%s(%s));", f->number, f->suffix, f->suffix,
              uniform_text(f, "ad_word[i2]").text);
    ag_c_line(f, "const %s part = %s6.283185307179586 * (%s);", f->number, cast, uniform_text(f, "ad_other[i2]").text);
    ag_c_line(f, "if (at < %lld) %s[at] = cos%s(part) * scale;", count, f->out, f->suffix);
    ag_c_line(f, "if (at + %d < %lld) %s[at + %d] = sin%s(part) * scale;", HALF, count, f->out, HALF, f->suffix);
    ag_c_close(f, 3);
    return true;
}

static bool random_valid(const ag_call *call) {
    const random_params *p = call->params;
    if (call->params_size != sizeof *p || p->rank < 0 || p->rank > AG_MAX_RANK) return false;
    return p->kind == UNIFORM || p->kind == NORMAL;
}

static const ag_operation random_operation = {
    .name = "random",
    .shape = random_shape,
    .forward = random_forward,
    .adjoint = random_adjoint,
    .tangent = random_tangent,
    .record = random_record,
    .c_form = random_c_form,
    .valid = random_valid,
};
const ag_operation *const ag_builtin_random = &random_operation;

static ag_var random_of(ag_tape *tape, ag_shape shape, uint64_t key, ag_var clock, int kind) {
    int64_t count;
    if (!ag_usable_on(tape, clock, "random")) return ag_inert(tape);
    if (!ag_shape_count(shape, &count)) {
        ag_fail(tape, AG_ERR_SHAPE, "random: a shape of %d axes, or with too many elements", shape.rank);
        return ag_inert(tape);
    }
    random_params p = {.key = key, .kind = kind, .rank = shape.rank};
    for (int i = 0; i < shape.rank; i++) p.dim[i] = shape.dim[i];
    if (!ag_tape_of(clock)) clock = ag_constant(tape, clock.value);
    return ag_apply(&random_operation, &clock, 1, &p, sizeof p);
}

ag_var ag_random_uniform(ag_tape *tape, ag_shape shape, uint64_t key, ag_var clock) {
    return random_of(tape, shape, key, clock, UNIFORM);
}
ag_var ag_random_normal(ag_tape *tape, ag_shape shape, uint64_t key, ag_var clock) {
    return random_of(tape, shape, key, clock, NORMAL);
}
