/* Products of matrices and linear algebra, recorded on a tape, beside OpenBLAS and its LAPACK with the best kernels that
 * they have for this processor. "matrices 2": two threads. */
#include "blas.h"

#include <autograd/autograd.h>
#include <lapack.h>

/* A product m x n x k, its operands transposed or not; or, if k is 0, a matrix of m x m. */
typedef struct sizes {
    const char *name;
    int m, n, k;
    bool left_transposed, right_transposed;
} sizes;

typedef struct task {
    sizes s;
    ag_type type;
    ag_tape *tape;
    ag_var a, b;
    ag_mark mark;
    void *x, *y, *z; /* the same for BLAS, and its result */
    ag_var (*operation)(ag_var);
} task;

static ag_var matrix(task *t, int rows, int columns, void **copy) {
    int64_t count = (int64_t)rows * columns;
    double *x = bench_alloc((size_t)count, sizeof *x);
    float *y = bench_alloc((size_t)count, sizeof *y);
    bench_fill(x, (size_t)count, -1, 1);
    if (t->s.k == 0) /* far from singular, and symmetric */
        for (int i = 0; i < rows; i++)
            for (int j = 0; j <= i; j++) x[j * rows + i] = x[i * rows + j] += i == j ? rows : 0;
    for (int64_t i = 0; i < count; i++) y[i] = (float)x[i];
    ag_var v = ag_tensor(t->tape, x, AG_SHAPE(rows, columns));
    *copy = t->type == AG_F64 ? (void *)x : (void *)y;
    free(t->type == AG_F64 ? (void *)y : (void *)x);
    return v;
}

static void open_task(task *t, sizes s, ag_type type) {
    *t = (task){.s = s, .type = type, .tape = ag_tape_new(type)};
    t->a = s.left_transposed ? matrix(t, s.k, s.m, &t->x) : matrix(t, s.m, s.k ? s.k : s.m, &t->x);
    if (s.k) t->b = s.right_transposed ? matrix(t, s.n, s.k, &t->y) : matrix(t, s.k, s.n, &t->y);
    if (s.left_transposed) t->a = ag_transpose(t->a);
    if (s.right_transposed) t->b = ag_transpose(t->b);
    t->z = bench_alloc((size_t)s.m * (size_t)(s.k ? s.n : s.m), sizeof(double));
    t->mark = ag_tape_mark(t->tape);
}

static void close_task(task *t) {
    if (ag_tape_status(t->tape) != AG_OK) bench_wrong("%s", ag_tape_message(t->tape));
    ag_tape_free(t->tape);
    free(t->x);
    free(t->y);
    free(t->z);
}

/* ---- products ---- */

static void multiply(void *context, double *lap) {
    task *t = context;
    (void)lap;
    ag_matmul(t->a, t->b);
    ag_tape_rewind(t->tape, t->mark);
}
static void multiply_by_blas(void *context, double *lap) {
    const task *t = context;
    sizes s = t->s;
    enum CBLAS_TRANSPOSE left = s.left_transposed ? CblasTrans : CblasNoTrans;
    enum CBLAS_TRANSPOSE right = s.right_transposed ? CblasTrans : CblasNoTrans;
    int ld = s.left_transposed ? s.m : s.k, rd = s.right_transposed ? s.k : s.n;
    (void)lap;
    if (t->type == AG_F64) cblas_dgemm(CblasRowMajor, left, right, s.m, s.n, s.k, 1, t->x, ld, t->y, rd, 0, t->z, s.n);
    else cblas_sgemm(CblasRowMajor, left, right, s.m, s.n, s.k, 1, t->x, ld, t->y, rd, 0, t->z, s.n);
}

static void products(ag_type type, bool wall) {
    static const sizes all[] = {
        {"32 x 32 x 32", 32, 32, 32, false, false},
        {"100 x 100 x 100", 100, 100, 100, false, false},
        {"1024 x 1024 x 1024", 1024, 1024, 1024, false, false},
        {"a layer: 64 x 256 x 784", 64, 256, 784, false, true},
        {"  by its input", 64, 784, 256, false, false},
        {"  by its weights", 256, 784, 64, true, false},
        {"a layer: 768 x 512 x 128", 768, 512, 128, false, true},
        {"  by its input", 768, 128, 512, false, false},
        {"  by its weights", 512, 128, 768, true, false},
        {"8 rows: 8 x 784 x 256", 8, 784, 256, false, false},
        {"matrix, vector: 1000 x 1 x 1000", 1000, 1, 1000, false, false},
        {"  transposed", 1000, 1, 1000, true, false},
    };
    static const char *const columns[3] = {"GFLOP/s", "BLAS", "time / BLAS"};
    bench_heading(type == AG_F64 ? "products, f64" : "products, f32", columns, 3);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        task t;
        open_task(&t, all[i], type);
        bench_set set = {.wall = wall};
        int base = bench_add(&set, "BLAS", multiply_by_blas, &t), own = bench_add(&set, all[i].name, multiply, &t);
        bench_run(&set, 31, 1e-3);
        double flops = 2e-9 * all[i].m * all[i].n * all[i].k;
        double cells[3] = {flops / bench_time(&set, own), flops / bench_time(&set, base), bench_ratio(&set, own, base)};
        bench_row(all[i].name, cells, 3);
        close_task(&t);
    }
}

/* ---- linear algebra, f64 ---- */

static void apply(void *context, double *lap) {
    task *t = context;
    (void)lap;
    t->operation(t->a);
    ag_tape_rewind(t->tape, t->mark);
}
static void invert(void *context, double *lap) {
    const task *t = context;
    int n = t->s.m, size = 64 * n, info, *pivots = bench_alloc((size_t)n, sizeof *pivots);
    double *work = bench_alloc((size_t)size, sizeof *work);
    (void)lap;
    memcpy(t->z, t->x, (size_t)n * (size_t)n * sizeof(double));
    LAPACK_dgetrf(&n, &n, t->z, &n, pivots, &info);
    LAPACK_dgetri(&n, t->z, &n, pivots, work, &size, &info);
    free(work);
    free(pivots);
}
static void factor(void *context, double *lap) {
    const task *t = context;
    int n = t->s.m, info;
    (void)lap;
    memcpy(t->z, t->x, (size_t)n * (size_t)n * sizeof(double));
    LAPACK_dpotrf("U", &n, t->z, &n, &info);
}

static void factors(bool wall) {
    static const int all[] = {3, 16, 64, 100, 400, 1000};
    static const char *const columns[6] = {"inverse us",  "LAPACK", "time / LAPACK",
                                           "cholesky us", "LAPACK", "time / LAPACK"};
    bench_heading("linear algebra, f64", columns, 6);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char name[32];
        double cells[6];
        snprintf(name, sizeof name, "%d x %d", all[i], all[i]);
        for (int k = 0; k < 2; k++) {
            task t;
            open_task(&t, (sizes){name, all[i], all[i], 0, false, false}, AG_F64);
            t.operation = k ? ag_cholesky : ag_inverse;
            bench_set set = {.wall = wall};
            int base = bench_add(&set, "LAPACK", k ? factor : invert, &t), own = bench_add(&set, name, apply, &t);
            bench_run(&set, 15, 1e-3);
            cells[3 * k] = bench_time(&set, own) * 1e6;
            cells[3 * k + 1] = bench_time(&set, base) * 1e6;
            cells[3 * k + 2] = bench_ratio(&set, own, base);
            close_task(&t);
        }
        bench_row(name, cells, 6);
    }
}

int main(int argc, char **argv) {
    bool wall = argc > 1 && strcmp(argv[1], "2") == 0;
    bench_threads(argv, wall ? "2" : "1");
    bench_title_threads("Matrices", "recorded on a tape, beside BLAS", wall ? "two threads" : "one thread");
    bench_print_blas();
    products(AG_F32, wall);
    products(AG_F64, wall);
    factors(wall);
    return 0;
}
