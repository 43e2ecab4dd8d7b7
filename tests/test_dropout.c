/* Random numbers and dropout: known answers of the generator, statistics, the same for any threads and in programs, derivatives,
 * errors. */
#include "any_threads.h"
#include "operation_suite.h"

/* Philox 4x32-10's published answers: counter and key all 0, and all ones. */
static void known_answers(void **unused) {
    (void)unused;
    uint32_t bits[AG_RANDOM_BLOCK];
    const ag_kernels *k = ag_kernels_for(AG_F32);
    k->random_bits(0, 0, 0, 1, bits);
    const uint32_t zeros[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    for (int w = 0; w < 4; w++) assert_int_equal(bits[w * 16], zeros[w]);
    k->random_bits(UINT64_MAX, UINT64_MAX, UINT64_MAX / 16, 1, bits);
    const uint32_t ones[] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    for (int w = 0; w < 4; w++) assert_int_equal(bits[w * 16 + 15], ones[w]);
}

static void statistics(void **unused) {
    (void)unused;
    enum { N = 40000 };
    double *x = new_numbers(N), *y = new_numbers(N);
    for (int type = 0; type < 2; type++) {
        ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
        for (int kind = 0; kind < 3; kind++) {
            ag_var v = kind == 0   ? ag_random_uniform(t, AG_SHAPE(N), 7, ag_num(3))
                       : kind == 1 ? ag_random_normal(t, AG_SHAPE(N), 7, ag_num(3))
                                   : ag_dropout(ag_ones(t, AG_SHAPE(N)), 0.25, 7, ag_num(3));
            double mean = 0, variance = 0, lag = 0, right[3][2] = {{0.5, 1 / 12.0}, {0, 1}, {1, 1 / 3.0}};
            ag_read(v, x);
            for (int i = 0; i < N; i++) mean += x[i] / N;
            for (int i = 0; i < N; i++) variance += (x[i] - mean) * (x[i] - mean) / N;
            for (int i = 0; i + 1 < N; i++) lag += (x[i] - mean) * (x[i + 1] - mean) / N / variance;
            assert_true(fabs(mean - right[kind][0]) < 5 * sqrt(right[kind][1] / N));
            assert_true(fabs(variance / right[kind][1] - 1) < 0.03);
            assert_true(fabs(lag) < 5 / sqrt(N));
            for (int i = 0; kind == 0 && i < N; i++) assert_true(x[i] > 0 && x[i] < 1);
            for (int i = 0; kind == 2 && i < N; i++) assert_true(x[i] == 0 || number_error(x[i], 4 / 3.0) < 1e-6);
            /* others with another key, clock or place */
            for (int other = 0; other < 2; other++) {
                ag_read(ag_random_uniform(t, AG_SHAPE(N), other ? 8 : 7, ag_num(other ? 3 : 4)), y);
                int same = 0;
                for (int i = 0; i < N; i++) same += x[i] == y[i];
                assert_true(same < 5);
            }
        }
        check_fine("statistics", t);
        ag_tape_free(t);
    }
    free(x), free(y);
}

/* A longer tensor begins like a shorter one. */
static void prefixes(void **unused) {
    (void)unused;
    double all[1200], some[1200];
    ag_tape *t = ag_tape_new(AG_F64);
    for (int kind = 0; kind < 2; kind++) {
        ag_read(kind ? ag_random_normal(t, AG_SHAPE(1200), 1, ag_num(0))
                     : ag_random_uniform(t, AG_SHAPE(1200), 1, ag_num(0)),
                all);
        for (int n = 1; n < 1200; n += 97) {
            ag_read(kind ? ag_random_normal(t, AG_SHAPE(n), 1, ag_num(0))
                         : ag_random_uniform(t, AG_SHAPE(n), 1, ag_num(0)),
                    some);
            assert_memory_equal(all, some, (size_t)n * sizeof *all);
        }
    }
    ag_tape_free(t);
}

static uint64_t hash_of_dropped(void) {
    enum { N = 100000 };
    static float y[N];
    ag_tape *t = ag_tape_new(AG_F32);
    ag_read_f32(ag_dropout(ag_random_uniform(t, AG_SHAPE(N), 2, ag_num(1)), 0.5, 3, ag_num(1)), y);
    assert_int_equal(ag_tape_status(t), AG_OK);
    ag_tape_free(t);
    return hash_bytes(0, y, sizeof y);
}

static void same_for_any_threads(void **unused) {
    (void)unused;
    same_for_threads(3);
}

/* ---- derivatives and programs ---- */

static ag_var dropped(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return ag_square(ag_dropout(ag_sin(x[0]), *(const double *)context, 5, ag_num(2)));
}
static ag_var noisy(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)n, (void)context;
    ag_var clock = ag_floor(ag_at(x[0], 0)); /* an input, with a derivative of 0 */
    ag_var noise = ag_random_normal(t, AG_SHAPE(3, 4), 1, clock);
    return ag_mul(ag_dropout(ag_add(x[0], noise), 0.3, 2, clock), ag_random_uniform(t, AG_SHAPE(4), 1, clock));
}

static void no_print(const char *label, ag_function f, void *context, const ag_var *x, int n) {
    check_derivatives(label, f, context, x, n);
    check_files(label, f, context, x, n);
    check_refusals(label, f, context, x, n);
}

static void derivatives(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = random_tensor(t, AG_SHAPE(3, 4), 0.2, 0.9);
    double p[] = {0, 0.4};
    for (int k = 0; k < 2; k++) no_print("dropout", dropped, &p[k], &x, 1);
    no_print("noise", noisy, NULL, &x, 1);
    /* adjoints are of what was kept, also where they add to others */
    ag_var big = ag_tensor(t, NULL, AG_SHAPE(1000)), y = ag_add(ag_dropout(big, 0.5, 1, ag_num(7)), big);
    double g[1000], mask[1000];
    ag_backward(ag_sum(y));
    ag_read_grad(big, g);
    ag_read(ag_dropout(ag_ones(t, AG_SHAPE(1000)), 0.5, 1, ag_num(7)), mask);
    for (int i = 0; i < 1000; i++) assert_true(g[i] == 1 + mask[i]);
    ag_tape_free(t);
}

static void step(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_dropout(x[0], 0.5, 9, x[1]);
}

static void programs_have_a_clock(void **unused) {
    (void)unused;
    ag_port in[] = {{"x", AG_SHAPE(100), NULL}, {"clock", {0}, NULL}};
    ag_program *p = ag_program_trace(AG_F32, step, NULL, in, 2, NULL, 1);
    program_fine("step", "trace", p);
    ag_runner *r = ag_runner_new(p);
    float x[100], y[3][100], want[100];
    for (int i = 0; i < 100; i++) x[i] = 1;
    for (int k = 0; k < 3; k++) {
        float clock = (float)(k % 2);
        assert_int_equal(ag_run_f32(r, (const float *[]){x, &clock}, (float *[]){y[k]}), AG_OK);
        ag_tape *t = ag_tape_new(AG_F32);
        ag_read_f32(ag_dropout(ag_ones(t, AG_SHAPE(100)), 0.5, 9, ag_num(k % 2)), want);
        assert_memory_equal(want, y[k], sizeof want);
        ag_tape_free(t);
    }
    assert_memory_equal(y[0], y[2], sizeof y[0]);
    assert_memory_not_equal(y[0], y[1], sizeof y[0]);
    ag_runner_free(r);
    ag_program_free(p);
}

/* ---- errors ---- */

static void errors(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = counting_tensor(t, AG_SHAPE(2, 5));
    check_failure(t, ag_dropout(x, 1, 0, ag_num(0)), AG_ERR_VALUE,
                  "dropout: a probability of 1 is outside 0..1, or is 1");
    check_failure(t, ag_dropout(x, NAN, 0, ag_num(0)), AG_ERR_VALUE,
                  "dropout: a probability of nan is outside 0..1, or is 1");
    check_failure(t, ag_dropout(x, 0.5, 0, x), AG_ERR_SHAPE, "dropout: a clock of shape (2, 5) is not one number");
    check_failure(t, ag_random_normal(t, AG_SHAPE(3), 0, x), AG_ERR_SHAPE,
                  "random: a clock of shape (2, 5) is not one number");
    check_failure(t, ag_random_uniform(t, AG_SHAPE(3, -1), 0, ag_num(1)), AG_ERR_SHAPE,
                  "random: a shape of 2 axes, or with too many elements");
    check_values("nothing", ag_random_normal(t, AG_SHAPE(0, 3), 0, ag_num(1)), AG_SHAPE(0, 3), NULL, 0);
    check_values("nothing", ag_dropout(ag_zeros(t, AG_SHAPE(0)), 0.5, 0, ag_num(1)), AG_SHAPE(0), NULL, 0);
    ag_tape_free(t);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        print_hash(hash_of_dropped());
        return 0;
    }
    snprintf(program_path, sizeof program_path, "%s", argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers), cmocka_unit_test(statistics),
        cmocka_unit_test(prefixes),      cmocka_unit_test(same_for_any_threads),
        cmocka_unit_test(derivatives),   cmocka_unit_test(programs_have_a_clock),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
