/* Laws: the same is found whether draws are runs of a program or computed step by step, by any number of threads, and
 * whatever goes wrong at some draw. */
#include "any_threads.h"
#include "checked.h"
#include "nn_memory.h"

/* %s is 1 at every draw, but recorded anew for each. Large enough for several threads. */
static const struct {
    const char *text, *part; /* of what is said */
} laws[] = {
    {"X ~ normal(40, 40)\nW ~ normal(40, 40)\nY ~ uniform(-1, 2, 40, 40)\none = %s\n"
     "check grad(sum((X @ W - Y)^2), W) == 2 * one * X' @ (X @ W - Y)\n"
     "check grad(sum(sigmoid(X)), X) == one * sigmoid(X) * (1 - sigmoid(X))\n",
     "2 checks, 2 hold"},
    {"X ~ normal(24, 24)\np ~ simplex(24)\nq ~ positive(24)\nk ~ onehot(24)\none = %s\n"
     "check one * sum(p) == 1\ncheck grad(-sum(k * ln(p)), p) == -one * k / p\n"
     "check grad(sum(X @ q), q) == one * sum(X, 1) within 1e-9\n",
     "3 checks, 3 hold"},
    {"X ~ normal(24, 24)\none = %s\ncheck grad(sum(X^2), X) == 3 * one * X\n", "the right one"},
    {"X ~ normal(24, 24)\none = %s\ncheck grad(sum(exp(X)), X) == one * X'\n", "largest error"},
    {"X ~ normal(24, 24)\none = %s\ncheck relu(one * X - 3.5) == 0 * X\n", "WRONG"}, /* at few draws */
    {"X ~ normal(24, 24)\none = %s\ncheck sum(X) * one == [1, 2]\n", "shape"},
    {"X ~ normal(24, 24)\nk ~ onehot(90)\none = %s\ncheck grad(sum(inv(X * (1 - k[7]))), X)[1, 1] == one within 1e99\n",
     "singular"},
    {"X ~ normal(24, 24)\nk ~ onehot(90)\none = %s\ncheck one * X[1 + k[7], 1] == X[1 + k[7], 1]\n", "1 hold"},
    {"X ~ normal(24, 24)\nk ~ onehot(90)\none = %s\ncheck one * X[24 + k[7], 1] == X[24, 1]\n",
     "the position is 25, not a whole number from 1 to 24"},
    {"X ~ normal(24, 24)\nk ~ onehot(90)\none = %s\ncheck one * ones(2 + k[7]) == ones(2 + k[7])\n",
     "the shape changes from draw to draw"},
    {"X ~ normal(24, 24)\nk ~ onehot(90)\none = %s\ncheck sum(X) / (1 - k[7]) == sum(X) * one / (1 - k[7])\n",
     "1 hold"},
    {"X ~ normal(24, 24)\none = %s\ncheck grad(sum(X^3), X) == -3 * one * X^2\n"
     "check grad(sum(X^3), X) == 3 * one * (X')^2\ncheck grad(sum(X^3), X) == 3 * one * X\n",
     "transpose"},
    {"X ~ normal(24, 24)\nk ~ onehot(9)\none = %s\ncheck grad(sum(X^3), X) == (2 * k[7] - 1) * 3 * one * X^2\n",
     "largest error"}, /* the negative at the first draw */
    {"X ~ normal(24, 24)\none = %s\ncheck grad(sum(X^3 + X^2), X) == 3 * one * X^2\n"
     "check grad(sum(sigmoid(X)), X) == one * sigmoid(X)\n",
     "missing"},
    {"X ~ normal(24, 24)\nk ~ onehot(90)\none = %s\ncheck ln(X^2 - 1e9 * k[7]) == one * ln(X^2 - 1e9 * k[7])\n",
     "WRONG"},
};
static const char program[] = "1 + 0 * sum(X)", steps[] = "solve(y == 1 + 0 * sum(X), y from 1)";

static result run_law(size_t law, const char *one, ac_options options) {
    char text[1000];
    snprintf(text, sizeof text, laws[law].text, one);
    return run_bytes(text, strlen(text), options);
}

static void steps_say_the_same(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(laws); i++) {
        result a = run_law(i, program, (ac_options){0}), b = run_law(i, steps, (ac_options){0});
        expect(laws[i].text, a.text[a.status == 2 ? ERRORS : OUT], laws[i].part);
        assert_string_equal(a.text[OUT], b.text[OUT]);
        assert_int_equal(a.status, b.status);
        forget(&a);
        forget(&b);
    }
}

/* Claims of every kind, that share a lot; each in a line of its own. */
static const char *const shared_names =
    "X ~ normal(24, 24)\nW ~ normal(24, 24)\nk ~ onehot(90)\nZ = X @ W\nL = sum(Z^2)\n";
static const char *const shared[] = {
    "check grad(L, W) == 2 * X' @ Z",
    "check grad(L, X) == 2 * Z @ W'",
    "check grad(L, W) == 2 * X @ Z",
    "f(a) = sum(a^3)",
    "check grad(L, W) == 2 * X' @ X @ W within 1e-6",
    "check relu(Z - 15) == 0 * Z",
    "check grad(L, Z)[1, 1] == 2 * Z[1, 1]",
    "check ones(2) == [1, 1]",
    "check sum(X) * 0 == 0",
    "check sum(X) * 0 == [0, 0]",
    "show len(k)",
    "M = X * (1 - k[7])",
    "check grad(f(X), X) == 3 * X^2",
    "check X[1 + k[7], 1] == X[1 + k[7], 1]",
    "check solve(y == sum(X), y from 1) == sum(X)",
    "check sum(M) / (1 - k[7]) == sum(X)",
    "check grad(f(Z), Z) == 3 * Z * Z",
    "n = 24",
    "check sum(X, 1) == n * mean(X, 1)",
    "check grad(L, X) == n / 12 * Z @ W'",
    "check ln(X^2) == 2 * ln(abs(X))",
};

/* Mistakes of every kind, at the first draw or later, among claims that hold. */
static const char *const mistaken_names =
    "X ~ normal(20, 30)\nW ~ normal(30, 24)\nY ~ normal(20, 24)\nM ~ normal(24, 24)\nq ~ positive(30)\n"
    "k ~ onehot(20)\nZ = X @ W\nA = sigmoid(Z)\nD = 2 * (A - Y)\nG = D * A * (1 - A)\nL = sum((A - Y)^2)\n"
    "J = L + 0.1 * sum(W^2)\n";
static const char *const mistaken[] = {
    "check grad(L, Z) == G",
    "check grad(L, Z) == -G",
    "check grad(L, Z) == G / 2",
    "check grad(L, Z) == 1.2345 * G",
    "check grad(L, Z) == 1000 * G",
    "check grad(L, Z) == G'",
    "check grad(L, Z) == D",
    "check grad(L, Z) == D * A * A",
    "check grad(L, A) == G",
    "check grad(L, W) == X' @ G",
    "check grad(L, W) == X' @ D",
    "check grad(L, W) == X' @ G + outer(onehot(1, 30), onehot(2, 24))",
    "check grad(J, W) == X' @ G",
    "check grad(J, W) == X' @ G + 0.1 * W",
    "check W - 0.1 * grad(L, W) == W + 0.1 * X' @ G",
    "check W - 0.1 * grad(L, W) == W - 0.1 * X' @ D",
    "check grad(L, X) == G @ W'",
    "check grad(L, X) == W @ G'",
    "check grad(L, X) == D @ W'",
    "check grad(sum(M^3), M) == 3 * (M')^2",
    "check grad(sum(M^3), M) == 2 * M^2",
    "check grad(sum(X @ ln(q)), q) == sum(X, 1) / (q * ln(10))",
    "check grad(L, Z) == (2 * k[7] - 1) * G",
    "check grad(L, Z) == (1 - 2 * k[7]) * G",
    "check grad(L, Z) == (2 - k[7]) * G",
    "check grad(L, Z) == G + k[7]",
    "check grad(sum(M^3), M) == (3 + k[7]) * (M')^2 + k[8] * M",
    "check grad(L, Z) == ln(-abs(G))",
    "check grad(L, Z) == -G within 0.001",
    "check sum(X) * 0 == [0, 0]",
    "check grad(L, X)[1, 1] == 2 * (G @ W')[1, 1]",
    "check relu(X[1, 1] - 2) == 0",
    "check 1e-9 * grad(L, Z) == 2e-9 * G",
    "check grad(0.001 * L, W) == -0.001 * X' @ G",
};

/* The names, then a claim in its line, and the others, or not. */
static void write_claims(char *text, size_t size, const char *names, const char *const *lines, size_t count, int only) {
    size_t at = (size_t)snprintf(text, size, "%s", names);
    for (int i = 0; i < (int)count; i++) {
        bool there = only < 0 || i == only || strstr(lines[i], " == ") == NULL;
        at += (size_t)snprintf(text + at, size - at, "%s\n", there ? lines[i] : "");
    }
}

/* What is said of it alone is said of it among the others, but for the last bits of what holds: they depend on what is
 * computed once. */
static void are_as_alone(const char *names, const char *const *lines, size_t count, int draws) {
    char text[4000];
    write_claims(text, sizeof text, names, lines, count, -1);
    result all = run_bytes(text, strlen(text), (ac_options){.draws = draws});
    assert_int_equal(all.status, 1);
    for (int i = 0; i < (int)count; i++) {
        if (strstr(lines[i], "check") == NULL) continue;
        write_claims(text, sizeof text, names, lines, count, i);
        result alone = run_bytes(text, strlen(text), (ac_options){.draws = draws});
        char *claim = strstr(alone.text[JSON], "{\"line\""), *end = strstr(alone.text[JSON], "], \"error\"");
        assert_non_null(claim);
        assert_non_null(end);
        while (*end != '}') *end-- = '\0';
        if (strstr(claim, "\"holds\"") != NULL) *strstr(claim, "\"max_error\"") = '\0';
        expect(lines[i], all.text[JSON], claim);
        forget(&alone);
    }
    forget(&all);
}

static void laws_together_are_as_alone(void **state) {
    (void)state;
    are_as_alone(shared_names, shared, COUNT(shared), 0);
}

static void mistakes_together_are_as_alone(void **state) {
    (void)state;
    are_as_alone(mistaken_names, mistaken, COUNT(mistaken), 60);
}

/* What fails behind a law is told when it is its turn. */
static void errors_behind_a_law_wait(void **state) {
    (void)state;
    static const struct {
        const char *behind, *message;
    } cases[] = {{"check grad(L, X) == X @ ones(3)", "t.ad:7:"},
                 {"Q = X @ ones(3)\ncheck Q == Q", "t.ad:7:"},
                 {"Q = inv(X * 0)\ncheck grad(L, X) == 2 * Z @ W'", "singular"},
                 {"check grad(L, X) == 2 * Z @ W'\ncheck X[25, 1] == 0 * X[1, 1]", "t.ad:8:"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[1000];
        snprintf(text, sizeof text, "%scheck grad(L, W) == 2 * X' @ Z\n%s\n", shared_names, cases[i].behind);
        result r = run_bytes(text, strlen(text), (ac_options){0});
        assert_int_equal(r.status, 2);
        expect(text, r.text[OUT], "holds");
        expect(text, r.text[ERRORS], cases[i].message);
        forget(&r);
    }
}

/* Few draws of these are kept: the others are made again when they are needed. */
static void numbers_need_not_be_kept(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(laws); i++) {
        result a = run_law(i, program, (ac_options){0}),
               b = run_law(i, program, (ac_options){.limits.bytes = 12 << 20});
        assert_string_equal(a.text[JSON], b.text[JSON]);
        forget(&a);
        forget(&b);
    }
}

/* A law may be computed in another way where memory is short; what it gives is the same. */
static void memory_may_be_short(void **state) {
    (void)state;
    int refused = 0;
    for (int i = 0; i < 3; i += 2) {
        result whole = run_law((size_t)i, program, (ac_options){.draws = 40});
        for (size_t bytes = 100000; bytes < (size_t)16 << 20; bytes += bytes / 2) {
            result r = run_law((size_t)i, program, (ac_options){.draws = 40, .limits.bytes = bytes});
            if (r.status == 2) expect(laws[i].text, r.text[ERRORS], "memory");
            else assert_string_equal(r.text[OUT], whole.text[OUT]);
            refused += r.status == 2;
            forget(&r);
        }
        forget(&whole);
    }
    assert_true(refused > 0);
}

static void memory_may_run_out(void **state) {
    static const char text[] = "X ~ normal(20, 20)\ncheck grad(sum((X @ X)^2), X) == 2 * (X @ X @ X' + X' @ X @ X)\n"
                               "check grad(sum(X^2), X) == 3 * X\n";
    const ac_options options = {.draws = 60};
    result whole = run_bytes(text, strlen(text), options);
    int failures = 0;
    (void)state;
    for (bool all = false; !all; failures++) {
        taken = 0;
        allowed = failures;
        result r = run_bytes(text, strlen(text), options);
        all = allowed > 0;
        allowed = -1;
        if (r.status == 2) expect(text, r.text[ERRORS], "memory");
        else assert_string_equal(r.text[OUT], whole.text[OUT]);
        assert_int_equal(taken, 0);
        forget(&r);
    }
    assert_true(failures > 40);
    assert_int_equal(whole.status, 1);
    forget(&whole);
}

static void time_is_limited(void **state) {
    (void)state;
    for (int i = 0; i < 3; i += 2) {
        result r = run_law((size_t)i, program, (ac_options){.draws = AC_MAX_DRAWS, .limits.seconds = 0.1});
        expect(laws[i].text, r.text[ERRORS], i == 0 ? "longer than the limit of 0.1 s" : "more than the limit of");
        forget(&r);
    }
}

static void threads_find_the_same(void **state) {
    (void)state;
    same_for_threads(3);
}

static int print_bits(void) {
    uint64_t hash = 0;
    for (size_t i = 0; i < COUNT(laws); i++) {
        result r = run_law(i, program, (ac_options){0});
        for (int k = 0; k < 3; k++) hash = hash_bytes(hash, r.text[k], strlen(r.text[k]));
        forget(&r);
    }
    print_hash(hash);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "bits") == 0) return print_bits();
    snprintf(program_path, sizeof program_path, "%s", argv[0]);
    const struct CMUnitTest threads[] = {
        cmocka_unit_test(threads_find_the_same),
        cmocka_unit_test(laws_together_are_as_alone),
        cmocka_unit_test(mistakes_together_are_as_alone),
    };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(steps_say_the_same),  cmocka_unit_test(numbers_need_not_be_kept),
        cmocka_unit_test(memory_may_be_short), cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(time_is_limited),     cmocka_unit_test(errors_behind_a_law_wait),
    };
#if defined(__SANITIZE_THREAD__)
    const bool all = false; /* the others tell it nothing */
#else
    const bool all = true;
#endif
    int failed = cmocka_run_group_tests(threads, NULL, NULL);
    return all ? failed + cmocka_run_group_tests(others, NULL, NULL) : failed;
}
