/* Programs printed as C: every operation, structures, gradients; compiled without a warning, and equal to the machine to
 * the last few bits. Without a C compiler most of it is skipped. */
#include "printed.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/resource.h>

/* ---- every elementwise operation: one program, so that it is compiled once ---- */

enum { GRID = 24 };

static void all_operations(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)context, (void)t;
    ag_var sums = ag_num(0);
    for (int op = 0; op < AG_OPCODES; op++) {
        const ag_op_info *info = &ag_op_table[op];
        ag_var in[3] = {ag_num(0), ag_num(0), ag_num(0)}, one[3];
        for (int k = 0; k < info->arity; k++) {
            in[k] = ag_index(x[0], 0, 3 * op + k);
            one[k] = ag_at(in[k], 5);
        }
        y[op] = info->arity == 1   ? ag_apply1_((ag_opcode)op, in[0])
                : info->arity == 2 ? ag_apply2_((ag_opcode)op, in[0], in[1])
                                   : ag_apply3_((ag_opcode)op, in[0], in[1], in[2]);
        /* and of scalars, as part of an expression */
        ag_var s = info->arity == 1   ? ag_apply1_((ag_opcode)op, one[0])
                   : info->arity == 2 ? ag_apply2_((ag_opcode)op, one[0], one[1])
                                      : ag_apply3_((ag_opcode)op, one[0], one[1], one[2]);
        sums = ag_sub(s, ag_mul(sums, 0.5));
    }
    y[AG_OPCODES] = sums;
}

/* Draws from the operations' domains, then numbers that are special. */
static void fill_grid(ag_type type, void *x) {
    static const double edge[] = {0.0, -0.0, 1, -1, 0.5, -2.5, 3, 2, 1e300, -1e300, 1e-300};
    uint32_t random = 3;
    for (int op = 0; op < AG_OPCODES; op++)
        for (int k = 0; k < 3; k++)
            for (int i = 0; i < GRID; i++) {
                double lo = ag_op_table[op].range[k].lo, hi = ag_op_table[op].range[k].hi;
                double v = lo + (hi - lo) * (drawn(&random) - 0.25) / 1.5;
                int e = (i - 10 + 3 * k) % 14;
                if (i >= 10) v = e == 11 ? NAN : e == 12 ? INFINITY : e == 13 ? -INFINITY : edge[e];
                ag_store(type, x, (3 * op + k) * GRID + i, v);
            }
}

static bool is_ill_conditioned(int op) { /* whose values at 1e300 are any */
    return op == AG_SIN || op == AG_COS || op == AG_TAN;
}

static void every_operation(ag_type type) {
    ag_port in[] = {{"x", AG_SHAPE(3 * AG_OPCODES, GRID), NULL}};
    ag_program *p = ag_program_trace(type, all_operations, NULL, in, 1, NULL, AG_OPCODES + 1);
    if (ag_program_status(p) != AG_OK) fail_msg("%s", ag_program_message(p));
    print_too("operations", p, NULL, false);
    ag_compiled *c = ag_program_compile(p, &(ag_compile_options){.cache = folder, .flags = quick});
    if (ag_compiled_status(c) != AG_OK) fail_msg("%s", ag_compiled_message(c));
    size_t size = ag_type_size(type);
    void *x = calloc(3 * AG_OPCODES * GRID, size), *ys[AG_OPCODES + 1], *zs[AG_OPCODES + 1];
    fill_grid(type, x);
    for (int k = 0; k <= AG_OPCODES; k++) {
        ys[k] = calloc(GRID, size);
        zs[k] = calloc(GRID, size);
    }
    ag_runner *r = ag_runner_new(p);
    const void *const xs[] = {x};
    if (type == AG_F64) {
        assert_int_equal(ag_run(r, (const double *const *)(const void *)xs, (double *const *)(void *)ys), AG_OK);
        assert_int_equal(ag_compiled_run(c, (const double *const *)(const void *)xs, (double *const *)(void *)zs),
                         AG_OK);
    } else {
        assert_int_equal(ag_run_f32(r, (const float *const *)(const void *)xs, (float *const *)(void *)ys), AG_OK);
        assert_int_equal(ag_compiled_run_f32(c, (const float *const *)(const void *)xs, (float *const *)(void *)zs),
                         AG_OK);
    }
    double most = type == AG_F64 ? 1e-14 : 2e-6;
    for (int op = 0; op <= AG_OPCODES; op++)
        for (int i = 0; i < (op < AG_OPCODES ? GRID : 1); i++) {
            double y = ag_load(type, ys[op], i), z = ag_load(type, zs[op], i);
            if (is_ill_conditioned(op) && i >= 10) continue;
            double error = difference(type, y, z);
            if (fabs(y) > 1) error /= 4; /* several roundings of functions that are within an ulp or two */
            if (!(error <= most))
                fail_msg("%s at %d (%g, %g): table %.17g, machine %.17g, C %.17g",
                         op < AG_OPCODES ? ag_op_table[op].name : "sums", i,
                         op < AG_OPCODES ? ag_load(type, x, 3 * op * GRID + i) : 0,
                         op < AG_OPCODES ? ag_load(type, x, (3 * op + 1) * GRID + i) : 0,
                         op < AG_OPCODES ? ag_op_table[op].value(ag_load(type, x, 3 * op * GRID + i),
                                                                 ag_load(type, x, (3 * op + 1) * GRID + i),
                                                                 ag_load(type, x, (3 * op + 2) * GRID + i))
                                         : 0,
                         y, z);
        }
    for (int k = 0; k <= AG_OPCODES; k++) {
        free(ys[k]);
        free(zs[k]);
    }
    free(x);
    ag_runner_free(r);
    ag_compiled_free(c);
    ag_program_free(p);
}

static void operations_f64(void **unused) {
    (void)unused;
    if (!have_compiler) skip();
    every_operation(AG_F64);
}
static void operations_f32(void **unused) {
    (void)unused;
    if (!have_compiler) skip();
    every_operation(AG_F32);
}

/* ---- structures ---- */

static void reductions(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var a = ag_sub(x[0], 1.0);
    y[0] = ag_sum_over(a, AG_AXES(0, 2), false);
    y[1] = ag_sum(a);
    y[2] = ag_mean_over(a, AG_AXES(1), true);
    y[3] = ag_prod_over(a, AG_AXES(1), false);
    y[4] = ag_max_over(a, AG_AXES(2), false);
    y[5] = ag_min_over(a, AG_AXES(0, 1), false);
    y[6] = ag_norm_over(a, AG_AXES(1), false);
    y[7] = ag_logsumexp_over(a, AG_AXES(1), false);
    y[8] = ag_softmax(a, 1);
    y[9] = ag_log_softmax(a, -1);
    y[10] = ag_cumsum(a, 1);
    y[11] = ag_argmax(a, 1);
}

static void edges(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var a = ag_sub(x[0], 1.0);
    y[0] = ag_logsumexp_over(ag_mul(a, INFINITY), AG_AXES(2), false);
    y[1] = ag_softmax(ag_select(ag_gt(a, 0.0), INFINITY, a), 2);
    y[2] = ag_log_softmax(ag_select(ag_gt(a, 0.3), -INFINITY, a), 0);
    y[3] = ag_sum_over(ag_transpose(a), AG_AXES(-1), false);
}

static void structure(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    static const int64_t index[] = {2, 0, 1, 2, 2};
    (void)t, (void)context;
    ag_var a = x[0], b = ag_mul(x[1], 2.0);
    y[0] = ag_gather(a, 1, index, 5);
    y[1] = ag_scatter_add(ag_gather(a, 0, index, 5), 0, index, 4);
    y[2] = ag_concat((ag_var[]){a, ag_transpose(b)}, 2, 1);
    y[3] = ag_pad(ag_stack((ag_var[]){a, b}, 2, 1), 2, 1, 2);
    y[4] = ag_tile(a, 0, 3);
    y[5] = ag_tril(a, 1);
    y[6] = ag_triu(ag_transpose(b), 0);
    y[7] = ag_add(ag_transpose(a), ag_at(b, 4));
    y[8] = ag_reshape(ag_transpose(a), AG_SHAPE(9));
    y[9] = ag_slice(b, 1, 2, 0, -1);
    y[10] = ag_num(2.5);
    y[11] = x[1];
}

static void products(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var a = x[0], b = x[1], v = ag_index(x[0], 0, 1), c = x[2]; /* (3, 4), (4, 5), (4), (2, 4, 3) */
    y[0] = ag_matmul(a, b);
    y[1] = ag_matmul(v, b);
    y[2] = ag_matmul(a, v);
    y[3] = ag_matmul(c, a);
    y[4] = ag_matmul(ag_transpose(b), ag_transpose(a));
    y[5] = ag_vdot(v, ag_index(a, 0, 0));
    y[6] = ag_outer(v, v);
    y[7] = ag_matmul(ag_transpose(a), ag_tanh(a));
    y[8] = ag_trace(y[7]);
}

static void losses(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    static const int64_t labels[] = {2, 0, 3};
    (void)t, (void)context;
    y[0] = ag_cross_entropy(x[0], labels);
    y[1] = ag_cross_entropy_soft(x[0], ag_softmax(ag_neg(x[0]), -1));
    y[2] = ag_cross_entropy(ag_select(ag_gt(x[0], 1.0), INFINITY, x[0]), labels);
    y[3] = ag_sum(ag_add(y[0], y[1]));
}

static void structures(ag_type type) {
    ag_port cube[] = {{"x", AG_SHAPE(3, 4, 2), NULL}},
            square[] = {{"a", AG_SHAPE(3, 3), NULL}, {"b", AG_SHAPE(3, 3), NULL}};
    ag_port many[] = {{"a", AG_SHAPE(3, 4), NULL}, {"b", AG_SHAPE(4, 5), NULL}, {"c", AG_SHAPE(2, 4, 3), NULL}};
    check("reductions", ag_program_trace(type, reductions, NULL, cube, 1, NULL, 12));
    check("edges", ag_program_trace(type, edges, NULL, cube, 1, NULL, 4));
    check("structure", ag_program_trace(type, structure, NULL, square, 2, NULL, 12));
    check("products", ag_program_trace(type, products, NULL, many, 3, NULL, 9));
    check("losses", ag_program_trace(type, losses, NULL, many, 1, NULL, 4));
    ag_program *r = ag_program_trace(type, reductions, NULL, cube, 1, NULL, 12);
    ag_program *s = ag_program_trace(type, structure, NULL, square, 2, NULL, 12);
    ag_program *l = ag_program_trace(type, losses, NULL, many, 1, NULL, 4);
    check("vjp of reductions", ag_program_vjp(r, NULL, 0));
    check("vjp of structure", ag_program_vjp(s, NULL, 0));
    check("jvp of losses", ag_program_jvp(l, NULL, 0));
    ag_program_free(r);
    ag_program_free(s);
    ag_program_free(l);
}

static void structures_f64(void **unused) {
    (void)unused;
    structures(AG_F64);
}
static void structures_f32(void **unused) {
    (void)unused;
    structures(AG_F32);
}

/* ---- models ---- */

static void mlp(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var h = ag_tanh(ag_add(ag_matmul(x[0], x[1]), x[2]));
    y[0] = ag_mean(ag_square(ag_sub(ag_matmul(h, x[3]), x[4])));
}

static void scalar(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var a = x[0], b = x[1];
    y[0] = ag_sub(ag_mul(ag_sin(ag_mul(a, b)), ag_sub(a, ag_sub(b, a))),
                  ag_div(ag_neg(ag_neg(a)), ag_add(b, ag_pow(a, b))));
    y[0] = ag_mul(ag_select(ag_lt(a, b), ag_max(a, y[0]), ag_min(b, y[0])), ag_sub(0.0, ag_exp(ag_neg(ag_square(a)))));
    y[0] = ag_add(y[0], ag_chain(ag_eq(a, b), ag_div(1.0, ag_gt(a, b))));
}

static ag_program *trace_mlp(ag_type type, int64_t n) {
    ag_port in[] = {{"x", AG_SHAPE(n, 4), NULL},
                    {"W1", AG_SHAPE(4, n), NULL},
                    {"b", AG_SHAPE(n), NULL},
                    {"W2", AG_SHAPE(n), NULL},
                    {"target", AG_SHAPE(n), NULL}};
    return ag_program_trace(type, mlp, NULL, in, 5, NULL, 1);
}

static ag_program *trace_scalar(ag_type type) {
    ag_port in[] = {{"a", (ag_shape){.rank = 0}, NULL}, {"b", (ag_shape){.rank = 0}, NULL}};
    return ag_program_trace(type, scalar, NULL, in, 2, NULL, 1);
}

static void gradients(void **unused) {
    (void)unused;
    for (int type = AG_F64; type <= AG_F32; type++) {
        ag_program *m = trace_mlp((ag_type)type, 6), *s = trace_scalar((ag_type)type),
                   *large = trace_mlp((ag_type)type, 100);
        ag_along in[] = {AG_EACH, AG_SHARED}, out[] = {AG_SHARED};
        check("mlp", ag_program_gradient(m, NULL, 0));
        check("mlp hvp", ag_program_hvp(m, (const int[]){1, 2}, 2));
        check("mlp, large", ag_program_gradient(large, NULL, 0)); /* with a work array */
        check("scalar", ag_program_gradient(s, NULL, 0));
        check("scalar hessian", ag_program_hessian(s, 0));
        ag_program *map = ag_program_batch(s, 7, in, out);
        check("map", ag_program_gradient(map, NULL, 0));
        check("map of a map", ag_program_batch(map, 3, NULL, NULL));
        ag_program_free(m);
        ag_program_free(s);
        ag_program_free(large);
        ag_program_free(map);
    }
}

/* ---- long programs ---- */

static void chain(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t;
    ag_var a = x[0], b = ag_at(x[1], 1);
    for (int i = 0; i < *(const int *)context; i++) {
        ag_var c = ag_add(ag_sin(ag_mul(a, b)), ag_at(x[1], i % 3));
        b = ag_mul(ag_add(a, c), 0.5);
        a = c;
        if (i % 1000 == 500) b = ag_sum(ag_mul(x[1], b));
    }
    y[0] = ag_add(a, b);
    y[1] = ag_mul(x[1], a);
}

static void parts(void **unused) {
    (void)unused;
    int length = 1200;
    ag_port in[] = {{"a", (ag_shape){.rank = 0}, NULL}, {"w", AG_SHAPE(3), NULL}};
    ag_program *p = ag_program_trace(AG_F64, chain, &length, in, 2, NULL, 2);
    ag_program *q = ag_program_select(p, (const int[]){0}, 1);
    check("a long program", p);
    check("its gradient", ag_program_gradient(q, NULL, 0));
    ag_program_free(q);
}

/* ---- names ---- */

static void same_names(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t;
    int n = *(const int *)context;
    y[0] = ag_num(0);
    for (int k = 0; k < n; k++) y[0] = ag_add(ag_exp(ag_abs(x[k])), ag_mul(y[0], 1.5));
    y[1] = ag_add(y[0], 1.0);
}

static void names(void **unused) {
    static const char *const hard[] = {"double",   "exp", "int", "v0",     "v1",     "i",      "work",
                                       "",         "9",   "a b", "a_b",    "a:b",    "sum",    "*/",
                                       "\xCF\x83", "__x", "_X",  "unix",   "y0",     "main",   "M_PI",
                                       "a\"b\n",   "l",   "x",   "x_step", "printf", "f_rows", "program_lanes",
                                       "fabsf",    "free"};
    enum { N = sizeof hard / sizeof *hard };
    ag_port in[N], out[] = {{"exp", {0}, NULL}, {"return", {0}, NULL}};
    int n = N;
    (void)unused;
    for (int k = 0; k < N; k++) in[k] = (ag_port){hard[k], (ag_shape){.rank = 0}, NULL};
    check("names", ag_program_trace(AG_F64, same_names, &n, in, N, out, 2));
    check("names", ag_program_trace(AG_F32, same_names, &n, in, N, out, 2));
    ag_program *p = ag_program_trace(AG_F64, same_names, &n, in, N, out, 2);
    static const char *const functions[] = {"while", "9 lives", "f; int g", "",     "sin",
                                            "fabsf", "trunc",   "frexp",    "sinl", "complex"};
    for (size_t k = 0; k < sizeof functions / sizeof *functions; k++) print_too("names", p, functions[k], false);
    ag_program_free(p);
}

/* The comment has the names that are none in C: letters as they are, nothing that would end it or turn text around. */
static void names_in_comment(void **unused) {
    static const char *const hard[] = {"\xCE\xB1", "\xCE\xB2", "a:b",           "*/ int x; /*", "a\\\n?\?/",
                                       "x",        "double",   "\xE2\x80\xAE!", "\xCE"};
    static const char *const lines[] = {" *   p__      in: a number: \xCE\xB1\n",
                                        " *   p___2    in: a number: \xCE\xB2\n",
                                        " *   a_b      in: a number: a:b\n",
                                        " in: a number: _/ int x; /_\n",
                                        " in: a number: a____/\n",
                                        " *   x        in: a number\n",
                                        " *   double_  in: a number: double\n",
                                        " in: a number: ___!\n",
                                        " in: a number: _\n",
                                        " *   return_  out: one number: return\n"};
    enum { N = sizeof hard / sizeof *hard };
    ag_port in[N], out[] = {{"y", {0}, NULL}, {"return", {0}, NULL}};
    int n = N;
    char *text = NULL;
    size_t size;
    (void)unused;
    for (int k = 0; k < N; k++) in[k] = (ag_port){hard[k], (ag_shape){.rank = 0}, NULL};
    ag_program *p = ag_program_trace(AG_F64, same_names, &n, in, N, out, 2);
    print_too("names in comment", p, "f", false);
    FILE *f = open_memstream(&text, &size);
    assert_non_null(f);
    assert_int_equal(ag_program_print_c(p, "f", NULL, f).status, AG_OK);
    fclose(f);
    for (size_t k = 0; k < sizeof lines / sizeof *lines; k++)
        if (!strstr(text, lines[k])) fail_msg("no line '%s' in\n%s", lines[k], text);
    free(text);
    ag_program_free(p);
}

/* ---- numbers ---- */

static const double special[] = {0.1,  1.0 / 3,  -0.0,      1e22, 123456789, 5e-324, 1.7976931348623157e308,
                                 -2.5, HUGE_VAL, -HUGE_VAL, NAN,  1e-5,      3};
enum { SPECIAL = sizeof special / sizeof *special };

static void constants(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_type type = *(const ag_type *)context;
    (void)type;
    y[0] = ag_constant_tensor(t, special, AG_SHAPE(SPECIAL));
    for (int k = 0; k < SPECIAL; k++) y[1 + k] = ag_constant(t, special[k]);
    y[1 + SPECIAL] = ag_mul(x[0], -2.0);
}

static void numbers(void **unused) {
    (void)unused;
    if (!have_compiler) skip();
    for (int type = AG_F64; type <= AG_F32; type++) {
        ag_type own = (ag_type)type;
        ag_port in[] = {{"x", (ag_shape){.rank = 0}, NULL}};
        ag_program *p = ag_program_trace(own, constants, &own, in, 1, NULL, SPECIAL + 2);
        ag_compiled *c = ag_program_compile(p, &(ag_compile_options){.cache = folder, .flags = quick});
        data d = open_data(p);
        run_machine(p, &d);
        if (own == AG_F64) ag_compiled_run(c, (const double *const *)(void *)d.xs, (double *const *)(void *)d.zs);
        else ag_compiled_run_f32(c, (const float *const *)(void *)d.xs, (float *const *)(void *)d.zs);
        for (int k = 0; k < SPECIAL; k++) { /* bit for bit, but for the payload of NaN */
            double y = ag_load(own, d.ys[1 + k], 0), z = ag_load(own, d.zs[1 + k], 0), w = ag_load(own, d.zs[0], k);
            assert_true(isnan(special[k]) ? isnan(z) && isnan(w)
                                          : memcmp(&y, &z, sizeof y) == 0 && memcmp(&y, &w, sizeof y) == 0);
        }
        close_data(p, &d);
        ag_compiled_free(c);
        ag_program_free(p);
    }
}

/* ---- errors ---- */

/* An operation that cannot say what it is in C. */
static bool own_shape(ag_call *call) {
    call->shape = AG_SHAPE(3, 3);
    return true;
}
static bool own_forward(const ag_call *call) {
    memcpy(call->out.data, call->in[0].data, 9 * sizeof(double));
    return true;
}
static const ag_operation own = {.name = "own", .shape = own_shape, .forward = own_forward};

/* One that has a form, and a name that is none in C. */
static void own_scalars(const ag_elements *e) { e->out[0] = ag_sin(e->in[0][0]); }
static bool scalar_shape(ag_call *call) {
    call->shape = (ag_shape){.rank = 0};
    return true;
}
static bool own_sine(const ag_call *call) {
    ag_store(call->type, call->out.data, 0, sin(ag_load(call->type, call->in[0].data, 0)));
    return true;
}
static const ag_operation own_named = {
    .name = "my */ \"own\"", .shape = scalar_shape, .forward = own_sine, .scalars = own_scalars};

static void named_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_apply(&own_named, x, 1, NULL, 0);
}

static void own_name(void **unused) {
    (void)unused;
    ag_port in = ag_in("x", (ag_shape){.rank = 0});
    check("an operation's name", ag_program_trace(AG_F64, named_model, NULL, &in, 1, NULL, 1));
}

static void own_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_apply(&own, x, 1, NULL, 0);
}

static void no_form(void **unused) {
    ag_port in[] = {{"a", AG_SHAPE(3, 3), NULL}};
    ag_program *p = ag_program_trace(AG_F64, own_model, NULL, in, 1, NULL, 1);
    char *text = NULL;
    size_t size = 0;
    (void)unused;
    FILE *out = open_memstream(&text, &size);
    ag_printed printed = ag_program_print_c(p, "f", NULL, out);
    fclose(out);
    assert_int_equal(printed.status, AG_ERR_UNSUPPORTED);
    assert_non_null(strstr(printed.message, "own has no form"));
    assert_int_equal(size, 0);
    free(text);
    ag_program_free(p);
}

/* Without a compiler, or with one that fails, the machine runs it. */
static void no_compiler(void **unused) {
    const double a = 0.5, b = 0.75, *const xs[] = {&a, &b};
    double y = 0, right = 0, *const ys[] = {&y}, *const rights[] = {&right};
    ag_program *p = trace_scalar(AG_F64);
    ag_runner *r = ag_runner_new(p);
    (void)unused;
    assert_int_equal(ag_run(r, xs, rights), AG_OK);
    const char *const wrong[] = {"-no-such-flag-at-all", NULL};
    ag_compile_options all[] = {{.compiler = "/no/such/compiler", .cache = folder},
                                {.compiler = "false", .cache = folder},
                                {.flags = wrong, .cache = folder},
                                {.cache = "/proc/no/such/folder"}};
    for (int k = 0; k < 4; k++) {
        ag_compiled *c = ag_program_compile(p, &all[k]);
        assert_int_not_equal(ag_compiled_status(c), AG_OK);
        assert_true(strlen(ag_compiled_message(c)) > 10);
        if (k == 0) assert_non_null(strstr(ag_compiled_message(c), "no C compiler"));
        if (k < 2) assert_int_equal(ag_compiled_status(c), AG_ERR_UNSUPPORTED);
        if (k == 3) assert_int_equal(ag_compiled_status(c), AG_ERR_FILE);
        if (k == 2 && have_compiler) assert_non_null(strstr(ag_compiled_message(c), "no-such-flag"));
        y = 0;
        assert_int_equal(ag_compiled_run(c, xs, ys), AG_OK);
        assert_true(y == right);
        ag_compiled_free(c);
    }
    ag_runner_free(r);
    ag_program_free(p);
}

static void no_room(void **unused) {
    (void)unused;
    ag_program *p = trace_scalar(AG_F64);
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    few = (struct rlimit){100, before.rlim_max};
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &few), 0);
    ag_compiled *c = ag_program_compile(p, &(ag_compile_options){.compiler = "true", .cache = folder});
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, old);
    assert_int_equal(ag_compiled_status(c), AG_ERR_FILE);
    assert_non_null(strstr(ag_compiled_message(c), "p.c cannot be written: File too large"));
    ag_compiled_free(c);
    c = ag_program_compile(p, &(ag_compile_options){.compiler = "true", .cache = folder}); /* it makes nothing */
    assert_int_equal(ag_compiled_status(c), AG_ERR_FILE);
    assert_non_null(strstr(ag_compiled_message(c), "what true made cannot be put into the cache: No such file"));
    ag_compiled_free(c);
    ag_program_free(p);
}

/* ---- the cache ---- */

static void cache(void **unused) {
    (void)unused;
    if (!have_compiler) skip();
    char odd[300];
    snprintf(odd, sizeof odd, "%s/a 'b\"; $(touch x)/-c", folder);
    ag_program *p = trace_scalar(AG_F64);
    ag_compile_options o = {.cache = odd, .flags = quick};
    for (int k = 0; k < 2; k++) {
        ag_compiled *c = ag_program_compile(p, &o);
        if (ag_compiled_status(c) != AG_OK) fail_msg("%s", ag_compiled_message(c));
        ag_compiled_free(c);
    }
    struct stat s;
    assert_int_equal(stat(odd, &s), 0);
    assert_int_equal(s.st_mode & 077, 0);
    /* a damaged file is made anew; one that others may write to is not used */
    char command[1000];
    snprintf(command, sizeof command,
             "cd '%s/a '\\''b\"; $(touch x)/-c' && test $(ls | wc -l) = 1 && for f in *.so; do echo x > \"$f\"; done",
             folder);
    assert_int_equal(system(command), 0);
    ag_compiled *c = ag_program_compile(p, &o);
    if (ag_compiled_status(c) != AG_OK) fail_msg("%s", ag_compiled_message(c));
    ag_compiled_free(c);
    assert_int_equal(chmod(odd, 0777), 0);
    c = ag_program_compile(p, &o);
    assert_int_not_equal(ag_compiled_status(c), AG_OK);
    ag_compiled_free(c);
    ag_program_free(p);
}

/* Compiled code says what the machine says of an input without data, and then runs as before. */
static void missing_data(void **unused) {
    const double a = 0.3, b = 0.7;
    double y[2], da[2], db[2];
    (void)unused;
    if (!have_compiler) skip();
    ag_program *p = trace_scalar(AG_F64), *g = ag_program_gradient(p, NULL, 0);
    ag_compiled *c = ag_program_compile(g, &(ag_compile_options){.cache = folder, .flags = quick});
    ag_runner *r = ag_runner_new(g);
    const double *const all[] = {&a, &b};
    double *const ys[2][3] = {{&y[0], &da[0], &db[0]}, {&y[1], &da[1], &db[1]}};
    for (int k = 0; k < 2; k++) {
        const double *const some[] = {k == 0 ? NULL : &a, k == 1 ? NULL : &b};
        assert_int_equal(ag_run(r, some, ys[0]), AG_ERR_VALUE);
        assert_int_equal(ag_compiled_run(c, some, ys[1]), AG_ERR_VALUE);
        assert_string_equal(ag_compiled_message(c), ag_runner_message(r));
        assert_int_equal(ag_run(r, all, ys[0]), AG_OK);
        assert_int_equal(ag_compiled_run(c, all, ys[1]), AG_OK);
        assert_true(difference(AG_F64, y[0], y[1]) < 1e-14 && difference(AG_F64, db[0], db[1]) < 1e-13);
    }
    ag_runner_free(r);
    ag_compiled_free(c);
    ag_program_free(g);
    ag_program_free(p);
}

/* ---- rows ---- */

static void rows(void **unused) {
    enum { ROWS = 9 };
    (void)unused;
    if (!have_compiler) skip();
    ag_program *p = trace_scalar(AG_F64), *g = ag_program_gradient(p, NULL, 0);
    ag_compiled *c = ag_program_compile(g, &(ag_compile_options){.cache = folder, .flags = quick});
    ag_runner *r = ag_runner_new(g);
    double a[ROWS], b = 0.7, y[2][ROWS], da[2][ROWS] = {{0}}, db[2] = {5, 5};
    int64_t index[ROWS];
    for (int i = 0; i < ROWS; i++) {
        a[i] = 0.1 + i / 7.0;
        index[i] = (i * 5) % 4;
    }
    for (int k = 0; k < 2; k++) {
        ag_column xs[] = {{a, AG_EACH, NULL}, {&b, AG_SHARED, NULL}};
        ag_column ys[] = {{y[k], AG_EACH, NULL}, {da[k], AG_EACH, index}, {&db[k], AG_SHARED, NULL}};
        assert_int_equal(k ? ag_compiled_run_rows(c, ROWS, xs, ys) : ag_run_rows(r, ROWS, xs, ys), AG_OK);
    }
    for (int i = 0; i < ROWS; i++) {
        assert_true(difference(AG_F64, y[0][i], y[1][i]) < 1e-14);
        assert_true(difference(AG_F64, da[0][i], da[1][i]) < 1e-13);
    }
    assert_true(difference(AG_F64, db[0], db[1]) < 1e-13);
    ag_runner_free(r);
    ag_compiled_free(c);
    ag_program_free(g);
    ag_program_free(p);
}

/* Beyond the cache. */
static void many_rows(void **unused) {
    enum { ROWS = 600001 };
    (void)unused;
    if (!have_compiler) skip();
    ag_program *p = trace_scalar(AG_F64);
    ag_compiled *c = ag_program_compile(p, &(ag_compile_options){.cache = folder, .flags = quick});
    ag_runner *r = ag_runner_new(p);
    double *a = calloc(ROWS, sizeof *a), b = 0.7, *y[2] = {calloc(ROWS, sizeof *a), calloc(ROWS, sizeof *a)};
    assert_true(a && y[0] && y[1]);
    for (int i = 0; i < ROWS; i++) a[i] = 0.1 + i % 77 / 7.0;
    for (int k = 0; k < 2; k++) {
        ag_column xs[] = {ag_each(a), {&b, AG_SHARED, NULL}}, out = ag_each(y[k]);
        assert_int_equal(k ? ag_compiled_run_rows(c, ROWS, xs, &out) : ag_run_rows(r, ROWS, xs, &out), AG_OK);
    }
    double most = 0;
    for (int i = 0; i < ROWS; i++) most = fmax(most, difference(AG_F64, y[0][i], y[1][i]));
    assert_true(most < 1e-14 && y[1][ROWS - 1] != 0);
    ag_runner_free(r);
    ag_compiled_free(c);
    ag_program_free(p);
    free(a), free(y[0]), free(y[1]);
}

/* What was printed to a file, compiled and loaded. */
static void *library_of(const char *path, const char *flags) {
    char command[500];
    snprintf(command, sizeof command,
             "%.100s -std=c11 -O3 -fno-math-errno -fno-trapping-math -shared -fPIC -o %s.so %s %s", compiler(), path,
             path, flags);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "%s.so", path);
    void *library = dlopen(command, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    return library;
}

typedef void rows_function(long rows, const double *a, long a_step, const double *b, long b_step, double *y, double *da,
                           double *db);

/* NAME_rows as it is printed, in blocks and with a rest: what lies behind its rows stays as it was. */
static void printed_rows(void **unused) {
    enum { ROWS = 100 };
    (void)unused;
    if (!have_compiler) skip();
    char path[100];
    snprintf(path, sizeof path, "%s/rows.c", folder);
    FILE *out = fopen(path, "w");
    ag_program *p = trace_scalar(AG_F64), *g = ag_program_gradient(p, NULL, 0);
    ag_printed printed = ag_program_print_c(g, "f", &(ag_c_options){.rows = true}, out);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(printed.work, 0);
    void *library = library_of(path, "-lm"), *symbol = dlsym(library, "f_rows");
    rows_function *f;
    memcpy(&f, &symbol, sizeof f);
    ag_runner *r = ag_runner_new(g);
    static const int counts[] = {0, 1, 31, 32, 33, 64, ROWS};
    double a[ROWS], b[ROWS], got[3][ROWS + 1];
    for (int i = 0; i < ROWS; i++) a[i] = 0.1 + i / 70.0, b[i] = 1.2 - i / 90.0;
    for (size_t n = 0; n < sizeof counts / sizeof *counts; n++)
        for (int step = 0; step < 2; step++) {
            for (int k = 0; k < 3; k++)
                for (int i = 0; i <= ROWS; i++) got[k][i] = -7;
            f(counts[n], a, 1, b, step, got[0], got[1], got[2]);
            for (int i = 0; i <= ROWS; i++) {
                double want[3] = {-7, -7, -7};
                const double *const xs[] = {&a[i % ROWS], step ? &b[i % ROWS] : b};
                double *const ys[] = {&want[0], &want[1], &want[2]};
                if (i < counts[n]) assert_int_equal(ag_run(r, xs, ys), AG_OK);
                for (int k = 0; k < 3; k++) assert_true(difference(AG_F64, got[k][i], want[k]) < 1e-13);
            }
        }
    ag_runner_free(r);
    dlclose(library);
    ag_program_free(g);
    ag_program_free(p);
}

/* ---- BLAS ---- */

static void large_products(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_matmul(x[0], x[1]);
    y[1] = ag_matmul(ag_transpose(x[1]), ag_transpose(x[0]));
    y[2] = ag_matmul(ag_transpose(x[0]), ag_tanh(x[0]));
}

static void blas(void **unused) {
    (void)unused;
    if (!have_compiler || system("pkg-config --exists openblas 2>/dev/null") != 0) skip();
    for (int type = AG_F64; type <= AG_F32; type++) {
        ag_port in[] = {{"a", AG_SHAPE(40, 50), NULL}, {"b", AG_SHAPE(50, 60), NULL}};
        ag_program *p = ag_program_trace((ag_type)type, large_products, NULL, in, 2, NULL, 3);
        char path[100], *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        ag_printed printed = ag_program_print_c(p, "f", &(ag_c_options){.blas = true}, out);
        fclose(out);
        assert_int_equal(printed.status, AG_OK);
        assert_non_null(strstr(text, type == AG_F64 ? "cblas_dgemm(" : "cblas_sgemm("));
        snprintf(path, sizeof path, "%s/blas%d.c", folder, type);
        out = fopen(path, "w");
        assert_int_equal(fwrite(text, 1, size, out), size);
        assert_int_equal(fclose(out), 0);
        free(text);
        void *library = library_of(path, "$(pkg-config --cflags --libs openblas) -lm"), *symbol = dlsym(library, "f");
        void (*f)(const void *a, const void *b, void *y0, void *y1, void *y2, void *work);
        memcpy(&f, &symbol, sizeof f);
        data d = open_data(p);
        void *work = calloc((size_t)printed.work + 1, sizeof(double));
        run_machine(p, &d);
        f(d.xs[0], d.xs[1], d.zs[0], d.zs[1], d.zs[2], work);
        assert_same("blas", p, &d);
        free(work);
        close_data(p, &d);
        dlclose(library);
        ag_program_free(p);
    }
}

/* ---- drawings ---- */

static void drawing(void **unused) {
    char *text[2] = {NULL, NULL};
    size_t size[2];
    (void)unused;
    for (int k = 0; k < 2; k++) {
        ag_program *p = trace_mlp(AG_F64, 3), *g = ag_program_gradient(p, NULL, 0);
        FILE *out = open_memstream(&text[k], &size[k]);
        ag_program_dot(g, out);
        fclose(out);
        ag_program_free(g);
        ag_program_free(p);
    }
    assert_string_equal(text[0], text[1]);
    assert_non_null(strstr(text[0], "label=\"W1\\n(4, 3)\""));
    assert_non_null(strstr(text[0], "tanh("));
    assert_non_null(strstr(text[0], "d_W2"));
    assert_string_equal(text[0] + size[0] - 2, "}\n");
    free(text[0]);
    free(text[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_f64), cmocka_unit_test(operations_f32),   cmocka_unit_test(structures_f64),
        cmocka_unit_test(structures_f32), cmocka_unit_test(gradients),        cmocka_unit_test(parts),
        cmocka_unit_test(names),          cmocka_unit_test(numbers),          cmocka_unit_test(no_form),
        cmocka_unit_test(own_name),       cmocka_unit_test(no_compiler),      cmocka_unit_test(no_room),
        cmocka_unit_test(cache),          cmocka_unit_test(missing_data),     cmocka_unit_test(rows),
        cmocka_unit_test(many_rows),      cmocka_unit_test(printed_rows),     cmocka_unit_test(blas),
        cmocka_unit_test(drawing),        cmocka_unit_test(names_in_comment), cmocka_unit_test(clean),
    };
    return cmocka_run_group_tests(tests, open_printed, close_folder);
}
