/* Rows, and products of matrices, by several threads: the same bits for any number of them, sums and rows that are added somewhere included; the same
 * error; nothing allocated after the first run; from several threads at once.
 *
 * How many threads there are is read once in a process, so the test runs itself: "test_rows_threads bits" prints bits. */
#include "count_allocations.h"
#include "derivatives.h"

#include <pthread.h>

#ifdef __SANITIZE_THREAD__
enum { SLOW = 1 };
#else
enum { SLOW = 0 };
#endif
enum { ROWS = 30000, PLACES = 500 };

static void small_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_var z = ag_add(ag_sin(ag_at(x[0], 0)), ag_mul(ag_at(x[0], 1), x[1]));
    (void)t;
    for (int i = 0; i < 12; i++) z = ag_tanh(ag_add(ag_mul(z, ag_at(x[0], 2)), 0.1 * i));
    if (context && ag_guard(ag_lt(ag_at(x[0], 2), 2), "x[2] < 2")) z = ag_neg(z);
    y[0] = z;
    y[1] = ag_mul(x[0], z);
}

/* No scalar form: row by row. */
static void large_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    small_model(t, x, y, context);
    y[0] = ag_add(y[0], ag_logdet(ag_add(ag_mul(ag_eye(t, 3), 3), ag_outer(x[0], x[0]))));
}

static ag_program *new_program(ag_type type, ag_model f, bool guarded) {
    static const double example[4] = {0.1, 0.2, 0.3, 0.4};
    ag_port in[2] = {ag_in("x", AG_SHAPE(3)), ag_in("w", (ag_shape){.rank = 0})};
    in[0].example = example;
    in[1].example = example + 3;
    ag_program *p = ag_program_trace(type, f, guarded ? in : NULL, in, 2, NULL, 2);
    assert_string_equal(ag_program_message(p), "");
    return p;
}

/* Of the gradient of y[0]: y[0] in rows, y[1] summed, d_x added at places, d_w summed. */
typedef struct results {
    double row[ROWS], sum[3], at[PLACES][3], w;
} results;

typedef struct data {
    double x[ROWS][3], w;
    int64_t place[ROWS];
} data;

static data *new_data(void) {
    data *d = calloc(1, sizeof *d);
    uint64_t state = 11;
    for (int i = 0; i < ROWS; i++) {
        for (int k = 0; k < 3; k++) d->x[i][k] = random_number(&state, -1, 1);
        d->place[i] = (int64_t)random_number(&state, 0, PLACES);
    }
    d->w = 0.7;
    return d;
}

static ag_status run(ag_runner *r, data *d, int64_t rows, results *out) {
    ag_column xs[] = {ag_each(d->x), ag_shared(&d->w)};
    ag_column ys[] = {ag_each(out->row), ag_shared(out->sum), ag_indexed(out->at, d->place), ag_shared(&out->w)};
    memset(out->at, 0, sizeof out->at);
    return ag_run_rows(r, rows, xs, ys);
}

static uint64_t hash(const void *bytes, size_t n) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++) h = (h ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    return h;
}

static ag_program *gradient_of(ag_model f, bool guarded) {
    ag_program *p = new_program(AG_F64, f, guarded);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    ag_program_free(p);
    return g;
}

static ag_var random_matrix(ag_tape *t, int64_t rows, int64_t columns, uint64_t key) {
    double *x = malloc((size_t)(rows * columns) * sizeof *x);
    uint64_t state = key;
    for (int64_t i = 0; i < rows * columns; i++) x[i] = random_number(&state, -1, 1);
    ag_var v = ag_tensor(t, x, AG_SHAPE(rows, columns));
    free(x);
    return v;
}

static void print_sweep(FILE *out, const char *what, ag_var y, const ag_var *x, int n) {
    uint64_t bits = 0;
    ag_backward(ag_sum(ag_sin(y)));
    for (int k = -1; k < n; k++) {
        ag_shape s = ag_shape_of(k < 0 ? y : x[k]);
        int64_t count = 1;
        for (int i = 0; i < s.rank; i++) count *= s.dim[i];
        double *all = calloc((size_t)count, sizeof *all);
        if (k < 0) ag_read(y, all);
        else ag_read_grad(x[k], all);
        bits = bits * 31 + hash(all, (size_t)count * sizeof *all);
        free(all);
    }
    fprintf(out, "%s %016llx %s\n", what, (unsigned long long)bits, ag_tape_message(ag_tape_of(y)));
}

/* Products and their adjoints that are worth several threads, by rows and by columns, with views and ends of vectors. */
static void print_products(FILE *out, ag_type type) {
    static const int64_t sizes[][3] = {
        {300, 201, 150}, {77, 700, 131}, {513, 64, 300}, {3000, 1, 1000}, {1, 2049, 500}};
    for (size_t i = 0; i < (SLOW ? 1 : sizeof sizes / sizeof *sizes); i++) {
        ag_tape *t = ag_tape_new(type);
        ag_var x[2] = {random_matrix(t, sizes[i][2], sizes[i][0], 1), random_matrix(t, sizes[i][2], sizes[i][1], 2)};
        print_sweep(out, "product", ag_matmul(ag_transpose(x[0]), x[1]), x, 2);
        ag_var wide = ag_transpose(x[0]), turned = ag_transpose(x[1]);
        print_sweep(out, "gelu", ag_linear_activated(wide, turned, ag_num(0), AG_GELU), x, 2);
        ag_tape_free(t);
    }
}

static void print_factors(FILE *out, ag_type type) {
    ag_tape *t = ag_tape_new(type);
    ag_var x[2] = {random_matrix(t, 260, 260, 3), random_matrix(t, 260, 260, 4)};
    ag_var positive = ag_add(ag_matmul(x[0], ag_transpose(x[0])), ag_mul(10, ag_eye(t, 260)));
    print_sweep(out, "solve", ag_solve(x[0], x[1]), x, 2);
    print_sweep(out, "inverse", ag_inverse(x[0]), x, 1);
    print_sweep(out, "logdet", ag_logdet(positive), x, 1);
    print_sweep(out, "cholesky", ag_cholesky(positive), x, 1);
    ag_tape_free(t);
}

/* A line for each program and number of rows. */
static void print_bits(FILE *out) {
    static const int64_t rows[] = {0, 1, 100, 4096, 4097, 12288, ROWS};
    data *d = new_data();
    results *r = calloc(1, sizeof *r);
    for (int i = 0; i < 4; i++) {
        ag_program *g = gradient_of(i % 2 ? large_model : small_model, i / 2);
        ag_runner *runner = ag_runner_new(g);
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
            int64_t n = i % 2 && rows[k] > 5000 ? 5000 : rows[k];
            memset(r, 0, sizeof *r);
            ag_status status = run(runner, d, n, r);
            fprintf(out, "%d %lld: %d %016llx\n", i, (long long)n, (int)status, (unsigned long long)hash(r, sizeof *r));
            if (i < 2 || n < 100) continue;
            d->x[n / 2][2] = 3; /* two rows with another branch: the first is told */
            d->x[n - 1][2] = 5;
            status = run(runner, d, n, r);
            fprintf(out, "%d %s\n", (int)status, ag_runner_message(runner));
            d->x[n / 2][2] = d->x[n - 1][2] = 0.5;
        }
        long before = allocations;
        (void)run(runner, d, 5000, r);
        if (allocations != before) fprintf(out, "%ld allocations\n", allocations - before);
        ag_runner_free(runner);
        ag_program_free(g);
    }
    free(r);
    free(d);
    print_products(out, AG_F64);
    if (SLOW) return;
    print_products(out, AG_F32);
    print_factors(out, AG_F64);
}

static const char *self;

static char *bits_with(int threads) {
    char command[512], *all = calloc(1, 1 << 14);
    snprintf(command, sizeof command, "OMP_NUM_THREADS=%d '%s' bits", threads, self);
    FILE *from = popen(command, "r");
    assert_non_null(from);
    size_t n = fread(all, 1, (1 << 14) - 1, from);
    all[n] = '\0';
    assert_int_equal(pclose(from), 0);
    return all;
}

static void any_number_of_threads_gives_the_same_bits(void **state) {
    (void)state;
    char *one = bits_with(1);
    assert_null(strstr(one, "allocations"));
    assert_non_null(strstr(one, "row 2048: guard \"x[2] < 2\": 3 < 2 is false"));
    assert_non_null(strstr(one, "row 15000: guard"));
    for (int threads = 2; threads <= (SLOW ? 2 : 7); threads += threads == 2 ? 1 : 4) {
        char *many = bits_with(threads);
        assert_string_equal(many, one);
        free(many);
    }
    free(one);
}

/* ---- several threads of the caller's, each with a runner of one program ---- */

typedef struct job {
    const ag_program *g;
    data *d;
    results r;
} job;

static void *run_job(void *context) {
    job *j = context;
    ag_runner *r = ag_runner_new(j->g);
    for (int i = 0; i < 3; i++) (void)run(r, j->d, 9000, &j->r);
    ag_runner_free(r);
    return NULL;
}

static void callers_in_threads(void **state) {
    (void)state;
    enum { CALLERS = 3 };
    for (int i = 0; i < 2; i++) {
        ag_program *g = gradient_of(i ? large_model : small_model, false);
        job *jobs = calloc(CALLERS, sizeof *jobs);
        pthread_t threads[CALLERS];
        for (int k = 0; k < CALLERS; k++) {
            jobs[k].g = g;
            jobs[k].d = new_data();
            assert_int_equal(pthread_create(&threads[k], NULL, run_job, &jobs[k]), 0);
        }
        for (int k = 0; k < CALLERS; k++) assert_int_equal(pthread_join(threads[k], NULL), 0);
        for (int k = 1; k < CALLERS; k++) assert_memory_equal(&jobs[k].r, &jobs[0].r, sizeof jobs[0].r);
        for (int k = 0; k < CALLERS; k++) free(jobs[k].d);
        free(jobs);
        ag_program_free(g);
    }
}

/* ---- a map of maps: threads in threads ---- */

static void inner_map(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_var out[2];
    ag_map(t, context, 5000, x, (ag_along[]){AG_EACH, AG_SHARED}, NULL, out);
    y[0] = ag_add(ag_sum(out[0]), ag_sum(ag_square(out[1])));
}

static void nested(void **state) {
    (void)state;
    ag_program *p = new_program(AG_F64, small_model, false);
    ag_port in[2] = {ag_in("x", AG_SHAPE(5000, 3)), ag_in("w", (ag_shape){.rank = 0})};
    ag_program *q = ag_program_trace(AG_F64, inner_map, p, in, 2, NULL, 1), *g = ag_program_gradient(q, NULL, 0);
    double *x = new_numbers(6 * 15000), *d = new_numbers(6 * 15000), one[15000], w = 0.5, y[6], dw, each[6], sum = 0;
    uint64_t state_of = 3;
    for (int i = 0; i < 6 * 15000; i++) x[i] = random_number(&state_of, -1, 1);
    ag_runner *r = ag_runner_new(g);
    ag_column xs[] = {ag_each(x), ag_shared(&w)}, ys[] = {ag_each(y), ag_each(d), ag_shared(&dw)};
    assert_int_equal(ag_run_rows(r, 6, xs, ys), AG_OK);
    for (int i = 0; i < 6; i++) {
        double part;
        assert_int_equal(ag_run(r, (const double *[]){x + 15000 * i, &w}, (double *[]){&each[i], one, &part}), AG_OK);
        assert_memory_equal(one, d + 15000 * i, sizeof one);
        sum += part;
    }
    check_numbers("nested", "value", y, each, 6, 0);
    check_numbers("nested", "gradient", &dw, &sum, 1, 0);
    ag_runner_free(r);
    ag_program_free(g);
    ag_program_free(q);
    ag_program_free(p);
    free(x);
    free(d);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "bits") == 0) {
        print_bits(stdout);
        return 0;
    }
    self = argv[0];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(callers_in_threads),
        cmocka_unit_test(nested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
