/* The tables of operations, walked: each operation eagerly, as a program, in its program of derivatives, in its scalar
 * form, and in lanes, inside its domain and at its edges. */
#include "edge_table.h"
#include "programs.h"

enum { ROWS = 70 }; /* a block of lanes and a part */

/* ---- elementwise ---- */

static void op_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t;
    y[0] = apply_op(*(ag_opcode *)context, x);
}

/* Value and derivatives at one point, on the eager tape. */
static void eager(ag_type type, ag_opcode op, const double *x, double *out) {
    ag_tape *t = fresh_tape(type);
    ag_var in[3], g[3];
    int n = ag_op_table[op].arity;
    for (int k = 0; k < n; k++) in[k] = ag_input(t, x[k]);
    ag_var y = apply_op(op, in);
    ag_gradient(y, in, n, g);
    out[0] = ag_value(y);
    for (int k = 0; k < n; k++) out[1 + k] = ag_value(g[k]);
}

/* Rows of operands; the answers of one run a row, of lanes, and of the eager tape have to agree. */
static void check_rows(ag_type type, ag_opcode op, const double (*x)[3], int rows, double tolerance) {
    const ag_op_info *info = &ag_op_table[op];
    int n = info->arity;
    ag_port in[3] = {{0}};
    ag_program *p = ag_program_trace(type, op_model, &op, in, n, NULL, 1), *g = ag_program_gradient(p, NULL, 0);
    program_fine_(info->name, g);
    ag_runner *r = ag_runner_new(g);
    double flat[3][ROWS];
    void *data[3], *results[4];
    ag_column xs[3], ys[4];
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < rows; i++) flat[k][i] = x[i][k];
        data[k] = numbers_as(type, flat[k], rows);
        xs[k] = (ag_column){.data = data[k]};
    }
    for (int k = 0; k <= n; k++) {
        results[k] = numbers_as(type, flat[0], rows);
        ys[k] = (ag_column){.data = results[k]};
    }
    if (ag_run_rows(r, rows, xs, ys) != AG_OK) fail_msg("%s: %s", info->name, ag_runner_message(r));
    for (int i = 0; i < rows; i++) {
        double want[4], one[4];
        eager(type, op, x[i], want);
        run_once(g, x[i], one);
        for (int k = 0; k <= n; k++) {
            double lane = ag_load(type, results[k], i);
            const struct {
                const char *how;
                double got;
            } all[] = {{"one run", one[k]}, {"lanes", lane}};
            double sign = op == AG_FNMA ? -1 : 1;
            bool fused = k == 0 && (op == AG_FMA || op == AG_FNMA);
            for (int j = 0; j < 2; j++)
                if (!(fused && is_product_sum(type, sign * x[i][0], x[i][1], x[i][2], all[j].got)) &&
                    !(number_error(all[j].got, want[k]) <= tolerance))
                    fail_msg("%s(%g, %g, %g), %s, %s: number %d is %.17g, should be %.17g", info->name, x[i][0],
                             n > 1 ? x[i][1] : 0, n > 2 ? x[i][2] : 0, type == AG_F64 ? "f64" : "f32", all[j].how, k,
                             all[j].got, want[k]);
        }
    }
    for (int k = 0; k < n; k++) free(data[k]);
    for (int k = 0; k <= n; k++) free(results[k]);
    ag_runner_free(r);
    ag_program_free(p);
    ag_program_free(g);
}

static void check_domain(const op_domain *d) {
    double x[ROWS][3] = {{0}};
    uint64_t state = 5;
    for (int k = 0; k < ag_op_table[d->op].arity; k++) {
        double column[ROWS];
        draw_operand(d, k, &state, column, ROWS);
        for (int i = 0; i < ROWS; i++) x[i][k] = column[i];
    }
    check_rows(AG_F64, d->op, (const double(*)[3])x, ROWS, 2e-14);
    check_rows(AG_F32, d->op, (const double(*)[3])x, ROWS, 1e-5);
}

static void inside_the_domain(void **unused) {
    (void)unused;
    for (int op = 0; op < AG_OPCODES; op++) {
        op_domain d = table_domain(op);
        check_domain(&d);
    }
    for (int i = 0; i < FAR_SIDE_COUNT; i++) check_domain(&FAR_SIDES[i]);
}

static void at_the_edges(void **unused) {
    (void)unused;
    for (int i = 0; i < EDGE_COUNT; i++) {
        double x[3][3];
        for (int j = 0; j < 3; j++) memcpy(x[j], EDGES[i].x, sizeof x[j]);
        check_rows(AG_F64, EDGES[i].op, (const double(*)[3])x, 3, 1e-15);
        check_rows(AG_F32, EDGES[i].op, (const double(*)[3])x, 3, 3e-7);
    }
    for (int op = 0; op < AG_OPCODES; op++) { /* special values, in lanes beside others */
        double x[ROWS][3];
        for (int i = 0; i < ROWS; i++)
            for (int k = 0; k < 3; k++)
                x[i][k] = (double)(float)SPECIAL[(i * (k + 1) + i / SPECIALS * k * 5) % SPECIALS];
        check_rows(AG_F64, (ag_opcode)op, (const double(*)[3])x, ROWS, 4e-15);
        check_rows(AG_F32, (ag_opcode)op, (const double(*)[3])x, ROWS, 1e-6);
    }
}

/* On tensors the machine uses the kernels of the tape, so results are the same to the bit. */
static void tensors_are_those_of_the_tape(void **unused) {
    (void)unused;
    uint64_t state = 6;
    for (int op = 0; op < AG_OPCODES; op++)
        for (int type = 0; type < 2; type++) {
            ag_opcode code = (ag_opcode)op;
            op_domain d = table_domain(op);
            int n = ag_op_table[op].arity;
            double x[3 * ROWS], got[ROWS], want[ROWS];
            ag_tape *t = fresh_tape((ag_type)type);
            ag_port in[3];
            ag_var v[3];
            for (int k = 0; k < n; k++) {
                draw_operand(&d, k, &state, x + k * ROWS, ROWS);
                in[k] = (ag_port){.shape = AG_SHAPE(7, 10)};
                v[k] = ag_tensor(t, x + k * ROWS, in[k].shape);
            }
            ag_program *p = ag_program_trace((ag_type)type, op_model, &code, in, n, NULL, 1);
            run_once(p, x, got);
            ag_read(apply_op(code, v), want);
            for (int i = 0; i < ROWS; i++)
                if (!same_bits(got[i], want[i]))
                    fail_msg("%s of tensors: %.17g, should be %.17g", ag_op_table[op].name, got[i], want[i]);
            ag_program_free(p);
        }
}

/* ---- structural ---- */

/* A case: which operation, by which axes; x has `shape`, y is a second operand where there is one. */
typedef struct shaping {
    const char *name;
    ag_var (*f)(ag_var x, ag_var y);
    ag_shape x, y;
} shaping;

static const int64_t PICKED[4] = {1, 0, 1, 1}, LABELS[3] = {1, 0, 1};

#define AS(name, ...)                                                                                                  \
    static ag_var f_##name(ag_var x, ag_var y) {                                                                       \
        (void)y;                                                                                                       \
        return __VA_ARGS__;                                                                                            \
    }
AS(sum, ag_sum(x))
AS(sum0, ag_sum_over(x, AG_AXES(0), false))
AS(sum1, ag_sum_over(x, AG_AXES(1), true))
AS(mean1, ag_mean_over(x, AG_AXES(-1), false))
AS(prod, ag_prod(x))
AS(prod0, ag_prod_over(x, AG_AXES(0), false))
AS(prod1, ag_prod_over(x, AG_AXES(1), true))
AS(max, ag_max_over(x, AG_AXES(0, 1), false))
AS(max0, ag_max_over(x, AG_AXES(0), false))
AS(min1, ag_min_over(x, AG_AXES(1), true))
AS(norm, ag_norm(x))
AS(norm1, ag_norm_over(x, AG_AXES(1), false))
AS(logsumexp, ag_logsumexp(x))
AS(logsumexp0, ag_logsumexp_over(x, AG_AXES(0), true))
AS(logsumexp1, ag_logsumexp_over(x, AG_AXES(1), false))
AS(argmax0, ag_add(ag_argmax(x, 0), ag_mul(ag_sum(x), 0)))
AS(argmax1, ag_add(ag_argmax(x, 1), ag_mul(ag_sum(x), 0)))
AS(cumsum0, ag_cumsum(x, 0))
AS(cumsum1, ag_cumsum(x, 1))
AS(softmax0, ag_softmax(x, 0))
AS(softmax1, ag_softmax(x, 1))
AS(log_softmax0, ag_log_softmax(x, 0))
AS(log_softmax1, ag_log_softmax(x, 1))
AS(cross_entropy, ag_cross_entropy(x, LABELS))
AS(cross_entropy_soft, ag_cross_entropy_soft(x, y))
AS(gather0, ag_gather(x, 0, PICKED, 4))
AS(gather1, ag_gather(x, 1, PICKED, 4))
AS(scatter, ag_scatter_add(x, 0, LABELS, 3))
AS(concat, ag_concat((ag_var[]){x, y, x}, 3, 1))
AS(stack, ag_stack((ag_var[]){x, y}, 2, 1))
AS(pad, ag_pad(x, 1, 2, 1))
AS(tile, ag_tile(x, 0, 3))
AS(tril, ag_tril(x, 0))
AS(triu, ag_triu(x, 1))
AS(matmul, ag_matmul(x, y))
AS(matmul_t, ag_matmul(ag_transpose(x), ag_transpose(y)))
AS(outer, ag_outer(ag_reshape(x, AG_SHAPE(-1)), ag_reshape(y, AG_SHAPE(-1))))
AS(vdot, ag_vdot(x, y))
AS(trace, ag_trace(x))
AS(copied, ag_reshape(ag_transpose(x), AG_SHAPE(-1)))
AS(flipped, ag_mul(ag_flip(x, 1), ag_expand(ag_index(x, 0, 1), ag_shape_of(x))))
AS(diagonal, ag_square(ag_diagonal(x)))

#define SHAPE2(a, b)                                                                                                   \
    {                                                                                                                  \
        .rank = 2, .dim = { a, b }                                                                                     \
    }
#define ONE(name, a, b)                                                                                                \
    { #name, f_##name, SHAPE2(a, b), SHAPE2(a, b) }
static const shaping SHAPINGS[] = {
    ONE(sum, 3, 4),
    ONE(sum0, 3, 4),
    ONE(sum1, 3, 4),
    ONE(mean1, 3, 4),
    ONE(prod, 3, 4),
    ONE(prod0, 3, 4),
    ONE(prod1, 3, 4),
    ONE(max, 3, 4),
    ONE(max0, 3, 4),
    ONE(min1, 3, 4),
    ONE(norm, 3, 4),
    ONE(norm1, 3, 4),
    ONE(logsumexp, 3, 4),
    ONE(logsumexp0, 3, 4),
    ONE(logsumexp1, 3, 4),
    ONE(argmax0, 3, 4),
    ONE(argmax1, 3, 4),
    ONE(cumsum0, 3, 4),
    ONE(cumsum1, 3, 4),
    ONE(softmax0, 3, 4),
    ONE(softmax1, 3, 4),
    ONE(log_softmax0, 3, 4),
    ONE(log_softmax1, 3, 4),
    ONE(cross_entropy, 3, 4),
    ONE(cross_entropy_soft, 3, 4),
    ONE(gather0, 3, 4),
    ONE(gather1, 3, 4),
    ONE(scatter, 3, 4),
    ONE(concat, 3, 4),
    ONE(stack, 3, 4),
    ONE(pad, 3, 4),
    ONE(tile, 3, 4),
    ONE(tril, 3, 4),
    ONE(triu, 3, 4),
    ONE(outer, 3, 4),
    ONE(vdot, 3, 4),
    ONE(trace, 3, 4),
    ONE(copied, 3, 4),
    ONE(flipped, 3, 4),
    ONE(diagonal, 3, 4),
    {"matmul", f_matmul, SHAPE2(3, 4), SHAPE2(4, 2)},
    {"matmul transposed", f_matmul_t, SHAPE2(4, 3), SHAPE2(2, 4)},
    {"matmul of a vector", f_matmul, SHAPE2(3, 4), {.rank = 1, .dim = {4}}},
    {"matmul batched", f_matmul, {.rank = 3, .dim = {2, 1, 3}}, {.rank = 3, .dim = {1, 3, 2}}},
    /* empty ones */
    ONE(sum, 0, 4),
    ONE(sum0, 0, 4),
    ONE(sum1, 3, 0),
    ONE(prod0, 0, 4),
    ONE(norm1, 3, 0),
    ONE(logsumexp1, 3, 0),
    ONE(cumsum0, 0, 4),
    ONE(softmax1, 3, 0),
    ONE(log_softmax0, 0, 4),
    ONE(concat, 3, 0),
    ONE(pad, 3, 0),
    ONE(tile, 0, 4),
    ONE(tril, 0, 4),
    ONE(vdot, 0, 4),
    ONE(copied, 0, 4),
    {"matmul over nothing", f_matmul, SHAPE2(3, 0), SHAPE2(0, 2)},
    {"matmul of nothing", f_matmul, SHAPE2(0, 3), SHAPE2(3, 2)},
};
enum { SHAPINGS_COUNT = sizeof SHAPINGS / sizeof *SHAPINGS };

static void shaping_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const shaping *s = context;
    ag_var z = s->f(x[0], x[1]);
    uint64_t state = 3;
    int64_t n = ag_count(z);
    double *w = new_numbers(n);
    for (int64_t i = 0; i < n; i++) w[i] = (double)(float)random_number(&state, 0.5, 1.5) * (i % 2 ? -1 : 1);
    y[0] = ag_vdot(z, ag_constant_tensor(t, w, ag_shape_of(z)));
    y[1] = z;
    free(w);
}

/* Numbers of a kind: usual ones, equal ones, and infinities, NaN and zeros among them or alone. */
enum { PATTERNS = 11 };
static double pattern(const shaping *s, int kind, int64_t i, uint64_t *state) {
    double usual = (double)(float)random_number(state, -2, 2);
    switch (kind) {
    case 0: return usual;
    case 1: return (double)(i % 2);
    case 2: return i % 5 == 1 ? INFINITY : usual;
    case 3: return i % 5 == 1 ? -INFINITY : usual;
    case 4: return i % 7 == 3 ? NAN : usual;
    case 5: return -INFINITY;
    case 6: return INFINITY;
    case 7: return i % 3 ? 0.0 : -0.0;
    case 8: return i % 2 ? INFINITY : -INFINITY;
    case 9: return usual * (strncmp(s->name, "norm", 4) == 0 ? 1e30 : 1e12); /* products must not overflow */
    default: return i % 4 == 1 ? 0 : usual * (double)1e-30f;
    }
}

/* The eager tape's s, z and gradient, one after the other. */
static void eager_shaping(ag_type type, const shaping *s, const double *x, double *out) {
    ag_tape *t = fresh_tape(type);
    int64_t n = shape_count(s->x);
    ag_var v[2] = {ag_tensor(t, x, s->x), ag_tensor(t, x + n, s->y)}, y[2];
    shaping_model(t, v, y, (void *)(uintptr_t)s);
    check_fine(s->name, t);
    ag_backward(y[0]);
    out[0] = ag_value(y[0]);
    ag_read(y[1], out + 1);
    ag_read_grad(v[0], out + 1 + ag_count(y[1]));
    ag_read_grad(v[1], out + 1 + ag_count(y[1]) + n);
}

static void compare_shaping(const shaping *s, ag_type type, int kind, const char *how, const double *got,
                            const double *want, int64_t n) {
    double tolerance = type == AG_F64 ? 1e-12 : 1e-4;
    for (int64_t i = 0; i < n; i++)
        if (!(number_error(got[i], want[i]) <= tolerance))
            fail_msg("%s of (%lld, %lld), pattern %d, %s, %s: number %lld is %.17g, should be %.17g", s->name,
                     (long long)s->x.dim[0], (long long)s->x.dim[1], kind, type == AG_F64 ? "f64" : "f32", how,
                     (long long)i, got[i], want[i]);
}

static void check_shaping(const shaping *s, ag_type type) {
    ag_port in[2] = {{.shape = s->x}, {.shape = s->y}};
    ag_program *p = ag_program_trace(type, shaping_model, (void *)(uintptr_t)s, in, 2, NULL, 2);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    program_fine_(s->name, g);
    ag_program *scalars = ag_program_scalars(g);
    program_fine_(s->name, scalars);
    int64_t n = port_total(g, true), nx = port_total(g, false);
    double *x = new_numbers(nx), *want = new_numbers(n), *got = new_numbers(n);
    for (int kind = 0; kind < PATTERNS; kind++) {
        uint64_t state = 21;
        for (int64_t i = 0; i < nx; i++) x[i] = pattern(s, kind, i, &state);
        eager_shaping(type, s, x, want);
        run_once(g, x, got);
        compare_shaping(s, type, kind, "one run", got, want, n);
        run_once(scalars, x, got);
        compare_shaping(s, type, kind, "scalars", got, want, n);
    }
    free(x), free(want), free(got);
    ag_program_free(p);
    ag_program_free(g);
    ag_program_free(scalars);
}

static void scalar_forms(void **unused) {
    (void)unused;
    for (int i = 0; i < SHAPINGS_COUNT; i++) {
        check_shaping(&SHAPINGS[i], AG_F64);
        check_shaping(&SHAPINGS[i], AG_F32);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inside_the_domain),
        cmocka_unit_test(at_the_edges),
        cmocka_unit_test(tensors_are_those_of_the_tape),
        cmocka_unit_test(scalar_forms),
    };
    return cmocka_run_group_tests(tests, NULL, free_tapes);
}
