/* The kernels of every instruction set that this machine has, against the scalar functions of the table. */
#include "autograd/ops/kernels_impl.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of one instruction set; the slowest first. */
static const ag_kernels *kernels_of(int isa, ag_type type) {
    static const char *const names[] = {"base", "v3", "v4"};
    const char *best = ag_kernels_for(type)->isa;
    const ag_kernels *table[3][2] = {{&ag_kernels_f64_base, &ag_kernels_f32_base}};
#ifdef AG_HAVE_V3
    table[1][AG_F64] = &ag_kernels_f64_v3, table[1][AG_F32] = &ag_kernels_f32_v3;
#endif
#ifdef AG_HAVE_V4
    table[2][AG_F64] = &ag_kernels_f64_v4, table[2][AG_F32] = &ag_kernels_f32_v4;
#endif
    for (int i = 0; i < isa; i++)
        if (strcmp(best, names[i]) == 0) return NULL; /* the machine has no more */
    return table[isa][type];
}

#define EACH_KERNELS(k, type)                                                                                          \
    for (int isa_ = 0; isa_ < 3; isa_++)                                                                               \
        for (ag_type type = AG_F64; type <= AG_F32; type++)                                                            \
            for (const ag_kernels *k = kernels_of(isa_, type); k != NULL; k = NULL)

static uint64_t state = 1;
static uint64_t next_random(void) { /* splitmix64 */
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static double uniform(double lo, double hi) { return lo + (hi - lo) * (double)(next_random() >> 11) * 0x1p-53; }

/* |a - b| in units in the last place of the greater one; NaN equals NaN, and zeros differ if their signs do. */
static double ulps(ag_type type, double a, double b) {
    if (isnan(a) && isnan(b)) return 0;
    if (a == b) return signbit(a) == signbit(b) ? 0 : INFINITY;
    if (!isfinite(a) || !isfinite(b)) return INFINITY;
    int e, digits = type == AG_F64 ? 53 : 24, least = type == AG_F64 ? -1074 : -149;
    frexp(fmax(fabs(a), fabs(b)), &e);
    return fabs(a - b) / ldexp(1, e - digits > least ? e - digits : least);
}

typedef struct numbers {
    double x, y, z;
} numbers;

static double scalar_value(ag_opcode op, ag_type type, numbers n) {
    const ag_op_info *info = &ag_op_table[op];
    return type == AG_F64 ? info->value(n.x, n.y, n.z) : (double)info->value_f32((float)n.x, (float)n.y, (float)n.z);
}

static double scalar_partial(ag_opcode op, ag_type type, int k, numbers n, double r) {
    const ag_op_info *info = &ag_op_table[op];
    double p[3];
    float p32[3];
    if (type == AG_F64) info->partials(n.x, n.y, n.z, r, p);
    else info->partials_f32((float)n.x, (float)n.y, (float)n.z, (float)r, p32);
    return type == AG_F64 ? p[k] : (double)p32[k];
}

static double epsilon(ag_type type) { return type == AG_F64 ? DBL_EPSILON : (double)FLT_EPSILON; }

/* The condition number of most rows is small in their test range, so that vector and scalar functions, each good to
 * 4 ulp, agree to a few; a difference of nearly equal terms adds to that. */
static double tolerance(ag_opcode op) {
    /* the condition number of gelu and its slope is x^2: 81 at the edges, where scalar functions are as far off as this lets
     * them be; kernels that do not round x^2 are closer to the true value than they are */
    return op == AG_BCE_LOGITS || op == AG_GELU_TANH || op == AG_MISH || op == AG_GELU || op == AG_GELU_SLOPE ? 64 : 16;
}

typedef struct row { /* all allocated with room to start at `offset` bytes from a cache line */
    unsigned char *block;
    void *data;
} row;
static row make_row(ag_type type, size_t n, size_t offset) {
    row r = {.block = malloc((n + 1) * sizeof(double) + 64 + offset * sizeof(double))};
    assert_non_null(r.block);
    uintptr_t start = ((uintptr_t)r.block + 63) / 64 * 64;
    r.data = r.block + (start - (uintptr_t)r.block) + offset * ag_type_size(type);
    return r;
}

/* Operands, adjoint and result of n elements of one operation. */
typedef struct problem {
    ag_type type;
    ag_opcode op;
    int arity;
    size_t n;
    row x, y, z, r, w, acc;
} problem;

static problem make_problem(ag_type type, ag_opcode op, size_t n, size_t offset) {
    problem p = {.type = type, .op = op, .arity = ag_op_table[op].arity, .n = n};
    row *rows[] = {&p.x, &p.y, &p.z, &p.r, &p.w, &p.acc};
    for (size_t i = 0; i < 6; i++) *rows[i] = make_row(type, n, (offset + i) % (64 / ag_type_size(type)));
    return p;
}
static void free_problem(problem *p) {
    free(p->x.block), free(p->y.block), free(p->z.block);
    free(p->r.block), free(p->w.block), free(p->acc.block);
}
static void set(problem *p, size_t i, numbers n) {
    ag_store(p->type, p->x.data, (int64_t)i, n.x);
    ag_store(p->type, p->y.data, (int64_t)i, n.y);
    ag_store(p->type, p->z.data, (int64_t)i, n.z);
}
static numbers get(const problem *p, size_t i) {
    return (numbers){ag_load(p->type, p->x.data, (int64_t)i), ag_load(p->type, p->y.data, (int64_t)i),
                     ag_load(p->type, p->z.data, (int64_t)i)};
}
static const void *second(const problem *p) { return p->arity > 1 ? p->y.data : NULL; }
static const void *third(const problem *p) { return p->arity > 2 ? p->z.data : NULL; }

static void check_values(const ag_kernels *k, problem *p, double most) {
    double guard = 12345;
    ag_store(p->type, p->r.data, (int64_t)p->n, guard);
    k->value[p->op](p->n, p->r.data, p->x.data, second(p), third(p));
    for (size_t i = 0; i < p->n; i++) {
        numbers n = get(p, i);
        double got = ag_load(p->type, p->r.data, (int64_t)i), right = scalar_value(p->op, p->type, n);
        double error = ulps(p->type, got, right);
        if (!(error <= most))
            fail_msg("%s %s of %.17g %.17g %.17g (%zu of %zu, %s): %.17g, should be %.17g: %g ulp", k->isa,
                     ag_op_table[p->op].name, n.x, n.y, n.z, i, p->n, p->type == AG_F64 ? "f64" : "f32", got, right,
                     error);
    }
    assert_true(ag_load(p->type, p->r.data, (int64_t)p->n) == guard);
}

/* Partials by operand k, at the values that the kernel itself found, for the w that is set. */
static void check_partials(const ag_kernels *k, problem *p, int operand, double most) {
    ag_partial_kernel *kernel = k->partial[p->op][operand];
    double guard = 12345;
    for (size_t i = 0; i < p->n; i++) ag_store(p->type, p->acc.data, (int64_t)i, 0.25);
    ag_store(p->type, p->acc.data, (int64_t)p->n, guard);
    if (kernel != NULL) kernel(p->n, p->acc.data, p->w.data, p->x.data, second(p), third(p), p->r.data);
    for (size_t i = 0; i < p->n; i++) {
        numbers n = get(p, i);
        double r = ag_load(p->type, p->r.data, (int64_t)i), w = ag_load(p->type, p->w.data, (int64_t)i);
        double partial = scalar_partial(p->op, p->type, operand, n, r);
        double term = w == 0 || partial == 0 ? 0
                      : p->type == AG_F64    ? w * partial
                                             : (double)((float)w * (float)partial);
        double right = p->type == AG_F64 ? 0.25 + term : (double)(0.25f + (float)term);
        double got = ag_load(p->type, p->acc.data, (int64_t)i);
        double unit = epsilon(p->type) * fmax(fabs(term), 0.25);
        bool same = isnan(right) ? isnan(got) : isfinite(right) ? fabs(got - right) <= most * unit : got == right;
        if (!same)
            fail_msg("%s partial %d of %s at %.17g %.17g %.17g (%zu of %zu, %s), w = %g: 0.25 + w p is %.17g, should "
                     "be %.17g",
                     k->isa, operand, ag_op_table[p->op].name, n.x, n.y, n.z, i, p->n,
                     p->type == AG_F64 ? "f64" : "f32", w, got, right);
    }
    assert_true(ag_load(p->type, p->acc.data, (int64_t)p->n) == guard);
}

/* ---- elementwise kernels ---- */

static void draw(problem *p) {
    const ag_op_info *info = &ag_op_table[p->op];
    for (size_t i = 0; i < p->n; i++) {
        set(p, i,
            (numbers){uniform(info->range[0].lo, info->range[0].hi), uniform(info->range[1].lo, info->range[1].hi),
                      uniform(info->range[2].lo, info->range[2].hi)});
        ag_store(p->type, p->w.data, (int64_t)i, i % 5 == 0 ? 0 : uniform(-2, 2));
    }
}

static void agree_inside_the_domain(void **unused) {
    (void)unused;
    EACH_KERNELS(k, type) {
        for (int op = 0; op < AG_OPCODES; op++)
            for (size_t n = 0; n < 68; n++) {
                problem p = make_problem(type, (ag_opcode)op, n, n);
                draw(&p);
                check_values(k, &p, tolerance(p.op));
                for (int i = 0; i < p.arity; i++) check_partials(k, &p, i, 4 * tolerance(p.op));
                free_problem(&p);
            }
    }
}

/* Numbers at the edges of domains, of ranges and of precision; those after the first EDGES for single operands only. */
enum { EDGES = 20 };
/* clang-format off */
static const double edges_f64[] = {
    0.0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 0.5, -0.5, 2, -2, 3, -3, 5e-324, -2e-308, 1e-160, -1e-20, 1e200, -1e300,
    DBL_MAX, -5e-324, DBL_MIN, 1e-8, 0x1.fffffffffffffp-1, -0x1.fffffffffffffp-1, 1 + DBL_EPSILON, 1.5, -1.5, 2.5, 10,
    -10, 26, -27, 36, 37, -37, 40, -40, 100, -100, 709.7, 709.8, 711, -708.5, -740, -745, -746, 1000, -1000, 1023, 1024,
    -1022, -1074, -1075, 1e5, 1e6, 1e10, 1e15, 1e16, -1e16, 1e19, 1e22, 1e100, 1e155,
    3.141592653589793, 1.5707963267948966,
};
static const double edges_f32[] = {
    0.0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 0.5, -0.5, 2, -2, 3, -3, 1e-45, -1e-38, 1e-20, -1e-10, 1e20, -1e30,
    FLT_MAX, -1e-45, FLT_MIN, 1e-4, 0x1.fffffep-1, -0x1.fffffep-1, 1 + FLT_EPSILON, 1.5, -1.5, 2.5, 4, -4, 9, -9, 9.5,
    10.05, 10.06, 12, 17, -17, 20, -20, 40, -40, 88.7f, 88.73f, 89, 90, -87.3f, -88, -103, -103.9f, -104, -105, 127,
    128, 129, -126, -149, -150, -151, 1000, -1000, 1e5, 1e7, -1e7, 1e10, 1e19, 1e20, 3.1415927f, 1.5707964f,
};
/* clang-format on */

static problem edge_problem(ag_type type, ag_opcode op) {
    static const double weights[] = {1, 0, -2, INFINITY, -0.0, NAN, 0.5};
    const double *edges = type == AG_F64 ? edges_f64 : edges_f32;
    size_t all = type == AG_F64 ? sizeof edges_f64 / sizeof *edges_f64 : sizeof edges_f32 / sizeof *edges_f32;
    int arity = ag_op_table[op].arity;
    size_t n = arity == 1 ? all : arity == 2 ? EDGES * EDGES : EDGES * EDGES * EDGES;
    problem p = make_problem(type, op, 7 * n, 0);
    for (size_t i = 0; i < 7 * n; i++) {
        size_t j = i / 7;
        numbers e = {edges[arity == 1 ? j : j % EDGES], edges[j / EDGES % EDGES], edges[j / EDGES / EDGES % EDGES]};
        set(&p, i, e);
        ag_store(type, p.w.data, (int64_t)i, weights[i % 7]);
    }
    return p;
}

static void agree_at_edges(void **unused) {
    (void)unused;
    EACH_KERNELS(k, type) {
        for (int op = 0; op < AG_OPCODES; op++) {
            problem p = edge_problem(type, (ag_opcode)op);
            check_values(k, &p, tolerance(p.op));
            for (int i = 0; i < p.arity; i++) check_partials(k, &p, i, 4 * tolerance(p.op));
            free_problem(&p);
        }
    }
}

/* A value depends on its operands only, not on where in a row they stand or how long the row is; and the result may
 * overwrite an operand. */
static void values_do_not_depend_on_place(void **unused) {
    (void)unused;
    EACH_KERNELS(k, type) {
        for (int op = 0; op < AG_OPCODES; op++) {
            enum { N = 61 };
            problem p = make_problem(type, (ag_opcode)op, N, 0);
            draw(&p);
            k->value[op](N, p.r.data, p.x.data, second(&p), third(&p));
            for (int64_t i = 0; i < N; i++) {
                double alone[1];
                k->value[op](1, alone, ag_element(type, p.x.data, i),
                             p.arity > 1 ? ag_element(type, p.y.data, i) : NULL,
                             p.arity > 2 ? ag_element(type, p.z.data, i) : NULL);
                if (ag_load(type, alone, 0) != ag_load(type, p.r.data, i))
                    fail_msg("%s %s: %.17g alone, %.17g in a row", k->isa, ag_op_table[op].name,
                             ag_load(type, alone, 0), ag_load(type, p.r.data, i));
            }
            void *over = p.arity == 1 ? p.x.data : p.arity == 2 ? p.y.data : p.z.data;
            k->value[op](N, over, p.x.data, second(&p), third(&p));
            assert_memory_equal(over, p.r.data, N * ag_type_size(type));
            free_problem(&p);
        }
    }
}

static void only_zero_partials_have_no_kernel(void **unused) {
    (void)unused;
    EACH_KERNELS(k, type) {
        (void)type;
        for (int op = 0; op < AG_OPCODES; op++) {
            const ag_op_info *info = &ag_op_table[op];
            assert_non_null(k->value[op]);
            for (int i = 0; i < 3; i++) {
                bool zero = i >= info->arity || (info->traits & AG_FLAT) != 0 || (op == AG_SELECT && i == 0) ||
                            (op == AG_POLYGAMMA && i == 0);
                if (zero != (k->partial[op][i] == NULL)) fail_msg("partial %d of %s", i, info->name);
            }
        }
    }
}

/* ---- rows ---- */

static const size_t lengths[] = {0,  1,  2,  3,   4,   5,   7,    8,    15,   16,   17,   31,   32,   33,  63,
                                 64, 65, 99, 127, 128, 129, 1023, 1024, 1025, 2047, 2048, 5000, 8191, 8192};
enum { LENGTHS = sizeof lengths / sizeof *lengths };
#define EACH_LENGTH(n) for (size_t at_ = 0, n = 0; at_ < LENGTHS; n = lengths[++at_ % LENGTHS])

static void sums(void **unused) {
    (void)unused;
    EACH_KERNELS(k, type) {
        EACH_LENGTH(n) {
            problem p = make_problem(type, AG_ADD, n, n % 5);
            long double sum = 0, dot = 0, size = 0, dot_size = 0;
            for (size_t i = 0; i < n; i++) {
                set(&p, i, (numbers){uniform(-1, 1.5), uniform(-2, 1), 0});
                numbers e = get(&p, i);
                sum += e.x, size += fabs(e.x);
                dot += (long double)e.x * e.y, dot_size += fabs(e.x * e.y);
            }
            double error = epsilon(type) * 8; /* of random signs; a sum one by one may be off by n / 2 */
            assert_true(fabsl((long double)k->sum(n, p.x.data) - sum) <= error * size);
            assert_true(fabsl((long double)k->dot(n, p.x.data, p.y.data) - dot) <= error * dot_size);
            row moved = make_row(type, n, 3);
            memcpy(moved.data, p.x.data, n * ag_type_size(type));
            assert_true(k->sum(n, moved.data) == k->sum(n, p.x.data)); /* whatever the alignment */
            free(moved.block);
            free_problem(&p);
        }
    }
}

static void sums_pass_infinities(void **unused) {
    (void)unused;
    EACH_KERNELS(k, type) {
        for (size_t n = 1; n < 150; n += 7) {
            row x = make_row(type, n, 0);
            for (size_t i = 0; i < n; i++) ag_store(type, x.data, (int64_t)i, 1);
            ag_store(type, x.data, (int64_t)(n / 2), INFINITY);
            assert_true(k->sum(n, x.data) == INFINITY);
            ag_store(type, x.data, (int64_t)(n / 3), NAN);
            assert_true(isnan(k->sum(n, x.data)));
            free(x.block);
        }
    }
}

static void extremes(void **unused) {
    (void)unused;
    EACH_KERNELS(k, type) {
        EACH_LENGTH(n) {
            row x = make_row(type, n, n % 7);
            double least = INFINITY, greatest = -INFINITY;
            for (size_t i = 0; i < n; i++) {
                double v = (double)(float)uniform(-5, 5);
                ag_store(type, x.data, (int64_t)i, v);
                least = fmin(least, v), greatest = fmax(greatest, v);
            }
            assert_true(k->max(n, x.data) == greatest);
            assert_true(k->min(n, x.data) == least);
            for (size_t i = 0; i < n; i += 1 + n / 150) { /* a NaN or an extreme anywhere */
                double old = ag_load(type, x.data, (int64_t)i);
                ag_store(type, x.data, (int64_t)i, i % 2 == 0 ? NAN : -NAN);
                assert_true(isnan(k->max(n, x.data)));
                assert_true(isnan(k->min(n, x.data)));
                ag_store(type, x.data, (int64_t)i, INFINITY);
                assert_true(k->max(n, x.data) == INFINITY);
                ag_store(type, x.data, (int64_t)i, -7);
                assert_true(k->min(n, x.data) == -7);
                ag_store(type, x.data, (int64_t)i, old);
            }
            for (size_t i = 0; i + 1 < n; i += 1 + n / 20) { /* whose sum is NaN, though none of them is */
                ag_store(type, x.data, (int64_t)i, INFINITY);
                ag_store(type, x.data, (int64_t)n - 1, -INFINITY);
                assert_true(k->max(n, x.data) == INFINITY);
                assert_true(k->min(n, x.data) == -INFINITY);
            }
            free(x.block);
        }
    }
}

/* Many short rows: against rows alone, with NaN and infinities in some, and nothing written beyond the last. */
static void check_short_rows(const ag_kernels *k, ag_type type, size_t rows, size_t n) {
    row x = make_row(type, rows * n, rows % 3), out = make_row(type, rows * n + 1, n % 5);
    size_t size = ag_type_size(type);
    for (size_t i = 0; i < rows * n; i++) {
        static const double edge[] = {NAN, INFINITY, -INFINITY, -NAN};
        bool odd = rows % 2 && i % 37 == 5;
        ag_store(type, x.data, (int64_t)i, odd ? edge[i / 37 % 4] : uniform(-3, 2));
    }
    for (int what = 0; what < 3; what++) {
        ag_store(type, out.data, (int64_t)rows, 12345);
        (what == 0 ? k->max_rows : what == 1 ? k->min_rows : k->sum_rows)(rows, n, out.data, x.data);
        for (size_t i = 0; i < rows; i++) {
            const char *one = (const char *)x.data + i * n * size;
            double got = ag_load(type, out.data, (int64_t)i);
            double right = what == 0 ? k->max(n, one) : what == 1 ? k->min(n, one) : k->sum(n, one);
            bool same =
                what < 2 || !isfinite(right) ? got == right : fabs(got - right) <= epsilon(type) * 3 * (double)(n * n);
            if (!same && !(isnan(got) && isnan(right)))
                fail_msg("%s: row %zu of %zu with %zu elements: %.17g, not %.17g", k->isa, i, rows, n, got, right);
        }
        assert_true(ag_load(type, out.data, (int64_t)rows) == 12345);
    }
    ag_store(type, out.data, (int64_t)(rows * n), 12345);
    k->spread(rows, n, out.data, x.data);
    for (size_t i = 0; i < rows * n; i++)
        assert_memory_equal((char *)out.data + i * size, (char *)x.data + i / n * size, size);
    assert_true(ag_load(type, out.data, (int64_t)(rows * n)) == 12345);
    free(x.block), free(out.block);
}

static void short_rows(void **unused) {
    (void)unused;
    EACH_KERNELS(k, type)
    for (size_t n = 1; n <= 70; n += 1 + n / 20)
        for (size_t rows = 1; rows < 300; rows += 1 + rows / 4) check_short_rows(k, type, rows, n);
}

/* ---- code on rows ---- */

enum { CODE = 40, VALUES = 6, SUMMED = 2, BLOCK_ROW = VALUES + SUMMED, CODE_ROWS = BLOCK_ROW + 1 };

typedef void run_code(const ag_straight *code, size_t count, void *const *work);

/* Instructions on rows 0.. and sums of some of them; a product that is added up is two. */
static size_t make_row_code(ag_straight *code) {
    static const uint32_t ops[] = {AG_ADD,          AG_SUB, AG_MUL, AG_STRAIGHT_FMA, AG_NEG, AG_STRAIGHT_MUL_1,
                                   AG_STRAIGHT_COPY};
    size_t count = 0;
    while (count < CODE - 1) {
        uint32_t at[4];
        for (int i = 0; i < 4; i++) at[i] = (uint32_t)(next_random() % VALUES);
        ag_straight sum = {AG_STRAIGHT_SUM, VALUES + at[3] % SUMMED, at[0], 0, BLOCK_ROW};
        uint32_t kind = (uint32_t)(next_random() % 10);
        if (kind < 7) code[count++] = (ag_straight){ops[kind], at[0], at[1], at[2], at[3]};
        else if (kind == 7) code[count++] = sum;
        else code[count++] = (ag_straight){AG_STRAIGHT_MUL_SUM, at[0], at[1], at[2], 0}, code[count++] = sum;
    }
    return count;
}

/* One instruction after the other: nothing stays in registers, and products are added up afterwards. */
static void run_each(run_code *run, const ag_straight *code, size_t count, void *const *work) {
    for (size_t i = 0; i < count; i++) {
        ag_straight c = code[i];
        if (c.op == AG_STRAIGHT_MUL_SUM) c.op = AG_MUL;
        run(&c, 1, work);
    }
}

static void check_row_code(const ag_kernels *k, ag_type type, run_code *run, size_t width) {
    ag_straight code[CODE];
    row rows[2][CODE_ROWS];
    void *work[2][CODE_ROWS];
    int64_t block = next_random() % 2 ? (int64_t)width : 1 + (int64_t)(next_random() % width);
    size_t count = make_row_code(code), bytes = width * ag_type_size(type);
    for (int i = 0; i < CODE_ROWS; i++) {
        for (int w = 0; w < 2; w++) {
            rows[w][i] = make_row(type, width, 0);
            work[w][i] = i == BLOCK_ROW ? (void *)&block : rows[w][i].data;
        }
        for (size_t j = 0; j < width; j++) ag_store(type, rows[0][i].data, (int64_t)j, i < VALUES ? uniform(-1, 1) : 0);
        memcpy(rows[1][i].data, rows[0][i].data, bytes);
    }
    run(code, count, work[0]);
    run_each(run, code, count, work[1]);
    for (int i = 0; i < BLOCK_ROW; i++) {
        if (memcmp(rows[0][i].data, rows[1][i].data, bytes) != 0)
            fail_msg("%s: row %d differs, of %zu, %lld in a block", k->isa, i, width, (long long)block);
    }
    for (int i = 0; i < CODE_ROWS; i++) free(rows[0][i].block), free(rows[1][i].block);
}

static void code_on_rows(void **unused) {
    (void)unused;
    EACH_KERNELS(k, type)
    for (int i = 0; i < 400; i++) {
        check_row_code(k, type, k->straight_short_rows, AG_FEW_LANES);
        check_row_code(k, type, k->straight_half_rows, AG_HALF_LANES);
        check_row_code(k, type, k->straight_rows, AG_LANES);
        check_row_code(k, type, k->straight_long_rows, (size_t)AG_LONG_LANES(type));
    }
}

static void updates(void **unused) {
    (void)unused;
    EACH_KERNELS(k, type) {
        EACH_LENGTH(n) {
            problem p = make_problem(type, AG_ADD, n, n % 3);
            for (size_t i = 0; i < n; i++) set(&p, i, (numbers){uniform(-1, 1), 0, 0});
            double guard = 12345;
            ag_store(type, p.y.data, (int64_t)n, guard);
            k->fill(n, p.y.data, 0.5);
            k->add_to(n, p.y.data, p.x.data);
            k->add_scaled(n, p.y.data, -2, p.x.data);
            k->add_value(n, p.y.data, 0.25);
            k->scale(n, p.r.data, 3, p.y.data);
            for (size_t i = 0; i < n; i++) {
                numbers e = get(&p, i);
                assert_true(fabs(e.y - (0.75 - e.x)) <= 4 * epsilon(type));
                assert_true(fabs(ag_load(type, p.r.data, (int64_t)i) - 3 * e.y) <= 16 * epsilon(type));
            }
            assert_true(ag_load(type, p.y.data, (int64_t)n) == guard);
            free_problem(&p);
        }
    }
}

static void exponentials(void **unused) {
    (void)unused;
    EACH_KERNELS(k, type) {
        EACH_LENGTH(n) {
            problem p = make_problem(type, AG_EXP, n, n % 3);
            long double sum = 0;
            for (size_t i = 0; i < n; i++) {
                set(&p, i, (numbers){i % 17 == 3 ? -INFINITY : uniform(-5, 2), 0, 0});
                sum += expl((long double)get(&p, i).x - 2);
            }
            double got = k->exp_shifted(n, p.r.data, p.x.data, 2);
            assert_true(fabsl((long double)got - sum) <= 16 * epsilon(type) * sum);
            for (size_t i = 0; i < n; i++) {
                double right = exp(get(&p, i).x - 2);
                assert_true(fabs(ag_load(type, p.r.data, (int64_t)i) - right) <= 16 * epsilon(type) * right);
            }
            k->exp_shifted(n, p.x.data, p.x.data, 2);
            assert_memory_equal(p.x.data, p.r.data, n * ag_type_size(type));
            free_problem(&p);
        }
    }
}

/* In units in the last place of the right value. */
static long double error_of(ag_type type, double got, long double right) {
    long double value = type == AG_F64 ? (long double)(double)right : (long double)(float)right;
    int e, digits = type == AG_F64 ? 53 : 24, least = type == AG_F64 ? -1074 : -149;
    if (isinf((double)value) || value == 0) return got == (double)value ? 0 : INFINITY;
    frexpl(value, &e);
    return fabsl((long double)got - right) / ldexpl(1, e - digits > least ? e - digits : least);
}

static void exponentials_are_good_to_4_ulp(void **unused) {
    (void)unused;
    enum { N = 4096 };
    const struct {
        ag_opcode op;
        long double (*right)(long double);
        double most[5];
    } of[] = {{AG_EXP, expl, {0.02, 1, 80, 745, 1e-9}}, {AG_TANH, tanhl, {0.02, 1, 6, 25, 1e-9}}};
    EACH_KERNELS(k, type) {
        problem p = make_problem(type, AG_EXP, N, 0);
        for (size_t o = 0; o < 2; o++)
            for (size_t m = 0; m < 5; m++) {
                for (size_t i = 0; i < N; i++) set(&p, i, (numbers){uniform(-of[o].most[m], of[o].most[m]), 0, 0});
                k->value[of[o].op](N, p.r.data, p.x.data, NULL, NULL);
                for (size_t i = 0; i < N; i++) {
                    double x = get(&p, i).x, got = ag_load(type, p.r.data, (int64_t)i);
                    long double error = error_of(type, got, of[o].right((long double)x));
                    if (!(error <= 4))
                        fail_msg("%s %s of %.17g: %.17g, off by %Lg ulp", k->isa, ag_op_table[of[o].op].name, x, got,
                                 error);
                }
            }
        free_problem(&p);
    }
}

static void rows_and_transposes(void **unused) {
    (void)unused;
    enum { WIDE = 40 };
    EACH_KERNELS(k, type) {
        for (size_t rows = 0; rows < 20; rows++)
            for (size_t columns = 0; columns < 35; columns++) {
                row x = make_row(type, 20 * WIDE, 1), sum = make_row(type, WIDE, 2),
                    turned = make_row(type, WIDE * 20, 3);
                for (int64_t i = 0; i < 20 * WIDE; i++) ag_store(type, x.data, i, (double)(next_random() % 100));
                for (int64_t i = 0; i < WIDE * 20; i++) ag_store(type, turned.data, i, 1000);
                for (int64_t j = 0; j < WIDE; j++) ag_store(type, sum.data, j, (double)j);
                k->add_rows(columns, sum.data, rows, WIDE, x.data);
                k->transpose(rows, columns, turned.data, 20, x.data, WIDE, true);
                k->transpose(rows, columns / 2, turned.data, 20, x.data, WIDE, false);
                for (size_t j = 0; j < WIDE; j++) {
                    double right = (double)j;
                    for (size_t i = 0; i < 20; i++) {
                        double v = ag_load(type, x.data, (int64_t)(i * WIDE + j)), was = 1000;
                        bool inside = i < rows && j < columns;
                        if (inside) right += v;
                        if (inside) was = j < columns / 2 ? v : 1000 + v;
                        assert_true(ag_load(type, turned.data, (int64_t)(j * 20 + i)) == was);
                    }
                    assert_true(ag_load(type, sum.data, (int64_t)j) == right);
                }
                free(x.block), free(sum.block), free(turned.block);
            }
    }
}

/* Rows without gaps become columns, and back; rows that lie anywhere do. Nothing behind is written. */
static void check_columns(const ag_kernels *k, ag_type type, size_t rows, size_t width) {
    int64_t count = (int64_t)(rows * width), stride = (int64_t)rows + 3, index[70], n = (int64_t)rows;
    row x = make_row(type, rows * width, 1), picked = make_row(type, (size_t)stride * width, 2),
        turned = make_row(type, (size_t)stride * width, 3), back = make_row(type, rows * width + 1, 1);
    for (int64_t i = 0; i < count; i++) ag_store(type, x.data, i, (double)(i + 1));
    for (int64_t i = 0; i < stride * (int64_t)width; i++)
        ag_store(type, turned.data, i, -1), ag_store(type, picked.data, i, -1);
    for (int64_t i = 0; i < n; i++) index[i] = (i * 5 + 2) % n;
    ag_store(type, back.data, count, -1);
    k->transpose(rows, width, turned.data, stride, x.data, (int64_t)width, false);
    k->gather(rows, width, picked.data, stride, x.data, index);
    k->transpose(width, rows, back.data, (int64_t)width, turned.data, stride, false);
    for (int64_t j = 0; j < (int64_t)width; j++)
        for (int64_t i = 0; i < stride; i++) {
            double want = i < n ? (double)(i * (int64_t)width + j + 1) : -1;
            double want_picked = i < n ? (double)(index[i] * (int64_t)width + j + 1) : -1;
            assert_true(ag_load(type, turned.data, j * stride + i) == want);
            assert_true(ag_load(type, picked.data, j * stride + i) == want_picked);
        }
    assert_memory_equal(back.data, x.data, (size_t)count * ag_type_size(type));
    assert_true(ag_load(type, back.data, count) == -1);
    free(x.block), free(picked.block), free(turned.block), free(back.block);
}
static void narrow_rows(void **unused) {
    (void)unused;
    EACH_KERNELS(k, type) {
        for (size_t rows = 1; rows <= 70; rows++)
            for (size_t width = 1; width < 20; width++) check_columns(k, type, rows, width);
    }
}

/* In a process of its own, since the choice is made once. */
static void environment_lowers_the_choice(void **unused) {
    (void)unused;
    const char *const names[] = {"base", "v3", "v4", "nonsense"};
    for (int i = 0; i < 4; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            setenv("AG_ISA", names[i], 1);
            const char *isa = ag_kernels_for(AG_F64)->isa, *other = ag_kernels_for(AG_F32)->isa;
            bool right = strcmp(isa, other) == 0 && (i == 3 || strcmp(isa, names[i]) <= 0 || strcmp(isa, "base") == 0);
            _exit(right && (i > 0 || strcmp(isa, "base") == 0) ? 0 : 1);
        }
        int status;
        assert_true(waitpid(child, &status, 0) == child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

/* Values with slopes are those of the two kernels, as compilers round them, wherever they lie, of every length, in place, and nothing behind is
 * written; special values included. */
static void values_with_slopes(void **unused) {
    enum { MOST = 70 };
    static const double special[] = {0, -0.0, INFINITY, -INFINITY, NAN, 1e-40, -1e-40, 14.9, -14.9, -9, 9, 3e38, -13.1};
    (void)unused;
    int found = 0;
    EACH_KERNELS(k, type) {
        for (int op = 0; op < AG_OPCODES; op++) {
            if (!k->with_slope[op]) continue;
            found++;
            for (size_t n = 0; n < MOST; n++) {
                double x[MOST + 1], y[MOST + 1], slope[MOST + 1], value[MOST + 1], want[MOST + 1], ones[MOST + 1];
                for (size_t i = 0; i <= MOST; i++) {
                    size_t s = i + n;
                    double from = s % 3 ? uniform(-6, 6) : special[s / 3 % (sizeof special / sizeof *special)];
                    ag_store(type, x, (int64_t)i, from);
                    ag_store(type, ones, (int64_t)i, 1);
                    ag_store(type, want, (int64_t)i, 0);
                    ag_store(type, slope, (int64_t)i, 7);
                }
                memcpy(y, x, sizeof y);
                ag_store(type, y, (int64_t)n, 7);
                k->with_slope[op](n, y, slope, y);
                k->value[op](n, value, x, NULL, NULL);
                k->partial[op][0](n, want, ones, x, NULL, NULL, value);
                for (size_t i = 0; i < n; i++) {
                    double v = ag_load(type, value, (int64_t)i), d = ag_load(type, want, (int64_t)i);
                    double got_v = ag_load(type, y, (int64_t)i), got_d = ag_load(type, slope, (int64_t)i);
                    double most = tolerance((ag_opcode)op),
                           small = type == AG_F32 ? 1e-38 : 1e-300; /* no units there */
                    bool same =
                        (ulps(type, got_v, v) <= most || fabs(got_v - v) < small) &&
                        (fabs(got_d - d) <= most * epsilon(type) * fmax(1, fabs(d)) || (isnan(d) && isnan(got_d)));
                    if (!same)
                        fail_msg("%s %s with its slope at %g: %.17g and %.17g, not %.17g and %.17g", k->isa,
                                 ag_op_table[op].name, ag_load(type, x, (int64_t)i), got_v, got_d, v, d);
                }
                assert_true(ag_load(type, y, (int64_t)n) == 7 && ag_load(type, slope, (int64_t)n) == 7);
            }
        }
    }
    assert_true(found > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(environment_lowers_the_choice), /* first: nothing may have been chosen before */
        cmocka_unit_test(agree_inside_the_domain),
        cmocka_unit_test(agree_at_edges),
        cmocka_unit_test(values_with_slopes),
        cmocka_unit_test(values_do_not_depend_on_place),
        cmocka_unit_test(only_zero_partials_have_no_kernel),
        cmocka_unit_test(sums),
        cmocka_unit_test(sums_pass_infinities),
        cmocka_unit_test(extremes),
        cmocka_unit_test(short_rows),
        cmocka_unit_test(code_on_rows),
        cmocka_unit_test(updates),
        cmocka_unit_test(exponentials),
        cmocka_unit_test(exponentials_are_good_to_4_ulp),
        cmocka_unit_test(rows_and_transposes),
        cmocka_unit_test(narrow_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
