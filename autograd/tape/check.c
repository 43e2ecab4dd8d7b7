/* ag_check_gradient: reverse mode, forward mode and central differences of one function, compared element by element. */
#include "tape_impl.h"

#include <float.h>
#include <math.h>

typedef struct ag_checker {
    ag_function f;
    void *context;
    int n;
    ag_tape *t;     /* of the check */
    ag_var *x;      /* inputs on it */
    int64_t *count; /* elements of each */
    ag_shape *shape;
    double **at; /* values of the inputs, row-major */
    int64_t m;   /* elements of the result; -1 before it is known */
    ag_report *report;
} ag_checker;

/* Inputs at c->at on the cleared tape, and f of them. */
static ag_var record(ag_checker *c) {
    ag_tape_clear(c->t);
    for (int i = 0; i < c->n; i++)
        c->x[i] = c->shape[i].rank ? ag_tensor(c->t, c->at[i], c->shape[i]) : ag_input(c->t, *c->at[i]);
    ag_var y = c->f(c->t, c->x, c->n, c->context);
    int64_t count = ag_count(y);
    if (ag_tape_of(y) && ag_tape_of(y) != c->t)
        ag_fail(c->t, AG_ERR_TAPE, "check_gradient: the function's result is on another tape");
    else if (ag_is_inert(y)) ag_fail(c->t, AG_ERR_STALE, "check_gradient: the function's result is inert or stale");
    else if (c->m >= 0 && count != c->m)
        ag_fail(c->t, AG_ERR_SHAPE, "check_gradient: the function's result had %lld elements, now it has %lld",
                (long long)c->m, (long long)count);
    return y;
}

static bool failed(ag_checker *c) {
    ag_status status = ag_tape_status(c->t);
    if (status == AG_OK || c->report->status != AG_OK) return c->report->status != AG_OK;
    c->report->status = status;
    snprintf(c->report->message, sizeof c->report->message, "%s", ag_tape_message(c->t));
    return true;
}

static double error_between(double a, double b) {
    double scale = fmax(1, fmax(fabs(a), fabs(b))), e = fabs(a - b) / scale;
    if (a == b) return 0; /* infinities too */
    return isnan(e) ? (double)INFINITY : e;
}

/* Values of f with element e of input i moved by h. False after an error. */
static bool values_at(ag_checker *c, int i, int64_t e, double h, double *out) {
    double old = c->at[i][e];
    c->at[i][e] = old + h;
    ag_var y = record(c);
    c->at[i][e] = old;
    if (failed(c)) return false;
    ag_read(y, out);
    return true;
}

/* Central differences with steps h, h/2, h/4, ..., extrapolated (Ridders 1982): d[o] for every output, keeping for each the
 * estimate that changed least, and by how much rounding of f's values may have changed it. work: (3 + LEVELS) rows of m. */
enum { LEVELS = 5 };

static bool differences(ag_checker *c, int i, int64_t e, double *d, double *noise, double *work) {
    bool f32 = ag_tape_type(c->t) == AG_F32;
    const double rounding = 8 * (f32 ? (double)FLT_EPSILON : DBL_EPSILON); /* of a value, in a few operations */
    double h = (f32 ? 0.05 : 0.02) * fmax(1, fabs(c->at[i][e]));
    double *plus = work, *minus = work + c->m, *row = work + 2 * c->m, *best = row + LEVELS * c->m;
    for (int64_t o = 0; o < c->m; o++) best[o] = (double)INFINITY, d[o] = (double)NAN, noise[o] = 0;
    for (int level = 0; level < LEVELS; level++, h /= 2) {
        double x = c->at[i][e], up = x + h, down = x - h;
        if (f32) up = (double)(float)up, down = (double)(float)down;
        if (!values_at(c, i, e, up - x, plus) || !values_at(c, i, e, down - x, minus)) return false;
        for (int64_t o = 0; o < c->m; o++) {
            double now = (plus[o] - minus[o]) / (up - down);
            if (level == 0) d[o] = now;
            for (int k = 0; k <= level; k++) { /* row[k]: the estimate of order 2 (k + 1) */
                double *r = &row[k * c->m + o], before = *r, next;
                *r = now;
                if (k == level) break;
                next = now + (now - before) / (pow(4, k + 1) - 1);
                double change = fmax(fabs(next - now), fabs(next - before));
                if (change < best[o]) {
                    best[o] = change;
                    d[o] = next;
                    noise[o] = rounding * fmax(fabs(plus[o]), fabs(minus[o])) / (up - down);
                }
                now = next;
            }
        }
    }
    return true;
}

static void compare(ag_checker *c, ag_check_entry entry) {
    ag_report *r = c->report;
    double other = r->no_forward ? entry.reverse : entry.forward;
    double rf = error_between(entry.reverse, other), rd = error_between(entry.reverse, entry.difference);
    entry.error = fmax(rf, fmax(rd, error_between(other, entry.difference)));
    r->reverse_forward = fmax(r->reverse_forward, rf);
    bool noisy =
        rf <= r->tolerance && !(entry.error <= r->tolerance) && fabs(entry.reverse - entry.difference) <= entry.noise;
    r->unsure += noisy;
    if (noisy) entry.error = rf;
    else r->reverse_difference = fmax(r->reverse_difference, rd);
    if (!(entry.error <= r->tolerance)) r->wrong++;
    if (r->checked++ == 0 || entry.error > r->worst.error) r->worst = entry;
}

/* Row o of the reverse Jacobian: derivatives of output o by every element of every input, one after the other. */
static bool reverse_rows(ag_checker *c, double *rows, int64_t all) {
    ag_var y = record(c);
    for (int64_t o = 0; o < c->m && !failed(c); o++) {
        ag_backward(ag_at(y, o));
        double *to = rows + o * all;
        for (int i = 0; i < c->n; to += c->count[i++]) ag_read_grad(c->x[i], to);
    }
    return !failed(c);
}

/* Column (i, e) of the forward Jacobian. */
static bool forward_column(ag_checker *c, int i, int64_t e, double *column) {
    ag_var y = record(c);
    ag_var v = c->shape[i].rank ? ag_zeros(c->t, c->shape[i]) : ag_constant(c->t, 0);
    void *data = ag_data(v);
    if (data) ag_store(ag_tape_type(c->t), data, e, 1);
    ag_var d = y;
    ag_jvp(&y, 1, &c->x[i], &v, 1, &d);
    if (ag_tape_status(c->t) == AG_ERR_UNSUPPORTED) {
        c->report->no_forward = true;
        ag_tape_recover(c->t);
        for (int64_t o = 0; o < c->m; o++) column[o] = (double)NAN;
        return true;
    }
    if (failed(c)) return false;
    ag_read(d, column);
    return true;
}

static void compare_all(ag_checker *c, const double *rows, int64_t all, double *work) {
    double *forward = work, *difference = forward + c->m, *noise = difference + c->m, *rest = noise + c->m;
    int64_t at = 0;
    for (int i = 0; i < c->n; i++) {
        for (int64_t e = 0; e < c->count[i]; e++, at++) {
            if (!forward_column(c, i, e, forward) || !differences(c, i, e, difference, noise, rest)) return;
            for (int64_t o = 0; o < c->m; o++)
                compare(c, (ag_check_entry){.input = i,
                                            .element = e,
                                            .output = o,
                                            .reverse = rows[o * all + at],
                                            .forward = forward[o],
                                            .difference = difference[o],
                                            .noise = noise[o]});
        }
    }
}

static void check(ag_checker *c) {
    ag_var y = record(c);
    if (failed(c)) return;
    c->m = ag_count(y);
    int64_t all = 0, cells;
    for (int i = 0; i < c->n; i++) all += c->count[i];
    bool fits = ag_multiply_sizes(c->m, all + LEVELS + 6, &cells) && cells < INT64_MAX / 64;
    double *rows = fits ? ag_scratch(c->t, (size_t)cells * sizeof *rows) : NULL;
    if (rows && reverse_rows(c, rows, all)) compare_all(c, rows, all, rows + c->m * all);
    (void)failed(c);
    ag_scratch_free(c->t, rows);
}

/* The inputs' values and shapes, in one block of memory. */
static void *copy_inputs(ag_checker *c, const ag_var *inputs) {
    size_t n = (size_t)c->n, values = 0;
    for (size_t i = 0; i < n; i++) values += (size_t)ag_count(inputs[i]);
    size_t each = sizeof *c->x + sizeof *c->count + sizeof *c->shape + sizeof *c->at;
    char *block = ag_scratch(c->t, n * each + values * sizeof(double) + 1);
    if (!block) return NULL;
    double *to = (double *)(void *)block;
    c->at = (double **)(void *)(to + values);
    c->x = (ag_var *)(void *)(c->at + n);
    c->count = (int64_t *)(void *)(c->x + n);
    c->shape = (ag_shape *)(void *)(c->count + n);
    for (size_t i = 0; i < n; i++) {
        c->count[i] = ag_count(inputs[i]);
        c->shape[i] = ag_shape_of(inputs[i]);
        c->at[i] = to;
        ag_read(inputs[i], to);
        to += c->count[i];
    }
    return block;
}

ag_report ag_check_gradient(ag_function f, void *context, const ag_var *inputs, int n, double tolerance) {
    ag_tape *from = ag_tape_among(inputs, n);
    ag_type type = from ? ag_tape_type(from) : AG_F64;
    ag_report report = {.tolerance = tolerance > 0 ? tolerance : type == AG_F64 ? 1e-6 : 2e-2};
    ag_options options = {.type = type};
    if (from) options = (ag_options){type, from->memory.permit, from->memory.context, from->memory.no_reserve};
    ag_checker c = {.f = f, .context = context, .n = n, .m = -1, .report = &report, .t = ag_tape_new_with(&options)};
    if (n < 0) ag_fail(c.t, AG_ERR_VALUE, "check_gradient: %d inputs", n);
    if (ag_given(c.t, "check_gradient", "the function", (const void *)(uintptr_t)f) && n > 0)
        (void)ag_given(c.t, "check_gradient", "the array of inputs", inputs);
    for (int i = 0; inputs && i < n; i++)
        if (ag_is_inert(inputs[i])) ag_fail(c.t, AG_ERR_STALE, "check_gradient: input %d is inert or stale", i);
    void *block = failed(&c) ? NULL : copy_inputs(&c, inputs);
    if (block) check(&c);
    (void)failed(&c);
    ag_scratch_free(c.t, block);
    ag_tape_free(c.t);
    report.holds = report.status == AG_OK && report.wrong == 0;
    return report;
}

void ag_report_write(const ag_report *r, FILE *out) {
    if (!r || !out) return;
    if (r->status != AG_OK) {
        fprintf(out, "gradient not checked: %s: %s\n", ag_status_text(r->status), r->message);
        return;
    }
    fprintf(out, "gradient %s: %lld derivatives compared, %lld differ by more than %g\n", r->holds ? "holds" : "WRONG",
            (long long)r->checked, (long long)r->wrong, r->tolerance);
    if (r->no_forward) fputs("  forward mode: an operation has neither `tangent` nor `record`\n", out);
    if (r->unsure)
        fprintf(out, "  differences: %lld are too noisy to tell, as f is large beside its changes\n",
                (long long)r->unsure);
    fprintf(out, "  greatest error: reverse - forward %.3g, reverse - differences %.3g\n", r->reverse_forward,
            r->reverse_difference);
    if (r->checked)
        fprintf(out,
                "  worst: output %lld by input %d, element %lld: reverse %.10g, forward %.10g, differences %.10g\n",
                (long long)r->worst.output, r->worst.input, (long long)r->worst.element, r->worst.reverse,
                r->worst.forward, r->worst.difference);
}
