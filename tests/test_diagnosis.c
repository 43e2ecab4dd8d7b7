/* What is said to be wrong, where it is easily said wrongly: numbers of any size, infinities, zeros, single numbers, and
 * what is forgotten on the way from a variable to f. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "checked.h"

typedef struct diagnosed {
    const char *text, *said;
} diagnosed;

static void check_all(const diagnosed *cases, size_t count) {
    for (size_t i = 0; i < count; i++) {
        result r = run(cases[i].text);
        expect(cases[i].text, r.text[OUT], cases[i].said);
        forget(&r);
    }
}

static void numbers_of_any_size(void **unused) {
    static const diagnosed cases[] = {
        {"check 1e-12 == 2.0e-12", "factor: it is 2 times"},
        {"check [1e-12, 2e-12] == [3.0e-12, 6.0e-12]", "factor: it is 3 times"},
        {"check [1e-12, 2e-12] == [-1.0e-12, -2.0e-12]", "sign: "},
        {"check [[1e-12, 2e-12], [3e-12, 5e-12]] == [[1.0e-12, 3.0e-12], [2.0e-12, 5.0e-12]]", "transpose: "},
        {"x = 3e-13\ncheck grad(x^2, x) == x within 0", "factor: it is 1/2 times"},
        {"check 1e-12 == 5.0e-12", "factor: it is 5 times"},
        {"check 1e-12 == 1.0e-11", "power-of-ten: 10 times too large"},
        {"check 1e-10 == 2e-10", "factor: it is 2 times"}, /* exact without a decimal point: to 1e-9 of it */
        {"check 1e-300 == 2e-300", "factor: it is 2 times"},
        {"check 1e-300 == 1e-300", "holds"},
        {"check 1e-17 == 0", "holds"},
        {"s = 1e-6\nx = [1, 2]\ny = s * x\ncheck grad(sum(sin(y)^2), y) == 2 * sin(y) within 0", "missing-factor: "},
        {"check 1e12 * [1, 2, 3] == 2e12 * [1, 2, 3]", "factor: it is 2 times"},
    };
    (void)unused;
    check_all(cases, COUNT(cases));
}

static void infinities_and_zeros(void **unused) {
    static const diagnosed cases[] = {
        {"check 1/0 == 5 within 1", "unknown: largest error inf: claimed 5, right inf"},
        {"check lgamma(0) == 1", "unknown: "},
        {"check [1/0, 2] == [1.0, 3.0]", "unknown: "},
        {"check [[1/0, 2], [3, 4]] == [[5.0, 7.0], [8.0, 9.0]]", "unknown: "},
        {"check 1/0 == -1/0", "sign: "},
        {"check [1/0, 2] == [-1/0, -2]", "sign: "},
        {"check [1/0, 2, 4] == [1/0, 6, 12]", "factor: it is 3 times"},
        {"check 1/0 == 1/0", "exactly"},
        {"x = 0\ncheck grad(1/x, x) == 3", "unknown: "},
        {"zero = 0\ncheck zeros(3) == [1.5, 2.5, 4.5]", "unknown: "}, /* not: claimed times zero */
        {"x = 0\ncheck grad(relu(x), x) == 1", "unknown: "},
        {"x = [-1, 2]\ncheck grad(sum(relu(x)), x) == [1.0, 1.0]", "entries: entry 1"},
        {"x = [1, 3, 0]\nz = [0.8, -2, 1.4]\nW = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]\nL = sum(z^2)\n"
         "check W - grad(L, z) @ x' == W",
         "missing-term: the derivative of L is missing"}, /* not: it is that by x, of which L knows nothing */
    };
    (void)unused;
    check_all(cases, COUNT(cases));
    result r = run("x = 0\ncheck grad(1/x, x) == 3");
    assert_null(strstr(r.text[OUT], "disagree")); /* forward mode says -inf, too */
    forget(&r);
    r = run("check 1/0 == 1/0");
    expect("check 1/0 == 1/0", r.text[JSON], "\"max_error\": 0, \"tolerance\": 0,");
    forget(&r);
}

static void entries_are_named(void **unused) {
    static const diagnosed cases[] = {
        {"check [1, 2, 3, 4, 5, 6, 7] == [1, 20, 30, 4, 50, 6, 7]", "entries 2, 3 and 5: 10 times too large"},
        {"check [1, 2, 3, 4, 5, 6] == [1, 20, 30, 40, 50, 60]", "entries 2, 3, 4 and 2 more: 10 times too large"},
        {"check [1, 2, 3] == [10, 20, 30]", "power-of-ten: all entries: 10 times too large: claimed 10, right 1"},
        {"check [[1, 2], [3, 4]] == [[1, 0.2], [0.3, 4]]", "entries (1, 2) and (2, 1): 10 times too small"},
    };
    (void)unused;
    check_all(cases, COUNT(cases));
    result r = run(cases[0].text);
    expect(cases[0].text, r.text[JSON], "\"entries\": 3, \"first\": [2], \"places\": [[2], [3], [5]]}");
    forget(&r);
}

/* A single number is some multiple of any other: that comes last. */
static void single_numbers(void **unused) {
    static const diagnosed cases[] = {
        {"s = 0.7\ncheck grad(sigmoid(s)^2, s) == 2 * sigmoid(s)", "claimed times sigmoid'(s) is the right one"},
        {"s = 0.7\ncheck grad(sigmoid(s)^2, s) == 1.33", "claimed times sigmoid'(s) is the right one"},
        {"s = 0.7\ncheck grad(s^2 + sin(s) + s^3, s) == 2 * s + cos(s)", "the derivative of the term s^3 is missing"},
        {"check 1.5 == 3.9 * 1", "factor: it is 2.6 times"},
    };
    (void)unused;
    check_all(cases, COUNT(cases));
}

static void numbers_are_seen_to_differ(void **unused) {
    static const diagnosed cases[] = {
        {"check 2.00000001 == 2", "claimed 2, right 2.00000001\n       claimed 2\n       right   2.00000001\n"},
        {"check 1234567.891 == 1234568", "claimed 1234568\n       right   1234567.9\n"},
        {"check 3.0e-13 == 5.0e-13", "claimed 5.0e-13\n"},
        {"x = 1\ncheck x * 1.0000001 == x * 1", "claimed 1\n       right   1.0000001\n"},
    };
    (void)unused;
    check_all(cases, COUNT(cases));
}

/* Of steps and names on the way, at every draw. */
#define DATA "X = [[1, 2], [3, 4.5], [-1, 2]]\nw = [0.3, -0.2]\ny = [1, 0, 1]\n"
static void paths_that_were_passed_over(void **unused) {
    static const diagnosed cases[] = {
        {DATA "p = sigmoid(X @ w)\nL = mse(p, y)\ncheck grad(L, w) == 2/3 * X' @ (p - y)",
         "missing-factor: a factor is missing: it is the right one with 1 in place of sigmoid'(X @ w)"},
        {DATA "σ(t) = 1 / (1 + exp(-t))\nq = σ(X @ w)\ncheck grad(sum((q - y)^2), w) == 2 * X' @ (q - y)",
         "with 1 in place of σ'(X @ w)"},
        {DATA "A ~ normal(3, 2)\ncheck grad(mse(sigmoid(A @ w), y), w) == 2/3 * A' @ (sigmoid(A @ w) - y)",
         "with 1 in place of sigmoid'(A @ w)"},
        {"u = [1, 2, 2]\nv = [0.5, -1, 3]\nc = u @ v / norm(u)\ncheck grad(c, u) == v / norm(u)",
         "missing-term: a term is missing: it is the right one with norm(u) taken as a constant"},
        {"u ~ normal(3)\nv ~ normal(3)\nn = norm(u)\ncheck grad(u @ v / n, u) == v / n", "with n taken as a constant"},
        {"x ~ normal(4)\ncheck grad(sum(x * sigmoid(x)), x) == sigmoid(x)", "with sigmoid(x) taken as a constant"},
        {"v ~ normal(6)\ng ~ normal(6)\nmu = mean(v)\nva = mean((v - mu)^2)\n" /* (v - mu)^2 with derivative 1 gives 0, too */
         "check grad(dot(g, (v - mu) / sqrt(va + 1e-5)), v) == (g - mean(g)) / sqrt(va + 1e-5)",
         "missing-term: a term is missing: it is the right one with va taken as a constant"},
        {DATA "p = sigmoid(X @ w)\nL = mse(p, y)\ncheck grad(L, w) == 2/3 * X' @ (p - y) + 1", "unknown: "},
    };
    (void)unused;
    check_all(cases, COUNT(cases));
}

/* What was recorded for a trial is gone afterwards: what follows is what it was. */
static void trials_leave_nothing(void **unused) {
    static const char text[] =
        DATA "p = sigmoid(X @ w)\nL = mse(p, y)\ncheck grad(L, w) == 2/3 * X' @ (p - y)\n"
             "check \"again\": grad(L, w) == 2/3 * X' @ ((p - y) * p * (1 - p))\n"
             "t ~ normal()\ncheck \"a law\": grad(L, w) * t == 2/3 * X' @ ((p - y) * p * (1 - p)) * t\n";
    (void)unused;
    result r = run(text);
    expect(text, r.text[OUT], "3 checks, 2 hold, 1 wrong");
    forget(&r);
}

/* Central differences with a step that suits the function. */
static void witnesses_of_fast_functions(void **unused) {
    static const char *const texts[] = {"x = 0.5\ncheck grad(sin(1e6 * x), x) == 1e6 * cos(1e6 * x)",
                                        "x = 0.5\ncheck grad(exp(-1e4 * x), x) == -1e4 * exp(-1e4 * x)",
                                        "x = 1e-9\ncheck grad(ln(x), x) == 1 / x"};
    (void)unused;
    for (size_t i = 0; i < COUNT(texts); i++) {
        result r = run(texts[i]);
        expect(texts[i], r.text[OUT], "1 hold");
        if (strstr(r.text[OUT], "disagree") != NULL) fail_msg("%s", r.text[OUT]);
        forget(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_any_size),        cmocka_unit_test(infinities_and_zeros),
        cmocka_unit_test(entries_are_named),          cmocka_unit_test(single_numbers),
        cmocka_unit_test(numbers_are_seen_to_differ), cmocka_unit_test(paths_that_were_passed_over),
        cmocka_unit_test(trials_leave_nothing),       cmocka_unit_test(witnesses_of_fast_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
