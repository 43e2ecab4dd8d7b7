/* A program over rows: by the machine in lanes, by printed and compiled C in lanes, and by that C row by row. The Jacobian of
 * a camera's projection (2 outputs, 11 + 3 + 1 inputs, as in bundle adjustment), and the gradient of a chain of functions. */
#include <autograd/autograd.h>

#include "common.h"

enum { ROWS = 20000, OUTPUTS = 2 * 15 };

static ag_var dot3(const ag_var *a, const ag_var *b) {
    return ag_add(ag_add(ag_mul(a[0], b[0]), ag_mul(a[1], b[1])), ag_mul(a[2], b[2]));
}

static void cross3(const ag_var *a, const ag_var *b, ag_var *c) {
    for (int i = 0; i < 3; i++)
        c[i] = ag_sub(ag_mul(a[(i + 1) % 3], b[(i + 2) % 3]), ag_mul(a[(i + 2) % 3], b[(i + 1) % 3]));
}

/* Of camera (11: rotation, centre, focal length, principal point, radial distortion), point (3), weight. */
static void project(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    ag_var r[3], x[3], w[3], c[3], p[3];
    (void)t, (void)context;
    for (int i = 0; i < 3; i++) {
        r[i] = ag_at(in[0], i);
        x[i] = ag_sub(ag_at(in[1], i), ag_at(in[0], 3 + i));
    }
    ag_var theta = ag_sqrt(dot3(r, r)), cosine = ag_cos(theta);
    for (int i = 0; i < 3; i++) w[i] = ag_div(r[i], theta);
    cross3(w, x, c);
    ag_var along = ag_mul(dot3(w, x), ag_sub(1, cosine));
    for (int i = 0; i < 3; i++)
        p[i] = ag_add(ag_add(ag_mul(x[i], cosine), ag_mul(c[i], ag_sin(theta))), ag_mul(w[i], along));
    ag_var u = ag_div(p[0], p[2]), v = ag_div(p[1], p[2]), q = ag_add(ag_mul(u, u), ag_mul(v, v));
    ag_var l = ag_add(1, ag_mul(q, ag_add(ag_at(in[0], 9), ag_mul(ag_at(in[0], 10), q))));
    ag_var f = ag_mul(ag_at(in[0], 6), l);
    out[0] = ag_stack((ag_var[]){ag_mul(in[2], ag_add(ag_mul(u, f), ag_at(in[0], 7))),
                                 ag_mul(in[2], ag_add(ag_mul(v, f), ag_at(in[0], 8)))},
                      2, 0);
}

static void chain(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    (void)t, (void)context;
    ag_var a = ag_add(in[2], ag_at(in[1], 0)), b = ag_at(in[0], 0);
    for (int i = 0; i < 8; i++) {
        b = ag_add(ag_tanh(ag_mul(a, ag_at(in[0], i))), ag_mul(b, 0.5));
        a = ag_mul(ag_exp(ag_neg(ag_square(b))), ag_add(ag_sin(a), ag_at(in[1], i % 3)));
    }
    out[0] = ag_add(a, b);
}

typedef struct work {
    ag_runner *r;
    ag_compiled *c;
    int inputs, outputs;
    ag_column xs[8], ys[8];
} work;

static void by_machine(void *context, double *lap) {
    work *w = context;
    (void)lap;
    if (ag_run_rows(w->r, ROWS, w->xs, w->ys) != AG_OK) exit(1);
}
static void by_c(void *context, double *lap) {
    work *w = context;
    (void)lap;
    if (ag_compiled_run_rows(w->c, ROWS, w->xs, w->ys) != AG_OK) exit(1);
}
static void by_c_each(void *context, double *lap) {
    static const int64_t count[3] = {11, 3, 1};
    work *w = context;
    (void)lap;
    for (int64_t row = 0; row < ROWS; row++) {
        const double *xs[3];
        double *ys[8];
        for (int k = 0; k < 3; k++) xs[k] = (const double *)w->xs[k].data + row * count[k];
        for (int k = 0; k < w->outputs; k++) ys[k] = (double *)w->ys[k].data + row * OUTPUTS;
        if (ag_compiled_run(w->c, xs, ys) != AG_OK) exit(1);
    }
}

static void compare(const char *name, ag_program *p, double *x, double *y) {
    work w = {.inputs = ag_program_inputs(p), .outputs = ag_program_outputs(p)};
    w.r = ag_runner_new(p);
    w.c = ag_program_compile(p, NULL);
    if (ag_compiled_status(w.c) != AG_OK) {
        printf("%s\n", ag_compiled_message(w.c));
        exit(1);
    }
    for (int k = 0; k < w.inputs; k++) w.xs[k] = ag_each(x + k * 11 * ROWS);
    for (int k = 0; k < w.outputs; k++) w.ys[k] = ag_each(y + k * OUTPUTS * ROWS);
    static bench_set set;
    set = (bench_set){0};
    bench_add(&set, "machine, lanes", by_machine, &w);
    bench_add(&set, "compiled C, lanes", by_c, &w);
    bench_add(&set, "compiled C, row by row", by_c_each, &w);
    bench_run(&set, 15, 0.02);
    printf("%s: %lld instructions\n", name, (long long)ag_program_size(p));
    for (int k = 0; k < set.tasks; k++)
        printf("  %-24s %8.1f ns a row\n", set.task[k].name, 1e9 * bench_time(&set, k) / ROWS);
    ag_runner_free(w.r);
    ag_compiled_free(w.c);
    ag_program_free(p);
}

int main(void) {
    const ag_port in[] = {ag_in("camera", AG_SHAPE(11)), ag_in("point", AG_SHAPE(3)),
                          ag_in("weight", (ag_shape){.rank = 0})};
    double *x = malloc(3 * 11 * ROWS * sizeof *x), *y = calloc(8 * OUTPUTS * ROWS, sizeof *y);
    if (!x || !y) return 1;
    for (int i = 0; i < 3 * 11 * ROWS; i++) x[i] = 0.5 + (i * 7 % 31) / 31.0;
    ag_program *p = ag_program_trace(AG_F64, project, NULL, in, 3, NULL, 1);
    ag_program *c = ag_program_trace(AG_F64, chain, NULL, in, 3, NULL, 1);
    compare("projection, Jacobian by the camera", ag_program_jacobian(p, 0, 0), x, y);
    compare("chain, gradient", ag_program_gradient(c, NULL, 0), x, y);
    ag_program_free(p);
    ag_program_free(c);
    free(x);
    free(y);
    return 0;
}
