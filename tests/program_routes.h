/* The routes of derivatives.h that lead through programs: a function is traced, transformed in every way, and run once,
 * in its scalar form, and over rows. Included by derivatives.h, whose check_routes calls check_program_routes. */
#ifndef PROGRAM_ROUTES_H
#define PROGRAM_ROUTES_H

enum { ROUTE_ROWS = 67 }; /* a whole block of lanes and a part of one */

/* A program of the case, with outputs s = <w, f(x)> and f(x). */
static void routes_model(ag_tape *t, const ag_var *x, ag_var *ys, void *context) {
    ys[0] = routes_weighted(context, t, x, &ys[1]);
}

static ag_program *routes_trace(const routes_case *c, ag_type type) {
    ag_port in[MOST_INPUTS] = {{0}};
    for (int k = 0; k < c->n; k++) in[k] = (ag_port){.shape = c->shape[k], .example = c->x + c->start[k]};
    return ag_program_trace(type, routes_model, (void *)(uintptr_t)c, in, c->n, NULL, 2);
}

static int64_t port_total(const ag_program *p, bool outputs) {
    int64_t total = 0;
    for (int k = 0; k < (outputs ? ag_program_outputs(p) : ag_program_inputs(p)); k++)
        total += shape_count((outputs ? ag_program_output(p, k) : ag_program_input(p, k)).shape);
    return total;
}

static void program_fine(const char *label, const char *what, const ag_program *p) {
    if (ag_program_status(p) != AG_OK) fail_msg("%s: %s: %s", label, what, ag_program_message(p));
}

/* Numbers of a type. */
static void *numbers_as(ag_type type, const double *from, int64_t n) {
    void *to = calloc((size_t)n + 1, type == AG_F64 ? sizeof(double) : sizeof(float));
    assert_non_null(to);
    for (int64_t i = 0; i < n; i++) {
        if (type == AG_F64) ((double *)to)[i] = from[i];
        else ((float *)to)[i] = (float)from[i];
    }
    return to;
}

static void numbers_from(ag_type type, const void *from, int64_t n, double *to) {
    for (int64_t i = 0; i < n; i++)
        to[i] = type == AG_F64 ? ((const double *)from)[i] : (double)((const float *)from)[i];
}

/* Runs a program whose inputs are x's numbers one after the other (each row the same, if rows > 0: then x has `rows` of
 * the last input and one of the others); its outputs one after the other, of each row. */
static void run_numbers(const char *label, const char *what, const ag_program *p, int64_t rows, bool last_each,
                        const double *x, double *out) {
    program_fine(label, what, p);
    ag_type type = ag_program_type(p);
    size_t size = type == AG_F64 ? sizeof(double) : sizeof(float);
    int nx = ag_program_inputs(p), ny = ag_program_outputs(p);
    int64_t n_in = port_total(p, false), n_out = port_total(p, true), at = 0, times = rows ? rows : 1;
    if (last_each) n_in += (rows - 1) * shape_count(ag_program_input(p, nx - 1).shape);
    char *data = numbers_as(type, x, n_in), *results = calloc((size_t)(n_out * times) + 1, size);
    ag_column *columns = calloc((size_t)(nx + ny) + 1, sizeof *columns);
    void **ports = calloc((size_t)(nx + ny) + 1, sizeof *ports);
    assert_true(results && columns && ports);
    for (int k = 0; k < nx; k++) {
        ports[k] = data + (size_t)at * size;
        columns[k] = (ag_column){.data = ports[k], .along = last_each && k == nx - 1 ? AG_EACH : AG_SHARED};
        at += shape_count(ag_program_input(p, k).shape);
    }
    at = 0;
    for (int k = 0; k < ny; k++) {
        int64_t n = shape_count(ag_program_output(p, k).shape);
        ports[nx + k] = results + (size_t)at * size;
        columns[nx + k] = (ag_column){.data = ports[nx + k], .along = AG_EACH};
        at += n * times;
    }
    ag_runner *r = ag_runner_new(p);
    ag_status status;
    if (rows) status = ag_run_rows(r, rows, columns, columns + nx);
    else if (type == AG_F64)
        status = ag_run(r, (const double *const *)(const void *)ports, (double *const *)(void *)(ports + nx));
    else status = ag_run_f32(r, (const float *const *)(const void *)ports, (float *const *)(void *)(ports + nx));
    if (status != AG_OK) fail_msg("%s: %s: %s", label, what, ag_runner_message(r));
    /* from one output after the other, each of all rows, to one row after the other */
    double *all = new_numbers(n_out * times);
    numbers_from(type, results, n_out * times, all);
    int64_t first = 0;
    for (int k = 0; k < ny; k++) {
        int64_t n = shape_count(ag_program_output(p, k).shape);
        for (int64_t row = 0; row < times; row++)
            for (int64_t i = 0; i < n; i++) out[row * n_out + first + i] = all[first * times + row * n + i];
        first += n;
    }
    ag_runner_free(r);
    free(all), free(data), free(results), free(columns), free(ports);
}

/* What a case is compared in: tolerance for derivatives, and for values. */
typedef struct program_case {
    const routes_case *c;
    ag_type type;
    double tolerance;
    char what[96];
} program_case;

static const char *naming(program_case *k, const char *what) {
    snprintf(k->what, sizeof k->what, "program, %s, %s", what, k->type == AG_F64 ? "f64" : "f32");
    return k->what;
}

/* The program at x (and `more`, the last inputs), once, as scalars and over rows; results from `from` on are `want`. */
static void check_run(program_case *k, const char *what, const ag_program *p, const double *more, int64_t n_more,
                      int64_t from, const double *want, int64_t n, bool scalars) {
    const routes_case *c = k->c;
    int64_t total = c->start[c->n], n_out;
    program_fine(c->label, naming(k, what), p);
    n_out = port_total(p, true);
    assert_int_equal(port_total(p, false), total + n_more);
    assert_int_equal(n_out, from + n);
    double *x = new_numbers(total + n_more), *out = new_numbers(n_out * ROUTE_ROWS), *first = new_numbers(n_out);
    memcpy(x, c->x, (size_t)total * sizeof *x);
    if (n_more) memcpy(x + total, more, (size_t)n_more * sizeof *x);
    run_numbers(c->label, k->what, p, 0, false, x, first);
    check_numbers(c->label, k->what, first + from, want, n, k->tolerance);
    double close = k->type == AG_F64 ? 1e-10 : 2e-4;
    if (scalars) {
        ag_program *q = ag_program_scalars(p);
        if (ag_program_status(q) != AG_ERR_UNSUPPORTED) {
            char label[128];
            snprintf(label, sizeof label, "%s, as scalars", k->what);
            run_numbers(c->label, label, q, 0, false, x, out);
            check_numbers(c->label, label, out, first, n_out, close);
        }
        ag_program_free(q);
    }
    char label[128];
    snprintf(label, sizeof label, "%s, over rows", k->what);
    run_numbers(c->label, label, p, ROUTE_ROWS, false, x, out);
    for (int64_t row = 0; row < ROUTE_ROWS; row++)
        check_numbers(c->label, label, out + row * n_out, first, n_out, close);
    free(x), free(out), free(first);
}

/* d (output `from` on) by one direction after the other, over rows: the last inputs of p are directions. */
static void check_columns(program_case *k, const char *what, const ag_program *p, int64_t from, const double *want) {
    const routes_case *c = k->c;
    int64_t total = c->start[c->n];
    program_fine(c->label, naming(k, what), p);
    double *x = new_numbers(2 * total), *out = new_numbers(port_total(p, true));
    memcpy(x, c->x, (size_t)total * sizeof *x);
    for (int64_t i = 0; i < total; i++) {
        x[total + i] = 1;
        run_numbers(c->label, k->what, p, 0, false, x, out);
        check_numbers(c->label, k->what, out + from, want + i, 1, k->tolerance);
        x[total + i] = 0;
    }
    free(x), free(out);
}

static void check_jacobian(program_case *k, const ag_program *p, int input, const double *gradient) {
    const routes_case *c = k->c;
    ag_program *j = ag_program_jacobian(p, 1, input);
    program_fine(c->label, naming(k, "Jacobian"), j);
    int64_t n = c->start[input + 1] - c->start[input], ny = shape_count(ag_program_output(p, 1).shape);
    double *out = new_numbers(port_total(j, true)), *sum = new_numbers(n);
    run_numbers(c->label, k->what, j, 0, false, c->x, out);
    uint64_t state = 99; /* the weights of routes_weighted */
    for (int64_t i = 0; i < ny; i++) {
        double w = random_number(&state, 0.5, 1.5) * (i % 2 ? -1 : 1);
        for (int64_t e = 0; e < n; e++) {
            double d = out[1 + ny + i * n + e];
            sum[e] += d == 0 ? 0 : w * d;
        }
    }
    check_numbers(c->label, k->what, sum, gradient + c->start[input], n, k->tolerance);
    free(out), free(sum);
    ag_program_free(j);
}

/* The vjp in two programs: what the first keeps goes, behind the seeds, to the second. */
static void check_way_back(program_case *k, const char *what, const ag_program *p, const double *seeds, int64_t n_seeds,
                           const double *want, int64_t n) {
    const routes_case *c = k->c;
    ag_program *forward = ag_program_forward(p, NULL, 0), *back = ag_program_back(p, NULL, 0);
    program_fine(c->label, naming(k, what), forward);
    int64_t ny = port_total(p, true), all = port_total(forward, true);
    double *out = new_numbers(all), *value = new_numbers(ny), *more = new_numbers(n_seeds + all - ny);
    assert_int_equal(n_seeds, ny);
    run_numbers(c->label, k->what, p, 0, false, c->x, value);
    run_numbers(c->label, k->what, forward, 0, false, c->x, out);
    check_numbers(c->label, k->what, out, value, ny, k->tolerance);
    memcpy(more, seeds, (size_t)n_seeds * sizeof *more);
    memcpy(more + n_seeds, out + ny, (size_t)(all - ny) * sizeof *more);
    check_run(k, what, back, more, n_seeds + all - ny, 0, want, n, false);
    free(out), free(value), free(more);
    ag_program_free(forward);
    ag_program_free(back);
}

static void check_program_routes(const routes_case *c, ag_type type, const routes *want, double tolerance) {
    program_case k = {.c = c, .type = type, .tolerance = tolerance};
    int64_t total = c->start[c->n], ny = want->values;
    int select[2 * MOST_INPUTS];
    ag_program *p = routes_trace(c, type);
    program_fine(c->label, "trace", p);
    ag_program *y = ag_program_select(p, (int[]){1}, 1), *s = ag_program_select(p, (int[]){0}, 1);
    check_run(&k, "value", y, NULL, 0, 0, want->value, ny, true);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    check_run(&k, "gradient", g, NULL, 0, 1 + ny, want->gradient, total, true);
    ag_program *h = ag_program_hvp(s, NULL, 0);
    check_run(&k, "HVP", h, c->v, total, total, want->reverse_reverse, total, true);
    for (int i = 0; i < c->n; i++) select[i] = 2 + i;
    ag_program *only = ag_program_select(g, select, c->n), *rr = ag_program_vjp(only, NULL, 0);
    check_run(&k, "VJP of the gradient", rr, c->v, total, total, want->reverse_reverse, total, false);
    check_way_back(&k, "back", s, (double[]){1}, 1, want->gradient, total);
    check_way_back(&k, "back from the gradient", only, c->v, total, want->reverse_reverse, total);
    ag_program *d = ag_program_jvp(s, NULL, 0), *ds = ag_program_select(d, (int[]){1}, 1);
    check_columns(&k, "JVP", d, 1, want->jvp);
    for (int i = 0; i < c->n; i++) select[i] = i;
    ag_program *rf = ag_program_gradient(ds, select, c->n);
    check_run(&k, "gradient of the JVP", rf, c->v, total, 1, want->reverse_reverse, total, false);
    for (int i = 0; i < c->n; i++) check_jacobian(&k, p, i, want->gradient);
    ag_program *all[] = {p, y, s, g, h, only, rr, d, ds, rf};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) ag_program_free(all[i]);
}

#endif
