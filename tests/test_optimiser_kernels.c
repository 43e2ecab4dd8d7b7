/* The optimisers' kernels: the same bits from every instruction set, wherever a row is cut; sums and bounds are right. */
#include "derivatives.h"
#include "nn/optimise/kernels_impl.h"
#include "nn/random.h"

enum { LONGEST = 300, MOST_STATES = 3 };
static const int states_of[] = {
#define X(name, states) states,
    NN_UPDATES(X)
#undef X
};

/* The kernels of level 0, 1, 2 if the machine can run them, else NULL. */
static const nn_kernels *kernels_of(int level, ag_type type) {
    const nn_kernels *const all[3][2] = {
        {&nn_kernels_f64_base, &nn_kernels_f32_base},
#ifdef AG_HAVE_V3
        {&nn_kernels_f64_v3, &nn_kernels_f32_v3},
#endif
#ifdef AG_HAVE_V4
        {&nn_kernels_f64_v4, &nn_kernels_f32_v4},
#endif
    };
    static const char *const names[] = {"base", "v3", "v4"};
    int most = 0;
    for (int i = 0; i < 3; i++)
        if (strcmp(names[i], ag_isa()) == 0) most = i;
    return level <= most ? all[level][type] : NULL;
}

/* x, gradient, states, as the type has them; the last number of each is a guard. */
typedef struct rows {
    ag_type type;
    double x[2 + MOST_STATES][LONGEST + 1];
    float x32[2 + MOST_STATES][LONGEST + 1];
} rows;

static void *row(rows *r, int k, size_t at) {
    return r->type == AG_F64 ? (void *)&r->x[k][at] : (void *)&r->x32[k][at];
}
static void fill_rows(rows *r, ag_type type) {
    uint64_t state = 7;
    memset(r, 0, sizeof *r);
    r->type = type;
    for (int k = 0; k < 2 + MOST_STATES; k++)
        for (int i = 0; i <= LONGEST; i++) {
            double v = random_number(&state, k == 2 || k == 4 ? 0 : -1, 1); /* squares are not negative */
            r->x[k][i] = i % 17 == 3 ? 0 : v;
            r->x32[k][i] = (float)r->x[k][i];
        }
}
static void update(const nn_kernels *k, int kind, rows *r, size_t start, size_t n) {
    static const nn_update u = {0.7, 0.1, 0.9, 0.05, 0.8, 0.2, 0.95, 0.05, 1e-3, 1.1, 0.6};
    void *state[MOST_STATES] = {row(r, 2, start), row(r, 3, start), row(r, 4, start)};
    k->update[kind](n, row(r, 0, start), row(r, 1, start), state, &u);
}

static void updates_have_the_same_bits(void **state) {
    static rows want, got, cut;
    static const size_t lengths[] = {0, 1, 2, 7, 8, 15, 16, 17, 31, 64, 65, LONGEST};
    (void)state;
    for (int type = AG_F64; type <= AG_F32; type++)
        for (int kind = 0; kind < NN_UPDATE_KINDS; kind++)
            for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
                size_t n = lengths[l];
                fill_rows(&want, (ag_type)type);
                for (size_t i = 0; i < n; i++) update(kernels_of(0, (ag_type)type), kind, &want, i, 1);
                for (int level = 0; level < 3; level++) {
                    const nn_kernels *k = kernels_of(level, (ag_type)type);
                    if (k == NULL) continue;
                    fill_rows(&got, (ag_type)type);
                    cut = got;
                    update(k, kind, &got, 0, n);
                    update(k, kind, &cut, 0, n / 3);
                    update(k, kind, &cut, n / 3, n - n / 3);
                    assert_memory_equal(&got, &want, sizeof got);
                    assert_memory_equal(&cut, &want, sizeof cut);
                }
                rows before;
                fill_rows(&before, (ag_type)type);
                for (int s = 0; s < 2 + MOST_STATES; s++) { /* x and states change; nothing else does */
                    size_t size = type == AG_F64 ? sizeof(double) : sizeof(float);
                    bool same = memcmp(row(&before, s, 0), row(&want, s, 0), n * size) == 0;
                    if (n >= 17) assert_int_equal(same, s == 1 || s - 2 >= states_of[kind]);
                    assert_memory_equal(row(&before, s, n), row(&want, s, n), (LONGEST + 1 - n) * size);
                }
            }
}

static void what_is_known_of_a_row_is_right(void **state) {
    static rows r;
    (void)state;
    for (int type = AG_F64; type <= AG_F32; type++)
        for (size_t n = 0; n <= LONGEST; n += n < 70 ? 1 : 23) {
            fill_rows(&r, (ag_type)type);
            double squares = 0, dot = 0, most = 0;
            for (size_t i = 0; i < n; i++) {
                double x = type == AG_F64 ? r.x[0][i] : (double)r.x32[0][i],
                       y = type == AG_F64 ? r.x[1][i] : (double)r.x32[1][i];
                squares += 4 * x * x;
                dot += x * y;
                most = fmax(most, fabs(x));
            }
            for (int level = 0; level < 3; level++) {
                const nn_kernels *k = kernels_of(level, (ag_type)type), *base = kernels_of(0, (ag_type)type);
                if (k == NULL) continue;
                double got[] = {k->squares(n, row(&r, 0, 0), 2), k->dot(n, row(&r, 0, 0), row(&r, 1, 0)),
                                k->most(n, row(&r, 0, 0))};
                double want[] = {base->squares(n, row(&r, 0, 0), 2), base->dot(n, row(&r, 0, 0), row(&r, 1, 0)), most};
                assert_memory_equal(got, want, sizeof got);
                assert_true(number_error(got[0], squares) < 1e-13 && number_error(got[1], dot) < 1e-13);
            }
        }
}

/* Wherever one number is not finite, it is noticed. */
static void numbers_that_are_not_finite_are_noticed(void **state) {
    static rows r;
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    (void)state;
    for (int type = AG_F64; type <= AG_F32; type++)
        for (int level = 0; level < 3; level++) {
            const nn_kernels *k = kernels_of(level, (ag_type)type);
            if (k == NULL) continue;
            for (int b = 0; b < 3; b++)
                for (size_t i = 0; i < 100; i++) {
                    fill_rows(&r, (ag_type)type);
                    r.x[0][i] = bad[b];
                    r.x32[0][i] = (float)bad[b];
                    for (size_t n = i; n < i + 40; n += 13) {
                        double most = k->most(n, row(&r, 0, 0));
                        assert_int_equal(k->finite(n, row(&r, 0, 0)), n <= i);
                        assert_true(n <= i ? isfinite(most) : b == 0 ? isnan(most) : most == INFINITY);
                    }
                }
            r.x[0][0] = 1.7976931348623157e308;
            r.x32[0][0] = 3.40282347e38f;
            assert_true(k->finite(1, row(&r, 0, 0)));
        }
}

static void changes_of_a_row_are_right(void **state) {
    static rows r, want;
    (void)state;
    for (int type = AG_F64; type <= AG_F32; type++)
        for (int level = 0; level < 3; level++) {
            const nn_kernels *k = kernels_of(level, (ag_type)type);
            if (k == NULL) continue;
            for (size_t n = 0; n < 70; n++)
                for (int change = 0; change < 4; change++) {
                    fill_rows(&r, (ag_type)type);
                    want = r;
                    for (size_t i = 0; i < n; i++) {
                        double *x = &want.x[0][i], y = r.x[1][i];
                        float *x32 = &want.x32[0][i], y32 = r.x32[1][i];
                        *x = change == 0   ? *x * 0.3
                             : change == 1 ? fmin(fmax(*x, -0.4), 0.4)
                             : change == 2 ? *x + 0.3 * y
                                           : *x + 0.3 * (y - *x);
                        *x32 = change == 0   ? *x32 * 0.3f
                               : change == 1 ? fminf(fmaxf(*x32, -0.4f), 0.4f)
                               : change == 2 ? *x32 + 0.3f * y32
                                             : *x32 + 0.3f * (y32 - *x32);
                    }
                    if (type == AG_F64) memcpy(want.x32, r.x32, sizeof r.x32);
                    else memcpy(want.x, r.x, sizeof r.x);
                    if (change == 0) k->scale(n, row(&r, 0, 0), 0.3);
                    if (change == 1) k->clip(n, row(&r, 0, 0), 0.4);
                    if (change == 2) k->add_scaled(n, row(&r, 0, 0), 0.3, row(&r, 1, 0));
                    if (change == 3) k->average(n, row(&r, 0, 0), 0.3, row(&r, 1, 0));
                    assert_memory_equal(&r, &want, sizeof r);
                }
        }
}

/* The same bits wherever a row is cut between pairs, and what Box and Muller say of the same two uniform numbers. */
static void random_numbers_are_normal(void **state) {
    (void)state;
    enum { COUNT = 20000 };
    static double x[COUNT], cut[COUNT];
    const uint64_t step = UINT64_C(0x9e3779b97f4a7c15);
    for (int level = 0; level < 3; level++) {
        const nn_kernels *k = kernels_of(level, AG_F64);
        if (k == NULL) continue;
        k->normal(COUNT, x, 1.5, 42);
        for (size_t i = 0, n; i < COUNT; i += n) {
            n = 2 + 2 * (i % 13) < COUNT - i ? 2 + 2 * (i % 13) : COUNT - i;
            cut[i + n - 1] = NAN;
            k->normal(n - 1, cut + i, 1.5, 42 + i * step); /* the last one has no other */
            assert_true(isnan(cut[i + n - 1]));
            cut[i + n - 1] = x[i + n - 1];
        }
        assert_memory_equal(x, cut, sizeof x);
        nn_random random = {42};
        double mean = 0, square = 0, together = 0;
        for (int i = 0; i < COUNT; i += 2) {
            long double u = ((long double)(nn_random_bits(&random) >> 12) + 0.5L) * 0x1p-52L;
            long double v = ((long double)(nn_random_bits(&random) >> 12) + 0.5L) * 0x1p-52L;
            long double radius = 1.5L * sqrtl(-2 * logl(u)), angle = 6.283185307179586476925287L * v;
            for (int j = 0; j < 2; j++) {
                long double want = radius * (j == 0 ? cosl(angle) : sinl(angle));
                if (!(fabsl(want - x[i + j]) < 4e-15L))
                    fail_msg("number %d is %.17g, not %.17Lg", i + j, x[i + j], want);
                mean += x[i + j] / 1.5 / COUNT;
                square += x[i + j] * x[i + j] / 2.25 / COUNT;
            }
            together += x[i] * x[i + 1] / 2.25 / (COUNT / 2);
        }
        assert_true(fabs(mean) < 0.03 && fabs(square - 1) < 0.05 && fabs(together) < 0.03);
        uint64_t hash = 0;
        static uint64_t first;
        for (int i = 0; i < COUNT; i++) {
            uint64_t bits;
            memcpy(&bits, &x[i], sizeof bits);
            hash = hash * 31 + bits;
        }
        if (level == 0) first = hash;
        assert_true(hash == first);
    }
}

/* A million of them: no uniform number is an end, where the logarithm is infinite. */
static void random_numbers_are_finite(void **state) {
    (void)state;
    nn_random random = {0};
    double most = 0;
    for (int i = 0; i < 1000000; i++) {
        double x = nn_random_normal(&random);
        assert_true(isfinite(x));
        most = fabs(x) > most ? fabs(x) : most;
    }
    assert_true(most > 4.5 && most < 8.6); /* sqrt(-2 ln 2^-53) = 8.57 */
}

/* One number that is too far off, or at the limit, in rows of every length. */
static void near_numbers_are_told(void **state) {
    (void)state;
    enum { MOST = 70 };
    const double huge = 1e300;
    const struct {
        double x, y, c, fixed, relative;
        bool near;
    } all[] = {
        {1, 1, 1, 0, 0, true},          {1.25, 1, 1, 0.25, 0, true},     {1.2500001, 1, 1, 0.25, 0, false},
        {0.75, 1, 1, 0.25, 0, true},    {12, 8, 1, 1, 0.5, true},        {12.1, 8, 1, 1, 0.5, false},
        {-12, -4, 2, 0, 0.5, true},     {-12.1, -4, 2, 0, 0.5, false},   {-0.0, 0, 1, 0, 0, true},
        {NAN, 1, 1, 1, 1, false},       {1, NAN, 1, 1, 1, false},        {INFINITY, 1, 1, huge, 1, false},
        {1, -INFINITY, 1, 1, 2, false}, {huge, -huge, 1, huge, 3, true}, {huge, -huge * 1e8, 1, huge, 0.5, false},
    };
    double x[MOST], y[MOST];
    for (int level = 0; level < 3; level++) {
        const nn_kernels *k = kernels_of(level, AG_F64);
        for (size_t i = 0; k != NULL && i < sizeof all / sizeof *all; i++)
            for (size_t n = 1; n < MOST; n++) {
                for (size_t j = 0; j < n; j++) y[j] = (double)j - 20, x[j] = all[i].c * y[j];
                assert_true(k->near(n, x, y, all[i].c, all[i].fixed, all[i].relative));
                x[n / 2] = all[i].x, y[n / 2] = all[i].y;
                assert_int_equal(k->near(n, x, y, all[i].c, all[i].fixed, all[i].relative), all[i].near);
                assert_true(k->near(n / 2, x, y, all[i].c, all[i].fixed, all[i].relative));
            }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_numbers_are_told),           cmocka_unit_test(updates_have_the_same_bits),
        cmocka_unit_test(what_is_known_of_a_row_is_right), cmocka_unit_test(numbers_that_are_not_finite_are_noticed),
        cmocka_unit_test(changes_of_a_row_are_right),      cmocka_unit_test(random_numbers_are_normal),
        cmocka_unit_test(random_numbers_are_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
