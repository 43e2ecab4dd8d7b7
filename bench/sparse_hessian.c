/* Sparse and dense Hessians of Rosenbrock's function of 1000 variables: finding the pattern and colours, making the
 * program, running it. And how the pattern's cost grows. */
#include <autograd/autograd.h>

#include "common.h"

enum { DENSE = 1000 };

static void rosenbrock(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    int64_t n = ag_count(x[0]);
    ag_var head = ag_slice(x[0], 0, 0, n - 1, 1), tail = ag_slice(x[0], 0, 1, n, 1);
    y[0] = ag_sum(ag_add(ag_mul(100, ag_square(ag_sub(tail, ag_square(head)))), ag_square(ag_sub(1, head))));
    (void)t, (void)context;
}

static ag_program *traced(int64_t n) {
    return ag_program_trace(AG_F64, rosenbrock, NULL, &(ag_port){.name = "x", .shape = AG_SHAPE(n)}, 1, NULL, 1);
}

typedef struct hessian {
    ag_runner *runner;
    const ag_program *function;
    double *x, *entries;
} hessian;

static void run(void *context, double *lap) {
    hessian *h = context;
    (void)lap;
    if (ag_run(h->runner, (const double *[]){h->x}, (double *[]){NULL, h->entries}) != AG_OK)
        bench_wrong("%s", ag_runner_message(h->runner));
}

static void make_sparse(void *context, double *lap) {
    (void)lap;
    ag_program_free(ag_program_sparse_hessian(((hessian *)context)->function, 0, NULL));
}

static void make_dense(void *context, double *lap) {
    (void)lap;
    ag_program_free(ag_program_hessian(((hessian *)context)->function, 0));
}

static void find_pattern(void *context, double *lap) {
    (void)lap;
    ag_sparsity_free(ag_program_hessian_sparsity(((hessian *)context)->function, 0));
}

static void row(const bench_set *set, int task, double of) {
    bench_row(set->task[task].name, (double[]){bench_time(set, task) * 1e3, bench_time(set, task) * of}, 2);
}

static void compare(void) {
    ag_program *f = traced(DENSE), *dense = ag_program_hessian(f, 0);
    ag_sparsity *s;
    ag_program *sparse = ag_program_sparse_hessian(f, 0, &s);
    hessian a = {ag_runner_new(sparse), f, bench_alloc(DENSE, sizeof(double)), NULL}, b = a;
    bench_fill(a.x, DENSE, -1, 1);
    a.entries = bench_alloc((size_t)s->nonzeros, sizeof(double));
    b.runner = ag_runner_new(dense);
    b.entries = bench_alloc((size_t)DENSE * DENSE, sizeof(double));
    run(&a, NULL);
    run(&b, NULL);
    for (int64_t k = 0; k < s->nonzeros; k++)
        bench_check("Hessian", &a.entries[k], &b.entries[(int64_t)s->row[k] * DENSE + s->column[k]], 1, 1e-12);

    bench_set set = {0};
    bench_add(&set, "sparse, run", run, &a);
    bench_add(&set, "dense, run", run, &b);
    bench_add(&set, "sparse, pattern, colours and program", make_sparse, &a);
    bench_add(&set, "dense, program", make_dense, &b);
    bench_run(&set, 7, 2e-3);
    bench_heading("Hessian, n = 1000", (const char *[]){"ms", "ns an entry"}, 2);
    for (int i = 0; i < 4; i++) row(&set, i, 1e9 / (i % 2 ? (double)DENSE * DENSE : (double)s->nonzeros));
    printf("%-*s %*.0f times\n", BENCH_NAME_WIDTH, "dense / sparse, run", BENCH_COLUMN_WIDTH, bench_ratio(&set, 1, 0));
    ag_runner_free(a.runner);
    ag_runner_free(b.runner);
    ag_program_free(f);
    ag_program_free(sparse);
    ag_program_free(dense);
    ag_sparsity_free(s);
    free(a.x);
    free(a.entries);
    free(b.entries);
}

static void grow(void) {
    bench_heading("Pattern and colours", (const char *[]){"ms", "ns an entry"}, 2);
    for (int64_t n = 1000; n <= 1000000; n *= 10) {
        char name[32];
        snprintf(name, sizeof name, "n = %lld", (long long)n);
        hessian h = {.function = traced(n)};
        bench_set set = {0};
        bench_add(&set, name, find_pattern, &h);
        bench_run(&set, 3, 1e-3);
        row(&set, 0, 1e9 / (3 * (double)n - 2));
        ag_program_free((ag_program *)(uintptr_t)h.function);
    }
}

int main(void) {
    bench_title("Sparse Hessians of programs", "Rosenbrock's function as a tensor program, f64");
    compare();
    grow();
    return 0;
}
