/* Every elementwise operation: values against the C library, and all derivatives in every mix of operands, at the
 * edges of the domain and where accuracy is difficult. */
#include "any_threads.h"
#include "c_library.h"
#include "edge_table.h"
#include "grids.h"

/* ---- values ---- */

enum { SAMPLES = 37 };

/* One operation on both types of tape, as a tensor and as scalars. */
static void check_value(const op_domain *d, uint64_t *state) {
    const ag_op_info *info = &ag_op_table[d->op];
    double x[3][SAMPLES] = {{0}}, want[SAMPLES], got[SAMPLES];
    for (int k = 0; k < info->arity; k++) draw_operand(d, k, state, x[k], SAMPLES);
    for (int i = 0; i < SAMPLES; i++) want[i] = REFERENCES[d->op](x[0][i], x[1][i], x[2][i]);
    for (int type = AG_F64; type <= AG_F32; type++) {
        double tolerance = type == AG_F64 ? 4e-15 : 3e-6;
        ag_tape *t = ag_tape_new((ag_type)type);
        ag_var v[3];
        for (int k = 0; k < info->arity; k++) v[k] = ag_tensor(t, x[k], AG_SHAPE(SAMPLES));
        check_values(info->name, apply_op(d->op, v), AG_SHAPE(SAMPLES), want, tolerance);
        for (int i = 0; i < SAMPLES; i++) {
            for (int k = 0; k < info->arity; k++) v[k] = ag_input(t, x[k][i]);
            got[i] = ag_value(apply_op(d->op, v));
        }
        check_numbers(info->name, type == AG_F64 ? "scalar f64" : "scalar f32", got, want, SAMPLES, tolerance);
        ag_tape_free(t);
    }
    for (int i = 0; i < SAMPLES; i++) {
        const ag_var v[3] = {ag_num(x[0][i]), ag_num(x[1][i]), ag_num(x[2][i])};
        got[i] = ag_value(apply_op(d->op, v));
    }
    check_numbers(info->name, "plain numbers", got, want, SAMPLES, 4e-15);
}

static void values_are_those_of_the_c_library(void **unused) {
    (void)unused;
    uint64_t state = 11;
    int without = 0;
    for (int op = 0; op < AG_OPCODES; op++) {
        op_domain d = table_domain(op);
        if (REFERENCES[op]) check_value(&d, &state);
        else without++;
    }
    for (int i = 0; i < FAR_SIDE_COUNT; i++)
        if (REFERENCES[FAR_SIDES[i].op]) check_value(&FAR_SIDES[i], &state);
    assert_int_equal(without, 3); /* digamma, trigamma, polygamma: below */
}

/* Abramowitz & Stegun, tables 6.1, 6.3 and 6.4, and exact values. */
static void values_of_gammas_derivatives(void **unused) {
    (void)unused;
    const double euler = 0.57721566490153286061, zeta3 = 1.20205690315959428540, pi = 3.14159265358979323846;
    const struct {
        ag_opcode op;
        double x, y, want;
    } rows[] = {
        {AG_DIGAMMA, 1, 0, -euler},
        {AG_DIGAMMA, 0.5, 0, -euler - 2 * log(2)},
        {AG_DIGAMMA, -0.5, 0, 2 - euler - 2 * log(2)},
        {AG_DIGAMMA, 2, 0, 1 - euler},
        {AG_DIGAMMA, 1e10, 0, 23.025850929890456840},
        {AG_DIGAMMA, 1e-5, 0, -100000.57719921568},
        {AG_TRIGAMMA, 1, 0, pi * pi / 6},
        {AG_TRIGAMMA, 0.5, 0, pi * pi / 2},
        {AG_TRIGAMMA, -0.5, 0, pi * pi / 2 + 4},
        {AG_TRIGAMMA, 2, 0, pi * pi / 6 - 1},
        {AG_POLYGAMMA, 0, 1, -euler},
        {AG_POLYGAMMA, 1, 1, pi * pi / 6},
        {AG_POLYGAMMA, 2, 1, -2 * zeta3},
        {AG_POLYGAMMA, 3, 1, pi * pi * pi * pi / 15},
        {AG_POLYGAMMA, 2, 0.5, -14 * zeta3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const ag_var v[2] = {ag_num(rows[i].x), ag_num(rows[i].y)};
        double got = ag_value(apply_op(rows[i].op, v));
        check_numbers(ag_op_table[rows[i].op].name, "value", &got, &rows[i].want, 1, 1e-14);
    }
}

/* ---- all routes to all derivatives ---- */

typedef enum operand_kind { INPUT, FLIPPED, EXPANDED, CONSTANT, NUMBER, SAME, SAME_TRANSPOSED } operand_kind;

/* An operation as an ag_function. Operand k is made of the next input, a constant, or operand 0 again. */
typedef struct op_call {
    const op_domain *domain;
    operand_kind kind[3];
    ag_shape shape[3];
    double fixed[3][16]; /* values of constants and numbers */
} op_call;

static ag_var call_op(ag_tape *t, const ag_var *x, int n, void *context) {
    const op_call *c = context;
    ag_var v[3], first = n > 0 ? x[0] : ag_num(0);
    int next = 0;
    for (int k = 0; k < ag_op_table[c->domain->op].arity; k++) {
        switch (c->kind[k]) {
        case INPUT: v[k] = x[next++]; break;
        case FLIPPED: v[k] = ag_flip(x[next++], 0); break;
        case EXPANDED: v[k] = ag_expand(x[next++], AG_SHAPE(2, 2)); break;
        case CONSTANT: v[k] = ag_constant_tensor(t, c->fixed[k], c->shape[k]); break;
        case NUMBER: v[k] = ag_num(c->fixed[k][0]); break;
        case SAME: v[k] = first; break;
        case SAME_TRANSPOSED: v[k] = ag_transpose(first); break;
        }
    }
    return apply_op(c->domain->op, v);
}

static bool takes_input(operand_kind kind) { return kind == INPUT || kind == FLIPPED || kind == EXPANDED; }

/* check_derivatives of a call; operands that the domain fixes become constants. */
static void check_call(op_call *c, const char *how) {
    uint64_t state = 5;
    const ag_op_info *info = &ag_op_table[c->domain->op];
    char label[96];
    snprintf(label, sizeof label, "%s, %s", info->name, how);
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[3];
    int n = 0;
    for (int k = 0; k < info->arity; k++) {
        double data[16];
        draw_operand(c->domain, k, &state, data, 16);
        if (takes_input(c->kind[k]) && is_fixed(c->domain, k)) c->kind[k] = CONSTANT;
        if (takes_input(c->kind[k])) x[n++] = ag_tensor(t, data, c->shape[k]);
        memcpy(c->fixed[k], data, sizeof data);
    }
    if (n > 0) check_derivatives(label, call_op, c, x, n);
    ag_tape_free(t);
}

/* All but `stop`, whose derivative is not that of its value: that is what it is for. */
static void for_all_domains(void (*check)(const op_domain *)) {
    for (int op = 0; op < AG_OPCODES; op++) {
        op_domain d = table_domain(op);
        if (op != AG_STOP) check(&d);
    }
    for (int i = 0; i < FAR_SIDE_COUNT; i++) check(&FAR_SIDES[i]);
}

static void check_alike(const op_domain *d) {
    const ag_shape scalar = {0};
    op_call c = {.domain = d, .shape = {scalar, scalar, scalar}};
    check_call(&c, "scalars");
    c = (op_call){.domain = d, .shape = {AG_SHAPE(2, 3), AG_SHAPE(2, 3), AG_SHAPE(2, 3)}};
    check_call(&c, "tensors");
    c = (op_call){.domain = d, .kind = {FLIPPED, FLIPPED, FLIPPED}, .shape = {AG_SHAPE(3), AG_SHAPE(3), AG_SHAPE(3)}};
    check_call(&c, "flipped tensors");
    c = (op_call){.domain = d, .kind = {EXPANDED, EXPANDED, EXPANDED}, .shape = {AG_SHAPE(2), AG_SHAPE(2, 1), scalar}};
    check_call(&c, "expanded views");
}

static void operands_alike(void **unused) {
    (void)unused;
    for_all_domains(check_alike);
}

static void check_broadcast(const op_domain *d) {
    const ag_shape scalar = {0};
    const ag_shape shapes[][3] = {
        {AG_SHAPE(3, 1), AG_SHAPE(1, 2), AG_SHAPE(2)},
        {scalar, AG_SHAPE(2, 2), AG_SHAPE(1)},
        {AG_SHAPE(2, 2), scalar, AG_SHAPE(2, 1)},
        {AG_SHAPE(2), AG_SHAPE(2, 1, 1), scalar},
    };
    if (ag_op_table[d->op].arity == 1) return;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        op_call c = {.domain = d, .shape = {shapes[i][0], shapes[i][1], shapes[i][2]}};
        check_call(&c, "broadcast");
    }
}

static void operands_broadcast(void **unused) {
    (void)unused;
    for_all_domains(check_broadcast);
}

/* Each operand constant, and each a plain number, the others inputs: scalars and tensors. */
static void check_constants(const op_domain *d) {
    int n = ag_op_table[d->op].arity;
    for (int k = 0; n > 1 && k < n; k++) {
        for (int rank = 0; rank < 2; rank++) {
            ag_shape s = {.rank = rank, .dim = {3}};
            op_call c = {.domain = d, .shape = {s, s, s}};
            c.kind[k] = CONSTANT;
            check_call(&c, "one constant");
            c.kind[k] = NUMBER;
            check_call(&c, "one number");
            for (int j = 0; j < n; j++) c.kind[j] = j == k ? INPUT : NUMBER;
            check_call(&c, "all but one are numbers");
        }
    }
}

static void operands_constant(void **unused) {
    (void)unused;
    for_all_domains(check_constants);
}

/* f(x, x), f(x, x^T), ...: away from x all kinks of the table lie where the operands are equal, and there f(x, x) is
 * smooth again. */
static void check_aliased(const op_domain *d) {
    int n = ag_op_table[d->op].arity;
    if (n == 1 || is_fixed(d, 0)) return;
    op_domain same = *d;
    for (int k = 1; k < n; k++) same.range[k] = same.range[0];
    for (int k = 1; k < n; k++) {
        if (d->op == AG_POW && d->range[0].lo < 0) continue; /* negative numbers to fractional powers */
        op_call c = {.domain = &same, .shape = {AG_SHAPE(2, 2), AG_SHAPE(2, 2), AG_SHAPE(2, 2)}};
        c.kind[k] = SAME;
        check_call(&c, "an operand twice");
        c.kind[k] = SAME_TRANSPOSED;
        check_call(&c, "an operand and its transpose");
        if (n == 2) continue;
        c.kind[1] = SAME_TRANSPOSED, c.kind[2] = SAME;
        check_call(&c, "an operand, its transpose, itself");
    }
}

static void operands_aliased(void **unused) {
    (void)unused;
    for_all_domains(check_aliased);
}

/* ---- kernels and views: every mix of strides ---- */

static void check_grid(const op_domain *d, const layout kind[3], int64_t rows, int64_t columns) {
    uint64_t state = 3;
    grid g = {.domain = d, .kind = {kind[0], kind[1], kind[2]}, .rows = rows, .columns = columns};
    int used = 0; /* one operand has to fill the grid */
    grid_open(&g, &state);
    for (int k = 0; k < ag_op_table[d->op].arity; k++) used |= kind[k] < COLUMN;
    if (used) {
        grid_check(&g, AG_F64);
        grid_check(&g, AG_F32);
    }
    grid_close(&g);
}

static void check_layouts(const op_domain *d) {
    for (layout a = 0; a < LAYOUTS; a++) {
        layout last = ag_op_table[d->op].arity == 1 ? 1 : LAYOUTS;
        for (layout b = 0; b < last; b++) check_grid(d, (layout[]){a, b, (a + 2 * b) % LAYOUTS}, 3, 5);
    }
}

/* AG_STRICT: NaN in, NaN out, whatever else goes in. Of the operations that have it not, most are not. */
static void strict_operations_keep_nan(void **unused) {
    static const double others[] = {NAN, 0.0, -0.0, 1, -1, 0.5, -2, 3, INFINITY, -INFINITY, 1e300, -1e-300};
    enum { OTHERS = sizeof others / sizeof *others };
    (void)unused;
    for (int op = 0; op < AG_OPCODES; op++) {
        const ag_op_info *info = &ag_op_table[op];
        bool keeps = true;
        for (int k = 0; k < info->arity; k++)
            for (int i = 0; i < OTHERS * OTHERS; i++) {
                double x[3] = {others[i % OTHERS], others[i / OTHERS], others[i % OTHERS]};
                if (k == 1) x[2] = x[1];
                x[k] = NAN;
                keeps &= isnan(info->value(x[0], x[1], x[2])) &&
                         isnan(info->value_f32((float)x[0], (float)x[1], (float)x[2]));
            }
        if (info->traits & AG_STRICT && !keeps) fail_msg("%s is not strict", info->name);
        if (op == AG_CHAIN || op == AG_SELECT || op == AG_LT || op == AG_POW) assert_false(keeps);
    }
}

static void stop_has_no_derivative(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, (double[]){2, -3}, AG_SHAPE(2)), g, v;
    ag_var y = ag_sum(ag_mul(ag_stop(x), x));
    ag_backward(y);
    double adjoint[2], recorded[2];
    ag_read_grad(x, adjoint);
    ag_gradient(y, &x, 1, &g);
    ag_read(g, recorded);
    ag_jvp(&y, 1, &x, &x, 1, &v);
    assert_true(adjoint[0] == 2 && adjoint[1] == -3 && recorded[0] == 2 && recorded[1] == -3);
    assert_true(ag_value(v) == 2 * 2 + 3 * 3);
    ag_tape_free(t);
}

static void all_layouts(void **unused) {
    (void)unused;
    for (int op = 0; op < AG_OPCODES; op++) {
        op_domain d = table_domain(op);
        check_layouts(&d);
    }
}

/* Lengths around those of vectors and blocks. */
static void all_lengths(void **unused) {
    (void)unused;
    static const int64_t lengths[] = {1, 2, 4, 7, 8, 9, 16, 31, 65, 511, 512, 513, 1300};
    for (int op = 0; op < AG_OPCODES; op++) {
        op_domain d = table_domain(op);
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
            check_grid(&d, (layout[]){PLAIN, PLAIN, PLAIN}, 1, lengths[i]);
    }
    static const int some[] = {AG_MUL, AG_HYPOT, AG_FMA};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        op_domain d = table_domain(some[i]);
        for (layout a = 0; a < LAYOUTS; a++)
            for (layout b = 0; b < LAYOUTS; b++) check_grid(&d, (layout[]){a, b, (a + b) % LAYOUTS}, 3, 700);
    }
}

/* ---- third order, along a line: s(u) = sum of w f(x + u v) ---- */

typedef struct line {
    const op_domain *domain;
    double x[3][4], v[3][4];
    int rank;
} line;

static ag_var line_function(const line *l, ag_var u) {
    ag_tape *t = ag_tape_of(u);
    ag_shape shape = {.rank = l->rank, .dim = {3}};
    const double weights[4] = {1, -0.5, 0.75, 2};
    ag_var v[3];
    for (int k = 0; k < ag_op_table[l->domain->op].arity; k++) {
        v[k] = ag_constant_tensor(t, l->x[k], shape);
        if (!is_fixed(l->domain, k)) v[k] = ag_add(v[k], ag_mul(u, ag_constant_tensor(t, l->v[k], shape)));
    }
    ag_var y = apply_op(l->domain->op, v);
    return l->rank ? ag_sum(ag_mul(y, ag_constant_tensor(t, weights, shape))) : y;
}

/* d^order s / du^order: bit i of `modes` tells whether step i is by forward mode. */
static double line_derivative(const line *l, double at, int order, unsigned modes, ag_type type) {
    ag_tape *t = fresh_tape(type);
    ag_var u = ag_input(t, at), one = ag_num(1), y = line_function(l, u), d;
    for (int i = 0; i < order; i++) {
        if (modes >> i & 1) ag_jvp(&y, 1, &u, &one, 1, &d);
        else ag_gradient(y, &u, 1, &d);
        y = d;
    }
    check_fine(ag_op_table[l->domain->op].name, t);
    return ag_value(y);
}

static void check_line(const op_domain *d) {
    const char *name = ag_op_table[d->op].name;
    uint64_t state = 17;
    for (int rank = 0; rank < 2; rank++) {
        line l = {.domain = d, .rank = rank};
        for (int k = 0; k < 3; k++) {
            double middle = (d->range[k].lo + d->range[k].hi) / 2, radius = (d->range[k].hi - d->range[k].lo) / 4;
            for (int i = 0; i < 4; i++) {
                l.x[k][i] = (double)(float)(middle + random_number(&state, -radius, radius));
                l.v[k][i] = (double)(float)random_number(&state, -1, 1);
            }
        }
        const double h = 1e-3;
        for (int order = 1; order <= 3; order++) {
            double want = line_derivative(&l, 0, order, 0, AG_F64);
            for (unsigned modes = 0; modes < 1u << order; modes++) {
                double got = line_derivative(&l, 0, order, modes, AG_F64);
                check_numbers(name, "orders 1 to 3 by all modes", &got, &want, 1, 1e-11);
                got = line_derivative(&l, 0, order, modes, AG_F32);
                check_numbers(name, "orders 1 to 3 by all modes, f32", &got, &want, 1, 2e-3);
            }
            double near = line_derivative(&l, h, order - 1, 0, AG_F64) - line_derivative(&l, -h, order - 1, 0, AG_F64);
            double far =
                line_derivative(&l, 2 * h, order - 1, 0, AG_F64) - line_derivative(&l, -2 * h, order - 1, 0, AG_F64);
            double differences = (8 * near - far) / (12 * h);
            check_numbers(name, "orders 1 to 3 against differences", &differences, &want, 1, 1e-6);
        }
    }
}

static void third_order(void **unused) {
    (void)unused;
    for_all_domains(check_line);
}

/* ---- edges ---- */

enum { MOST_POINTS = 512 };

/* One operation at n points, with the right values and partials. */
typedef struct points {
    ag_opcode op;
    int n;
    double x[3][MOST_POINTS], value[MOST_POINTS], p[3][MOST_POINTS];
} points;

typedef struct points_result {
    double value[MOST_POINTS], sweep[3][MOST_POINTS], recorded[3][MOST_POINTS], tangent[3][MOST_POINTS];
} points_result;

/* As n scalars: each its own inputs, swept and differentiated together. */
static void points_by_scalars(const points *c, ag_type type, points_result *r) {
    static ag_var x[3][MOST_POINTS], y[MOST_POINTS], ones[MOST_POINTS], out[3][MOST_POINTS], all[3 * MOST_POINTS];
    ag_tape *t = fresh_tape(type);
    int arity = ag_op_table[c->op].arity;
    for (int i = 0; i < c->n; i++) {
        ag_var v[3];
        for (int k = 0; k < arity; k++) x[k][i] = v[k] = ag_input(t, c->x[k][i]);
        y[i] = apply_op(c->op, v);
        ones[i] = ag_num(1);
    }
    ag_sweep(y, ones, c->n, AG_RESET);
    for (int k = 0; k < arity; k++) memcpy(all + k * c->n, x[k], (size_t)c->n * sizeof **x);
    static ag_var gradient[3 * MOST_POINTS];
    ag_vjp(y, ones, c->n, all, arity * c->n, gradient);
    for (int k = 0; k < arity; k++) ag_jvp(y, c->n, x[k], ones, c->n, out[k]);
    check_fine(ag_op_table[c->op].name, t);
    for (int i = 0; i < c->n; i++) {
        r->value[i] = ag_value(y[i]);
        for (int k = 0; k < arity; k++) {
            r->sweep[k][i] = ag_grad(x[k][i]);
            r->recorded[k][i] = ag_value(gradient[k * c->n + i]);
            r->tangent[k][i] = ag_value(out[k][i]);
        }
    }
}

static void points_by_tensor(const points *c, ag_type type, points_result *r) {
    ag_tape *t = fresh_tape(type);
    int arity = ag_op_table[c->op].arity;
    ag_var x[3], out[3], one = ag_num(1), tangent;
    for (int k = 0; k < arity; k++) x[k] = ag_tensor(t, c->x[k], AG_SHAPE(c->n));
    ag_var y = apply_op(c->op, x);
    ag_read(y, r->value);
    ag_sweep(&y, &one, 1, AG_RESET);
    ag_vjp(&y, &one, 1, x, arity, out);
    for (int k = 0; k < arity; k++) {
        ag_read_grad(x[k], r->sweep[k]);
        ag_read(out[k], r->recorded[k]);
        ag_jvp(&y, 1, &x[k], &one, 1, &tangent);
        ag_read(tangent, r->tangent[k]);
    }
    check_fine(ag_op_table[c->op].name, t);
}

static void check_point(const points *c, int i, const char *route, double got, double want, double tolerance) {
    if (number_error(got, want) <= tolerance) return;
    fail_msg("%s at (%g, %g, %g), %s: %.17g, should be %.17g", ag_op_table[c->op].name, c->x[0][i], c->x[1][i],
             c->x[2][i], route, got, want);
}

static void check_points(const points *c, ag_type type) {
    static points_result r;
    double tolerance = type == AG_F64 ? 1e-13 : 2e-5;
    for (int tensor = 0; tensor < 2; tensor++) {
        if (tensor) points_by_tensor(c, type, &r);
        else points_by_scalars(c, type, &r);
        for (int i = 0; i < c->n; i++) {
            char route[64];
            snprintf(route, sizeof route, "%s, %s, ", type == AG_F64 ? "f64" : "f32", tensor ? "tensor" : "scalar");
            size_t at = strlen(route), left = sizeof route - at;
            strcpy(route + at, "value");
            check_point(c, i, route, r.value[i], c->value[i], tolerance);
            for (int k = 0; k < ag_op_table[c->op].arity; k++) {
                snprintf(route + at, left, "operand %d, sweep", k);
                check_point(c, i, route, r.sweep[k][i], c->p[k][i], tolerance);
                snprintf(route + at, left, "operand %d, recorded", k);
                check_point(c, i, route, r.recorded[k][i], c->p[k][i], tolerance);
                snprintf(route + at, left, "operand %d, tangent", k);
                check_point(c, i, route, r.tangent[k][i], c->p[k][i], tolerance);
            }
        }
    }
}

/* All combinations of special numbers: every route gives what the table's scalar functions give. */
static void routes_agree_at_edges(void **unused) {
    (void)unused;
    static const double special[2][20] = {{0,     1,      -1,     INFINITY, -INFINITY, NAN, 2,   -0.0, 0.5,  -2.5,
                                           1e300, -1e300, 4e-320, -4e-320,  40,        -40, 800, -800, 1e-9, 3},
                                          {0,    1,     -1,    INFINITY, -INFINITY, NAN, 2,   -0.0, 0.5,  -2.5,
                                           1e37, -1e37, 1e-41, -1e-41,   40,        -40, 800, -800, 1e-9, 3}};
    static const int many[] = {0, 20, 20, 8};
    static points c;
    for (int op = 0; op < AG_OPCODES; op++) {
        const ag_op_info *info = &ag_op_table[op];
        int base = many[info->arity];
        c.op = (ag_opcode)op;
        c.n = info->arity == 1 ? base : info->arity == 2 ? base * base : base * base * base;
        for (int type = AG_F64; type <= AG_F32; type++) {
            for (int i = 0; i < c.n; i++) {
                double x[3], p[3];
                float f[3], q[3];
                for (int k = 0, rest = i; k < 3; k++, rest /= base) {
                    x[k] = k < info->arity ? special[type][rest % base] : 0;
                    f[k] = (float)x[k];
                    c.x[k][i] = x[k];
                }
                if (type == AG_F64) info->partials(x[0], x[1], x[2], c.value[i] = info->value(x[0], x[1], x[2]), p);
                else info->partials_f32(f[0], f[1], f[2], info->value_f32(f[0], f[1], f[2]), q);
                if (type == AG_F32) c.value[i] = (double)info->value_f32(f[0], f[1], f[2]);
                for (int k = 0; k < 3; k++) c.p[k][i] = type == AG_F64 ? p[k] : (double)q[k];
            }
            check_points(&c, (ag_type)type);
        }
    }
}

static bool is_as_stated(const edge_row *row, ag_type type) {
    const ag_op_info *info = &ag_op_table[row->op];
    double r, p[3], tolerance = type == AG_F64 ? 1e-15 : 4e-7;
    if (type == AG_F64) {
        r = info->value(row->x[0], row->x[1], row->x[2]);
        info->partials(row->x[0], row->x[1], row->x[2], r, p);
    } else {
        float x = (float)row->x[0], y = (float)row->x[1], z = (float)row->x[2], value = info->value_f32(x, y, z), q[3];
        info->partials_f32(x, y, z, value, q);
        r = (double)value;
        for (int k = 0; k < 3; k++) p[k] = (double)q[k];
    }
    bool good = row->value == ANY || number_error(r, row->value) <= tolerance;
    for (int k = 0; k < info->arity; k++) good &= row->p[k] == ANY || number_error(p[k], row->p[k]) <= tolerance;
    if (good) return true;
    print_error("%s at (%g, %g, %g), %s, is %g, partials %g %g %g; should be %g, partials %g %g %g\n", info->name,
                row->x[0], row->x[1], row->x[2], type == AG_F64 ? "f64" : "f32", r, p[0], p[1], p[2], row->value,
                row->p[0], row->p[1], row->p[2]);
    return false;
}

static void edges_are_as_stated(void **unused) {
    (void)unused;
    int wrong = 0;
    for (int i = 0; i < EDGE_COUNT; i++) wrong += !is_as_stated(&EDGES[i], AG_F64) + !is_as_stated(&EDGES[i], AG_F32);
    assert_int_equal(wrong, 0);
}

static void signs_of_zeros(void **unused) {
    (void)unused;
    ag_tape *t = fresh_tape(AG_F64);
    const double zeros[8] = {-0.0, -0.0, -0.0, -0.0, -0.0, -0.0, -0.0, -0.0};
    static const ag_opcode odd[] = {AG_SIGN, AG_FLOOR, AG_CEIL, AG_ROUND, AG_SQRT,  AG_CBRT,  AG_SIN,   AG_TAN, AG_ASIN,
                                    AG_ATAN, AG_SINH,  AG_TANH, AG_ASINH, AG_ATANH, AG_EXPM1, AG_LOG1P, AG_ERF};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        double tensor[8];
        ag_read(ag_apply1_(odd[i], ag_tensor(t, zeros, AG_SHAPE(8))), tensor);
        bool good =
            signbit(ag_value(ag_apply1_(odd[i], ag_input(t, -0.0)))) && signbit(tensor[0]) && signbit(tensor[7]);
        if (!good) fail_msg("%s(-0) is +0", ag_op_table[odd[i]].name);
    }
    assert_false(signbit(ag_value(ag_abs(ag_input(t, -0.0)))));
    assert_false(signbit(ag_value(ag_neg(ag_input(t, -0.0)))));
}

/* ---- second order at kinks, and branches that are not taken ---- */

static ag_var at_kink(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    const edge_row *row = context;
    return apply_op(row->op, (ag_var[]){x[0], ag_num(row->x[1]), ag_num(row->x[2])});
}

static ag_var log_or_line(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_select(ag_gt(x[0], 0), ag_log(x[0]), ag_sub(x[0], 1));
}

static ag_var root_or_zero(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_select(ag_gt(x[0], 0), ag_mul(ag_sqrt(x[0]), ag_pow(x[0], 0.5)), 0);
}

static ag_var overflowing(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_select(ag_lt(x[0], 3), x[0], ag_mul(ag_exp(ag_mul(x[0], 1e6)), ag_recip(x[0])));
}

/* An infinite adjoint meets a partial of 0. */
static ag_var log_of_relu(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_add(x[0], ag_log(ag_relu(x[0])));
}

static ag_var length_of_point(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_hypot(x[0], ag_mul(x[0], 2));
}

/* f at x, with its first and second derivative, by all routes, as a scalar and as a tensor. */
static void check_kink(const char *label, ag_function f, void *context, double x, double first, double second) {
    for (int rank = 0; rank < 2; rank++) {
        ag_tape *t = ag_tape_new(AG_F64);
        const double data[3] = {x, x, x};
        ag_var v = ag_tensor(t, data, (ag_shape){.rank = rank, .dim = {3}});
        routes_case c = routes_case_new(label, f, context, &v, 1);
        routes r = check_routes(&c);
        uint64_t state = 99; /* as routes_weighted weighs outputs */
        for (int i = 0; i < (rank ? 3 : 1); i++) {
            double weight = random_number(&state, 0.5, 1.5) * (i % 2 ? -1 : 1);
            double want[2] = {weight * first, weight * second * c.v[i]};
            check_numbers(label, "first order at a kink", &r.gradient[i], &want[0], 1, 1e-14);
            check_numbers(label, "second order at a kink", &r.reverse_reverse[i], &want[1], 1, 1e-14);
        }
        routes_free(&r);
        routes_case_free(&c);
        ag_tape_free(t);
    }
}

static void second_order_at_kinks(void **unused) {
    (void)unused;
    /* the value is the second derivative here */
    static edge_row rows[] = {
        {AG_RELU, {0}, 0, {0}},         {AG_ABS, {0}, 0, {0}},        {AG_MAX, {2, 2}, 0, {0.5}},
        {AG_MIN, {2, 2}, 0, {0.5}},     {AG_CLIP, {1, 1, 3}, 0, {1}}, {AG_CLIP, {3, 1, 3}, 0, {1}},
        {AG_CLIP, {4, 1, 3}, 0, {0}},   {AG_HYPOT, {0, 0}, 0, {0}},   {AG_LEAKY_RELU, {0, 0.5}, 0, {0.5}},
        {AG_ELU, {0, 1.5}, 1.5, {1.5}}, {AG_POW, {0, 0}, 0, {0}},     {AG_POW, {0, 1}, 0, {1}},
        {AG_POW, {0, 2}, 2, {0}},       {AG_POW, {0, 3}, 0, {0}},     {AG_POW, {-2, 3}, -12, {12}},
        {AG_SIGN, {0}, 0, {0}},         {AG_FLOOR, {1}, 0, {0}},      {AG_SELECT, {0, 2, 3}, 0, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_kink(ag_op_table[rows[i].op].name, at_kink, &rows[i], rows[i].x[0], rows[i].p[0], rows[i].value);
    check_kink("select(x > 0, log x, x - 1)", log_or_line, NULL, 0, 1, 0);
    check_kink("select(x > 0, x^0.5 x^0.5, 0)", root_or_zero, NULL, 0, 0, 0);
    check_kink("select(x < 3, x, exp(1e6 x) / x)", overflowing, NULL, 2, 1, 0);
    check_kink("x + log relu x", log_of_relu, NULL, 0, 1, 0);
    check_kink("hypot(x, 2 x)", length_of_point, NULL, 0, 0, 0);
}

/* ---- accuracy ---- */

typedef struct accurate {
    ag_opcode op;
    double x;
    long double value, derivative;
    double tolerance; /* relative, in units of the last place */
} accurate;

static void check_accuracy(const accurate *a, ag_type type) {
    double unit = type == AG_F64 ? 0x1p-53 : 0x1p-24, least = type == AG_F64 ? 0x1p-1022 : 0x1p-126;
    if (type == AG_F32 && (double)(float)a->x != a->x) return;
    ag_tape *t = fresh_tape(type);
    double x[9], value[9], derivative[9];
    for (int i = 0; i < 9; i++) x[i] = a->x;
    ag_var s = ag_input(t, a->x), v = ag_tensor(t, x, AG_SHAPE(9)), one = ag_num(1);
    ag_var ys[2] = {ag_apply1_(a->op, s), ag_apply1_(a->op, v)}, ones[2] = {one, one};
    ag_sweep(ys, ones, 2, AG_RESET);
    ag_read(ys[1], value);
    ag_read_grad(v, derivative);
    const double got[2][3] = {{ag_value(ys[0]), value[0], value[8]}, {ag_grad(s), derivative[0], derivative[8]}};
    const long double want[2] = {a->value, a->derivative};
    for (int what = 0; what < 2; what++) {
        for (int i = 0; i < 3; i++) {
            double limit = a->tolerance * unit * (double)fabsl(want[what]);
            if (what == 1 && a->op == AG_TANH) limit = 8 * unit; /* 1 - r^2 is accurate to the last place of 1 */
            if ((double)fabsl((long double)got[what][i] - want[what]) <= limit + least) continue;
            fail_msg("%s%s(%g), %s, %s: %.17g, should be %.17Lg", ag_op_table[a->op].name, what ? "'" : "", a->x,
                     type == AG_F64 ? "f64" : "f32", i ? "tensor" : "scalar", got[what][i], want[what]);
        }
    }
}

static long double sigmoidl(long double x) { return 1 / (1 + expl(-x)); }
static long double softplusl(long double x) { return x > 0 ? x + log1pl(expl(-x)) : log1pl(expl(x)); }
static long double normall(long double x) { return erfcl(-x / sqrtl(2)) / 2; }
static long double mish_slope(long double x) {
    long double r = tanhl(softplusl(x));
    return r + x * (1 - r) * (1 + r) * sigmoidl(x);
}

static void accuracy_at(double x) {
    long double z = x, s = sigmoidl(z), c = sigmoidl(-z), density = expl(-z * z / 2) * 0.39894228040143267794L;
    double steep = 8 * (1 + fabs(x)); /* exp(x): one place of x is |x| places */
    const accurate rows[] = {
        {AG_EXPM1, x, expm1l(z), expl(z), 8},
        {AG_SINH, x, sinhl(z), coshl(z), 8},
        {AG_TANH, x, tanhl(z), 1 / coshl(z) / coshl(z), 8},
        {AG_ASINH, x, asinhl(z), 1 / hypotl(z, 1), 8},
        {AG_SIGMOID, x, s, s * c, 16},
        {AG_LOG_SIGMOID, x, -softplusl(-z), c, 16},
        {AG_SOFTPLUS, x, softplusl(z), s, 16},
        {AG_SILU, x, z * s, s + z * s * c, steep},
        {AG_MISH, x, z * tanhl(softplusl(z)), mish_slope(z), steep},
        {AG_GELU, x, z * normall(z), normall(z) + z * density, steep * (1 + fabs(x))},
        {AG_LOG1P, fabs(x), log1pl(fabsl(z)), 1 / (1 + fabsl(z)), 8},
        {AG_ERFC, fabs(x) / 64, erfcl(fabsl(z) / 64), -1.12837916709551257390L * expl(-z * z / 4096),
         steep * (1 + fabs(x))},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (fabsl(rows[i].value) < 1e300L && fabsl(rows[i].derivative) < 1e300L) check_accuracy(&rows[i], AG_F64);
        if (fabsl(rows[i].value) < 1e38L && fabsl(rows[i].derivative) < 1e38L) check_accuracy(&rows[i], AG_F32);
    }
}

static void accurate_at_difficult_points(void **unused) {
    (void)unused;
    static const double at[] = {0,   0x1p-60, -0x1p-60, 0x1p-30, -0x1p-30, 0x1p-12, -0x1p-12, 0.5, -0.5, 2,   -2,
                                5,   -5,      10,       -10,     20,       -20,     30,       -30, 36,   -36, 40,
                                -40, 80,      -80,      100,     -100,     700,     -700,     800, -800};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) accuracy_at(at[i]);
}

/* Large tensors, which threads share: alike, the same twice, overlapping. */
static uint64_t hash_of_large(void) {
    enum { N = 150001 };
    uint64_t hash = 0;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
        size_t size = type ? 4 : 8;
        ag_var x = random_tensor(t, AG_SHAPE(N + 1), -3, 3), z = random_tensor(t, AG_SHAPE(N), -1, 1);
        ag_var low = ag_slice(x, 0, 0, N, 1), high = ag_slice(x, 0, 1, N + 1, 1), y = ag_fma(low, high, z);
        ag_var loss = ag_sum(ag_mul(ag_mul(y, y), ag_gelu(z)));
        ag_backward(loss);
        hash = hash_bytes(hash, ag_data(y), N * size);
        hash = hash_bytes(hash, ag_grad_data(x), (N + 1) * size);
        hash = hash_bytes(hash, ag_grad_data(z), N * size);
        if (ag_tape_status(t) != AG_OK) hash = 0;
        ag_tape_free(t);
    }
    return hash;
}

static void same_for_any_threads(void **unused) {
    (void)unused;
    same_for_threads(4);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        print_hash(hash_of_large());
        return 0;
    }
    snprintf(program_path, sizeof program_path, "%s", argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_the_c_library),
        cmocka_unit_test(values_of_gammas_derivatives),
        cmocka_unit_test(operands_alike),
        cmocka_unit_test(operands_broadcast),
        cmocka_unit_test(operands_constant),
        cmocka_unit_test(operands_aliased),
        cmocka_unit_test(strict_operations_keep_nan),
        cmocka_unit_test(stop_has_no_derivative),
        cmocka_unit_test(all_layouts),
        cmocka_unit_test(same_for_any_threads),
        cmocka_unit_test(all_lengths),
        cmocka_unit_test(third_order),
        cmocka_unit_test(routes_agree_at_edges),
        cmocka_unit_test(edges_are_as_stated),
        cmocka_unit_test(signs_of_zeros),
        cmocka_unit_test(second_order_at_kinks),
        cmocka_unit_test(accurate_at_difficult_points),
    };
    return cmocka_run_group_tests(tests, NULL, free_tapes);
}
