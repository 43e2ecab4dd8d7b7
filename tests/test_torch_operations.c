/* Operations against PyTorch's numbers: torch/operations.txt, written by torch/operations.py. */
#include "derivatives.h"

#define SHAPE(...)                                                                                                     \
    {                                                                                                                  \
        .rank = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), .dim = { __VA_ARGS__ }                             \
    }
#define CONV(...) ((ag_conv_options){.bias = x[2], __VA_ARGS__})
#define POOL(...) ((ag_pool_options){__VA_ARGS__})

#define CASES(X)                                                                                                       \
    X(conv2d, ag_conv2d(x[0], x[1], CONV(.stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 2})), SHAPE(2, 3, 5, 6), \
      SHAPE(4, 3, 3, 2), SHAPE(4))                                                                                     \
    X(conv2d_groups, ag_conv2d(x[0], x[1], CONV(.padding = {1, 1}, .groups = 2)), SHAPE(1, 4, 4, 5),                   \
      SHAPE(6, 2, 3, 3), SHAPE(6))                                                                                     \
    X(conv1d, ag_conv1d(x[0], x[1], CONV(.stride = {2}, .padding = {1})), SHAPE(2, 2, 7), SHAPE(3, 2, 3), SHAPE(3))    \
    X(conv_transpose2d,                                                                                                \
      ag_conv_transpose2d(x[0], x[1], CONV(.stride = {2, 3}, .padding = {1, 1}, .output_padding = {1, 2})),            \
      SHAPE(1, 3, 3, 2), SHAPE(3, 2, 3, 2), SHAPE(2))                                                                  \
    X(conv_transpose2d_groups, ag_conv_transpose2d(x[0], x[1], CONV(.stride = {2, 2}, .groups = 2)),                   \
      SHAPE(1, 4, 2, 3), SHAPE(4, 2, 2, 2), SHAPE(4))                                                                  \
    X(conv_transpose1d, ag_conv_transpose1d(x[0], x[1], CONV(.stride = {3}, .padding = {1})), SHAPE(2, 2, 4),          \
      SHAPE(2, 3, 3), SHAPE(3))                                                                                        \
    X(max_pool2d, ag_max_pool2d(x[0], POOL(.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}, .ceil_mode = true)), \
      SHAPE(1, 2, 6, 7))                                                                                               \
    X(max_pool2d_dilated, ag_max_pool2d(x[0], POOL(.kernel = {2, 2}, .stride = {1, 1}, .dilation = {2, 2})),           \
      SHAPE(1, 2, 4, 5))                                                                                               \
    X(max_pool1d, ag_max_pool1d(x[0], POOL(.kernel = {2})), SHAPE(2, 3, 7))                                            \
    X(avg_pool2d, ag_avg_pool2d(x[0], POOL(.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}, .ceil_mode = true)), \
      SHAPE(1, 2, 6, 7))                                                                                               \
    X(avg_pool2d_inside,                                                                                               \
      ag_avg_pool2d(x[0], POOL(.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}, .ceil_mode = true,               \
                               .exclude_padding = true)),                                                              \
      SHAPE(1, 2, 6, 7))                                                                                               \
    X(avg_pool1d, ag_avg_pool1d(x[0], POOL(.kernel = {3}, .stride = {2}, .padding = {1})), SHAPE(2, 3, 7))             \
    X(adaptive_max_pool2d, ag_adaptive_max_pool2d(x[0], 3, 2), SHAPE(1, 2, 5, 7))                                      \
    X(adaptive_avg_pool2d, ag_adaptive_avg_pool2d(x[0], 3, 4), SHAPE(1, 2, 5, 7))                                      \
    X(adaptive_avg_pool1d, ag_adaptive_avg_pool1d(x[0], 3), SHAPE(1, 2, 7))                                            \
    X(layer_norm, ag_layer_norm(x[0], 2, x[1], x[2], 1e-5), SHAPE(3, 2, 5), SHAPE(2, 5), SHAPE(2, 5))                  \
    X(batch_norm, ag_batch_norm(x[0], x[1], x[2], 1e-5), SHAPE(3, 2, 2, 3), SHAPE(2), SHAPE(2))                        \
    X(batch_norm_vectors, ag_batch_norm(x[0], x[1], x[2], 1e-5), SHAPE(5, 3), SHAPE(3), SHAPE(3))                      \
    X(attention, ag_attention(x[0], x[1], x[2], (ag_attention_options){.causal = true}), SHAPE(2, 5, 3, 4),            \
      SHAPE(2, 5, 3, 4), SHAPE(2, 5, 3, 2))                                                                            \
    X(attention_keep,                                                                                                  \
      ag_attention(x[0], x[1], x[2], (ag_attention_options){.keep = ag_constant_tensor(t, KEPT, AG_SHAPE(2, 4))}),     \
      SHAPE(2, 3, 2, 5), SHAPE(2, 4, 2, 5), SHAPE(2, 4, 2, 5))                                                         \
    X(linear, ag_linear(x[0], x[1], x[2], ag_num(0)), SHAPE(2, 3, 5), SHAPE(4, 5), SHAPE(4))                           \
    X(cross_entropy, ag_cross_entropy_at(x[0], ag_constant_tensor(t, LABELS, AG_SHAPE(4))), SHAPE(4, 3))               \
    X(embedding, ag_gather_at(x[0], 0, ag_constant_tensor(t, TOKENS, AG_SHAPE(2, 3))), SHAPE(4, 3))

static const double LABELS[] = {1, -1, 2, 0}, TOKENS[] = {2, 0, 2, 1, 2, 3}, KEPT[] = {1, 0, 1, 1, 0, 1, 1, 0};

#define X(name, call, ...)                                                                                             \
    static ag_var f_##name(ag_tape *t, const ag_var *x) {                                                              \
        (void)t;                                                                                                       \
        return call;                                                                                                   \
    }
CASES(X)
#undef X

typedef struct torch_case {
    const char *name;
    ag_var (*f)(ag_tape *t, const ag_var *x);
    ag_shape shape[3];
} torch_case;

static const torch_case cases[] = {
#define X(name, call, ...) {#name, f_##name, {__VA_ARGS__}},
    CASES(X)
#undef X
};
enum { COUNT = sizeof cases / sizeof *cases };

/* sin(i (0.37 + 0.11 k) + k) */
static ag_var wave(ag_tape *t, ag_shape shape, int k) {
    double data[512];
    int64_t n = shape_count(shape);
    assert_in_range(n, 1, 512);
    for (int64_t i = 0; i < n; i++) data[i] = sin((double)i * (0.37 + 0.11 * k) + k);
    return ag_tensor(t, data, shape);
}

/* Numbers of the file: `what` is y or an input. */
static void check_line(const char *name, const char *what, const double *got, int64_t n, double tolerance, FILE *in) {
    char word[64], label[96];
    long long count;
    assert_int_equal(fscanf(in, "%63s", word), 1);
    assert_string_equal(word, name);
    assert_int_equal(fscanf(in, "%63s %lld", word, &count), 2);
    assert_string_equal(word, what);
    assert_int_equal(count, n);
    snprintf(label, sizeof label, "%s, %s", name, what);
    for (int64_t i = 0; i < n; i++) {
        double want;
        assert_int_equal(fscanf(in, "%lf", &want), 1);
        check_numbers(label, "PyTorch", got + i, &want, 1, tolerance);
    }
}

static void check_case(const torch_case *c, ag_type type, FILE *in) {
    double got[512], tolerance = type == AG_F64 ? 1e-10 : 1e-5;
    ag_tape *t = ag_tape_new(type);
    ag_var x[3] = {{0}};
    int inputs = 0;
    for (; inputs < 3 && c->shape[inputs].rank; inputs++) x[inputs] = wave(t, c->shape[inputs], inputs);
    ag_var y = c->f(t, x);
    check_fine(c->name, t);
    ag_read(y, got);
    check_line(c->name, "y", got, ag_count(y), tolerance, in);
    ag_backward(ag_sum(ag_mul(y, ag_detach(wave(t, ag_shape_of(y), 9)))));
    for (int k = 0; k < inputs; k++) {
        char what[2] = {(char)('0' + k), 0};
        ag_read_grad(x[k], got);
        check_line(c->name, what, got, ag_count(x[k]), tolerance, in);
    }
    ag_tape_free(t);
}

static void numbers_of_pytorch(void **unused) {
    char path[512] = __FILE__;
    (void)unused;
    snprintf(strrchr(path, '/'), 32, "/torch/operations.txt");
    for (int type = 0; type < 2; type++) {
        FILE *in = fopen(path, "r");
        assert_non_null(in);
        for (int i = 0; i < COUNT; i++) check_case(&cases[i], type ? AG_F32 : AG_F64, in);
        fclose(in);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_of_pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
