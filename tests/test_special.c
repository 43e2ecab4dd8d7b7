/* digamma, polygamma and lgamma against known values, recurrences, reflection, and at their poles and far out. */
#include "autograd/ops/ops_impl.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>

static double next_uniform(double lo, double hi) { /* splitmix64 */
    static uint64_t state = 3;
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return lo + (hi - lo) * (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static void near(const char *what, double n, double x, double got, double right, double tolerance) {
    if (!(fabs(got - right) <= tolerance * fabs(right)))
        fail_msg("%s(%g, %.17g) = %.17g, should be %.17g: relative error %g", what, n, x, got, right,
                 fabs(got / right - 1));
}

/* Derivative n of digamma at x: from Hurwitz' zeta function in 80 digits of mpmath, checked by the recurrence. */
static const struct {
    int n;
    double x, value;
} known[] = {
    /* clang-format off */
    {0, 1e-5, -1.0000057719921567289e+5}, {0, 0.25, -4.2274535333762654081}, {0, 0.5, -1.9635100260214234794},
    {0, 1, -5.7721566490153286061e-1}, {0, 1.25, -2.2745353337626540809e-1}, {0, 2, 4.2278433509846713939e-1},
    {0, 3.75, 1.1825373886117962286}, {0, 9.5, 2.1977378764029495332}, {0, 10, 2.2517525890667211076},
    {0, 123.5, 4.8121871094331430726}, {0, 1e10, 2.302585092989045684e+1}, {0, 1e300, 6.9077552789821370526e+2},
    {0, -0.5, 3.6489973978576520559e-2}, {0, -0.25, 2.9141391202135278304}, {0, -1.5, 7.0315664064524318723e-1},
    {0, -1e-8, 9.9999999422784316557e+7}, {0, -3.7, -8.4507685887041935462e-1},
    {0, -20.125, 1.0611077432912593498e+1}, {0, -1000000.5, 1.3815511557963815771e+1},
    {0, -4503599627370495.5, 3.604365338911715609e+1}, {1, 0.125, 6.5388133444988034473e+1},
    {1, 0.5, 4.9348022005446793094}, {1, 1, 1.6449340668482264365}, {1, 1.5, 9.3480220054467930942e-1},
    {1, 2.75, 4.3757125764893076144e-1}, {1, 10, 1.0516633568168574612e-1}, {1, 40.5, 2.4998698201356741322e-2},
    {1, 333, 3.0075165300399300283e-3}, {1, -0.25, 1.8541879647671606498e+1}, {1, -0.5, 8.9348022005446793094},
    {1, -2.75, 1.9433868949488464162e+1}, {1, -10.125, 6.7299826017487103049e+1}, {1, -999.5, 9.868604401172691923},
    {1, -123456.75, 1.973920070220888967e+1}, {2, 0.125, -1.0257533381181356826e+3},
    {2, 0.5, -1.6828796644234319996e+1}, {2, 1, -2.4041138063191885708}, {2, 1.5, -8.287966442343199956e-1},
    {2, 2.75, -1.8871463303130122305e-1}, {2, 10, -1.1049834970802067462e-2}, {2, 40.5, -6.2490237932923289659e-4},
    {2, 333, -9.0451488605990405946e-6}, {2, -0.25, 1.2269736678366236037e+2}, {2, -0.5, -8.287966442343199956e-1},
    {2, -2.75, -1.2411765305971517997e+2}, {2, -10.125, 1.0222855522692185693e+3},
    {2, -999.5, -9.9999975000014583317e-7}, {2, -123456.75, -1.2402510672126489021e+2},
    {3, 0.125, 2.4580143419063566219e+4}, {3, 0.5, 9.7409091034002437236e+1}, {3, 1, 6.4939394022668291491},
    {3, 1.5, 1.4090910340024372364}, {3, 2.75, 1.6061612748946936705e-1}, {3, 10, 2.3199013042898683856e-3},
    {3, 40.5, 3.1240239710655936422e-5}, {3, 333, 5.4406787410784354284e-8}, {3, -0.25, 1.5557633125348505998e+3},
    {3, -0.5, 1.9340909103400243724e+2}, {3, -2.75, 1.5584897512832936013e+3}, {3, -10.125, 2.4591000664475410182e+4},
    {3, -999.5, 1.9481818206600487547e+2}, {3, -123456.75, 1.5585454565440389947e+3},
    {4, 0.125, -7.8644598543106378579e+5}, {4, 0.5, -7.7147424982666722519e+2}, {4, 1, -2.4886266123440878232e+1},
    {4, 1.5, -3.4742498266672251905}, {4, 2.75, -2.0255547337157308639e-1}, {4, 10, -7.299311682352866345e-4},
    {4, 40.5, -2.3425302303691304544e-6}, {4, 333, -4.9088682742650554609e-10}, {4, -0.25, 2.4473199394184582527e+4},
    {4, -0.5, -3.4742498266672251905}, {4, -2.75, -2.4481624740671532816e+4}, {4, -10.125, 7.8639799203955341998e+5},
    {4, -999.5, -5.9999950000061249884e-12}, {4, -123456.75, -2.4481574782822516261e+4},
    {7, 0.125, 8.4557170617061696044e+10}, {7, 0.5, 1.290440218185598065e+6}, {7, 1, 5.0605498752376394705e+3},
    {7, 1.5, 2.0021818559806496949e+2}, {7, 2.75, 1.695249614727902426}, {7, 10, 1.0051111598689363039e-4},
    {7, 40.5, 4.3881330500536018831e-9}, {7, 333, 1.6024400216628581609e-15}, {7, -0.25, 3.3035184214649965685e+8},
    {7, -0.5, 2.580680218185598065e+6}, {7, -2.75, 3.3035269570114408444e+8}, {7, -10.125, 8.4557185319092640001e+10},
    {7, -999.5, 2.5808804363711961299e+6}, {7, -123456.75, 3.3035269585551310463e+8},
    {10, 0.125, -3.1171154648443834377e+16}, {10, 0.5, -7.4318245088587689755e+9}, {10, 1, -3.630593311606628713e+6},
    {10, 1.5, -4.2108858768975491797e+4}, {10, 2.75, -5.525601098425511229e+1}, {10, 10, -5.7675966863222593308e-5},
    {10, 40.5, -3.450808009099015617e-11}, {10, 333, -2.1969922872727991118e-20},
    {10, -0.25, 1.522020442846279112e+13}, {10, -0.5, -4.2108858768975491797e+4},
    {10, -2.75, -1.5220204740670250923e+13}, {10, -10.125, 3.1171154632675905381e+16},
    {10, -999.5, -3.6287833680756751811e-25}, {10, -123456.75, -1.5220204740668341101e+13},
    {25, 0.125, 4.6879755787121449866e+48}, {25, 0.5, 1.040939685273742764e+33}, {25, 1, 1.5511210274472132899e+25},
    {25, 1.5, 4.0951864949253137111e+20}, {25, 2.75, 5.8631710742501468381e+13}, {25, 10, 1.696806104135772908e-1},
    {25, 40.5, 5.4186762957687025142e-17}, {25, 333, 5.5951024970130949997e-40},
    {25, -0.25, 6.9856279771238405876e+40}, {25, -0.5, 2.0818793705470760094e+33},
    {25, -2.75, 6.9856279771238405923e+40}, {25, -10.125, 4.6879755787121449866e+48},
    {25, -999.5, 2.0818793705474855281e+33}, {25, -123456.75, 6.9856279771238405923e+40},
    {50, 0.125, -3.4726755478311551102e+110}, {50, 0.5, -6.8486449405023952496e+79},
    {50, 1, -3.041409320171339155e+64}, {50, 1.5, -3.1799527035658682006e+55}, {50, 2.75, -1.1942838122585179652e+42},
    {50, 10, -3.0652457252905852033e+13}, {50, 40.5, -4.4951110464453750525e-18},
    {50, 333, -4.9443033761482733085e-64}, {50, -0.25, 1.5421777401019709997e+95},
    {50, -0.5, -3.1799527035658682006e+55}, {50, -2.75, -1.5421777401019709997e+95},
    {50, -10.125, 3.4726755478311551102e+110}, {50, -999.5, -6.0821723928097787674e-88},
    {50, -123456.75, -1.5421777401019709997e+95}, {99, 0.125, 1.901088583944573709e+246},
    {99, 0.5, 1.1830503302454485781e+186}, {99, 1, 9.3326215443944152682e+155}, {99, 1.5, 2.2955023893264006134e+138},
    {99, 2.75, 1.0882640221307033991e+112}, {99, 10, 9.3332988854840440484e+55}, {99, 40.5, 1.838159033331837939e-5},
    {99, 333, 2.067169622786084354e-96}, {99, -0.25, 1.4996944612358479061e+216},
    {99, -0.5, 2.3661006604908971562e+186}, {99, -2.75, 1.4996944612358479061e+216},
    {99, -10.125, 1.901088583944573709e+246}, {99, -999.5, 2.3661006604908971562e+186},
    {99, -123456.75, 1.4996944612358479061e+216}, {150, 0.5, -1.6308828138761188691e+308},
    {150, 1, -5.7133839564458545905e+262}, {150, 1.5, -1.4693095234403323674e+236},
    {150, 2.75, -2.6161138653045346147e+196}, {150, 10, -5.7133871671390419956e+111},
    {150, 40.5, -1.1022278442209203809e+20}, {150, 333, -2.0340156998480391844e-118},
    {150, -0.5, -1.4693095234403323674e+236}, {150, -999.5, -3.805330403623209537e-190},
    {1, 1e160, 9.9999999999999999347e-161}, {2, 1e-90, -2.0000000000000000304e+270},
    {3, 1e100, 1.9999999999999999046e-300},
    /* clang-format on */
};

static void known_values(void **unused) {
    (void)unused;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        near("polygamma", known[i].n, known[i].x, ag_special_polygamma(known[i].n, known[i].x), known[i].value, 1e-14);
}

/* DLMF 5.4.12, 5.4.13, 5.15.2, 5.15.3, and pi^2 + 8 G, G Catalan's constant. */
static void constants(void **unused) {
    (void)unused;
    const double pi = 3.14159265358979323846, euler = 0.57721566490153286061, zeta3 = 1.20205690315959428540;
    near("digamma", 0, 1, ag_special_digamma(1), -euler, 1e-14);
    near("digamma", 0, 0.5, ag_special_digamma(0.5), -euler - 2 * log(2), 1e-14);
    near("trigamma", 1, 1, ag_special_polygamma(1, 1), pi * pi / 6, 1e-15);
    near("trigamma", 1, 0.5, ag_special_polygamma(1, 0.5), pi * pi / 2, 1e-15);
    near("trigamma", 1, 0.25, ag_special_polygamma(1, 0.25), pi * pi + 8 * 0.91596559417721901505, 1e-15);
    near("polygamma", 2, 1, ag_special_polygamma(2, 1), -2 * zeta3, 1e-15);
    near("polygamma", 2, 0.5, ag_special_polygamma(2, 0.5), -14 * zeta3, 1e-15);
    near("polygamma", 3, 1, ag_special_polygamma(3, 1), pi * pi * pi * pi / 15, 1e-15);
    near("lgamma", 0, 3, ag_special_lgamma(3), log(2), 1e-15);
    near("lgamma", 0, -0.5, ag_special_lgamma(-0.5), log(2 * sqrt(pi)), 1e-15);
    /* its root, 1.4616321449683623413 */
    assert_true(fabs(ag_special_digamma(1.4616321449683623)) < 2e-15);
}

/* 5.5.2 and 5.15.5: psi_n(x + 1) = psi_n(x) + (-1)^n n! / x^(n + 1). */
static void recurrence(void **unused) {
    (void)unused;
    double factorial = 1;
    for (int n = 0; n <= 20; factorial *= ++n)
        for (int i = 0; i < 200; i++) {
            double x = next_uniform(-20, 20), term = (n % 2 == 0 ? 1 : -1) * factorial * pow(x, -n - 1);
            double y = x + 1, here = ag_special_polygamma(n, x), next = ag_special_polygamma(n, y);
            /* x + 1 is rounded, which moves the right side by about psi_(n+1) epsilon; so does pow */
            double slack = fabs(ag_special_polygamma(n + 1, y)) * fmax(1, fabs(y)) + (n + 2) * fabs(term) + fabs(here);
            if (!(fabs(here + term - next) <= 8 * DBL_EPSILON * slack))
                fail_msg("n = %d, x = %.17g: %.17g + %.17g, not %.17g", n, x, here, term, next);
        }
}

/* 5.5.4 and 5.15.6 for n = 1; 5.5.8. */
static void reflection_and_duplication(void **unused) {
    (void)unused;
    const double pi = 3.14159265358979323846;
    for (int i = 0; i < 2000; i++) {
        double x = ldexp(rint(ldexp(next_uniform(-30, 30), 40)), -40), s = sin(pi * (x - rint(x))); /* 1 - x is exact */
        if (x == rint(x)) continue;
        double cot = pi / tan(pi * (x - rint(x))), left = ag_special_digamma(1 - x), right = ag_special_digamma(x);
        assert_true(fabs(left - right - cot) <= 1e-14 * (fabs(left) + fabs(right) + fabs(cot)));
        left = ag_special_polygamma(1, 1 - x), right = ag_special_polygamma(1, x);
        assert_true(fabs(left + right - pi * pi / (s * s)) <= 1e-14 * (left + right));
        x = fabs(x);
        left = ag_special_digamma(2 * x), right = (ag_special_digamma(x) + ag_special_digamma(x + 0.5)) / 2 + log(2);
        assert_true(fabs(left - right) <= 1e-14 * (1 + fabs(left) + 1 / x));
    }
}

static void poles_and_ends(void **unused) {
    (void)unused;
    const double poles[] = {0.0, -0.0, -1, -2, -1000, -1e15, -1e16, -1e300, -DBL_MAX};
    for (size_t i = 0; i < sizeof poles / sizeof *poles; i++) {
        assert_true(ag_special_lgamma(poles[i]) == INFINITY);
        assert_true(isnan(ag_special_digamma(poles[i])));
        assert_true(isnan(ag_special_polygamma(0, poles[i])));
        assert_true(ag_special_polygamma(1, poles[i]) == INFINITY);
        assert_true(isnan(ag_special_polygamma(2, poles[i])));
        assert_true(ag_special_polygamma(149, poles[i]) == INFINITY);
    }
    assert_true(ag_special_lgamma(INFINITY) == INFINITY && ag_special_lgamma(-INFINITY) == INFINITY);
    assert_true(ag_special_digamma(INFINITY) == INFINITY);
    assert_true(isnan(ag_special_lgamma(NAN)) && isnan(ag_special_digamma(NAN)) &&
                isnan(ag_special_digamma(-INFINITY)));
    for (int n = 1; n <= 150; n++) {
        assert_true(ag_special_polygamma(n, INFINITY) == 0);
        assert_true(isnan(ag_special_polygamma(n, -INFINITY)) && isnan(ag_special_polygamma(n, NAN)));
        double end = n % 2 != 0 ? INFINITY : -INFINITY; /* next to 0, on both sides */
        assert_true(ag_special_polygamma(n, 5e-324) == end);
        assert_true(ag_special_polygamma(n, -5e-324) == INFINITY);
    }
    assert_true(ag_special_digamma(5e-324) == -INFINITY && ag_special_digamma(-5e-324) == INFINITY);
    near("digamma", 0, DBL_MAX, ag_special_digamma(DBL_MAX), log(DBL_MAX), 1e-15);
    near("trigamma", 1, DBL_MAX, ag_special_polygamma(1, DBL_MAX), 1 / DBL_MAX, 1e-10); /* a denormal */
    assert_true(ag_special_polygamma(2, DBL_MAX) == 0);
    const double bad[] = {-1, 0.5, 1.5, 150.5, 151, 1e300, INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_true(isnan(ag_special_polygamma(bad[i], 2)));
}

/* Unlike lgamma, it leaves the C library's global variable alone. */
static void lgamma_has_no_side_effect(void **unused) {
    (void)unused;
    signgam = 7;
    near("lgamma", 0, -1.5, ag_special_lgamma(-1.5), 0.86004701537648101451, 1e-15);
    near("lgamma", 0, -0.5, ag_special_lgamma(-0.5), 1.26551212348464539649, 1e-15);
    assert_int_equal(signgam, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),   cmocka_unit_test(constants),
        cmocka_unit_test(recurrence),     cmocka_unit_test(reflection_and_duplication),
        cmocka_unit_test(poles_and_ends), cmocka_unit_test(lgamma_has_no_side_effect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
