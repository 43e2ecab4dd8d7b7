/* Tensor operations: what a small one costs to record and to sweep, and how fast the kernels are in cache and in
 * memory, beside loops written by hand for the best instruction set that the processor has (hand_loops.inc). */
#include <autograd/autograd.h>

#include "blas.h"

/* gcc vectorises loops over these functions by calling the C library's vector versions. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 35)
#define HAND_VECTOR_MATHS 1
#define HAND_SIMD(T, f) T f(T) __attribute__((simd("notinbranch"), const, nothrow));
HAND_SIMD(double, exp)
HAND_SIMD(double, log)
HAND_SIMD(double, sin)
HAND_SIMD(double, cos)
HAND_SIMD(double, tanh)
HAND_SIMD(double, erf)
HAND_SIMD(float, expf)
HAND_SIMD(float, logf)
HAND_SIMD(float, sinf)
HAND_SIMD(float, cosf)
HAND_SIMD(float, tanhf)
HAND_SIMD(float, erff)
#endif
#endif

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define HAND_WIDE_TARGET                                                                                               \
    __attribute__((target("arch=x86-64-v4,prefer-vector-width=512"), optimize("O3", "fast-math", "fp-contract=fast")))
#define HAND_BASE_TARGET __attribute__((optimize("O3", "fast-math", "fp-contract=fast")))
#elif defined(__x86_64__) && defined(__clang__)
#define HAND_WIDE_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512cd,fma")))
#define HAND_BASE_TARGET
#else
#define HAND_WIDE_TARGET
#define HAND_BASE_TARGET
#endif

#define HAND_T double
#define HAND_LANES 8
#define HAND_F(name) name
#define HAND(name) wide64_##name
#define HAND_TARGET HAND_WIDE_TARGET
#include "hand_loops.inc"

#define HAND_T float
#define HAND_LANES 16
#define HAND_F(name) name##f
#define HAND(name) wide32_##name
#define HAND_TARGET HAND_WIDE_TARGET
#include "hand_loops.inc"

#define HAND_T double
#define HAND_LANES 2
#define HAND_F(name) name
#define HAND(name) base64_##name
#define HAND_TARGET HAND_BASE_TARGET
#include "hand_loops.inc"

#define HAND_T float
#define HAND_LANES 4
#define HAND_F(name) name##f
#define HAND(name) base32_##name
#define HAND_TARGET HAND_BASE_TARGET
#include "hand_loops.inc"

typedef void hand_forward(void *y, const void *a, const void *b, int64_t rows, int64_t cols);
typedef void hand_adjoint(const void *y, const void *w, const void *a, const void *b, void *ga, void *gb, int64_t rows,
                          int64_t cols);
typedef struct hand_op {
    hand_forward *forward;
    hand_adjoint *adjoint;
} hand_op;

static bool is_wide(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#else
    return false;
#endif
}

/* ---- the operations ---------------------------------------------------------------------------------------------- */

typedef enum result_shape { AS_OPERAND, A_ROW_EACH, A_COLUMN_EACH } result_shape;

typedef struct operation {
    const char *name;
    ag_var (*apply)(ag_var x, ag_var y);
    hand_op hand[2][2]; /* [type][wide] */
    result_shape result;
    double lo, hi; /* operands */
} operation;

static ag_var apply_add(ag_var x, ag_var y) { return ag_add(x, y); }
static ag_var apply_mul(ag_var x, ag_var y) { return ag_mul(x, y); }
static ag_var apply_exp(ag_var x, ag_var y) { return (void)y, ag_exp(x); }
static ag_var apply_log(ag_var x, ag_var y) { return (void)y, ag_log(x); }
static ag_var apply_sin(ag_var x, ag_var y) { return (void)y, ag_sin(x); }
static ag_var apply_tanh(ag_var x, ag_var y) { return (void)y, ag_tanh(x); }
static ag_var apply_sigmoid(ag_var x, ag_var y) { return (void)y, ag_sigmoid(x); }
static ag_var apply_gelu(ag_var x, ag_var y) { return (void)y, ag_gelu(x); }
static ag_var apply_softmax(ag_var x, ag_var y) { return (void)y, ag_softmax(x, -1); }
static ag_var apply_sum(ag_var x, ag_var y) { return (void)y, ag_sum(x); }
static ag_var apply_sum_rows(ag_var x, ag_var y) { return (void)y, ag_sum_over(x, AG_AXES(1), false); }
static ag_var apply_sum_cols(ag_var x, ag_var y) { return (void)y, ag_sum_over(x, AG_AXES(0), false); }
static ag_var apply_max_rows(ag_var x, ag_var y) { return (void)y, ag_max_over(x, AG_AXES(1), false); }
static ag_var apply_logsumexp(ag_var x, ag_var y) { return (void)y, ag_logsumexp_over(x, AG_AXES(1), false); }
static ag_var apply_matmul(ag_var x, ag_var y) { return ag_matmul(x, y); }

#define HAND_OPS(name)                                                                                                 \
    {                                                                                                                  \
        {{base64_##name, base64_##name##_adjoint}, {wide64_##name, wide64_##name##_adjoint}}, {                        \
            {base32_##name, base32_##name##_adjoint}, { wide32_##name, wide32_##name##_adjoint }                       \
        }                                                                                                              \
    }
static const operation elementwise[] = {
    {"add", apply_add, HAND_OPS(add), AS_OPERAND, -2, 2},
    {"mul", apply_mul, HAND_OPS(mul), AS_OPERAND, -2, 2},
    {"exp", apply_exp, HAND_OPS(exp), AS_OPERAND, -2, 2},
    {"log", apply_log, HAND_OPS(log), AS_OPERAND, 0.1, 4},
    {"sin", apply_sin, HAND_OPS(sin), AS_OPERAND, -4, 4},
    {"tanh", apply_tanh, HAND_OPS(tanh), AS_OPERAND, -3, 3},
    {"sigmoid", apply_sigmoid, HAND_OPS(sigmoid), AS_OPERAND, -4, 4},
    {"sigmoid, accurate by hand", apply_sigmoid, HAND_OPS(accurate_sigmoid), AS_OPERAND, -4, 4},
    {"gelu", apply_gelu, HAND_OPS(gelu), AS_OPERAND, -3, 3},
};
static const operation by_rows[] = {
    {"softmax", apply_softmax, HAND_OPS(softmax), AS_OPERAND, -5, 5},
    {"row sums", apply_sum_rows, HAND_OPS(sum_rows), A_ROW_EACH, -2, 2},
    {"column sums", apply_sum_cols, HAND_OPS(sum_cols), A_COLUMN_EACH, -2, 2},
    {"row maxima", apply_max_rows, HAND_OPS(max_rows), A_ROW_EACH, -2, 2},
    {"row logsumexp", apply_logsumexp, HAND_OPS(logsumexp), A_ROW_EACH, -5, 5},
};

/* ---- one operation on one tape and by hand ----------------------------------------------------------------------- */

enum { MAX_RESULTS = 8 };

typedef struct tensor_case {
    const operation *op;
    ag_type type;
    bool matrix; /* operands have shape (rows, cols), else (cols) */
    int64_t rows, cols, count, out_count;
    int results; /* of the operation applied to the same operands, one after the other, then swept at once */
    ag_tape *tape;
    ag_mark mark;
    ag_var x, y, seed, out[MAX_RESULTS];
    hand_op hand;
    void *a, *b, *w, *ga, *gb; /* numbers of the tape's type */
    void *value[MAX_RESULTS], *adjoint[MAX_RESULTS];
} tensor_case;

static size_t number_size(ag_type type) { return type == AG_F64 ? sizeof(double) : sizeof(float); }

static void run_tape(void *context, double *lap) {
    tensor_case *c = context;
    ag_var seeds[MAX_RESULTS];
    double start = bench_now();
    ag_tape_rewind(c->tape, c->mark);
    for (int i = 0; i < c->results; i++) {
        c->out[i] = c->op->apply(c->x, c->y);
        seeds[i] = c->seed;
    }
    bench_lap(&lap[0], &start);
    ag_sweep(c->out, seeds, c->results, AG_RESET);
    bench_lap(&lap[1], &start);
}

/* Does what a sweep has to: sets adjoints of operands to 0 and those of results to their seeds. */
static void run_hand(void *context, double *lap) {
    tensor_case *c = context;
    size_t size = number_size(c->type);
    double start = bench_now();
    for (int i = 0; i < c->results; i++) c->hand.forward(c->value[i], c->a, c->b, c->rows, c->cols);
    bench_lap(&lap[0], &start);
    memset(c->ga, 0, (size_t)c->count * size);
    memset(c->gb, 0, (size_t)c->count * size);
    for (int i = 0; i < c->results; i++) {
        memcpy(c->adjoint[i], c->w, (size_t)c->out_count * size);
        c->hand.adjoint(c->value[i], c->adjoint[i], c->a, c->b, c->ga, c->gb, c->rows, c->cols);
    }
    bench_lap(&lap[1], &start);
}

static void *random_numbers(ag_type type, int64_t n, double lo, double hi, uint64_t state) {
    void *x = bench_alloc((size_t)n, number_size(type));
    for (int64_t i = 0; i < n; i++) {
        double r = bench_random(&state, lo, hi);
        if (type == AG_F64) ((double *)x)[i] = r;
        if (type == AG_F32) ((float *)x)[i] = (float)r;
    }
    return x;
}
static ag_var tensor_of(ag_tape *tape, ag_type type, bool constant, const void *data, ag_shape shape) {
    if (type == AG_F64) return constant ? ag_constant_tensor(tape, data, shape) : ag_tensor(tape, data, shape);
    return constant ? ag_constant_tensor_f32(tape, data, shape) : ag_tensor_f32(tape, data, shape);
}

static void case_begin(tensor_case *c) {
    ag_shape shape = c->matrix ? AG_SHAPE(c->rows, c->cols) : AG_SHAPE(c->cols);
    ag_shape out = c->op->result == AS_OPERAND ? shape : AG_SHAPE(c->out_count);
    size_t size = number_size(c->type);
    c->a = random_numbers(c->type, c->count, c->op->lo, c->op->hi, 1);
    c->b = random_numbers(c->type, c->count, c->op->lo, c->op->hi, 2);
    c->w = random_numbers(c->type, c->out_count, -1, 1, 3);
    c->ga = bench_alloc((size_t)c->count, size);
    c->gb = bench_alloc((size_t)c->count, size);
    for (int i = 0; i < c->results; i++) {
        c->value[i] = bench_alloc((size_t)c->out_count, size);
        c->adjoint[i] = bench_alloc((size_t)c->out_count, size);
    }
    c->tape = ag_tape_new(c->type);
    c->x = tensor_of(c->tape, c->type, false, c->a, shape);
    c->y = tensor_of(c->tape, c->type, false, c->b, shape);
    c->seed = tensor_of(c->tape, c->type, true, c->w, out);
    c->mark = ag_tape_mark(c->tape);
}

static tensor_case *case_new(const operation *op, ag_type type, bool matrix, int64_t rows, int64_t cols, int results) {
    tensor_case *c = bench_alloc(1, sizeof *c);
    c->op = op;
    c->type = type;
    c->matrix = matrix;
    c->rows = rows;
    c->cols = cols;
    c->count = rows * cols;
    c->out_count = op->result == AS_OPERAND ? c->count : op->result == A_ROW_EACH ? rows : cols;
    c->results = results;
    c->hand = op->hand[type == AG_F32][is_wide()];
    case_begin(c);
    return c;
}
static void case_free(tensor_case *c) {
    ag_tape_free(c->tape);
    free(c->a);
    free(c->b);
    free(c->w);
    free(c->ga);
    free(c->gb);
    for (int i = 0; i < c->results; i++) {
        free(c->value[i]);
        free(c->adjoint[i]);
    }
    free(c);
}

/* The first `n` numbers of a tape against those by hand. */
static void check_numbers(const char *name, const char *what, ag_type type, const void *got, const void *right,
                          int64_t n) {
    char text[64];
    snprintf(text, sizeof text, "%s, %s", name, what);
    for (int64_t i = 0; i < n; i++) {
        double g = type == AG_F64 ? ((const double *)got)[i] : (double)((const float *)got)[i];
        double r = type == AG_F64 ? ((const double *)right)[i] : (double)((const float *)right)[i];
        bench_check(text, &g, &r, 1, type == AG_F64 ? 1e-12 : 2e-5);
    }
}
static void check_case(tensor_case *c) {
    if (ag_tape_status(c->tape) != AG_OK) bench_wrong("%s: %s", c->op->name, ag_tape_message(c->tape));
    int last = c->results - 1;
    const void *value = ag_data(c->out[last]), *grad = ag_grad_data(c->x);
    if (value == NULL || grad == NULL) bench_wrong("%s: no values or adjoints", c->op->name);
    check_numbers(c->op->name, "value", c->type, value, c->value[last], c->out_count);
    check_numbers(c->op->name, "adjoint", c->type, grad, c->ga, c->count);
    bool binary = c->op->apply == apply_add || c->op->apply == apply_mul;
    if (binary) check_numbers(c->op->name, "second adjoint", c->type, ag_grad_data(c->y), c->gb, c->count);
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

enum { COLUMNS = 6 };
static const char *const columns[COLUMNS] = {"forward ns", "by hand ns", "ratio", "adjoint ns", "by hand ns", "ratio"};

/* A row: nanoseconds an element. Returns the seconds of the forward pass, on the tape and by hand, in `seconds`. */
static void compare(const char *name, tensor_case *c, int rounds, double *seconds) {
    bench_set set = {0};
    int tape = bench_add(&set, "autograd", run_tape, c), hand = bench_add(&set, "by hand", run_hand, c);
    bench_run(&set, rounds, c->count > 1000000 ? 0 : 4e-4);
    check_case(c);
    double ns = 1e9 / (double)(c->count * c->results);
    double cells[COLUMNS];
    for (int lap = 0; lap < 2; lap++) {
        cells[3 * lap] = bench_lap_time(&set, tape, lap) * ns;
        cells[3 * lap + 1] = bench_lap_time(&set, hand, lap) * ns;
        cells[3 * lap + 2] = bench_lap_ratio(&set, tape, hand, lap);
    }
    bench_row(name, cells, COLUMNS);
    if (seconds != NULL) {
        seconds[0] = bench_lap_time(&set, tape, 0);
        seconds[1] = bench_lap_time(&set, hand, 0);
    }
}

static void in_cache(ag_type type, int64_t n) {
    char title[64];
    snprintf(title, sizeof title, "elementwise, %s, n = %lld: an element", type == AG_F64 ? "f64" : "f32",
             (long long)n);
    bench_heading(title, columns, COLUMNS);
    for (size_t i = 0; i < sizeof elementwise / sizeof *elementwise; i++) {
        tensor_case *c = case_new(&elementwise[i], type, false, 1, n, 4);
        compare(elementwise[i].name, c, 41, NULL);
        case_free(c);
    }
}

static void rows_and_columns(ag_type type, int64_t rows, int64_t cols) {
    char title[64];
    snprintf(title, sizeof title, "%s, shape (%lld, %lld): an element", type == AG_F64 ? "f64" : "f32", (long long)rows,
             (long long)cols);
    bench_heading(title, columns, COLUMNS);
    for (size_t i = 0; i < sizeof by_rows / sizeof *by_rows; i++) {
        tensor_case *c = case_new(&by_rows[i], type, true, rows, cols, 1);
        compare(by_rows[i].name, c, 41, NULL);
        case_free(c);
    }
}

/* Memory bandwidth, counting what has to be read and written: numbers of operands and result. */
static void in_memory(ag_type type, int64_t n) {
    char title[64];
    double seconds[2];
    snprintf(title, sizeof title, "elementwise, %s, n = %lld: an element", type == AG_F64 ? "f64" : "f32",
             (long long)n);
    bench_heading(title, columns, COLUMNS);
    for (size_t i = 0; i < 3; i++) {
        tensor_case *c = case_new(&elementwise[i], type, false, 1, n, 1);
        compare(elementwise[i].name, c, 5, seconds);
        double bytes = (i < 2 ? 3 : 2) * (double)n * (double)number_size(type);
        printf("%*s%s forward: %.1f GB/s, by hand %.1f GB/s\n", 4, "", elementwise[i].name, 1e-9 * bytes / seconds[0],
               1e-9 * bytes / seconds[1]);
        case_free(c);
    }
}

/* ---- small operations -------------------------------------------------------------------------------------------- */

enum { SMALL = 1000 };

typedef struct small_case {
    ag_var (*apply)(ag_var x, ag_var y);
    ag_tape *tape;
    ag_mark mark;
    ag_var x, y, out[SMALL], seeds[SMALL];
} small_case;

static void run_small(void *context, double *lap) {
    small_case *c = context;
    double start = bench_now();
    ag_tape_rewind(c->tape, c->mark);
    for (int i = 0; i < SMALL; i++) c->out[i] = c->apply(c->x, c->y);
    bench_lap(&lap[0], &start);
    ag_sweep(c->out, c->seeds, SMALL, AG_RESET);
    bench_lap(&lap[1], &start);
}
/* The same without an operation: rewinding, and a sweep of nothing from as many outputs. */
static ag_var apply_nothing(ag_var x, ag_var y) { return (void)y, x; }

static void check_small(const char *name, small_case *c, ag_shape shape) {
    double x[64], grad[64], right[64], lap[BENCH_LAPS] = {0};
    run_small(c, lap);
    if (ag_tape_status(c->tape) != AG_OK) bench_wrong("small %s: %s", name, ag_tape_message(c->tape));
    ag_read_grad(c->x, grad);
    ag_read(c->x, x);
    size_t count = (size_t)ag_count(c->x);
    for (size_t i = 0; i < count; i++) {
        double side[2], keep = x[i], h = 1e-5;
        for (int s = 0; s < 2; s++) {
            x[i] = s == 0 ? keep + h : keep - h;
            ag_tape_rewind(c->tape, c->mark);
            side[s] = ag_value(ag_sum(c->apply(ag_constant_tensor(c->tape, x, shape), c->y)));
        }
        x[i] = keep;
        right[i] = SMALL * (side[0] - side[1]) / (2 * h);
    }
    bench_check(name, grad, right, count, 1e-6);
}

static void small(const char *name, ag_var (*apply)(ag_var, ag_var), ag_shape shape) {
    small_case *c = bench_alloc(1, sizeof *c);
    double data[64];
    bench_fill(data, 64, 0.5, 1.5);
    c->apply = apply;
    c->tape = ag_tape_new(AG_F64);
    c->x = ag_tensor(c->tape, data, shape);
    c->y = ag_tensor(c->tape, data, shape);
    c->mark = ag_tape_mark(c->tape);
    for (int i = 0; i < SMALL; i++) c->seeds[i] = ag_num(1);
    check_small(name, c, shape);
    bench_set set = {0};
    bench_add(&set, name, run_small, c);
    bench_run(&set, 41, 1e-3);
    double ns = 1e9 / SMALL;
    double cells[3] = {bench_lap_time(&set, 0, 0) * ns, bench_lap_time(&set, 0, 1) * ns, 0};
    ag_stats stats = ag_tape_stats(c->tape);
    cells[2] = (double)(stats.instruction_bytes + stats.value_bytes) / SMALL;
    bench_row(name, cells, 3);
    ag_tape_free(c->tape);
    free(c);
}

typedef struct small_product {
    double a[64], b[64], c[64];
} small_product;

static void run_product(void *context, double *lap) {
    small_product *p = context;
    (void)lap;
    for (int i = 0; i < SMALL; i++)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 8, 8, 8, 1, p->a, 8, p->b, 8, 0, p->c, 8);
}
static void small_blas(void) {
    small_product p;
    bench_fill(p.a, 64, 0.5, 1.5);
    bench_fill(p.b, 64, 0.5, 1.5);
    bench_set set = {0};
    bench_add(&set, "", run_product, &p);
    bench_run(&set, 41, 1e-3);
    double cells[2] = {bench_time(&set, 0) * 1e9 / SMALL, bench_time(&set, 0) * 2e9 / SMALL};
    bench_row("  BLAS alone: one product, two products", cells, 2);
}

static void small_operations(void) {
    static const char *const small_columns[3] = {"record ns", "sweep ns", "bytes"};
    bench_heading("small tensors, f64: an operation", small_columns, 3);
    small("nothing (a seed each)", apply_nothing, AG_SHAPE(8));
    small("add (8)", apply_add, AG_SHAPE(8));
    small("mul (8)", apply_mul, AG_SHAPE(8));
    small("exp (8)", apply_exp, AG_SHAPE(8));
    small("tanh (8)", apply_tanh, AG_SHAPE(8));
    small("sum (8)", apply_sum, AG_SHAPE(8));
    small("matmul (8, 8) (8, 8)", apply_matmul, AG_SHAPE(8, 8));
    small_blas();
}

int main(int argc, char **argv) {
    (void)argc;
    bench_one_thread(argv);
    bench_title("Tensor operations",
                is_wide() ? "by hand: loops for AVX-512" : "by hand: loops for the base instruction set");
    bench_print_blas();
#ifndef HAND_VECTOR_MATHS
    printf("   (this compiler does not vectorise exp, log, sin, tanh, erf in the loops by hand)\n");
#endif
    small_operations();
    in_cache(AG_F64, 4096);
    in_cache(AG_F32, 4096);
    for (int type = 0; type < 2; type++) {
        rows_and_columns(type == 0 ? AG_F64 : AG_F32, 64, 1000);
        rows_and_columns(type == 0 ? AG_F64 : AG_F32, 1024, 10);
    }
    in_memory(AG_F64, (int64_t)1 << 24);
    return 0;
}
