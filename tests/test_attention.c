/* Attention: against ordinary operations, values and adjoints, of sizes that end inside vectors and blocks; derivatives by every
 * route; what is not seen does not matter; infinite scores, threads, errors. */
#include "any_threads.h"
#include "operation_suite.h"

typedef struct attention_case {
    int64_t batch, queries, keys, heads, width, values;
    bool causal, keep;
} attention_case;

static ag_var by_heads(ag_var x) { return ag_permute(x, AG_AXES(0, 2, 1, 3)); }

static ag_var composed(const attention_case *c, const ag_var *x, ag_var keep) {
    ag_var scores = ag_matmul(by_heads(x[0]), ag_transpose(by_heads(x[1])));
    scores = ag_mul(scores, 1 / sqrt((double)c->width));
    if (c->causal) {
        ag_var past = ag_tril(ag_ones(ag_tape_of(x[0]), AG_SHAPE(c->queries, c->keys)), 0);
        scores = ag_select(past, scores, -(double)INFINITY);
    }
    if (c->keep) scores = ag_select(ag_reshape(keep, AG_SHAPE(c->batch, 1, 1, c->keys)), scores, -(double)INFINITY);
    return by_heads(ag_matmul(ag_softmax(scores, -1), by_heads(x[2])));
}

static ag_var fused(const attention_case *c, const ag_var *x, ag_var keep) {
    return ag_attention(x[0], x[1], x[2],
                        (ag_attention_options){.causal = c->causal, .keep = c->keep ? keep : ag_num(0)});
}

/* Some keys are not to be seen; of the last batch none is. */
static ag_var mask_of(ag_tape *t, const attention_case *c) {
    double keep[512];
    for (int64_t i = 0; i < c->batch * c->keys; i++)
        keep[i] = i * 7 % 5 != 1 && (c->batch == 1 || i < (c->batch - 1) * c->keys);
    return ag_constant_tensor(t, keep, AG_SHAPE(c->batch, c->keys));
}

static void compare(const char *label, const ag_var *base, int bases, ag_var y, ag_var z, double tolerance) {
    ag_var seed = random_tensor(ag_tape_of(y), ag_shape_of(y), -1, 1);
    int64_t n = ag_count(z);
    double *want = new_numbers(n);
    ag_read(z, want);
    check_values(label, y, ag_shape_of(z), want, tolerance);
    free(want);
    for (int k = 0; k < bases; k++) {
        n = ag_count(base[k]);
        want = new_numbers(n);
        double *got = new_numbers(n);
        ag_sweep(&z, &seed, 1, AG_RESET);
        ag_read_grad(base[k], want);
        ag_sweep(&y, &seed, 1, AG_RESET);
        ag_read_grad(base[k], got);
        check_numbers(label, "adjoint", got, want, n, tolerance);
        ag_sweep(&y, &seed, 1, AG_ACCUMULATE);
        ag_read_grad(base[k], got);
        for (int64_t i = 0; i < n; i++) want[i] *= 2;
        check_numbers(label, "adjoint, twice", got, want, n, 2 * tolerance);
        ag_var g = ag_num(0);
        ag_vjp(&y, &seed, 1, &base[k], 1, &g);
        for (int64_t i = 0; i < n; i++) want[i] /= 2;
        check_values(label, g, ag_shape_of(base[k]), want, tolerance);
        free(want), free(got);
    }
    check_fine(label, ag_tape_of(y));
}

static void values(void **unused) {
    (void)unused;
    static const attention_case cases[] = {
        {2, 5, 5, 3, 4, 4, true, true},       {1, 64, 64, 2, 32, 32, true, false},
        {2, 70, 70, 1, 16, 24, true, true},   {2, 3, 7, 2, 5, 6, false, true},
        {1, 9, 4, 1, 8, 3, true, false},      {2, 1, 130, 2, 17, 33, false, true},
        {1, 131, 131, 1, 8, 8, false, false}, {1, 131, 67, 1, 8, 8, true, true},
        {1, 2, 1, 1, 1, 1, true, true},       {1, 200, 200, 1, 32, 16, true, false},
        {3, 16, 16, 2, 64, 64, false, false}, {1, 70, 150, 1, 9, 64, true, false},
        {1, 150, 70, 2, 32, 20, true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int type = 0; type < 2; type++) {
            const attention_case *c = &cases[i];
            char label[64];
            snprintf(label, sizeof label, "attention %d, %s", (int)i, type ? "f32" : "f64");
            ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
            ag_var x[] = {random_tensor(t, AG_SHAPE(c->batch, c->queries, c->heads, c->width), -2, 2),
                          random_tensor(t, AG_SHAPE(c->batch, c->keys, c->heads, c->width), -2, 2),
                          random_tensor(t, AG_SHAPE(c->batch, c->keys, c->heads, c->values), -2, 2)};
            ag_var keep = mask_of(t, c);
            compare(label, x, 3, fused(c, x, keep), composed(c, x, keep), type ? 2e-4 : 1e-10);
            ag_tape_free(t);
        }
}

/* q, k and v inside of one product of a layer; spread over heads; reversed; all three the same. */
static void views(void **unused) {
    (void)unused;
    static const attention_case c = {2, 6, 6, 3, 4, 4, true, true};
    ag_shape s = AG_SHAPE(2, 6, 3, 4);
    for (int type = 0; type < 2; type++) {
        double tolerance = type ? 1e-4 : 1e-11;
        ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
        ag_var packed = random_tensor(t, AG_SHAPE(2, 6, 36), -2, 2), keep = mask_of(t, &c), x[3];
        for (int k = 0; k < 3; k++) x[k] = ag_reshape(ag_slice(packed, 2, 12 * k, 12 * k + 12, 1), s);
        compare("packed", &packed, 1, fused(&c, x, keep), composed(&c, x, keep), tolerance);
        ag_var one = random_tensor(t, AG_SHAPE(2, 6, 1, 4), -1, 1), q = random_tensor(t, AG_SHAPE(2, 3, 6, 4), -1, 1);
        const ag_var spread[] = {by_heads(q), ag_expand(one, s), ag_flip(ag_expand(one, s), 1)}, bases[] = {one, q};
        compare("spread", bases, 2, fused(&c, spread, keep), composed(&c, spread, keep), tolerance);
        ag_var self = random_tensor(t, s, -1, 1);
        const ag_var same[] = {self, self, self}, apart[] = {self, ag_slice(packed, 2, 0, 12, 1), packed};
        compare("the same", &self, 1, fused(&c, same, keep), composed(&c, same, keep), tolerance);
        const ag_var memory[] = {apart[0], ag_reshape(apart[1], s), ag_reshape(ag_slice(packed, 2, 12, 24, 1), s)};
        compare("memory", (const ag_var[]){self, packed}, 2, fused(&c, memory, keep), composed(&c, memory, keep),
                tolerance);
        ag_tape_free(t);
    }
}

/* ---- derivatives ---- */

static ag_var of_case(ag_tape *t, const ag_var *x, int n, void *context) {
    const attention_case *c = context;
    (void)n;
    return fused(c, (const ag_var[]){ag_sin(x[0]), x[1], x[2]}, mask_of(t, c));
}

static ag_var of_packed(ag_tape *t, const ag_var *x, int n, void *context) {
    ag_var part[3];
    (void)t, (void)n;
    for (int k = 0; k < 3; k++) part[k] = ag_reshape(ag_slice(x[0], 2, 4 * k, 4 * k + 4, 1), AG_SHAPE(1, 3, 2, 2));
    return fused(context, part, ag_num(0));
}

static void derivatives(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    attention_case c = {2, 2, 3, 1, 2, 1, false, true}, packed = {1, 3, 3, 2, 2, 2, true, false};
    ag_var x[] = {random_tensor(t, AG_SHAPE(2, 2, 1, 2), -1, 1), random_tensor(t, AG_SHAPE(2, 3, 1, 2), -1, 1),
                  random_tensor(t, AG_SHAPE(2, 3, 1, 1), -1, 1)};
    check_operation("attention", of_case, &c, x, 3);
    ag_var all = random_tensor(t, AG_SHAPE(1, 3, 12), -1, 1);
    check_operation("packed attention", of_packed, &packed, &all, 1);
    ag_tape_free(t);
}

/* ---- edges ---- */

/* What is not seen may be anything, and gets an adjoint of 0. */
static void unseen(void **unused) {
    (void)unused;
    static const double odd[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    attention_case c = {1, 20, 20, 1, 4, 4, true, true};
    enum { N = 80 };
    for (int type = 0; type < 2; type++)
        for (int k = 0; k < 3; k++) {
            ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
            ag_var x[3], y[3], keep = mask_of(t, &c), seed = random_tensor(t, AG_SHAPE(1, 20, 1, 4), -1, 1);
            double numbers[3][N], kept[20], want[N], got[N];
            ag_read(keep, kept);
            for (int i = 0; i < 3; i++) {
                x[i] = random_tensor(t, AG_SHAPE(1, 20, 1, 4), -1, 1);
                ag_read(x[i], numbers[i]);
                for (int j = 0; j < N && i > 0; j++)
                    if (kept[j / 4] == 0) numbers[i][j] = odd[k];
                y[i] = ag_tensor(t, numbers[i], AG_SHAPE(1, 20, 1, 4));
            }
            ag_var right = fused(&c, x, keep), strange = fused(&c, y, keep);
            ag_read(right, want);
            check_values("unseen", strange, AG_SHAPE(1, 20, 1, 4), want, type ? 1e-5 : 1e-13);
            for (int i = 0; i < 3; i++) {
                ag_sweep(&right, &seed, 1, AG_RESET);
                ag_read_grad(x[i], want);
                ag_sweep(&strange, &seed, 1, AG_RESET);
                ag_read_grad(y[i], got);
                check_numbers("unseen", "adjoint", got, want, N, type ? 1e-5 : 1e-13);
            }
            check_fine("unseen", t);
            ag_tape_free(t);
        }
}

static void edges(void **unused) {
    (void)unused;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
        ag_var q = ag_full(t, 1, AG_SHAPE(1, 1, 1, 1)), v = ag_tensor(t, (double[]){1, 3, 5}, AG_SHAPE(1, 3, 1, 1));
        ag_attention_options plain = {.scale = 1};
        ag_var k = ag_tensor(t, (double[]){INFINITY, 2, INFINITY}, AG_SHAPE(1, 3, 1, 1));
        check_values("infinite scores share", ag_attention(q, k, v, plain), AG_SHAPE(1, 1, 1, 1), (double[]){3}, 0);
        k = ag_tensor(t, (double[]){-INFINITY, 2, -INFINITY}, AG_SHAPE(1, 3, 1, 1));
        check_values("-inf is masked", ag_attention(q, k, v, plain), AG_SHAPE(1, 1, 1, 1), (double[]){3}, 0);
        k = ag_full(t, -(double)INFINITY, AG_SHAPE(1, 3, 1, 1));
        check_values("all are", ag_attention(q, k, v, plain), AG_SHAPE(1, 1, 1, 1), (double[]){0}, 0);
        k = ag_tensor(t, (double[]){1, NAN, 2}, AG_SHAPE(1, 3, 1, 1));
        assert_true(isnan(ag_value(ag_attention(q, k, v, plain))));
        k = ag_tensor(t, (double[]){1000, -1000, 0}, AG_SHAPE(1, 3, 1, 1));
        check_values("far apart", ag_attention(q, k, v, plain), AG_SHAPE(1, 1, 1, 1), (double[]){1}, 1e-300);
        double most = type ? 3e38 : 1.7e308;
        k = ag_full(t, 1, AG_SHAPE(1, 3, 1, 1));
        check_values("of great values", ag_attention(q, k, ag_full(t, most, AG_SHAPE(1, 3, 1, 1)), plain),
                     AG_SHAPE(1, 1, 1, 1), &most, most * (type ? 1e-6 : 1e-15));
        k = ag_full(t, most, AG_SHAPE(1, 3, 1, 1));
        check_values("scores overflow", ag_attention(ag_full(t, 2, AG_SHAPE(1, 1, 1, 1)), k, v, plain),
                     AG_SHAPE(1, 1, 1, 1), (double[]){3}, 0);
        ag_var none = ag_zeros(t, AG_SHAPE(1, 0, 1, 1)), y = ag_attention(q, none, none, plain);
        check_values("no keys", y, AG_SHAPE(1, 1, 1, 1), (double[]){0}, 0);
        check_values("no queries", ag_attention(none, k, v, plain), AG_SHAPE(1, 0, 1, 1), NULL, 0);
        ag_backward(ag_sum(y));
        assert_true(ag_grad(q) == 0);
        check_fine("edges", t);
        ag_tape_free(t);
    }
}

static uint64_t hash_of_attention(void) {
    uint64_t hash = 0;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
        ag_var packed = random_tensor(t, AG_SHAPE(3, 40, 144), -1, 1), x[3];
        for (int k = 0; k < 3; k++)
            x[k] = ag_reshape(ag_slice(packed, 2, 48 * k, 48 * k + 48, 1), AG_SHAPE(3, 40, 3, 16));
        ag_var y = ag_attention(x[0], x[1], x[2], (ag_attention_options){.causal = true});
        ag_backward(ag_sum(ag_square(y)));
        size_t size = ag_tape_type(t) == AG_F64 ? 8 : 4;
        hash = hash_bytes(hash, ag_data(y), (size_t)ag_count(y) * size);
        hash = hash_bytes(hash, ag_grad_data(packed), (size_t)ag_count(packed) * size);
        ag_tape_free(t);
    }
    return hash;
}

static void same_for_any_threads(void **unused) {
    (void)unused;
    same_for_threads(4);
}

static void errors(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_attention_options plain = {0};
    ag_var x = ag_zeros(t, AG_SHAPE(2, 3, 4, 5)), flat = ag_zeros(t, AG_SHAPE(2, 3, 20));
    check_failure(t, ag_attention(flat, x, x, plain), AG_ERR_SHAPE,
                  "attention: q of shape (2, 3, 20), k of (2, 3, 4, 5), v of (2, 3, 4, 5): they are (batch, positions, "
                  "heads, width)");
    check_failure(
        t, ag_attention(x, ag_zeros(t, AG_SHAPE(2, 3, 3, 5)), x, plain), AG_ERR_SHAPE,
        "attention: q of shape (2, 3, 4, 5), k of (2, 3, 3, 5), v of (2, 3, 4, 5): batch and heads must be the "
        "same");
    check_failure(t, ag_attention(x, ag_zeros(t, AG_SHAPE(2, 3, 4, 6)), x, plain), AG_ERR_SHAPE,
                  "attention: q of shape (2, 3, 4, 5), k of (2, 3, 4, 6), v of (2, 3, 4, 5): queries and keys must be "
                  "equally wide");
    check_failure(t, ag_attention(x, x, ag_zeros(t, AG_SHAPE(2, 2, 4, 5)), plain), AG_ERR_SHAPE,
                  "attention: q of shape (2, 3, 4, 5), k of (2, 3, 4, 5), v of (2, 2, 4, 5): each key has a value");
    check_failure(t, ag_attention(x, x, x, (ag_attention_options){.keep = ag_zeros(t, AG_SHAPE(3, 2))}), AG_ERR_SHAPE,
                  "attention: `keep` of shape (3, 2), not (2, 3), (batch, keys)");
    check_failure(t, ag_attention(x, x, x, (ag_attention_options){.scale = (double)INFINITY}), AG_ERR_VALUE,
                  "attention: a scale of inf");
    assert_true(ag_is_inert(ag_attention(ag_num(1), ag_num(1), ag_num(1), plain)));
    ag_tape_free(t);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        print_hash(hash_of_attention());
        return 0;
    }
    snprintf(program_path, sizeof program_path, "%s", argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),      cmocka_unit_test(views),  cmocka_unit_test(unseen),
        cmocka_unit_test(edges),       cmocka_unit_test(errors), cmocka_unit_test(same_for_any_threads),
        cmocka_unit_test(derivatives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
