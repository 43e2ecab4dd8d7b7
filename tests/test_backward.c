/* nn_check_backward: right backward functions hold, wrong ones are found and it is said what is wrong; against the tape
 * and against central differences, for doubles and floats. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <float.h>

#include "nn/nn.h"
#include "nn_memory.h"

enum { DRAWS = 4 };
#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

/* ---- what the functions below need ----------------------------------------------------------------------------- */

typedef enum mistake {
    NONE,
    SIGN,
    TRANSPOSED,
    MEAN,
    ONE_ENTRY,
    POWER_OF_TEN,
    NO_SIGMA,
    NOT_A_NUMBER,
    NONSENSE,
    FORGOTTEN
} mistake;

/* Context of all functions. */
typedef struct context {
    ag_type type;
    mistake mistake;
} context;

static double get(const context *c, const void *array, int i) {
    return c->type == AG_F64 ? ((const double *)array)[i] : (double)((const float *)array)[i];
}
static void set(const context *c, void *array, int i, double x) {
    if (c->type == AG_F64) ((double *)array)[i] = x;
    else ((float *)array)[i] = (float)x;
}
static void add(const context *c, void *array, int i, double x) { set(c, array, i, get(c, array, i) + x); }

static uint64_t seed = 1;

static nn_backward_report run(nn_backward b, const context *c) {
    nn_backward_report report;
    b.type = c->type;
    b.context = (void *)(uintptr_t)c;
    nn_check_backward(&b, DRAWS, seed, &report);
    assert_int_equal(taken, 0);
    return report;
}

static void print(const nn_backward_report *report) { nn_backward_write(report, stderr); }

/* The gradient by input i is wrong, and in this way; "" if it is to hold. */
static void expect(const nn_backward_report *r, int i, const char *kind, const char *part) {
    const nn_backward_finding *f = &r->inputs[i];
    if (r->status == AG_OK && f->checked && f->holds == (*kind == '\0') && strcmp(f->kind, kind) == 0 &&
        strstr(f->detail, part) != NULL) {
        if (f->holds) assert_int_equal(f->wrong, 0);
        else assert_true(f->wrong > 0 && !r->holds && f->claimed_text[0] != '\0' && f->right_text[0] != '\0');
        return;
    }
    print(r);
    fail_msg("gradient by %s: %s, \"%s\"; should be \"%s\" with \"%s\"", f->name, f->holds ? "holds" : f->kind,
             f->detail, kind, part);
}

/* ---- Y = sigmoid(X W + b) -------------------------------------------------------------------------------------- */

enum { N = 4, M = 3, K = 2 };

static void dense_forward(void *context_, const void *const *in, void *const *out) {
    const context *c = context_;
    for (int n = 0; n < N; n++)
        for (int k = 0; k < K; k++) {
            double z = get(c, in[2], k);
            for (int m = 0; m < M; m++) z += get(c, in[0], n * M + m) * get(c, in[1], m * K + k);
            set(c, out[0], n * K + k, 1 / (1 + exp(-z)));
        }
}

static void dense_mistakes(const context *c, void *const *d) {
    for (int i = 0; i < M * K; i++) {
        double w = get(c, d[1], i);
        if (c->mistake == SIGN) set(c, d[1], i, -w);
        if (c->mistake == MEAN) set(c, d[1], i, w / N);
        if (c->mistake == NOT_A_NUMBER && i == 4) set(c, d[1], i, (double)NAN);
        if (c->mistake == ONE_ENTRY && i == 3) set(c, d[1], i, w + 0.5);
        if (c->mistake == POWER_OF_TEN && i % 2 == 1) set(c, d[1], i, 10 * w);
        if (c->mistake == NONSENSE) set(c, d[1], i, w + sin(i + w));
    }
    if (c->mistake == FORGOTTEN)
        for (int k = 0; k < K; k++) set(c, d[2], k, 0);
    if (c->mistake == TRANSPOSED) {
        double w[M * K];
        for (int i = 0; i < M * K; i++) w[i] = get(c, d[1], i);
        for (int m = 0; m < M; m++)
            for (int k = 0; k < K; k++) set(c, d[1], k * M + m, w[m * K + k]);
    }
}

static void dense_backward(void *context_, const void *const *in, const void *const *g, void *const *d) {
    const context *c = context_;
    double y[N * K];
    void *out[1] = {y};
    float floats[N * K];
    if (c->type == AG_F32) out[0] = floats;
    dense_forward(context_, in, out);
    for (int n = 0; n < N; n++)
        for (int k = 0; k < K; k++) {
            double a = get(c, out[0], n * K + k), delta = get(c, g[0], n * K + k);
            if (c->mistake != NO_SIGMA) delta *= a * (1 - a);
            add(c, d[2], k, delta);
            for (int m = 0; m < M; m++) {
                add(c, d[0], n * M + m, delta * get(c, in[1], m * K + k));
                add(c, d[1], m * K + k, delta * get(c, in[0], n * M + m));
            }
        }
    dense_mistakes(c, d);
}

static void dense_record(void *context_, ag_tape *tape, const ag_var *in, ag_var *out) {
    (void)context_, (void)tape;
    out[0] = ag_sigmoid(ag_add(ag_matmul(in[0], in[1]), in[2]));
}

static const nn_backward_input dense_inputs[] = {
    {.name = "X", .shape = {2, {N, M}}}, {.name = "W", .shape = {2, {M, K}}}, {.name = "b", .shape = {1, {K}}}};
static const nn_backward_output dense_outputs[] = {{"Y", {2, {N, K}}}};

static nn_backward dense_layer(bool by_tape) {
    return (nn_backward){.name = "dense",
                         .input_count = 3,
                         .inputs = dense_inputs,
                         .output_count = 1,
                         .outputs = dense_outputs,
                         .forward = dense_forward,
                         .backward = dense_backward,
                         .record = by_tape ? dense_record : NULL};
}

/* By tape and by differences, in double and single precision, at other inputs each time. */
static void for_each_way(void (*test)(bool by_tape, ag_type type)) {
    for (seed = 1; seed <= 20; seed++)
        for (int way = 0; way < 4; way++) test(way % 2 == 1, way < 2 ? AG_F64 : AG_F32);
    seed = 1;
}

static void check_dense(bool by_tape, ag_type type) {
    static const struct {
        mistake mistake;
        const char *kind, *part, *kind_of_x, *kind_of_b;
    } cases[] = {{NONE, "", "", "", ""},
                 {SIGN, "sign", "negative", "", ""},
                 {TRANSPOSED, "transpose", "claimed 2 x 3, right 3 x 2", "", ""},
                 {MEAN, "factor", "which is 1/rows(X)", "", ""},
                 {ONE_ENTRY, "entries", "entry (2, 2)", "", ""},
                 {POWER_OF_TEN, "power-of-ten", "10 times too large", "", ""},
                 {NO_SIGMA, "missing-factor", "sigmoid' = y (1 - y), y = Y", "missing-factor", "missing-factor"},
                 {NOT_A_NUMBER, "entries", "entry (3, 1): claimed nan", "", ""},
                 {NONSENSE, "unknown", "largest error", "", ""},
                 {FORGOTTEN, "", "", "", "unknown"}};
    for (int i = 0; i < COUNT(cases); i++) {
        const context c = {type, cases[i].mistake};
        nn_backward_report r = run(dense_layer(by_tape), &c);
        assert_int_equal(r.status, AG_OK);
        assert_true(r.by_tape == by_tape && r.draws == DRAWS && r.input_count == 3 && r.output_count == 1);
        assert_true(r.outputs[0].checked == by_tape && r.outputs[0].holds == by_tape);
        assert_true(r.holds == (cases[i].mistake == NONE));
        expect(&r, 0, cases[i].kind_of_x, "");
        expect(&r, 1, cases[i].kind, cases[i].part);
        if (cases[i].mistake != FORGOTTEN) expect(&r, 2, cases[i].kind_of_b, "");
        else assert_false(r.inputs[2].holds);
    }
}

static void every_mistake_in_a_dense_layer(void **state) {
    (void)state;
    for_each_way(check_dense);
}

static void the_worst_entry_is_reported(void **state) {
    const context c = {AG_F64, ONE_ENTRY};
    nn_backward_report r = run(dense_layer(true), &c);
    const nn_backward_finding *f = &r.inputs[1];
    (void)state;
    assert_string_equal(f->name, "W");
    assert_int_equal(f->compared, 2 * DRAWS * M * K);
    assert_int_equal(f->wrong, 2 * DRAWS);
    assert_int_equal(f->entry, 3);
    assert_true(f->draw >= 0 && f->draw < DRAWS);
    assert_true(fabs(f->claimed - f->right - 0.5) < 1e-9 && fabs(f->error - 0.5) < 1e-9 && f->allowed < 1e-8);
}

static void the_same_seed_gives_the_same_report(void **state) {
    const context c = {AG_F64, NONSENSE};
    nn_backward_report first = run(dense_layer(false), &c), second = run(dense_layer(false), &c), third;
    nn_backward other = dense_layer(false);
    (void)state;
    assert_true(first.inputs[1].claimed == second.inputs[1].claimed && first.inputs[1].right == second.inputs[1].right);
    assert_string_equal(first.inputs[1].claimed_text, second.inputs[1].claimed_text);
    other.context = (void *)(uintptr_t)&c;
    nn_check_backward(&other, DRAWS, 2, &third);
    assert_true(first.inputs[1].claimed != third.inputs[1].claimed);
}

/* ---- functions of vectors: one row of a table each ------------------------------------------------------------- */

enum { L = 5 };

/* y and, for output gradient g, da and db of f(a, b); both vectors of L. */
typedef struct vector_case {
    const char *name;
    void (*forward)(const double *a, const double *b, double *y);
    void (*backward)(const double *a, const double *b, const double *g, double *da, double *db);
    ag_var (*record)(ag_var a, ag_var b);
    const char *kind_of_a, *part_of_a, *kind_of_b;
} vector_case;

static void product(const double *a, const double *b, double *y) {
    for (int i = 0; i < L; i++) y[i] = a[i] * b[i] * b[i];
}
static ag_var record_product(ag_var a, ag_var b) { return ag_mul(a, ag_square(b)); }
static void product_right(const double *a, const double *b, const double *g, double *da, double *db) {
    for (int i = 0; i < L; i++) {
        da[i] = g[i] * b[i] * b[i];
        db[i] = 2 * g[i] * a[i] * b[i];
    }
}
static void product_other(const double *a, const double *b, const double *g, double *da, double *db) {
    product_right(a, b, g, da, db);
    memcpy(da, db, L * sizeof *da);
}
static void product_without_b(const double *a, const double *b, const double *g, double *da, double *db) {
    product_right(a, b, g, da, db);
    for (int i = 0; i < L; i++) da[i] /= b[i];
}
static void product_without_g(const double *a, const double *b, const double *g, double *da, double *db) {
    static const double ones[L] = {1, 1, 1, 1, 1};
    (void)g;
    product_right(a, b, ones, da, db);
}
static void product_half(const double *a, const double *b, const double *g, double *da, double *db) {
    product_right(a, b, g, da, db);
    for (int i = 0; i < L; i++) db[i] /= 2;
}

static void logarithm(const double *a, const double *b, double *y) {
    for (int i = 0; i < L; i++) y[i] = log(a[i]) + b[i];
}
static ag_var record_logarithm(ag_var a, ag_var b) { return ag_add(ag_log(a), b); }
static void logarithm_base_10(const double *a, const double *b, const double *g, double *da, double *db) {
    (void)b;
    for (int i = 0; i < L; i++) {
        da[i] = g[i] / (a[i] * log(10));
        db[i] = g[i];
    }
}

/* softmax(a) + b */
static void soft(const double *a, const double *b, double *y) {
    double sum = 0;
    for (int i = 0; i < L; i++) sum += exp(a[i]);
    for (int i = 0; i < L; i++) y[i] = exp(a[i]) / sum + 0 * b[i];
}
static ag_var record_soft(ag_var a, ag_var b) { return ag_add(ag_softmax(a, 0), ag_mul(0, b)); }
static void soft_without_sum(const double *a, const double *b, const double *g, double *da, double *db) {
    double y[L];
    soft(a, b, y);
    for (int i = 0; i < L; i++) da[i] = y[i] * g[i];
    memset(db, 0, L * sizeof *db);
}

/* a - mean(a) + 2 b */
static void centre(const double *a, const double *b, double *y) {
    double mean = 0;
    for (int i = 0; i < L; i++) mean += a[i] / L;
    for (int i = 0; i < L; i++) y[i] = a[i] - mean + 2 * b[i];
}
static ag_var record_centre(ag_var a, ag_var b) { return ag_add(ag_sub(a, ag_mean(a)), ag_mul(2, b)); }
static void centre_without_mean(const double *a, const double *b, const double *g, double *da, double *db) {
    (void)a, (void)b;
    memcpy(da, g, L * sizeof *da);
    for (int i = 0; i < L; i++) db[i] = 2 * g[i];
}

/* tanh(a) b, and its derivative with tanh' forgotten, by argument */
static void bent(const double *a, const double *b, double *y) {
    for (int i = 0; i < L; i++) y[i] = tanh(a[i]) * b[i];
}
static ag_var record_bent(ag_var a, ag_var b) { return ag_mul(ag_tanh(a), b); }
static void bent_without_tanh(const double *a, const double *b, const double *g, double *da, double *db) {
    for (int i = 0; i < L; i++) {
        da[i] = g[i] * b[i];
        db[i] = g[i] * tanh(a[i]);
    }
}

static const vector_case vector_cases[] = {
    {"right", product, product_right, record_product, "", "", ""},
    {"other variable", product, product_other, record_product, "other-variable", "gradient by b", ""},
    {"factor b", product, product_without_b, record_product, "missing-factor", "claimed times b", ""},
    {"factor g", product, product_without_g, record_product, "missing-factor", "output gradient of y",
     "missing-factor"},
    {"factor 1/2", product, product_half, record_product, "", "", "factor"},
    {"log base", logarithm, logarithm_base_10, record_logarithm, "log-base", "divided by ln 10", ""},
    {"softmax", soft, soft_without_sum, record_soft, "missing-term", "a multiple of y", ""},
    {"mean", centre, centre_without_mean, record_centre, "missing-term", "a mean or a sum", ""},
    {"tanh'", bent, bent_without_tanh, record_bent, "missing-factor", "tanh'(a)", ""},
};

typedef struct vector_context {
    context c;
    const vector_case *with;
} vector_context;

static void load(const context *c, const void *array, double *x) {
    for (int i = 0; i < L; i++) x[i] = get(c, array, i);
}
static void vector_forward(void *context_, const void *const *in, void *const *out) {
    const vector_context *v = context_;
    double a[L], b[L], y[L];
    load(&v->c, in[0], a);
    load(&v->c, in[1], b);
    v->with->forward(a, b, y);
    for (int i = 0; i < L; i++) set(&v->c, out[0], i, y[i]);
}
static void vector_backward(void *context_, const void *const *in, const void *const *g, void *const *d) {
    const vector_context *v = context_;
    double a[L], b[L], w[L], da[L], db[L];
    load(&v->c, in[0], a);
    load(&v->c, in[1], b);
    load(&v->c, g[0], w);
    v->with->backward(a, b, w, da, db);
    for (int i = 0; i < L; i++) {
        set(&v->c, d[0], i, da[i]);
        set(&v->c, d[1], i, db[i]);
    }
}
static void vector_record(void *context_, ag_tape *tape, const ag_var *in, ag_var *out) {
    const vector_context *v = context_;
    (void)tape;
    out[0] = v->with->record(in[0], in[1]);
}

static const nn_backward_input vector_inputs[] = {{.name = "a", .shape = {1, {L}}, .distribution = NN_POSITIVE},
                                                  {.name = "b", .shape = {1, {L}}}};
static const nn_backward_output vector_outputs[] = {{"y", {1, {L}}}};

static void check_vectors(bool by_tape, ag_type type) {
    for (int i = 0; i < COUNT(vector_cases); i++) {
        vector_context v = {{type, NONE}, &vector_cases[i]};
        nn_backward_report r;
        nn_backward b = {.name = vector_cases[i].name,
                         .type = type,
                         .input_count = 2,
                         .inputs = vector_inputs,
                         .output_count = 1,
                         .outputs = vector_outputs,
                         .forward = vector_forward,
                         .backward = vector_backward,
                         .record = by_tape ? vector_record : NULL,
                         .context = &v};
        nn_check_backward(&b, DRAWS, seed, &r);
        expect(&r, 0, vector_cases[i].kind_of_a, vector_cases[i].part_of_a);
        expect(&r, 1, vector_cases[i].kind_of_b, "");
    }
}

static void every_mistake_in_vectors(void **state) {
    (void)state;
    for_each_way(check_vectors);
}

/* ---- losses: a scalar result, a constant input, a regulariser --------------------------------------------------- */

/* L = sum((w - t)^2) + 0.01 sum(w^2); t is constant. The mistakes: no regulariser, no output gradient. */
static void loss_forward(void *context_, const void *const *in, void *const *out) {
    const context *c = context_;
    double sum = 0;
    for (int i = 0; i < L; i++) {
        double w = get(c, in[0], i), r = w - get(c, in[1], i);
        sum += r * r + 0.01 * w * w;
    }
    set(c, out[0], 0, sum);
}
static void loss_backward(void *context_, const void *const *in, const void *const *g, void *const *d) {
    const context *c = context_;
    assert_null(d[1]);
    double scale = c->mistake == FORGOTTEN ? 1 : get(c, g[0], 0);
    for (int i = 0; i < L; i++) {
        double w = get(c, in[0], i);
        set(c, d[0], i, scale * (2 * (w - get(c, in[1], i)) + (c->mistake == NO_SIGMA ? 0 : 0.02 * w)));
    }
}
static void loss_record(void *context_, ag_tape *tape, const ag_var *in, ag_var *out) {
    (void)context_, (void)tape;
    out[0] = ag_add(ag_sum(ag_square(ag_sub(in[0], in[1]))), ag_mul(0.01, nn_l2(in, 1)));
}

static const nn_backward_input loss_inputs[] = {{.name = "w", .shape = {1, {L}}},
                                                {.name = "t", .shape = {1, {L}}, .constant = true}};
static const nn_backward_output loss_outputs[] = {{"L", {0, {0}}}};

static void check_loss(bool by_tape, ag_type type) {
    nn_backward b = {.name = "loss",
                     .input_count = 2,
                     .inputs = loss_inputs,
                     .output_count = 1,
                     .outputs = loss_outputs,
                     .forward = loss_forward,
                     .backward = loss_backward,
                     .record = by_tape ? loss_record : NULL};
    context c = {type, NONE};
    nn_backward_report r = run(b, &c);
    expect(&r, 0, "", "");
    assert_false(r.inputs[1].checked);
    c.mistake = FORGOTTEN;
    r = run(b, &c);
    expect(&r, 0, "missing-factor", "the output gradient of L");
    b.unit_gradients = true;
    r = run(b, &c);
    expect(&r, 0, "", "");
    c.mistake = NO_SIGMA;
    r = run(b, &c);
    if (type == AG_F64) expect(&r, 0, "missing-term", "0.02 w is missing");
    else expect(&r, 0, "missing-term", " w is missing");
}

static void losses_and_constant_inputs(void **state) {
    (void)state;
    for_each_way(check_loss);
}

/* ---- several outputs, scalars, what forward leaves behind ------------------------------------------------------- */

typedef struct rotation {
    double cosine, sine;
    int forwards, backwards;
} rotation;

/* (x, y) turned by an angle; the sine and cosine are left for backward. */
static void turn(void *context_, const void *const *in, void *const *out) {
    rotation *r = context_;
    const double *angle = in[0], *x = in[1], *y = in[2];
    r->cosine = cos(*angle);
    r->sine = sin(*angle);
    r->forwards++;
    *(double *)out[0] = r->cosine * *x - r->sine * *y;
    *(double *)out[1] = r->sine * *x + r->cosine * *y;
}
static void turn_back(void *context_, const void *const *in, const void *const *g, void *const *d) {
    rotation *r = context_;
    const double *x = in[1], *y = in[2], *gu = g[0], *gv = g[1];
    r->backwards++;
    *(double *)d[0] = *gu * (-r->sine * *x - r->cosine * *y) + *gv * (r->cosine * *x - r->sine * *y);
    *(double *)d[1] = *gu * r->cosine + *gv * r->sine;
    *(double *)d[2] = -*gu * r->sine + *gv * r->cosine;
}

static const nn_backward_input turn_inputs[] = {{.name = "angle"}, {.name = "x"}, {.name = "y"}};
static const nn_backward_output turn_outputs[] = {{.name = "u"}, {.name = "v"}};

static void backward_follows_forward_at_the_same_inputs(void **state) {
    rotation c = {0, 0, 0, 0};
    nn_backward b = {.name = "turn",
                     .type = AG_F64,
                     .input_count = 3,
                     .inputs = turn_inputs,
                     .output_count = 2,
                     .outputs = turn_outputs,
                     .forward = turn,
                     .backward = turn_back,
                     .context = &c};
    nn_backward_report r;
    (void)state;
    assert_true(nn_check_backward(&b, DRAWS, 1, &r));
    for (int i = 0; i < 3; i++) assert_true(r.inputs[i].holds && r.inputs[i].compared == 2 * DRAWS);
    assert_int_equal(c.backwards, 2 * DRAWS);
    assert_true(c.forwards <= 50 * 3 * DRAWS); /* as the header promises */
}

/* ---- the inputs of each draw ------------------------------------------------------------------------------------ */

typedef struct witness {
    double first[2][3], sum[2][3];
    int calls;
    bool positive, constant;
} witness;

static void watch(void *context_, const void *const *in, void *const *out) {
    witness *w = context_;
    const double *x = in[0], *mask = in[1];
    for (int i = 0; i < 3; i++) {
        if (w->calls == 0) {
            w->first[0][i] = x[i];
            w->first[1][i] = mask[i];
        }
        w->constant = w->constant && mask[i] == w->first[1][i];
        w->positive = w->positive && (x[i] > 0 || i == 1);
        ((double *)out[0])[i] = mask[i] * x[i];
    }
    w->calls++;
}
static void watch_back(void *context_, const void *const *in, const void *const *g, void *const *d) {
    const double *mask = in[1], *w = g[0];
    (void)context_;
    for (int i = 0; i < 3; i++) ((double *)d[0])[i] = mask[i] * w[i];
}
static void watch_record(void *context_, ag_tape *tape, const ag_var *in, ag_var *out) {
    (void)context_, (void)tape;
    out[0] = ag_mul(in[0], in[1]);
}

static void given_inputs_come_first(void **state) {
    static const double x[] = {1e-3, 0, 2}, mask[] = {0, 1, 1};
    const nn_backward_input inputs[] = {{.name = "x", .shape = {1, {3}}, .data = x},
                                        {.name = "mask", .shape = {1, {3}}, .data = mask, .constant = true}};
    const nn_backward_output outputs[] = {{"y", {1, {3}}}};
    witness w = {.positive = true, .constant = true};
    nn_backward b = {.name = "mask",
                     .type = AG_F64,
                     .input_count = 2,
                     .inputs = inputs,
                     .output_count = 1,
                     .outputs = outputs,
                     .forward = watch,
                     .backward = watch_back,
                     .record = watch_record,
                     .context = &w};
    nn_backward_report r;
    (void)state;
    assert_true(nn_check_backward(&b, 50, 1, &r));
    assert_memory_equal(w.first[0], x, sizeof x);
    assert_memory_equal(w.first[1], mask, sizeof mask);
    assert_true(w.positive && w.constant); /* later ones keep their sign, constants keep their values */
}

/* ---- kinks and steps --------------------------------------------------------------------------------------------- */

/* relu, with a derivative at 0 of the context's choice */
static void relu_forward(void *context_, const void *const *in, void *const *out) {
    const double *x = in[0];
    (void)context_;
    for (int i = 0; i < L; i++) ((double *)out[0])[i] = fmax(x[i], 0);
}
static void relu_backward(void *context_, const void *const *in, const void *const *g, void *const *d) {
    const double *x = in[0], *w = g[0];
    for (int i = 0; i < L; i++)
        ((double *)d[0])[i] = x[i] > 0 ? w[i] : x[i] == 0 ? *(const double *)context_ * w[i] : 0;
}
static void relu_record(void *context_, ag_tape *tape, const ag_var *in, ag_var *out) {
    (void)context_, (void)tape;
    out[0] = ag_relu(in[0]);
}

static void anything_between_the_sides_is_right_at_a_kink(void **state) {
    static const double x[L] = {0, 1, -1, 1e-3, -0.02};
    const nn_backward_input input = {.name = "x", .shape = {1, {L}}, .data = x};
    const nn_backward_output output = {"y", {1, {L}}};
    const double slopes[] = {0, 0.5, 1, 1.5, -0.25};
    (void)state;
    for (int i = 0; i < COUNT(slopes); i++) {
        nn_backward b = {.name = "relu",
                         .type = AG_F64,
                         .input_count = 1,
                         .inputs = &input,
                         .output_count = 1,
                         .outputs = &output,
                         .forward = relu_forward,
                         .backward = relu_backward,
                         .context = (void *)(uintptr_t)&slopes[i]};
        nn_backward_report r;
        bool right = slopes[i] >= 0 && slopes[i] <= 1;
        assert_true(nn_check_backward(&b, 1, 1, &r) == right);
        assert_int_equal(r.inputs[0].kinks, 2);
        if (!right) expect(&r, 0, "entries", "entry 1");
        b.record = relu_record; /* the tape says 0 */
        assert_true(nn_check_backward(&b, 1, 1, &r) == (slopes[i] == 0));
        assert_int_equal(r.inputs[0].kinks, 0);
    }
}

/* Two layers with relu between them: kinks everywhere. What is right holds, whatever the inputs are. */
enum { UNITS = 16 };
static void relu_net(void *context_, const void *const *in, void *const *out) {
    const context *c = context_;
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int u = 0; u < UNITS; u++) {
            double z = 0;
            for (int m = 0; m < M; m++) z += get(c, in[0], n * M + m) * get(c, in[1], m * UNITS + u);
            sum += fmax(z, 0) * get(c, in[2], u);
        }
        set(c, out[0], n, sum);
    }
}
static void relu_net_back(void *context_, const void *const *in, const void *const *g, void *const *d) {
    const context *c = context_;
    for (int n = 0; n < N; n++)
        for (int u = 0; u < UNITS; u++) {
            double z = 0, w = get(c, g[0], n);
            for (int m = 0; m < M; m++) z += get(c, in[0], n * M + m) * get(c, in[1], m * UNITS + u);
            add(c, d[2], u, w * fmax(z, 0));
            double delta = z > 0 || c->mistake == NO_SIGMA ? w * get(c, in[2], u) : 0;
            for (int m = 0; m < M; m++) {
                add(c, d[0], n * M + m, delta * get(c, in[1], m * UNITS + u));
                add(c, d[1], m * UNITS + u, delta * get(c, in[0], n * M + m));
            }
        }
}
static void relu_net_record(void *context_, ag_tape *tape, const ag_var *in, ag_var *out) {
    (void)context_, (void)tape;
    out[0] = ag_matmul(ag_relu(ag_matmul(in[0], in[1])), in[2]);
}

static void check_relu_net(bool by_tape, ag_type type) {
    const nn_backward_input inputs[] = {{.name = "X", .shape = {2, {N, M}}},
                                        {.name = "W", .shape = {2, {M, UNITS}}},
                                        {.name = "v", .shape = {1, {UNITS}}}};
    const nn_backward_output output = {"y", {1, {N}}};
    nn_backward b = {.name = "relu net",
                     .input_count = 3,
                     .inputs = inputs,
                     .output_count = 1,
                     .outputs = &output,
                     .forward = relu_net,
                     .backward = relu_net_back,
                     .record = by_tape ? relu_net_record : NULL};
    context c = {type, NONE};
    nn_backward_report r = run(b, &c);
    if (!r.holds) print(&r);
    assert_true(r.holds);
    c.mistake = NO_SIGMA;
    r = run(b, &c);
    assert_true(!r.inputs[0].holds && !r.inputs[1].holds && r.inputs[2].holds);
}

static void kinks_are_no_false_alarm(void **state) {
    (void)state;
    for_each_way(check_relu_net);
}

/* Functions of one number whose differences are hard to take: next to a pole, far out, strongly bent, close to a kink.
 * */
typedef struct hard_case {
    double (*f)(double), (*derivative)(double);
    double at;
} hard_case;
static double reciprocal_slope(double x) { return 1 / x; }
static double square(double x) { return x * x; }
static double twice(double x) { return 2 * x; }
static double ripple(double x) { return sin(30 * x); }
static double ripple_slope(double x) { return 30 * cos(30 * x); }
static double offset(double x) { return 1e6 + x; }
static double one(double x) { return x - x + 1; }
static double wall(double x) { return fabs(x - 0.101); }
static double wall_slope(double x) { return x > 0.101 ? 1 : -1; }
static double steep_root_slope(double x) { return 0.5 / sqrt(x); }
static const hard_case hard_cases[] = {{log, reciprocal_slope, 1e-6},
                                       {log, reciprocal_slope, 3},
                                       {square, twice, 1e6},
                                       {exp, exp, 20},
                                       {ripple, ripple_slope, 0.3},
                                       {offset, one, 1},
                                       {wall, wall_slope, 0.1},
                                       {sqrt, steep_root_slope, 1e-4},
                                       {square, twice, 0}};

static void hard_forward(void *context_, const void *const *in, void *const *out) {
    *(double *)out[0] = (*(const hard_case *const *)context_)->f(*(const double *)in[0]);
}
static void hard_backward(void *context_, const void *const *in, const void *const *g, void *const *d) {
    *(double *)d[0] = *(const double *)g[0] * (*(const hard_case *const *)context_)->derivative(*(const double *)in[0]);
}
/* One part in ten thousand too large. */
static void hard_wrong(void *context_, const void *const *in, const void *const *g, void *const *d) {
    hard_backward(context_, in, g, d);
    *(double *)d[0] = *(double *)d[0] * 1.0001 + (*(double *)d[0] == 0 ? 1e-4 : 0);
}

static void steps_suit_the_function(void **state) {
    (void)state;
    for (int i = 0; i < COUNT(hard_cases); i++) {
        const hard_case *h = &hard_cases[i];
        const nn_backward_input input = {.name = "x", .data = &h->at};
        const nn_backward_output output = {.name = "y"};
        nn_backward b = {.name = "hard",
                         .type = AG_F64,
                         .input_count = 1,
                         .inputs = &input,
                         .output_count = 1,
                         .outputs = &output,
                         .forward = hard_forward,
                         .backward = hard_backward,
                         .context = &h};
        nn_backward_report r;
        if (!nn_check_backward(&b, 1, 1, &r)) {
            print(&r);
            fail_msg("case %d does not hold", i);
        }
        b.backward = hard_wrong;
        if (nn_check_backward(&b, 1, 1, &r)) fail_msg("case %d: an error of 1e-4 is not found", i);
    }
}

/* Native single precision throughout: log softmax over rows. */
enum { ROWS = 3, CLASSES = 40 };
static void log_softmax_f32(void *context_, const void *const *in, void *const *out) {
    const float *z = in[0];
    float *y = out[0];
    (void)context_;
    for (int r = 0; r < ROWS; r++, z += CLASSES, y += CLASSES) {
        float most = z[0], sum = 0;
        for (int i = 1; i < CLASSES; i++) most = fmaxf(most, z[i]);
        for (int i = 0; i < CLASSES; i++) sum += expf(z[i] - most);
        for (int i = 0; i < CLASSES; i++) y[i] = z[i] - most - logf(sum);
    }
}
static void log_softmax_f32_back(void *context_, const void *const *in, const void *const *g, void *const *d) {
    float y[ROWS * CLASSES], *dz = d[0];
    void *out[] = {y};
    const float *w = g[0], scale = *(const float *)context_;
    log_softmax_f32(NULL, in, out);
    for (int r = 0; r < ROWS; r++) {
        float sum = 0;
        for (int i = 0; i < CLASSES; i++) sum += w[r * CLASSES + i];
        for (int i = 0; i < CLASSES; i++) {
            int k = r * CLASSES + i;
            dz[k] = scale * (w[k] - expf(y[k]) * sum);
        }
    }
}
static void log_softmax_record(void *context_, ag_tape *tape, const ag_var *in, ag_var *out) {
    (void)context_, (void)tape;
    out[0] = ag_log_softmax(in[0], 1);
}

static void single_precision_is_held_to_what_it_can(void **state) {
    const nn_backward_input input = {.name = "z", .shape = {2, {ROWS, CLASSES}}};
    const nn_backward_output output = {"y", {2, {ROWS, CLASSES}}};
    (void)state;
    for (int by_tape = 0; by_tape < 2; by_tape++) {
        float scales[] = {1, 1.01f, 0.1f};
        for (int i = 0; i < 3; i++) {
            nn_backward b = {.name = "log softmax",
                             .type = AG_F32,
                             .input_count = 1,
                             .inputs = &input,
                             .output_count = 1,
                             .outputs = &output,
                             .forward = log_softmax_f32,
                             .backward = log_softmax_f32_back,
                             .record = by_tape ? log_softmax_record : NULL,
                             .context = &scales[i]};
            nn_backward_report r;
            nn_check_backward(&b, DRAWS, 1, &r);
            expect(&r, 0, i == 0 ? "" : i == 1 ? "factor" : "power-of-ten", "");
        }
    }
}

static void a_tolerance_can_be_given(void **state) {
    const context c = {AG_F64, ONE_ENTRY};
    (void)state;
    for (int by_tape = 0; by_tape < 2; by_tape++) {
        nn_backward b = dense_layer(by_tape);
        b.tolerance = 0.6;
        nn_backward_report r = run(b, &c);
        assert_true(r.holds);
        b.tolerance = 0.01;
        r = run(b, &c);
        expect(&r, 1, "entries", "entry (2, 2)");
    }
}

/* ---- forward beside the recorded model --------------------------------------------------------------------------- */

static void record_doubled(void *context_, ag_tape *tape, const ag_var *in, ag_var *out) {
    dense_record(context_, tape, in, out);
    out[0] = ag_mul(2, out[0]);
}
static void record_without_bias(void *context_, ag_tape *tape, const ag_var *in, ag_var *out) {
    (void)context_, (void)tape;
    out[0] = ag_sigmoid(ag_matmul(in[0], in[1]));
}
static void record_nothing(void *context_, ag_tape *tape, const ag_var *in, ag_var *out) {
    (void)context_, (void)tape, (void)in, (void)out;
}
static void record_another_shape(void *context_, ag_tape *tape, const ag_var *in, ag_var *out) {
    dense_record(context_, tape, in, out);
    out[0] = ag_transpose(out[0]);
}
static void record_an_error(void *context_, ag_tape *tape, const ag_var *in, ag_var *out) {
    (void)context_, (void)tape;
    out[0] = ag_matmul(in[0], in[0]);
}
static ag_tape *another_tape;
static void record_elsewhere(void *context_, ag_tape *tape, const ag_var *in, ag_var *out) {
    (void)context_, (void)tape, (void)in;
    out[0] = ag_zeros(another_tape, AG_SHAPE(N, K));
}

static void forward_is_compared_with_the_recorded_model(void **state) {
    const context c = {AG_F64, NONE};
    nn_backward b = dense_layer(true);
    (void)state;
    b.record = record_doubled;
    nn_backward_report r = run(b, &c);
    assert_false(r.holds);
    assert_true(r.outputs[0].checked && !r.outputs[0].holds);
    assert_string_equal(r.outputs[0].kind, "factor");
    expect(&r, 1, "factor", "1/2 times"); /* which is 2 */
    b.record = record_without_bias;
    r = run(b, &c);
    assert_string_equal(r.outputs[0].kind, "unknown");
    assert_false(r.inputs[2].holds); /* by the recorded model it is 0 */
}

static void bad_recorded_models_are_errors(void **state) {
    static const struct {
        void (*record)(void *, ag_tape *, const ag_var *, ag_var *);
        ag_status status;
        const char *part;
    } cases[] = {{record_nothing, AG_ERR_SHAPE, "the recorded Y is a number, not 4 x 2"},
                 {record_another_shape, AG_ERR_SHAPE, "the recorded Y is 2 x 4, not 4 x 2"},
                 {record_an_error, AG_ERR_SHAPE, "matmul"},
                 {record_elsewhere, AG_ERR_TAPE, "another tape"}};
    const context c = {AG_F64, NONE};
    (void)state;
    another_tape = ag_tape_new(AG_F64);
    for (int i = 0; i < COUNT(cases); i++) {
        nn_backward b = dense_layer(true);
        b.record = cases[i].record;
        nn_backward_report r = run(b, &c);
        assert_false(r.holds);
        assert_int_equal(r.status, cases[i].status);
        if (strstr(r.message, cases[i].part) == NULL) fail_msg("\"%s\" without \"%s\"", r.message, cases[i].part);
    }
    ag_tape_free(another_tape);
}

/* ---- functions that misbehave ------------------------------------------------------------------------------------ */

static void forward_too_far(void *context_, const void *const *in, void *const *out) {
    dense_forward(context_, in, out);
    set(context_, out[0], N * K, 1);
}
static void forward_into_inputs(void *context_, const void *const *in, void *const *out) {
    dense_forward(context_, in, out);
    set(context_, (void *)(uintptr_t)in[0], 0, 7);
}
static void forward_never_the_same(void *context_, const void *const *in, void *const *out) {
    static int calls;
    dense_forward(context_, in, out);
    add(context_, out[0], 0, ++calls);
}
static void forward_nan(void *context_, const void *const *in, void *const *out) {
    dense_forward(context_, in, out);
    set(context_, out[0], 2, log(-1.0));
}
static void backward_too_far(void *context_, const void *const *in, const void *const *g, void *const *d) {
    dense_backward(context_, in, g, d);
    set(context_, d[1], M * K + 1, 1);
}
static void backward_into_inputs(void *context_, const void *const *in, const void *const *g, void *const *d) {
    dense_backward(context_, in, g, d);
    set(context_, (void *)(uintptr_t)in[1], 0, 7);
}

static void misbehaving_functions_are_errors(void **state) {
    static const struct {
        void (*forward)(void *, const void *const *, void *const *);
        void (*backward)(void *, const void *const *, const void *const *, void *const *);
        const char *part;
    } cases[] = {{forward_too_far, dense_backward, "forward writes beyond the end of Y"},
                 {forward_into_inputs, dense_backward, "forward changes its input X"},
                 {forward_never_the_same, dense_backward, "different values of Y"},
                 {forward_nan, dense_backward, "nan for entry 3 of Y at draw 1"},
                 {dense_forward, backward_too_far, "backward writes beyond the end of the gradient by W"},
                 {dense_forward, backward_into_inputs, "backward changes its input W"}};
    (void)state;
    for (int type = AG_F64; type <= AG_F32; type++)
        for (int i = 0; i < COUNT(cases); i++) {
            const context c = {(ag_type)type, NONE};
            nn_backward b = dense_layer(i % 2 == 0);
            b.forward = cases[i].forward;
            b.backward = cases[i].backward;
            nn_backward_report r = run(b, &c);
            assert_false(r.holds);
            assert_int_equal(r.status, AG_ERR_VALUE);
            if (strstr(r.message, cases[i].part) == NULL) fail_msg("\"%s\" without \"%s\"", r.message, cases[i].part);
        }
}

static void inputs_must_be_numbers(void **state) {
    static const double x[] = {1, 2, (double)NAN}, mask[] = {1, 1, 1};
    const nn_backward_input inputs[] = {{.name = "x", .shape = {1, {3}}, .data = x},
                                        {.name = "mask", .shape = {1, {3}}, .data = mask, .constant = true}};
    const nn_backward_output outputs[] = {{"y", {1, {3}}}};
    witness w = {.positive = true, .constant = true};
    nn_backward b = {.name = "mask",
                     .type = AG_F64,
                     .input_count = 2,
                     .inputs = inputs,
                     .output_count = 1,
                     .outputs = outputs,
                     .forward = watch,
                     .backward = watch_back,
                     .context = &w};
    nn_backward_report r;
    (void)state;
    assert_false(nn_check_backward(&b, 1, 1, &r));
    assert_int_equal(r.status, AG_ERR_VALUE);
    assert_non_null(strstr(r.message, "entry 3 of the input x is nan"));
}

/* ---- misuse ------------------------------------------------------------------------------------------------------ */

static void expect_refusal(const nn_backward *b, int draws, ag_status status, const char *part) {
    nn_backward_report r;
    assert_false(nn_check_backward(b, draws, 1, &r));
    assert_false(r.holds);
    if (r.status != status || strstr(r.message, part) == NULL)
        fail_msg("status %d, \"%s\"; should be %d with \"%s\"", (int)r.status, r.message, (int)status, part);
    FILE *out = tmpfile();
    assert_non_null(out);
    assert_true(nn_backward_write(&r, out));
    assert_true(ftell(out) > 0);
    fclose(out);
    assert_int_equal(taken, 0);
}

static void expect_bad_shape(ag_shape shape, const char *part) {
    nn_backward_input inputs[3];
    memcpy(inputs, dense_inputs, sizeof inputs);
    nn_backward_output output = {"Y", shape};
    nn_backward b = dense_layer(false);
    inputs[1].shape = shape;
    b.inputs = inputs;
    expect_refusal(&b, 1, AG_ERR_SHAPE, part);
    b = dense_layer(false);
    b.outputs = &output;
    expect_refusal(&b, 1, AG_ERR_SHAPE, part);
}

static void misuse_is_reported(void **state) {
    nn_backward_input inputs[3];
    (void)state;
    expect_refusal(NULL, 1, AG_ERR_VALUE, "NULL");
    nn_backward b = dense_layer(false);
    expect_refusal(&b, 0, AG_ERR_VALUE, "0 draws");
    expect_refusal(&b, 2000000, AG_ERR_VALUE, "2000000 draws");
    b.forward = NULL;
    expect_refusal(&b, 1, AG_ERR_VALUE, "no forward");
    b = dense_layer(false);
    b.backward = NULL;
    expect_refusal(&b, 1, AG_ERR_VALUE, "no backward");
    b = dense_layer(false);
    b.type = (ag_type)5;
    expect_refusal(&b, 1, AG_ERR_VALUE, "type 5");
    b = dense_layer(false);
    b.inputs = NULL;
    expect_refusal(&b, 1, AG_ERR_VALUE, "0 inputs");
    b = dense_layer(false);
    b.input_count = NN_MAX_INPUTS + 1;
    expect_refusal(&b, 1, AG_ERR_VALUE, "17 inputs");
    b = dense_layer(false);
    b.outputs = NULL;
    expect_refusal(&b, 1, AG_ERR_VALUE, "0 outputs");
    b = dense_layer(false);
    b.output_count = -1;
    expect_refusal(&b, 1, AG_ERR_VALUE, "-1 outputs");
    b = dense_layer(false);
    b.tolerance = (double)NAN;
    expect_refusal(&b, 1, AG_ERR_VALUE, "tolerance");
    memcpy(inputs, dense_inputs, sizeof inputs);
    b = dense_layer(false);
    b.inputs = inputs;
    inputs[2].name = NULL;
    expect_refusal(&b, 1, AG_ERR_VALUE, "input 3 has no name");
    inputs[2].name = "b";
    inputs[0].distribution = (nn_distribution)55;
    expect_refusal(&b, 1, AG_ERR_VALUE, "no distribution 55");
    inputs[0].distribution = NN_NORMAL;
    for (int i = 0; i < 3; i++) inputs[i].constant = true;
    expect_refusal(&b, 1, AG_ERR_VALUE, "every input is constant");
    expect_bad_shape((ag_shape){2, {M, 0}}, "dimension 2 is 0");
    expect_bad_shape((ag_shape){2, {-3, 1}}, "dimension 1 is -3");
    expect_bad_shape((ag_shape){3, {1 << 20, 1 << 20, 1 << 20}}, "too large");
    expect_bad_shape((ag_shape){AG_MAX_RANK + 1, {1}}, "rank 9");
    expect_bad_shape((ag_shape){-1, {1}}, "rank -1");
}

static void every_allocation_may_fail(void **state) {
    const context c = {AG_F64, NO_SIGMA};
    (void)state;
    for (int n = 0;; n++) {
        allowed = n;
        nn_backward_report r = run(dense_layer(n % 2 == 0), &c);
        allowed = -1;
        if (r.status == AG_OK) break;
        assert_int_equal(r.status, AG_ERR_MEMORY);
        assert_false(r.holds);
        assert_non_null(strstr(r.message, "out of memory"));
        assert_true(n < 3);
    }
}

/* ---- the report in words ------------------------------------------------------------------------------------------
 * */

static void expect_lines(nn_backward b, mistake made, const char *const *parts) {
    const context c = {AG_F64, made};
    nn_backward_report r = run(b, &c);
    char text[4096];
    FILE *out = tmpfile();
    assert_non_null(out);
    assert_true(nn_backward_write(&r, out));
    rewind(out);
    text[fread(text, 1, sizeof text - 1, out)] = '\0';
    fclose(out);
    for (; *parts != NULL; parts++)
        if (strstr(text, *parts) == NULL) fail_msg("\"%s\" is not in:\n%s", *parts, text);
}

static void the_report_reads_like_adcheck(void **state) {
    (void)state;
    expect_lines(dense_layer(true), TRANSPOSED,
                 (const char *const[]){"dense: 3 gradients, 2 hold, 1 wrong, by the tape at 4 draws\n",
                                       "  holds  value of Y", "  holds  gradient by X",
                                       "  WRONG  gradient by W  transpose: ", "\n             claimed [[",
                                       "\n             right   [[", NULL});
    expect_lines(dense_layer(false), NONE,
                 (const char *const[]){"3 hold, 0 wrong, by central differences", "  holds  gradient by b", NULL});
}

static void a_report_that_cannot_be_written_says_so(void **state) {
    const context c = {AG_F64, SIGN};
    nn_backward_report r = run(dense_layer(true), &c);
    FILE *out = fopen("/dev/null", "r");
    (void)state;
    if (out == NULL) skip();
    assert_false(nn_backward_write(&r, out));
    fclose(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mistake_in_a_dense_layer),
        cmocka_unit_test(every_mistake_in_vectors),
        cmocka_unit_test(losses_and_constant_inputs),
        cmocka_unit_test(the_worst_entry_is_reported),
        cmocka_unit_test(the_same_seed_gives_the_same_report),
        cmocka_unit_test(backward_follows_forward_at_the_same_inputs),
        cmocka_unit_test(given_inputs_come_first),
        cmocka_unit_test(anything_between_the_sides_is_right_at_a_kink),
        cmocka_unit_test(kinks_are_no_false_alarm),
        cmocka_unit_test(steps_suit_the_function),
        cmocka_unit_test(single_precision_is_held_to_what_it_can),
        cmocka_unit_test(a_tolerance_can_be_given),
        cmocka_unit_test(forward_is_compared_with_the_recorded_model),
        cmocka_unit_test(bad_recorded_models_are_errors),
        cmocka_unit_test(misbehaving_functions_are_errors),
        cmocka_unit_test(inputs_must_be_numbers),
        cmocka_unit_test(misuse_is_reported),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(the_report_reads_like_adcheck),
        cmocka_unit_test(a_report_that_cannot_be_written_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
