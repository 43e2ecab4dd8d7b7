/* Programs over rows: as a run, as an operation on tapes (ag_map), and as a program (ag_program_batch). */
#include "programs.h"

#include <autograd/program/rows_impl.h>
#include <autograd/program/runner_impl.h>

enum { MOST_ROWS = 5000, X = 3 };

/* Of x (3), a scalar s and a matrix m (2, 3): a vector and a scalar. */
static void small_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_softmax(ag_mul(x[0], x[1]), 0);
    y[1] = ag_add(ag_sum(ag_tanh(ag_matmul(x[2], x[0]))), ag_square(x[1]));
}

/* The same with an operation that has no scalar form; singular for x = 0, s = 100. */
static void solving_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_var a = ag_add(ag_outer(x[0], x[0]), ag_mul(ag_eye(t, X), ag_select(ag_eq(x[1], 100), 0, 2)));
    small_model(t, x, y, context);
    y[0] = ag_solve(a, y[0]);
}

/* The same behind more operations than lanes are worth. */
static void large_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    small_model(t, x, y, context);
    ag_var big = ag_reshape(ag_sin(ag_add(ag_arange(t, 0, 0.001, 90000), x[1])), AG_SHAPE(300, 300));
    y[1] = ag_add(y[1], ag_mul(1e-3, ag_sum(ag_exp(ag_mul(big, ag_at(x[0], 0))))));
}

static ag_program *trace(ag_type type, ag_model f) {
    const ag_port in[3] = {{"x", AG_SHAPE(X), NULL}, {"s", {0}, NULL}, {"m", AG_SHAPE(2, X), NULL}};
    ag_program *p = ag_program_trace(type, f, NULL, in, 3, NULL, 2);
    program_fine_("trace", p);
    return p;
}

static void draw(double *x, int64_t n, uint64_t seed) {
    for (int64_t i = 0; i < n; i++) x[i] = (double)(float)random_number(&seed, -1.5, 1.5);
}

/* ---- runs ---- */

typedef struct columns {
    ag_type type;
    int64_t rows;
    void *in[3], *out[2];
    int64_t index[MOST_ROWS], back[MOST_ROWS];
} columns;

static columns *columns_new(ag_type type, int64_t rows) {
    static double numbers[(MOST_ROWS + 1) * 6];
    columns *c = calloc(1, sizeof *c);
    assert_non_null(c);
    *c = (columns){.type = type, .rows = rows};
    const int64_t size[3] = {X, 1, 2 * X};
    for (int k = 0; k < 3; k++) {
        draw(numbers, rows * size[k], (uint64_t)k + 1);
        c->in[k] = numbers_as(type, numbers, rows * size[k] + size[k]);
    }
    for (int k = 0; k < 2; k++) c->out[k] = numbers_as(type, numbers, rows * X + X);
    for (int64_t i = 0; i < rows; i++) {
        c->index[i] = (i * 7 + 3) % rows;
        c->back[i] = i % 5 % rows;
    }
    return c;
}

static void columns_free(columns *c) {
    for (int k = 0; k < 3; k++) free(c->in[k]);
    for (int k = 0; k < 2; k++) free(c->out[k]);
    free(c);
}

/* Which inputs are shared or picked, and which outputs are summed or added somewhere. */
typedef struct ways {
    const char *name;
    bool shared[3], picked[3], summed[2], added[2], unwanted[2];
} ways;

static const ways WAYS[] = {
    {.name = "each"},
    {.name = "a shared matrix", .shared = {false, false, true}},
    {.name = "all shared", .shared = {true, true, true}},
    {.name = "picked", .picked = {true, false, true}},
    {.name = "summed", .summed = {true, true}},
    {.name = "one summed, one added", .summed = {true, false}, .added = {false, true}, .shared = {false, true, false}},
    {.name = "added", .added = {true, true}, .picked = {true, true, true}},
    {.name = "one not wanted", .unwanted = {true, false}, .summed = {false, true}},
    {.name = "none wanted", .unwanted = {true, true}},
};

/* Row after row by ag_run; `out` as ag_run_rows should leave it, in doubles. */
static void one_by_one(const columns *c, const ag_program *p, const ways *w, double *out[2]) {
    const int64_t in_size[3] = {X, 1, 2 * X}, out_size[2] = {X, 1};
    ag_runner *r = ag_runner_new(p);
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < (c->rows + 1) * X; i++) out[k][i] = ag_load(c->type, c->out[k], i);
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; w->summed[k] && i < out_size[k]; i++) out[k][i] = 0;
    for (int64_t row = 0; row < c->rows; row++) {
        double x[3 * X + 1], y[X + 1];
        int64_t at = 0;
        for (int k = 0; k < 3; k++) {
            int64_t from = w->shared[k] ? 0 : w->picked[k] ? c->index[row] : row;
            for (int64_t i = 0; i < in_size[k]; i++) x[at++] = ag_load(c->type, c->in[k], from * in_size[k] + i);
        }
        if (c->type == AG_F64) {
            assert_int_equal(ag_run(r, (const double *[]){x, x + X, x + X + 1}, (double *[]){y, y + X}), AG_OK);
        } else {
            float f[3 * X + 1], g[X + 1];
            for (int i = 0; i <= 3 * X; i++) f[i] = (float)x[i];
            assert_int_equal(ag_run_f32(r, (const float *[]){f, f + X, f + X + 1}, (float *[]){g, g + X}), AG_OK);
            for (int i = 0; i <= X; i++) y[i] = (double)g[i];
        }
        for (int k = 0; k < 2; k++) {
            int64_t to = w->summed[k] ? 0 : w->added[k] ? c->back[row] : row;
            for (int64_t i = 0; i < out_size[k] && !w->unwanted[k]; i++) {
                double *z = &out[k][to * out_size[k] + i], v = y[k * X + i];
                *z = w->summed[k] || w->added[k] ? *z + v : v;
            }
        }
    }
    ag_runner_free(r);
}

static void set_columns(const columns *c, const ways *w, ag_column *xs, ag_column *ys) {
    for (int k = 0; k < 3; k++)
        xs[k] = (ag_column){c->in[k], w->shared[k] ? AG_SHARED : AG_EACH, w->picked[k] ? c->index : NULL};
    for (int k = 0; k < 2; k++)
        ys[k] = (ag_column){w->unwanted[k] ? NULL : c->out[k], w->summed[k] ? AG_SHARED : AG_EACH,
                            w->added[k] ? c->back : NULL};
}

static void check_ways(ag_type type, const char *what, ag_runner *r, const ag_program *p, int64_t rows) {
    double *want[2] = {new_numbers((rows + 1) * X), new_numbers((rows + 1) * X)};
    double *got = new_numbers((rows + 1) * X);
    for (size_t i = 0; i < sizeof WAYS / sizeof *WAYS; i++) {
        columns *c = columns_new(type, rows);
        ag_column xs[3], ys[2];
        char label[128];
        snprintf(label, sizeof label, "%s, %lld rows, %s, %s", what, (long long)rows, WAYS[i].name,
                 type == AG_F64 ? "f64" : "f32");
        set_columns(c, &WAYS[i], xs, ys);
        one_by_one(c, p, &WAYS[i], want);
        if (ag_run_rows(r, rows, xs, ys) != AG_OK) fail_msg("%s: %s", label, ag_runner_message(r));
        for (int k = 0; k < 2; k++) {
            double scale = WAYS[i].summed[k] || WAYS[i].added[k] ? (double)(rows < 2 ? 1 : rows) : 1;
            numbers_from(type, c->out[k], (rows + 1) * X, got);
            check_numbers(label, k ? "output 1" : "output 0", got, want[k], (rows + 1) * X,
                          (type == AG_F64 ? 1e-14 : 3e-6) * scale);
        }
        columns_free(c);
    }
    free(want[0]), free(want[1]), free(got);
}

static void rows_of_all_numbers(void **unused) {
    (void)unused;
    const int64_t rows[] = {0, 1, 2, 63, 64, 65, 128, MOST_ROWS};
    for (int type = 0; type < 2; type++) {
        ag_program *p = trace((ag_type)type, small_model), *solving = trace((ag_type)type, solving_model);
        ag_runner *r = ag_runner_new(p), *s = ag_runner_new(solving);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            check_ways((ag_type)type, "lanes", r, p, rows[i]);
            if (rows[i] < 100) check_ways((ag_type)type, "row by row", s, solving, rows[i]);
        }
        assert_int_equal(r->lanes->status, AG_OK); /* these were lanes, those were not */
        assert_int_equal(s->lanes->status, AG_ERR_UNSUPPORTED);
        ag_runner_free(r);
        ag_runner_free(s);
        ag_program_free(p);
        ag_program_free(solving);
    }
}

static void large_programs_go_row_by_row(void **unused) {
    (void)unused;
    ag_program *p = trace(AG_F64, large_model);
    ag_runner *r = ag_runner_new(p);
    check_ways(AG_F64, "large", r, p, 2);
    ag_runner_free(r);
    ag_program_free(p);
}

/* s sqrt(max(x, 0)) cos(s), and x s + s: at x = 0 the derivative is by an infinite partial that does not matter. */
static void kinked_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_add(ag_mul(x[1], ag_mul(ag_select(ag_gt(x[0], 0), ag_sqrt(x[0]), 0), ag_cos(x[1]))),
                  ag_mul(ag_add(x[0], 1), x[1]));
}

/* Chains are products in lanes, until one is NaN: that block is right, too, and its other rows are what they are without. */
static void products_that_are_nan(void **unused) {
    (void)unused;
    enum { ROWS = 64 * 3 + 5 };
    const ag_port in[2] = {{"x", {0}, NULL}, {"s", {0}, NULL}};
    ag_program *p = ag_program_trace(AG_F64, kinked_model, NULL, in, 2, NULL, 1), *g = ag_program_gradient(p, NULL, 0);
    program_fine_("gradient", g);
    ag_runner *r = ag_runner_new(g), *one = ag_runner_new(g);
    double x[2][ROWS], s[ROWS], y[2][ROWS], dx[2][ROWS], ds[2][ROWS], sum[2], scale = 0;
    draw(s, ROWS, 3);
    draw(x[0], ROWS, 4);
    for (int i = 0; i < ROWS; i++) x[0][i] = fabs(x[0][i]) + 0.01;
    memcpy(x[1], x[0], sizeof x[1]);
    for (int i = 70; i < ROWS; i += 9) x[1][i] = 0; /* none in the first block */
    for (int k = 0; k < 2; k++) {
        ag_column xs[] = {ag_each(x[k]), ag_each(s)}, ys[] = {ag_each(y[k]), ag_each(dx[k]), ag_each(ds[k])};
        assert_int_equal(ag_run_rows(r, ROWS, xs, ys), AG_OK);
        assert_true(r->lanes->chains > 0);
        sum[k] = 0;
        for (int i = 0; i < ROWS; i++) {
            double a, b, c;
            assert_int_equal(ag_run(one, (const double *[]){&x[k][i], &s[i]}, (double *[]){&a, &b, &c}), AG_OK);
            assert_true(fabs(y[k][i] - a) < 1e-14 && fabs(dx[k][i] - b) < 1e-13 * (1 + fabs(b)));
            assert_true(fabs(ds[k][i] - c) < 1e-14 && (x[k][i] != 0 || b == s[i]));
            sum[k] += b, scale += fabs(b);
        }
        double total = 0;
        ag_column shared[] = {ag_each(y[k]), ag_shared(&total), ag_each(ds[k])};
        assert_int_equal(ag_run_rows(r, ROWS, xs, shared), AG_OK);
        assert_true(fabs(total - sum[k]) < 1e-14 * scale);
    }
    for (int i = 0; i < ROWS; i++)
        if (x[1][i] != 0) assert_true(y[0][i] == y[1][i] && dx[0][i] == dx[1][i] && ds[0][i] == ds[1][i]);
    ag_runner_free(r);
    ag_runner_free(one);
    ag_program_free(g);
    ag_program_free(p);
}

static void kinked_sum(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    kinked_model(t, x, y, context);
    y[0] = ag_sum(y[0]);
}

/* The same of elements that are computed together. */
static void elements_beside_nan(void **unused) {
    (void)unused;
    enum { N = 200 };
    const ag_port in[2] = {{"x", AG_SHAPE(N), NULL}, {"s", AG_SHAPE(N), NULL}};
    ag_program *p = ag_program_trace(AG_F64, kinked_sum, NULL, in, 2, NULL, 1), *g = ag_program_gradient(p, NULL, 0);
    program_fine_("gradient", g);
    ag_runner *r = ag_runner_new(g);
    double x[2][N], s[N], y, dx[2][N], ds[2][N];
    draw(s, N, 3);
    draw(x[0], N, 4);
    for (int i = 0; i < N; i++) {
        x[0][i] = fabs(x[0][i]) + 0.01;
        x[1][i] = i % 9 ? x[0][i] : 0;
    }
    for (int k = 0; k < 2; k++)
        assert_int_equal(ag_run(r, (const double *[]){x[k], s}, (double *[]){&y, dx[k], ds[k]}), AG_OK);
    assert_true(r->exact.count > 0);
    for (int i = 0; i < N; i++) {
        assert_true(isfinite(dx[1][i]) && (x[1][i] != 0 || dx[1][i] == s[i]));
        if (x[1][i] != 0) assert_true(dx[0][i] == dx[1][i] && ds[0][i] == ds[1][i]);
    }
    ag_runner_free(r);
    ag_program_free(g);
    ag_program_free(p);
}

/* x (1) to x + i, for so many i. */
static void steps_model(ag_tape *t, const ag_var *x, ag_var *y, void *count) {
    y[0] = ag_add(x[0], ag_arange(t, 0, 1, *(const int64_t *)count));
}

/* Outputs beyond the cache, at an odd address. */
static void outputs_of_any_size(void **unused) {
    (void)unused;
    const int64_t counts[] = {1, 7, 300};
    for (int type = 0; type < 2; type++)
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            int64_t count = counts[i], rows = ((int64_t)5 << 20) / (type == AG_F64 ? 8 : 4) / count | 1;
            ag_program *p =
                ag_program_trace((ag_type)type, steps_model, &count, (ag_port[]){{"x", AG_SHAPE(1), NULL}}, 1, NULL, 1);
            program_fine_("trace", p);
            ag_runner *r = ag_runner_new(p);
            size_t size = ag_type_size((ag_type)type);
            char *x = calloc((size_t)rows, size), *block = calloc((size_t)(rows * count) + 2, size);
            assert_true(x && block);
            char *y = block + size;
            for (int64_t row = 0; row < rows; row++) ag_store((ag_type)type, x, row, (double)(row % 1000) * 0.25);
            ag_store((ag_type)type, y, rows * count, 12345);
            ag_column in = ag_each(x), out = ag_each(y);
            assert_true(ag_rows_stream(p, rows, &out) && !ag_rows_stream(p, rows / 2, &out));
            assert_int_equal(ag_run_rows(r, rows, &in, &out), AG_OK);
            bool right = ag_load((ag_type)type, y, -1) == 0 && ag_load((ag_type)type, y, rows * count) == 12345;
            for (int64_t row = 0; row < rows; row++)
                for (int64_t k = 0; k < count; k++)
                    right &= ag_load((ag_type)type, y, row * count + k) == (double)(row % 1000) * 0.25 + (double)k;
            assert_true(right);
            ag_runner_free(r);
            ag_program_free(p);
            free(x), free(block);
        }
}

static void product_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_matmul(x[0], x[0]);
}

static bool count_bytes(void *context, size_t bytes) {
    *(size_t *)context += bytes;
    return true;
}

/* A product of 27 million multiplications is not taken apart to find out that it is large. */
static void no_end_of_scalars(void **unused) {
    (void)unused;
    enum { N = 300 };
    size_t asked = 0;
    double *x = new_numbers(2 * N * N), *y = new_numbers(2 * N * N);
    for (int i = 0; i < 2 * N * N; i++) x[i] = i % (N + 1) == 0;
    ag_program *p = ag_program_trace_with(&(ag_options){.permit = count_bytes, .context = &asked}, product_model, NULL,
                                          (ag_port[]){{"x", AG_SHAPE(N, N), NULL}}, 1, NULL, 1);
    ag_runner *r = ag_runner_new(p);
    ag_column in = ag_each(x), out = ag_each(y);
    assert_int_equal(ag_run_rows(r, 2, &in, &out), AG_OK);
    assert_true(y[0] == 1 && y[1] == 0 && y[N + 1] == 1);
    assert_true(asked < (size_t)1 << 27);
    ag_runner_free(r);
    ag_program_free(p);
    free(x), free(y);
}

/* A singular row: an error that says so; then a good run. */
static void a_bad_row(void **unused) {
    (void)unused;
    enum { ROWS = 10 };
    ag_program *p = trace(AG_F64, solving_model);
    ag_runner *r = ag_runner_new(p);
    columns *c = columns_new(AG_F64, ROWS);
    ag_column xs[3], ys[2];
    set_columns(c, &WAYS[0], xs, ys);
    double *x = (double *)c->in[0] + 3 * X, *s = (double *)c->in[1] + 3;
    x[0] = x[1] = x[2] = 0;
    *s = 100;
    assert_int_equal(ag_run_rows(r, ROWS, xs, ys), AG_ERR_SINGULAR);
    assert_non_null(strstr(ag_runner_message(r), "solve"));
    *s = 1;
    assert_int_equal(ag_run_rows(r, ROWS, xs, ys), AG_OK);
    assert_string_equal(ag_runner_message(r), "");
    xs[1].data = NULL;
    assert_int_equal(ag_run_rows(r, ROWS, xs, ys), AG_ERR_VALUE);
    assert_string_equal(ag_runner_message(r), "rows: input s has no data");
    assert_int_equal(ag_run_rows(r, 0, xs, ys), AG_OK);
    assert_int_equal(ag_run_rows(r, -1, xs, ys), AG_ERR_VALUE);
    assert_string_equal(ag_runner_message(r), "rows: their number is -1");
    columns_free(c);
    ag_runner_free(r);
    ag_program_free(p);
}

/* A row's numbers do not depend on the rows beside it, nor a sum on anything but the rows. */
static void the_same_wherever_a_row_is(void **unused) {
    (void)unused;
    enum { ROWS = 200 };
    ag_program *p = trace(AG_F64, small_model);
    ag_runner *r = ag_runner_new(p), *other = ag_runner_new(p);
    columns *c = columns_new(AG_F64, ROWS);
    ag_column xs[3], ys[2];
    double first[ROWS * X], sums[2][X + 1];
    set_columns(c, &WAYS[0], xs, ys);
    assert_int_equal(ag_run_rows(r, ROWS, xs, ys), AG_OK);
    memcpy(first, c->out[0], sizeof first);
    for (int64_t from = 0; from < ROWS; from += 37) { /* in pieces of other sizes */
        ag_column x[3] = {ag_each((double *)c->in[0] + from * X), ag_each((double *)c->in[1] + from),
                          ag_each((double *)c->in[2] + from * 2 * X)};
        ag_column y[2] = {ag_each((double *)c->out[0] + from * X), ag_each((double *)c->out[1] + from)};
        int64_t n = from + 37 < ROWS ? 37 : ROWS - from;
        assert_int_equal(ag_run_rows(other, n, x, y), AG_OK);
    }
    assert_memory_equal(first, c->out[0], sizeof first);
    for (int i = 0; i < 2; i++) {
        ag_column y[2] = {ag_shared(sums[i]), ag_shared(sums[i] + X)};
        assert_int_equal(ag_run_rows(i ? other : r, ROWS, xs, y), AG_OK);
    }
    assert_memory_equal(sums[0], sums[1], sizeof sums[0]);
    columns_free(c);
    ag_runner_free(r);
    ag_runner_free(other);
    ag_program_free(p);
}

/* ---- maps ---- */

/* What a case of maps is: rows, and which are shared or summed. */
typedef struct mapping {
    const ag_program *p, *single; /* f64, f32 */
    int64_t rows;
    ag_along in[3], out[2];
    bool loop; /* row by row on the tape instead */
} mapping;

static ag_var weighted_sum(ag_tape *t, ag_var x, uint64_t seed) {
    int64_t n = ag_count(x);
    double *w = new_numbers(n);
    draw(w, n, seed);
    ag_var y = ag_vdot(x, ag_constant_tensor(t, w, ag_shape_of(x)));
    free(w);
    return y;
}

static void map_by_loop(ag_tape *t, const mapping *m, const ag_var *x, ag_var *y) {
    ag_var parts[2][70];
    for (int64_t row = 0; row < m->rows; row++) {
        ag_var in[3], out[2];
        for (int k = 0; k < 3; k++) in[k] = m->in[k] == AG_EACH ? ag_index(x[k], 0, row) : x[k];
        ag_program_call(t, m->p, in, out);
        for (int k = 0; k < 2; k++) {
            parts[k][row] = out[k];
            if (m->out[k] == AG_SHARED && row) parts[k][0] = ag_add(parts[k][0], out[k]);
        }
    }
    for (int k = 0; k < 2; k++) y[k] = m->out[k] == AG_SHARED ? parts[k][0] : ag_stack(parts[k], (int)m->rows, 0);
}

static ag_var map_function(ag_tape *t, const ag_var *x, int n, void *context) {
    const mapping *m = context;
    ag_var y[2];
    (void)n;
    if (m->loop) map_by_loop(t, m, x, y);
    else ag_map(t, ag_tape_type(t) == AG_F64 ? m->p : m->single, m->rows, x, m->in, m->out, y);
    return ag_add(weighted_sum(t, y[0], 3), weighted_sum(t, ag_sin(y[1]), 4));
}

static int64_t map_inputs(ag_tape *t, const mapping *m, ag_var *x) {
    int64_t at = 0;
    double numbers[6 * 70];
    for (int k = 0; k < 3; k++) {
        ag_shape s = ag_program_input(m->p, k).shape, shape = s;
        if (m->in[k] == AG_EACH) {
            shape.rank++;
            for (int i = s.rank; i > 0; i--) shape.dim[i] = s.dim[i - 1];
            shape.dim[0] = m->rows;
        }
        draw(numbers, shape_count(shape), 11 + (uint64_t)k);
        x[k] = ag_tensor(t, numbers, shape);
        at += shape_count(shape);
    }
    return at;
}

/* Value, gradient, H v and the third derivative along v of the map, and of the loop. */
static void map_answers(mapping *m, bool loop, double *out) {
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[3], g[3], h[3], v[3] = {ag_num(0.5), ag_num(-0.25), ag_num(1)}, d, e;
    m->loop = loop;
    int64_t n = map_inputs(t, m, x);
    ag_var y = map_function(t, x, 3, m);
    out[0] = ag_value(y);
    ag_backward(y);
    int64_t at = 1;
    for (int k = 0; k < 3; k++) ag_read_grad(x[k], out + at), at += ag_count(x[k]);
    ag_gradient(y, x, 3, g);
    for (int k = 0; k < 3; k++) ag_read(g[k], out + at), at += ag_count(x[k]);
    ag_jvp(g, 3, x, v, 3, h);
    for (int k = 0; k < 3; k++) ag_read(h[k], out + at), at += ag_count(x[k]);
    ag_jvp(&y, 1, x, v, 3, &d);
    ag_jvp(&d, 1, x, v, 3, &e);
    out[at++] = ag_value(d);
    out[at++] = ag_value(e);
    ag_backward(e);
    for (int k = 0; k < 3; k++) ag_read_grad(x[k], out + at), at += ag_count(x[k]);
    check_fine("map", t);
    assert_int_equal(at, 3 + 4 * n);
    ag_tape_free(t);
}

static void check_map(const ag_program *p, int64_t rows, unsigned which, const char *label) {
    mapping m = {.p = p, .rows = rows};
    for (int k = 0; k < 3; k++) m.in[k] = which >> k & 1 ? AG_SHARED : AG_EACH;
    for (int k = 0; k < 2; k++) m.out[k] = which >> (3 + k) & 1 ? AG_SHARED : AG_EACH;
    int64_t n = 3 + 4 * 10 * 70;
    double *got = new_numbers(n), *want = new_numbers(n);
    map_answers(&m, false, got);
    map_answers(&m, true, want);
    check_numbers(label, "map and loop", got, want, n, 1e-11);
    free(got), free(want);
}

static void maps_are_loops(void **unused) {
    (void)unused;
    ag_program *p = trace(AG_F64, small_model), *solving = trace(AG_F64, solving_model);
    for (unsigned which = 0; which < 32; which++) check_map(p, 3, which, "small");
    for (unsigned which = 0; which < 32; which += 5) check_map(solving, 4, which, "solving");
    check_map(p, 1, 9, "one row");
    check_map(p, 65, 20, "65 rows");
    ag_program *single = trace(AG_F32, small_model);
    mapping m = {.p = p, .single = single, .rows = 3, .in = {AG_EACH, AG_SHARED, AG_EACH}, .out = {AG_EACH, AG_SHARED}};
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[3];
    map_inputs(t, &m, x);
    check_derivatives("map", map_function, &m, x, 3); /* all routes, programs too */
    ag_tape_free(t);
    ag_program_free(single);
    ag_program_free(p);
    ag_program_free(solving);
}

static void maps_without_rows(void **unused) {
    (void)unused;
    ag_program *p = trace(AG_F64, small_model);
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[3] = {ag_tensor(t, NULL, AG_SHAPE(0, X)), ag_input(t, 2), ag_tensor(t, NULL, AG_SHAPE(0, 2, X))}, y[2], g;
    const ag_along in[3] = {AG_EACH, AG_SHARED, AG_EACH}, out[2] = {AG_SHARED, AG_EACH};
    ag_map(t, p, 0, x, in, out, y);
    check_values("no rows", y[0], AG_SHAPE(X), (double[]){0, 0, 0}, 0);
    assert_int_equal(ag_count(y[1]), 0);
    ag_var s = ag_add(ag_sum(y[0]), ag_sum(y[1]));
    ag_backward(s);
    assert_true(ag_grad(x[1]) == 0);
    ag_gradient(s, &x[1], 1, &g);
    assert_true(ag_value(g) == 0);
    check_fine("no rows", t);
    ag_tape_free(t);
    ag_program_free(p);
}

/* ---- maps in programs, in maps ---- */

static void nested_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const ag_along in[3] = {AG_EACH, AG_SHARED, AG_SHARED}, out[2] = {AG_SHARED, AG_EACH};
    ag_map(t, context, 2, x, in, out, y);
    y[1] = ag_mul(y[1], x[1]);
}

static ag_var nested_function(ag_tape *t, const ag_var *x, int n, void *context) {
    ag_var y[2];
    (void)n;
    ag_map(t, context, 2, x, (ag_along[]){AG_EACH, AG_EACH, AG_SHARED}, NULL, y);
    return ag_add(weighted_sum(t, y[0], 5), weighted_sum(t, y[1], 6));
}

static void maps_in_maps(void **unused) {
    (void)unused;
    ag_program *p = trace(AG_F64, small_model);
    const ag_port in[3] = {{"x", AG_SHAPE(2, X), NULL}, {"s", {0}, NULL}, {"m", AG_SHAPE(2, X), NULL}};
    ag_program *q = ag_program_trace(AG_F64, nested_model, p, in, 3, NULL, 2);
    program_fine_("nested", q);
    ag_tape *t = ag_tape_new(AG_F64);
    double numbers[12];
    draw(numbers, 12, 8);
    ag_var x[3] = {ag_tensor(t, numbers, AG_SHAPE(2, 2, X)), ag_tensor(t, numbers + 3, AG_SHAPE(2)),
                   ag_tensor(t, numbers + 5, AG_SHAPE(2, X))};
    ag_report report = ag_check_gradient(nested_function, q, x, 3, 0);
    if (!report.holds) {
        ag_report_write(&report, stderr);
        fail_msg("nested maps: %s", report.message);
    }
    /* a program of a batch of it, to second order, against the tape */
    ag_program *b =
        ag_program_batch(q, 2, (ag_along[]){AG_EACH, AG_EACH, AG_SHARED}, (ag_along[]){AG_SHARED, AG_SHARED});
    ag_program *h = ag_program_jacobian(b, 1, 0), *hh = ag_program_jacobian(h, 2, 2);
    program_fine_("jacobians of a batch", hh);
    assert_int_equal(port_total(hh, true) - port_total(h, true), 2 * 2 * 2 * X * 2 * X);
    double *got = new_numbers(port_total(hh, true)), flat[20], want[2 * 12 * 6];
    memcpy(flat, numbers, 12 * sizeof *flat);
    memcpy(flat + 12, numbers + 3, 2 * sizeof *flat);
    memcpy(flat + 14, numbers + 5, 6 * sizeof *flat);
    run_once(hh, flat, got);
    ag_var y[2];
    ag_map(t, q, 2, x, (ag_along[]){AG_EACH, AG_EACH, AG_SHARED}, (ag_along[]){AG_SHARED, AG_SHARED}, y);
    ag_read(ag_jacobian(ag_jacobian(y[1], x[0]), x[2]), want);
    check_fine("nested", t);
    check_numbers("nested", "second order", got + port_total(h, true), want, 2 * 12 * 6, 1e-12);
    free(got);
    ag_program *all[] = {p, q, b, h, hh};
    for (int i = 0; i < 5; i++) ag_program_free(all[i]);
    ag_tape_free(t);
}

/* A batch is a run over rows, to the bit. */
static void batches(void **unused) {
    (void)unused;
    for (int type = 0; type < 2; type++)
        for (int64_t rows = 0; rows < 70; rows += 23) {
            ag_program *p = trace((ag_type)type, small_model), *g = ag_program_vjp(p, NULL, 0);
            ag_program *b = ag_program_batch(g, rows, NULL, NULL);
            program_fine_("batch", b);
            int64_t nx = port_total(b, false), ny = port_total(b, true);
            double *x = new_numbers(nx), *y = new_numbers(ny), *want = new_numbers(ny);
            draw(x, nx, 5);
            run_once(b, x, y);
            ag_runner *r = ag_runner_new(g);
            void *data = numbers_as((ag_type)type, x, nx), *out = numbers_as((ag_type)type, y, ny);
            ag_column xs[16];
            int64_t at = 0;
            for (int k = 0; k < ag_program_inputs(g); k++) {
                xs[k] = ag_each(ag_element((ag_type)type, data, at));
                at += rows * shape_count(ag_program_input(g, k).shape);
            }
            at = 0;
            ag_column *ys = xs + ag_program_inputs(g);
            for (int k = 0; k < ag_program_outputs(g); k++) {
                ys[k] = ag_each(ag_element((ag_type)type, out, at));
                at += rows * shape_count(ag_program_output(g, k).shape);
            }
            assert_int_equal(ag_run_rows(r, rows, xs, ys), AG_OK);
            numbers_from((ag_type)type, out, ny, want);
            check_numbers("batch", "rows", y, want, ny, 0);
            ag_runner_free(r);
            free(x), free(y), free(want), free(data), free(out);
            ag_program_free(p);
            ag_program_free(g);
            ag_program_free(b);
        }
}

/* A part without elements that is long along another axis: nothing is done for each of these. */
static void empty_parts(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = x[1];
    y[1] = ag_concat((ag_var[]){x[0], x[0]}, 2, 1);
}

static void empty_parts_take_no_time(void **state) {
    (void)state;
    ag_port in[] = {ag_in("none", AG_SHAPE((int64_t)1 << 40, 0)), ag_in("x", (ag_shape){.rank = 0})};
    ag_program *p = ag_program_trace(AG_F64, empty_parts, NULL, in, 2, NULL, 2);
    assert_string_equal(ag_program_message(p), "");
    double x[2] = {3, 4}, y[2] = {0};
    ag_column xs[] = {ag_each(x), ag_each(x)}, ys[] = {ag_each(y), ag_each(NULL)};
    ag_runner *r = ag_runner_new(p);
    assert_int_equal(ag_run_rows(r, 2, xs, ys), AG_OK);
    assert_true(y[0] == 3 && y[1] == 4);
    ag_runner_free(r);
    ag_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_all_numbers),
        cmocka_unit_test(large_programs_go_row_by_row),
        cmocka_unit_test(products_that_are_nan),
        cmocka_unit_test(elements_beside_nan),
        cmocka_unit_test(outputs_of_any_size),
        cmocka_unit_test(no_end_of_scalars),
        cmocka_unit_test(a_bad_row),
        cmocka_unit_test(the_same_wherever_a_row_is),
        cmocka_unit_test(maps_are_loops),
        cmocka_unit_test(maps_without_rows),
        cmocka_unit_test(maps_in_maps),
        cmocka_unit_test(batches),
        cmocka_unit_test(empty_parts_take_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
