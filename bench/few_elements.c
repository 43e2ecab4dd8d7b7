/* Where the time goes in gradients that take a few microseconds: of the squared distance of a polynomial of 128 coefficients
 * from a step, at 1 to 256 points (GradBench's llsq), by the machine, beside the same in C and printed and compiled. A point
 * is 4 operations for each coefficient; with few points most of the time is what one waits for: each coefficient's for the one
 * before. And of determinants by minors of matrices of 4 to 8 rows (GradBench's det): single numbers, where what a run costs
 * apart from them shows. AG_ISA=v3 in the environment interprets rows, AG_ISA=base all of it. */
#include <autograd/autograd.h>

#include "scalar_cases.h"

enum { COEFFICIENTS = 128 };

typedef struct problem {
    int n;
    double *t, *s, *powers, *x, value, *gradient;
    ag_runner *runner;
    ag_compiled *compiled;
} problem;

static void objective(ag_tape *tape, const ag_var *x, ag_var *out, void *context) {
    const problem *p = context;
    ag_var t = ag_constant_tensor(tape, p->t, AG_SHAPE(p->n)), s = ag_constant_tensor(tape, p->s, AG_SHAPE(p->n));
    ag_var y = ag_expand(ag_at(x[0], COEFFICIENTS - 1), AG_SHAPE(p->n));
    for (int j = COEFFICIENTS - 2; j >= 0; j--) y = ag_fma(y, t, ag_at(x[0], j));
    out[0] = ag_mul(0.5, ag_sum(ag_square(ag_sub(s, y))));
}

static void by_machine(void *context, double *lap) {
    problem *p = context;
    (void)lap;
    if (ag_run(p->runner, (const double *[]){p->x}, (double *[]){&p->value, p->gradient}) != AG_OK) exit(1);
}

static void by_compiled(void *context, double *lap) {
    problem *p = context;
    (void)lap;
    if (ag_compiled_run(p->compiled, (const double *[]){p->x}, (double *[]){&p->value, p->gradient}) != AG_OK) exit(1);
}

static void by_hand(void *context, double *lap) {
    problem *p = context;
    (void)lap;
    p->value = 0;
    memset(p->gradient, 0, COEFFICIENTS * sizeof *p->gradient);
    for (int i = 0; i < p->n; i++) {
        double power = 1, y = 0;
        for (int j = 0; j < COEFFICIENTS; j++, power *= p->t[i]) {
            p->powers[j] = power;
            y += p->x[j] * power;
        }
        double error = p->s[i] - y;
        p->value += 0.5 * error * error;
        for (int j = 0; j < COEFFICIENTS; j++) p->gradient[j] -= error * p->powers[j];
    }
}

static void measure(int n) {
    enum { MACHINE, COMPILED, HAND };
    problem p = {.n = n};
    p.t = bench_alloc((size_t)n, sizeof *p.t);
    p.s = bench_alloc((size_t)n, sizeof *p.s);
    p.powers = bench_alloc(COEFFICIENTS, sizeof *p.powers);
    p.x = bench_alloc(COEFFICIENTS, sizeof *p.x);
    p.gradient = bench_alloc(COEFFICIENTS, sizeof *p.gradient);
    for (int i = 0; i < n; i++) p.t[i] = -1 + 2 * (i + 0.5) / n, p.s[i] = p.t[i] > 0 ? 1 : -1;
    for (int j = 0; j < COEFFICIENTS; j++) p.x[j] = 0.1 * (j % 7) - 0.3;
    ag_program *f =
        ag_program_trace(AG_F64, objective, &p, (ag_port[]){ag_in("x", AG_SHAPE(COEFFICIENTS))}, 1, NULL, 1);
    ag_program *g = ag_program_gradient(f, (int[]){0}, 1);
    p.runner = ag_runner_new(g);
    p.compiled = ag_program_compile(g, NULL);
    if (ag_compiled_status(p.compiled) != AG_OK) bench_wrong("%s", ag_compiled_message(p.compiled));
    double right[COEFFICIENTS];
    by_hand(&p, NULL);
    memcpy(right, p.gradient, sizeof right);
    by_machine(&p, NULL);
    bench_check("gradient", p.gradient, right, COEFFICIENTS, 1e-10);

    static bench_set set;
    set = (bench_set){0};
    bench_add(&set, "machine", by_machine, &p);
    bench_add(&set, "compiled", by_compiled, &p);
    bench_add(&set, "by hand", by_hand, &p);
    bench_run(&set, 31, 0.003);
    char name[40];
    snprintf(name, sizeof name, "%d point%s", n, n == 1 ? "" : "s");
    double us = 1e6 * bench_time(&set, MACHINE), instructions = (double)ag_program_size(g);
    bench_row(name,
              (double[]){us, 1e3 * us / instructions, 4e-3 * COEFFICIENTS * n / us, 1e6 * bench_time(&set, COMPILED),
                         1e6 * bench_time(&set, HAND), bench_ratio(&set, HAND, MACHINE)},
              6);
    ag_compiled_free(p.compiled);
    ag_runner_free(p.runner);
    ag_program_free(g);
    ag_program_free(f);
    free(p.t), free(p.s), free(p.powers), free(p.x), free(p.gradient);
}

/* ---- determinants ------------------------------------------------------------------------------------------------ */

typedef struct matrix {
    int n;
    double a[DET_MAX * DET_MAX], value, gradient[DET_MAX * DET_MAX], *store;
    ag_runner *runner;
    ag_compiled *compiled;
} matrix;

static void determinant(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    const matrix *m = context;
    int next[DET_MAX + 1];
    ag_var a[DET_MAX * DET_MAX];
    (void)tape;
    for (int i = 0; i < m->n * m->n; i++) a[i] = ag_at(in[0], i);
    det_columns(next, m->n);
    out[0] = det_tape_muladd(a, m->n, m->n, next);
}

static void det_by_machine(void *context, double *lap) {
    matrix *m = context;
    (void)lap;
    if (ag_run(m->runner, (const double *[]){m->a}, (double *[]){&m->value, m->gradient}) != AG_OK) exit(1);
}

static void det_by_compiled(void *context, double *lap) {
    matrix *m = context;
    (void)lap;
    if (ag_compiled_run(m->compiled, (const double *[]){m->a}, (double *[]){&m->value, m->gradient}) != AG_OK) exit(1);
}

static void det_alone(void *context, double *lap) {
    matrix *m = context;
    (void)lap;
    m->value = det_by_hand(m->a, m->n, m->store, m->gradient);
}

static void measure_determinant(int n) {
    enum { MACHINE, COMPILED, HAND };
    matrix m = {.n = n, .store = bench_alloc(det_stored(n) + 1, sizeof(double))};
    uint64_t state = 5;
    for (int i = 0; i < n * n; i++) m.a[i] = bench_random(&state, -1, 1);
    ag_program *f = ag_program_trace(AG_F64, determinant, &m, (ag_port[]){ag_in("a", AG_SHAPE(n, n))}, 1, NULL, 1);
    ag_program *g = ag_program_gradient(f, (int[]){0}, 1);
    m.runner = ag_runner_new(g);
    m.compiled = ag_program_compile(g, NULL);
    if (ag_compiled_status(m.compiled) != AG_OK) bench_wrong("%s", ag_compiled_message(m.compiled));
    double right[DET_MAX * DET_MAX];
    det_formula(m.a, n, right);
    det_by_machine(&m, NULL);
    bench_check("gradient of a determinant", m.gradient, right, (size_t)(n * n), 1e-10);

    static bench_set set;
    set = (bench_set){0};
    bench_add(&set, "machine", det_by_machine, &m);
    bench_add(&set, "compiled", det_by_compiled, &m);
    bench_add(&set, "by hand", det_alone, &m);
    bench_run(&set, 31, 0.003);
    char name[40];
    snprintf(name, sizeof name, "%d rows, %lld instructions", n, (long long)ag_program_size(g));
    double us = 1e6 * bench_time(&set, MACHINE), instructions = (double)ag_program_size(g);
    bench_row(name,
              (double[]){us, 1e3 * us / instructions, 1e6 * bench_time(&set, COMPILED), 1e6 * bench_time(&set, HAND),
                         bench_ratio(&set, HAND, MACHINE)},
              5);
    free(m.store);
    ag_compiled_free(m.compiled);
    ag_runner_free(m.runner);
    ag_program_free(g);
    ag_program_free(f);
}

int main(void) {
    bench_title("Gradients of a few microseconds",
                "a polynomial of 128 coefficients, fitted to points; f64, microseconds");
    bench_heading("", (const char *const[]){"machine", "ns/instr.", "GFLOP/s", "compiled C", "by hand", "hand/mach."},
                  6);
    static const int points[] = {1, 8, 16, 32, 64, 128, 256};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) measure(points[i]);
    bench_heading("determinants by minors",
                  (const char *const[]){"machine", "ns/instr.", "compiled C", "by hand", "hand/mach."}, 5);
    for (int n = 4; n <= 8; n++) measure_determinant(n);
    return 0;
}
