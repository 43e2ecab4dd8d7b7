/* Convolutions: values of all three operations against naive loops, for both precisions and every option; derivatives by
 * every route; errors, threads, memory that is refused. */
#include "any_threads.h"
#include "operation_suite.h"

/* ---- naive loops ---- */

typedef struct conv_case {
    int64_t images, groups, channels, filters, size[2], kernel[2]; /* channels and filters: of a group */
    ag_conv_options o;
} conv_case;

static int64_t or_one(int64_t n) { return n ? n : 1; }

static int64_t out_of(const conv_case *c, int a) {
    int64_t covers = or_one(c->o.dilation[a]) * (c->kernel[a] - 1) + 1;
    return (c->size[a] + 2 * c->o.padding[a] - covers) / or_one(c->o.stride[a]) + 1;
}

static ag_shape shape_x(const conv_case *c) {
    return AG_SHAPE(c->images, c->groups * c->channels, c->size[0], c->size[1]);
}
static ag_shape shape_w(const conv_case *c) {
    return AG_SHAPE(c->groups * c->filters, c->channels, c->kernel[0], c->kernel[1]);
}
static ag_shape shape_y(const conv_case *c) {
    return AG_SHAPE(c->images, c->groups * c->filters, out_of(c, 0), out_of(c, 1));
}

/* Adds each term of sum y w x to the tensor that is not given: role 0 for x, 1 for w, 2 for y. */
static void naive(const conv_case *c, int role, double *x, double *w, double *y) {
    int64_t h = c->size[0], v = c->size[1], out[2] = {out_of(c, 0), out_of(c, 1)}, s[2], d[2];
    for (int a = 0; a < 2; a++) s[a] = or_one(c->o.stride[a]), d[a] = or_one(c->o.dilation[a]);
    for (int64_t n = 0; n < c->images; n++)
        for (int64_t m = 0; m < c->groups * c->filters; m++)
            for (int64_t k = 0; k < c->channels; k++)
                for (int64_t t = 0; t < c->kernel[0] * c->kernel[1]; t++)
                    for (int64_t o = 0; o < out[0] * out[1]; o++) {
                        int64_t row = o / out[1] * s[0] - c->o.padding[0] + t / c->kernel[1] * d[0];
                        int64_t column = o % out[1] * s[1] - c->o.padding[1] + t % c->kernel[1] * d[1];
                        if (row < 0 || row >= h || column < 0 || column >= v) continue;
                        int64_t channel = m / c->filters * c->channels + k;
                        double *at[] = {&x[((n * c->groups * c->channels + channel) * h + row) * v + column],
                                        &w[(m * c->channels + k) * c->kernel[0] * c->kernel[1] + t],
                                        &y[(n * c->groups * c->filters + m) * out[0] * out[1] + o]};
                        *at[role] += *at[(role + 1) % 3] * *at[(role + 2) % 3];
                    }
}

/* ---- values ---- */

static double *read_all(ag_var x) {
    double *data = new_numbers(ag_count(x));
    ag_read(x, data);
    return data;
}

/* Convolution, its adjoints by sweep, transposed convolution with the same geometry. */
static void check_case(const char *label, ag_type type, const conv_case *given) {
    double tolerance = type == AG_F64 ? 1e-11 : 2e-4;
    conv_case c = *given;
    ag_tape *t = ag_tape_new(type);
    ag_var x = random_tensor(t, shape_x(&c), -1, 1), w = random_tensor(t, shape_w(&c), -1, 1);
    ag_var u = random_tensor(t, shape_y(&c), -1, 1), b = random_tensor(t, AG_SHAPE(c.groups * c.filters), -1, 1);
    double *dx = read_all(x), *dw = read_all(w), *du = read_all(u), *db = read_all(b);
    int64_t nx = ag_count(x), nw = ag_count(w), ny = ag_count(u), area = out_of(&c, 0) * out_of(&c, 1);

    c.o.bias = b;
    ag_var y = ag_conv2d(x, w, c.o);
    double *want = new_numbers(ny);
    for (int64_t i = 0; i < ny; i++) want[i] = db[i / area % (c.groups * c.filters)];
    naive(&c, 2, dx, dw, want);
    check_values(label, y, shape_y(&c), want, tolerance);

    ag_sweep(&y, &u, 1, AG_RESET);
    double *gx = new_numbers(nx), *gw = new_numbers(nw), *got = new_numbers(nx > nw ? nx : nw),
           *gb = new_numbers(ag_count(b));
    naive(&c, 0, gx, dw, du);
    naive(&c, 1, dx, gw, du);
    for (int64_t i = 0; i < ny; i++) gb[i / area % (c.groups * c.filters)] += du[i];
    ag_read_grad(x, got);
    check_numbers(label, "adjoint of images", got, gx, nx, tolerance);
    ag_read_grad(w, got);
    check_numbers(label, "adjoint of weights", got, gw, nw, tolerance);
    ag_read_grad(b, got);
    check_numbers(label, "adjoint of bias", got, gb, ag_count(b), tolerance);
    /* added to what is there */
    ag_sweep(&y, &u, 1, AG_ACCUMULATE);
    ag_read_grad(x, got);
    for (int64_t i = 0; i < nx; i++) gx[i] *= 2;
    check_numbers(label, "adjoint of images, twice", got, gx, nx, tolerance);
    ag_read_grad(w, got);
    for (int64_t i = 0; i < nw; i++) gw[i] *= 2;
    check_numbers(label, "adjoint of weights, twice", got, gw, nw, tolerance);

    bool transposable = true;
    c.o.bias = (ag_var){0};
    for (int a = 0; a < 2; a++) {
        int64_t s = or_one(c.o.stride[a]), covers = or_one(c.o.dilation[a]) * (c.kernel[a] - 1) + 1;
        c.o.output_padding[a] = c.size[a] - ((out_of(&c, a) - 1) * s - 2 * c.o.padding[a] + covers);
        transposable &= c.o.output_padding[a] < s;
    }
    assert_true(transposable);
    memset(gx, 0, (size_t)nx * sizeof *gx);
    naive(&c, 0, gx, dw, du);
    check_values(label, ag_conv_transpose2d(u, w, c.o), shape_x(&c), gx, tolerance);
    check_fine(label, t);
    free(dx), free(dw), free(du), free(db), free(want), free(gx), free(gw), free(got), free(gb);
    ag_tape_free(t);
}

static const conv_case CASES[] = {
    {1, 1, 1, 1, {1, 1}, {1, 1}, {.groups = 1}},
    {2, 1, 3, 5, {6, 7}, {3, 3}, {.groups = 1}},
    {3, 1, 1, 9, {28, 28}, {3, 3}, {.padding = {1, 1}}},
    {2, 1, 20, 17, {14, 14}, {3, 3}, {.padding = {1, 1}}},
    {9, 1, 2, 3, {5, 5}, {3, 3}, {.padding = {2, 2}}},
    {2, 1, 30, 4, {9, 8}, {3, 3}, {.stride = {2, 2}, .padding = {1, 1}}},
    {2, 1, 3, 8, {11, 13}, {3, 2}, {.stride = {2, 3}, .padding = {1, 0}, .dilation = {2, 1}}},
    {1, 1, 2, 2, {12, 12}, {3, 3}, {.stride = {3, 2}, .padding = {2, 1}, .dilation = {1, 3}}},
    {2, 3, 2, 4, {6, 5}, {3, 3}, {.padding = {1, 1}, .groups = 3}},
    {3, 5, 1, 1, {8, 8}, {3, 3}, {.stride = {2, 1}, .padding = {1, 1}, .groups = 5}},
    {2, 1, 4, 70, {7, 50}, {1, 1}, {.groups = 1}},
    {2, 1, 3, 4, {16, 16}, {4, 4}, {.stride = {4, 4}}},
    {2, 1, 3, 4, {9, 9}, {2, 2}, {.stride = {4, 3}}},
    {1, 1, 2, 3, {4, 4}, {5, 5}, {.padding = {4, 4}}},
    {1, 1, 2, 3, {3, 3}, {1, 1}, {.padding = {2, 5}, .stride = {1, 2}}},
    {2, 1, 3, 2, {1, 300}, {1, 5}, {.padding = {0, 2}}},
    {65, 1, 2, 3, {1, 1}, {1, 1}, {.groups = 1}},
    {1, 2, 3, 3, {2, 3}, {2, 3}, {.groups = 2}},
};
enum { CASES_COUNT = sizeof CASES / sizeof *CASES };

static void values(void **unused) {
    (void)unused;
    for (int i = 0; i < CASES_COUNT; i++)
        for (int type = 0; type < 2; type++) {
            char label[32];
            snprintf(label, sizeof label, "case %d, %s", i, type ? "f32" : "f64");
            check_case(label, type ? AG_F32 : AG_F64, &CASES[i]);
        }
}

/* ---- derivatives ---- */

static ag_var conv2d(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t;
    ag_conv_options o = *(const ag_conv_options *)context;
    if (n > 2) o.bias = x[2];
    return ag_conv2d(ag_sin(x[0]), x[1], o);
}
static ag_var conv_transpose2d(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t;
    ag_conv_options o = *(const ag_conv_options *)context;
    if (n > 2) o.bias = x[2];
    return ag_conv_transpose2d(ag_sin(x[0]), x[1], o);
}
static ag_var conv1d(ag_tape *t, const ag_var *x, int n, void *context) {
    ag_conv_options o = *(const ag_conv_options *)context;
    (void)t, (void)n;
    return ag_square(ag_conv1d(ag_transpose(x[0]), x[1], o));
}
static ag_var conv_transpose1d(ag_tape *t, const ag_var *x, int n, void *context) {
    ag_conv_options o = *(const ag_conv_options *)context;
    (void)t, (void)n;
    return ag_square(ag_conv_transpose1d(ag_transpose(x[0]), x[1], o));
}
/* of itself: images and weights share their adjoint */
static ag_var squared(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return ag_conv2d(x[0], x[0], *(const ag_conv_options *)context);
}

static void derivatives(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_conv_options o[] = {{.padding = {1, 0}}, {.stride = {2, 1}, .padding = {1, 1}, .dilation = {1, 2}, .groups = 2}};
    for (int k = 0; k < 2; k++) {
        ag_var x[] = {random_tensor(t, AG_SHAPE(2, 2, 4, 3), -1, 1), random_tensor(t, AG_SHAPE(2, 2 - k, 2, 2), -1, 1),
                      random_tensor(t, AG_SHAPE(2), -1, 1)};
        check_operation("conv2d", conv2d, &o[k], x, 3);
        check_derivatives("conv2d without bias", conv2d, &o[k], x, 2);
    }
    ag_conv_options up[] = {{.padding = {1, 0}},
                            {.stride = {2, 3}, .padding = {1, 1}, .groups = 2, .output_padding = {1, 2}}};
    for (int k = 0; k < 2; k++) {
        ag_var x[] = {random_tensor(t, AG_SHAPE(1, 2, 3, 2), -1, 1), random_tensor(t, AG_SHAPE(2, 2 - k, 2, 2), -1, 1),
                      random_tensor(t, AG_SHAPE(2), -1, 1)};
        check_operation("conv_transpose2d", conv_transpose2d, &up[k], x, 3);
    }
    ag_conv_options line = {.stride = {2}, .padding = {1}};
    ag_var x[] = {random_tensor(t, AG_SHAPE(2, 5, 2), -1, 1), random_tensor(t, AG_SHAPE(3, 2, 3), -1, 1)};
    check_derivatives("conv1d", conv1d, &line, x, 2);
    x[1] = random_tensor(t, AG_SHAPE(2, 3, 3), -1, 1);
    check_derivatives("conv_transpose1d", conv_transpose1d, &line, x, 2);
    ag_var self = random_tensor(t, AG_SHAPE(2, 2, 3, 3), -1, 1);
    ag_conv_options wide = {.padding = {1, 1}};
    check_derivatives("conv2d of itself", squared, &wide, &self, 1);
    ag_tape_free(t);
}

/* ---- views, constants, nothing ---- */

static void operands_of_all_kinds(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = counting_tensor(t, AG_SHAPE(1, 1, 3, 3)),
           w = ag_constant_tensor(t, (double[]){1, 2, 3, 4}, AG_SHAPE(1, 1, 2, 2));
    ag_conv_options plain = {{0}, {0}, {0}, 0, {0}, {0}};
    ag_var y = ag_conv2d(ag_transpose(x), w, plain);
    check_values("transposed", y, AG_SHAPE(1, 1, 2, 2), (double[]){25, 55, 35, 65}, 0);
    ag_backward(ag_sum(y));
    double g[9];
    ag_read_grad(x, g);
    check_numbers("constant weights", "adjoint", g, (double[]){1, 4, 3, 3, 10, 7, 2, 6, 4}, 9, 0);
    ag_var c = ag_constant_tensor(t, NULL, AG_SHAPE(2, 1, 3, 3)),
           v = ag_tensor(t, (double[]){1, 2, 3, 4}, AG_SHAPE(1, 1, 2, 2));
    ag_backward(ag_sum(ag_conv2d(c, v, plain)));
    ag_read_grad(v, g);
    check_numbers("constant images", "adjoint", g, (double[]){0, 0, 0, 0}, 4, 0);
    assert_true(ag_is_constant(ag_conv2d(c, w, plain)));
    plain.bias = ag_constant_tensor(t, (double[]){1, 2}, AG_SHAPE(2));
    ag_var none = ag_zeros(t, AG_SHAPE(2, 0, 3, 3)), no_channels = ag_zeros(t, AG_SHAPE(2, 0, 3, 3));
    check_values("no images", ag_conv2d(ag_zeros(t, AG_SHAPE(0, 3, 4, 4)), ag_zeros(t, AG_SHAPE(2, 3, 1, 1)), plain),
                 AG_SHAPE(0, 2, 4, 4), NULL, 0);
    check_values("no channels", ag_conv2d(none, no_channels, plain), AG_SHAPE(2, 2, 1, 1), (double[]){1, 2, 1, 2}, 0);
    ag_tape_free(t);
}

static ag_var network(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    ag_conv_options o = {.padding = {1, 1}};
    return ag_sum(ag_square(ag_conv2d(x[0], x[1], o)));
}

static uint64_t hash_of_gradients(void) {
    enum { IMAGES = 33 * 3 * 100, WEIGHTS = 16 * 3 * 9 };
    static float grads[IMAGES + WEIGHTS];
    static double data[IMAGES];
    uint64_t state = 5;
    ag_tape *t = ag_tape_new(AG_F32);
    for (int i = 0; i < IMAGES; i++) data[i] = random_number(&state, -1, 1);
    ag_var x[] = {ag_tensor(t, data, AG_SHAPE(33, 3, 10, 10)), ag_tensor(t, data, AG_SHAPE(16, 3, 3, 3))};
    ag_backward(network(t, x, 2, NULL));
    ag_read_grad_f32(x[0], grads);
    ag_read_grad_f32(x[1], grads + IMAGES);
    assert_int_equal(ag_tape_status(t), AG_OK);
    ag_tape_free(t);
    return hash_bytes(0, grads, sizeof grads);
}

static void same_for_any_threads(void **unused) {
    (void)unused;
    same_for_threads(4);
}

/* ---- errors ---- */

static void trace_nothing_left(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_conv_transpose2d(x[0], x[1], (ag_conv_options){.padding = {2, 2}});
}

static void a_program_has_results(void **unused) {
    (void)unused;
    const ag_port in[] = {ag_in("x", AG_SHAPE(1, 4, 2, 2)), ag_in("w", AG_SHAPE(4, 1, 3, 3))};
    ag_program *p = ag_program_trace(AG_F64, trace_nothing_left, NULL, in, 2, NULL, 1);
    assert_int_equal(ag_program_status(p), AG_ERR_SHAPE);
    assert_non_null(
        strstr(ag_program_message(p), "a kernel of 3 and a padding of 2 make a result of size 0 along axis 2"));
    ag_program_free(p);
}

static void errors(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_zeros(t, AG_SHAPE(2, 4, 5, 6)), w = ag_zeros(t, AG_SHAPE(8, 4, 3, 3)), v = ag_zeros(t, AG_SHAPE(4));
    ag_conv_options o = {.groups = 1};
#define BAD(call, status, sentence) check_failure(t, call, status, sentence)
    BAD(ag_conv2d(v, w, o), AG_ERR_SHAPE,
        "conv2d: shapes (4) and (8, 4, 3, 3) do not fit: operand 0 has 1 axes, not 4");
    BAD(ag_conv2d(x, v, o), AG_ERR_SHAPE,
        "conv2d: shapes (2, 4, 5, 6) and (4) do not fit: operand 1 has 1 axes, not 4");
    BAD(ag_conv2d(x, ag_zeros(t, AG_SHAPE(8, 3, 3, 3)), o), AG_ERR_SHAPE,
        "conv2d: shapes (2, 4, 5, 6) and (8, 3, 3, 3) do not fit: 4 channels, weights for 3 in 1 groups");
    BAD(ag_conv2d(x, ag_zeros(t, AG_SHAPE(8, 4, 6, 3)), o), AG_ERR_SHAPE,
        "conv2d: shapes (2, 4, 5, 6) and (8, 4, 6, 3) do not fit: the kernel covers 6, the padded image has 5 along "
        "axis 2");
    BAD(ag_conv2d(x, ag_zeros(t, AG_SHAPE(8, 4, 0, 3)), o), AG_ERR_SHAPE,
        "conv2d: shapes (2, 4, 5, 6) and (8, 4, 0, 3) do not fit: a kernel of 0 x 3");
    o.bias = v;
    BAD(ag_conv2d(x, w, o), AG_ERR_SHAPE, "conv2d: a bias of shape (4) for 8 channels");
    BAD(ag_conv_transpose2d(ag_zeros(t, AG_SHAPE(1, 8, 2, 2)), ag_zeros(t, AG_SHAPE(8, 3, 3, 3)), o), AG_ERR_SHAPE,
        "conv_transpose2d: a bias of shape (4) for 3 channels");
    o = (ag_conv_options){.groups = 3};
    BAD(ag_conv2d(ag_zeros(t, AG_SHAPE(2, 3, 5, 6)), ag_zeros(t, AG_SHAPE(8, 1, 3, 3)), o), AG_ERR_SHAPE,
        "conv2d: shapes (2, 3, 5, 6) and (8, 1, 3, 3) do not fit: 8 filters do not make 3 groups");
    o = (ag_conv_options){.groups = -1};
    BAD(ag_conv2d(x, w, o), AG_ERR_VALUE, "conv2d: -1 groups are outside 1..1073741824");
    o = (ag_conv_options){.stride = {1, -2}};
    BAD(ag_conv2d(x, w, o), AG_ERR_VALUE, "conv2d: a horizontal stride of -2 is outside 1..1073741824");
    o = (ag_conv_options){.padding = {-1, 0}};
    BAD(ag_conv2d(x, w, o), AG_ERR_VALUE, "conv2d: a vertical padding of -1 is outside 0..1073741824");
    o = (ag_conv_options){.dilation = {INT64_MAX, 1}};
    BAD(ag_conv2d(x, w, o), AG_ERR_VALUE,
        "conv2d: a vertical dilation of 9223372036854775807 is outside 1..1073741824");
    BAD(ag_conv_transpose2d(x, ag_zeros(t, AG_SHAPE(4, 1, 2, 2)), o), AG_ERR_VALUE,
        "conv_transpose2d: a vertical dilation of 9223372036854775807 is outside 1..1073741824");
    o = (ag_conv_options){.output_padding = {1, 0}};
    BAD(ag_conv_transpose2d(x, ag_zeros(t, AG_SHAPE(4, 1, 2, 2)), o), AG_ERR_VALUE,
        "conv_transpose2d: an output padding of 1 is outside 0..0, less than the stride");
    o = (ag_conv_options){.padding = {9, 0}};
    BAD(ag_conv_transpose2d(x, ag_zeros(t, AG_SHAPE(4, 1, 2, 2)), o), AG_ERR_SHAPE,
        "conv_transpose2d: shapes (2, 4, 5, 6) and (4, 1, 2, 2) do not fit: a kernel of 2 and a padding of 9 make a "
        "result "
        "of size -12 along axis 2");
    o = (ag_conv_options){.padding = {0, 2}};
    ag_var thin = ag_zeros(t, AG_SHAPE(1, 4, 5, 2)), row = ag_zeros(t, AG_SHAPE(1, 4, 1));
    BAD(ag_conv_transpose2d(thin, ag_zeros(t, AG_SHAPE(4, 1, 3, 3)), o), AG_ERR_SHAPE,
        "conv_transpose2d: shapes (1, 4, 5, 2) and (4, 1, 3, 3) do not fit: a kernel of 3 and a padding of 2 make a "
        "result "
        "of size 0 along axis 3");
    BAD(ag_conv_transpose1d(row, ag_zeros(t, AG_SHAPE(4, 1, 2)), (ag_conv_options){.padding = {1}}), AG_ERR_SHAPE,
        "conv_transpose2d: shapes (1, 4, 1, 1) and (4, 1, 1, 2) do not fit: a kernel of 2 and a padding of 1 make a "
        "result "
        "of size 0 along axis 3");
    o = (ag_conv_options){.padding = {1 << 30, 1 << 30}};
    BAD(ag_conv2d(x, w, o), AG_ERR_SLOTS,
        "conv2d: a result of shape (2, 8, 2147483651, 2147483652) has too many elements");
    BAD(ag_conv1d(x, v, o), AG_ERR_SHAPE, "conv1d: shapes (2, 4, 5, 6) and (4) have not 3 axes each");
#undef BAD
    assert_true(ag_is_inert(ag_conv2d(ag_num(1), ag_num(2), o)));
    assert_true(ag_is_inert(ag_conv1d(ag_num(1), ag_num(2), o)));
    assert_true(ag_is_inert(ag_conv_transpose2d(ag_num(1), ag_num(2), o)));
    ag_tape_free(t);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        print_hash(hash_of_gradients());
        return 0;
    }
    snprintf(program_path, sizeof program_path, "%s", argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values), cmocka_unit_test(operands_of_all_kinds), cmocka_unit_test(same_for_any_threads),
        cmocka_unit_test(errors), cmocka_unit_test(a_program_has_results), cmocka_unit_test(derivatives),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
