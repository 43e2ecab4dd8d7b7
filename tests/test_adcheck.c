/* The language of derivations: what is understood, what is refused and how that is told, and the limits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "checked.h"
#include "nn/check/text_file.h"
#include "nn_memory.h"

/* ---- what is refused -------------------------------------------------------------------------------------------- */

static void messages_name_place_and_values(void **state) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"x = 1\ny = z\n", "t.ad:2:5: error: unknown name 'z'\n  y = z\n      ^\n"},
        {"alpha = 1\ncheck alhpa == 1", "t.ad:2:7: error: unknown name 'alhpa'\n"},
        {"alpha = 1\ncheck alhpa == 1", "hint: did you mean 'alpha'?"},
        {"x = [1, 2]\ny = sgimoid(x)", "hint: did you mean 'sigmoid'?"},
        {"M = [[1, 2], [3, 4]]\ny = M * [1, 2]",
         "t.ad:2:5: error: *: a 2 x 2 matrix and a vector of length 2 do not fit\n  y = M * [1, 2]\n      ^~~~~~~~~~\n"
         "  hint: did you mean @, the matrix product?"},
        {"y = [1, 2, 3] + [1, 2]", "+: a vector of length 3 and a vector of length 2 do not fit"},
        {"f(v) = v @ [1, 2]\nb = f([3, 4, 5])", "hint: in f as called in line 2, column 5"},
        {"y = ones(2, 3) @ ones(2, 3)", "@: a 2 x 3 matrix and a 2 x 3 matrix do not fit"},
        {"y = 2 @ [1, 2]", "hint: did you mean *?"},
        {"y = 2x", "t.ad:1:5: error: a number followed by a letter\n  y = 2x\n      ^\n  hint: write * for a product"},
        {"check 1 = 1", "hint: write == for a claim"},
        {"chekc 1 == 1", "hint: did you mean 'check'?"},
        {"1 == 1", "expected a statement"},
        {"x = 1\nx = 2", "t.ad:2:1: error: 'x' is defined already, in line 1"},
        {"grad = 1", "'grad' is a word of the language"},
        {"check solve(x == 2, from from 1) == 2", "'from' is a word of the language"},
        {"f(a, a) = a", "two arguments are named 'a'"},
        {"f(a) = a\ny = f(1, 2)", "f takes 1 argument, not 2"},
        {"y = f(1)", "unknown function 'f'"},
        {"y = exp", "'exp' is a function: its arguments are missing"},
        {"y = [1, 2,]", "expected a value behind ',', found ']'"},
        {"y = max(1,)", "expected a value behind ',', found ')'"},
        {"f(a,) = a", "expected the name of an argument, found ')'"},
        {"y = []", "an empty vector"},
        {"y = [[1, 2], [3]]", "row 2 has 1 number, row 1 has 2"},
        {"y = (1", "expected ')', found the end of the file"},
        {"y = ones(2, 3)[3, 1]", "the position is 3, not a whole number from 1 to 2"},
        {"y = onehot(4, 3)", "the position is 4, not a whole number from 1 to 3"},
        {"y = 0x10", "numbers are decimal"},
        {"x = [1, 2\ny = 3", "t.ad:2:1: error: expected ',' or ']', found 'y'\n  y = 3\n  ^\n"
                             "  hint: the '[' of line 1, column 5 is still open\n"},
        {"x = 1\ny = exp(x\n", "hint: the '(' of line 2, column 8 is still open"},
        {"check 0.3 == 0,34", "hint: numbers have a decimal point"},
        {"x := 3", "hint: a name is defined with ="},
        {"x' = 2", "hint: a name has letters, digits and _"},
        {"y = 2**3", "hint: a power is written with ^"},
        {"x = 2\ny = 2(x)", "hint: write * for a product"},
        {"y = 2 * π", "hint: write pi"},
        {"x = [1]\ny = x.T", "hint: write x' for a transpose"},
        {"y = 1e999", "a number out of the range of double precision"},
        {"x = 1\ncheck x == 0.0e400", "t.ad:2:12: error: a number out of the range of double precision"},
        {"y = 1..2", "a number with two decimal points"},
        {"x ~ foo(2)", "expected a distribution, found 'foo'"},
        {"x ~ normal()\ny ~ normal(x)", "depend on a quantified name"},
        {"x ~ normal(1e9)", "a length is 1000000000, not a whole number from 1 to 4194304"},
        {"x = [1, 2]\ncheck grad(x, x) == 1", "grad is taken of a number, not of a vector of length 2"},
        {"x = [1, 2]\ncheck grad(x' @ eye(2) @ x, x) == 2 * x",
         "hint: a row @ a vector is a vector of one entry, a vector @ a vector a number: x @ y, not x' @ y"},
        {"x = 1\ncheck grad(x^2, x + 1) == 1", "derivatives are taken by a name, or an entry or slice of one"},
        {"x = 1\ncheck x == 1 within -1", "the tolerance is not a number from 0 up"},
        {"t ~ normal()\ncheck t == 2 * t within abs(t)",
         "t.ad:2:25: error: the tolerance depends on a quantified name"},
        {"y = solve(x^2 == -1, x from 1.3)", "solve did not converge in 100 steps"},
        {"y = solve(sqrt(x) == 1, x from 0)", "solve: the derivative by 'x' is not finite at x = 0"},
        {"y = solve(sqrt(abs(x)) == 1, x from 0)", "solve: the derivative by 'x' is singular at x = 0"},
        {"y = solve(1 == 2, x from 0)", "the equation does not depend on 'x'"},
        {"y = solve(x * [1, 2] == [1, 2], x from 1)", "2 equations for 1 unknown"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        result r = run(cases[i].text);
        expect(cases[i].text, r.text[ERRORS], cases[i].message);
        assert_int_equal(r.status, 2);
        forget(&r);
    }
}

/* What follows from the first mistake is not told, and gives no hint either. */
static void hints_belong_to_the_message(void **state) {
    static const char *const texts[] = {"y $ 1", "check 1 $= 1", "f($) = 1"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        result r = run(texts[i]);
        expect(texts[i], r.text[ERRORS], "unexpected character '$'");
        if (strstr(r.text[ERRORS], "hint") != NULL) fail_msg("%s", r.text[ERRORS]);
        forget(&r);
    }
}

/* Columns count characters; the caret is below its place whatever stands before it. */
static void carets_stand_below_their_place(void **state) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"ŷ = 1\ncheck σ(ŷ) == 1", "t.ad:2:7: error: unknown function 'σ'\n  check σ(ŷ) == 1\n        ^\n"},
        {"ŷ = 1 + σ", ":1:9: error: unknown name 'σ'\n  ŷ = 1 + σ\n          ^\n"},
        {"x\xCC\x82 = 1 + q",
         ":1:10: error: unknown name 'q'\n  x\xCC\x82 = 1 + q\n          ^\n"}, /* an accent of its own */
        {"\xE6\xBC\xA2 = 1 + q", ":1:9: error: unknown name 'q'\n  \xE6\xBC\xA2 = 1 + q\n           ^\n"}, /* wide */
        {"x =\t1 +\tq", "  x =\t1 +\tq\n     \t   \t^\n"},
        {"\xEF\xBB\xBFx = q", ":1:5: error: unknown name 'q'\n  x = q\n      ^\n"}, /* a byte order mark */
        {"x = 1\r\ny = (x\r\n+ q)\r\n", ":3:3: error: unknown name 'q'\n  + q)\n    ^\n"},
        {"x = 1\r\ny = x +\r\n", ":2:8: error: expected a value, found the end of the line\n  y = x +\n         ^\n"
                                 "  hint: a line goes on while a bracket is open\n"},
        {"x = \"\x1b[31m\"", ":1:6: error: control character U+001B\n  x = \"?[31m\"\n       ^\n"},
        {"x = 1 # \xC2\x9B\x33\ny = 2 $ \xFF", ":2:7: error: unexpected character '$'\n  y = 2 $ ?\n        ^\n"},
        {"x = \xFF", ":1:5: error: byte 0xFF is not UTF-8\n  x = ?\n      ^\n"},
    };
    char text[600], message[600];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        result r = run(cases[i].text);
        expect(cases[i].text, r.text[ERRORS], cases[i].message);
        forget(&r);
    }
    snprintf(text, sizeof text, "x = 1%*s$%*s#", 300, "", 200, ""); /* of a long line the part around the place */
    snprintf(message, sizeof message, "t.ad:1:306: error: unexpected character '$'\n  ...%*s$%*s...\n  %*s^\n", 60, "",
             99, "", 63, "");
    result r = run(text);
    expect(text, r.text[ERRORS], message);
    forget(&r);
}

static void labels_cannot_command_a_terminal(void **state) {
    static const char *const labels[] = {"\x1b[2J", "\x7F", "\xC2\x9B\x32J", "\xE2\x80\xAE"};
    char text[100];
    (void)state;
    for (size_t i = 0; i < COUNT(labels); i++) {
        snprintf(text, sizeof text, "x = 1\ncheck \"%s\": x == 1", labels[i]);
        result r = run(text);
        expect(text, r.text[ERRORS], "control character U+");
        forget(&r);
    }
}

/* ---- what is understood ----------------------------------------------------------------------------------------- */

static void verdicts(void **state) {
    static const struct {
        const char *text, *verdict;
    } cases[] = {
        {"check 2 ^ 3 ^ 2 == 512", "holds"},
        {"check -2 ^ 2 == -4", "holds"},
        {"check 2 ^ -1 == 0.5", "holds"},
        {"check 8 / 4 / 2 == 1", "holds"},
        {"M = [[1, 2], [3, 4]]\nv = [1, 2]\ncheck 2 * M @ v * v == 2 * (M @ v) * v", "holds"},
        {"M = [[1, 2], [3, 4]]\ncheck M'[1, 2] ^ 2 == 9", "holds"},
        {"v = [1, 2]\ncheck v @ v' == [[1, 2], [2, 4]]", "holds"},
        {"v = [1, 2]\ncheck v' @ v == [5]", "holds"},
        {"x = 0.3469\ncheck [x, x] == [0.34, 0.35]", "holds"},
        {"x = 0.3469\ncheck [x, x] == [0.34, (0.35)]", "holds"}, /* numbers in brackets are printed ones too */
        {"x = 0.3469\ncheck [x, -x] == -[-(0.35), (0.34)]", "holds"},
        {"x = 0.3469\ncheck [[x, x], [x, x]] == [[0.34, 0.35], [(0.34), 0.35]]", "holds"},
        {"x = 0.3469\ncheck [x, x] == [0.34, 0.34 * 1]", "WRONG"}, /* computed: no printed number */
        {"x = 3.0000001\ncheck x == 3", "WRONG"},
        {"x = 3.04\ncheck x == 3.0", "holds"},
        {"check 0 / 0 == 0 / 0", "WRONG"},
        {"check 1 == 2 within 1", "holds"},
        {"x = 2\ncheck solve(t ^ 2 == x, t from 1) ^ 2 == x", "holds"},
        {"x = 2\ncheck grad(solve(t ^ 2 == x, t from 1), x) == 1 / (2 * sqrt(2))", "holds"},
        {"n = 3\nf(a) = n * a\ng(a) = f(a) + n\nx = 2\ncheck grad(g(x), n) == x + 1", "holds"}, /* through functions */
        {"t ~ normal()\nf(a) = t * a\nx = 2\ncheck f(x) == t * x", "law, 200 draws"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        result r = run(cases[i].text);
        expect(cases[i].text, r.text[OUT], cases[i].verdict);
        assert_int_equal(r.status, strcmp(cases[i].verdict, "WRONG") == 0);
        forget(&r);
    }
}

static void mistakes_are_named(void **state) {
    static const char given[] = "a = [2, 3]\nb = [2, 4]\nc = 2\nd = [2, 3, 4]\nx = [1, 5]\nW = [[1, 2], [3, 5]]\n"
                                "L = sum(a * x ^ 2) / 2\nK = sum(W ^ 2) + 0.1 * sum(x ^ 2)\n";
    static const struct {
        const char *claim, *diagnosis;
    } cases[] = {
        {"grad(L, x) == x", "missing-factor: a factor is missing: claimed times a is the right one"},
        {"grad(K, x) == [2.0, 1.0]", "power-of-ten: entry 1: 10 times too large: claimed 2, right 0.2\n"},
        {"grad(K, x) == [0.2, 1.5]", "entries: entry 2: claimed 1.5, right 1\n"},
        {"grad(K, x) == -grad(K, x)", "sign: it is the negative of the right one"},
        {"grad(K, W) == 2 * W'", "transpose: it is the transpose of the right one"},
        {"ln(x[2]) == 0.699", "log-base: it is the right one divided by ln 10: the base-10 logarithm was taken"},
        {"grad(K, x) == 0.4 * x", "factor: it is 2 times the right one"},
        {"grad(K, x) == 2 * W", "other-variable: it is the derivative by W, not by x"},
        {"grad(K, x) == 0 * x", "missing-term: the derivative of the term 0.1 * sum(x ^ 2) is missing"},
        {"grad(L, x) == 1", "shape: claimed is a number, right is a vector of length 2"}, /* and not dL/dL */
        {"grad(L, x) == [0 / 0, 1]", "unknown: largest error nan at entry 1: claimed nan, right 2"},
    };
    char text[1000];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(text, sizeof text, "%scheck %s\n", given, cases[i].claim);
        result r = run(text);
        expect(text, r.text[OUT], cases[i].diagnosis);
        forget(&r);
    }
}

static void json_has_what_the_manual_says(void **state) {
    static const char text[] =
        "x = [1, 2]\ncheck \"a \\ b\": grad(sum(x ^ 2), x) == [2, 5]\nt ~ normal()\ncheck t == t";
    static const char *const parts[] = {
        "[\n {\"file\": \"t.ad\", \"checks\": [\n  {\"line\": 2, \"label\": \"a \\\\ b\", \"verdict\": \"wrong\", "
        "\"law\": false, "
        "\"draws\": 1, \"max_error\": 1, \"tolerance\": ",
        "\"where\": [2], \"claimed\": [2, 5], \"right\": [2, 4], \"witnesses\": {\"agree\": true}, \"diagnosis\": "
        "{\"kind\": "
        "\"entries\", \"detail\": \"entry 2: claimed 5, right 4\", \"entries\": 1, \"first\": [2], "
        "\"places\": [[2]]}}",
        "\"verdict\": \"holds\", \"law\": true, \"draws\": 200, \"max_error\": 0,",
        "\"diagnosis\": null}\n ], \"error\": null}\n]\n"};
    result r = run(text);
    (void)state;
    for (size_t i = 0; i < COUNT(parts); i++) expect(text, r.text[JSON], parts[i]);
    forget(&r);
    r = run("x = ");
    expect("x = ", r.text[JSON],
           "\"checks\": [], \"error\": {\"line\": 1, \"column\": 5, \"message\": \"expected a value, found the end of "
           "the file\"}}");
    forget(&r);
}

/* ---- limits ----------------------------------------------------------------------------------------------------- */

/* `before`, then `open` `count` times, `middle`, `close` `count` times. */
static result run_nested(const char *before, const char *open, const char *middle, const char *close, int count) {
    size_t room = strlen(before) + strlen(middle) + (size_t)count * (strlen(open) + strlen(close)) + 1;
    char *text = calloc(room, 1), *end = text;
    assert_non_null(text);
    end += sprintf(end, "%s", before);
    for (int i = 0; i < count; i++) end += sprintf(end, "%s", open);
    end += sprintf(end, "%s", middle);
    for (int i = 0; i < count; i++) end += sprintf(end, "%s", close);
    result r = run_bytes(text, strlen(text), (ac_options){.limits.seconds = 20});
    free(text);
    return r;
}

static void nesting_is_limited(void **state) {
    static const struct {
        const char *open, *close;
    } cases[] = {{"(", ")"},    {"[", "]"},        {"-", ""},         {"+", ""},
                 {"exp(", ")"}, {"grad(", ", x)"}, {"hess(", ", x)"}, {"solve(", " == 1, y from 1)"},
                 {"2^", ""},    {"max(1, ", ")"},  {"", "'"},         {"", "[1]"},
                 {"", " + x"},  {"", " @ x"},      {"x ^ ", ""},      {"x[", "]"}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        result r = run_nested("x = 1\ncheck 1 == ", cases[i].open, "x", cases[i].close, 600);
        expect(cases[i].open, r.text[ERRORS], "nested more than 500 deep");
        assert_int_equal(r.status, 2);
        forget(&r);
    }
    result r = run_nested("x = 1.5\ncheck x == ", "(", "x", ")", 400);
    assert_int_equal(r.status, 0);
    forget(&r);
}

static void sizes_are_limited(void **state) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"y = ones(3000, 3000)", "a value of 9000000 numbers, more than the limit of 4194304"},
        {"y = outer(ones(3000), ones(3000))", "more than the limit of 4194304"},
        {"y = diag(ones(3000))", "more than the limit of 4194304"},
        {"x ~ normal(3000, 3000)", "'x' has 9000000 numbers, more than the limit of 4194304"},
        {"x = ones(3000)\ncheck jac(x ^ 2, x) == 1", "a derivative of 9000000 numbers, more than the limit of 4194304"},
        {"x ~ normal(400000)\ncheck x == 2 * x", "200 draws of 400000 numbers are more than the limit of 67108864"},
        {"y = solve(x == 1, x from ones(2000))", "2000 unknowns, more than the limit of 1000"},
        {"y = det(ones(501, 501))", "det of 501 rows, more than the limit of 500"},
    };
    char text[1000] = "f(a0", *end = text + strlen(text);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        result r = run(cases[i].text);
        expect(cases[i].text, r.text[ERRORS], cases[i].message);
        forget(&r);
    }
    for (int i = 1; i <= 100; i++) end += sprintf(end, ", a%d", i);
    sprintf(end, ") = a0");
    result r = run(text);
    expect(text, r.text[ERRORS], "more than 100 arguments");
    forget(&r);
    memset(text, 'x', 201);
    sprintf(text + 201, " = 1");
    r = run(text);
    expect(text, r.text[ERRORS], "a name of more than 200 bytes");
    forget(&r);
}

static void statements_are_limited(void **state) {
    enum { MOST = AC_MAX_STATEMENTS + 1, LONGEST = 16 };
    char *text = malloc((size_t)MOST * LONGEST), *end = text;
    (void)state;
    assert_non_null(text);
    for (int i = 0; i < MOST; i++) end += sprintf(end, "x%d = 1\n", i);
    result r = run_bytes(text, (size_t)(end - text), (ac_options){0});
    expect("many", r.text[ERRORS], "t.ad:100001:1: error: more than 100000 statements");
    forget(&r);
    free(text);
}

/* What grows from definition to definition ends at a limit of time or memory. */
static void growth_is_limited(void **state) {
    char functions[2000] = "f0(x) = x + x\n", *end = functions + strlen(functions);
    (void)state;
    for (int i = 1; i < 40; i++) end += sprintf(end, "f%d(x) = f%d(f%d(x))\n", i, i - 1, i - 1);
    sprintf(end, "y = f39(1)\n");
    result r =
        run_bytes(functions, strlen(functions), (ac_options){.limits = {.bytes = (size_t)8 << 20, .seconds = 10}});
    expect(functions, r.text[ERRORS], "this needs more memory than the limit of 8 MB");
    forget(&r);
    r = run_bytes(functions, strlen(functions), (ac_options){.limits = {.seconds = 0.05}});
    expect(functions, r.text[ERRORS], "checking takes longer than the limit of 0.05 s");
    forget(&r);
    static char calls[100000];
    end = calls + sprintf(calls, "f0(x) = x\n");
    for (int i = 1; i <= 3000; i++) end += sprintf(end, "f%d(x) = f%d(x)\n", i, i - 1);
    sprintf(end, "y = f3000(1)\n");
    r = run(calls);
    expect("calls", r.text[ERRORS], "functions within functions more than 3000 deep");
    forget(&r);
}

/* Reading alone may take too long, or too much memory. */
static void reading_is_limited(void **state) {
    enum { ITEMS = 400000 };
    char *text = malloc((size_t)ITEMS * 2 + 100), *end = text;
    (void)state;
    assert_non_null(text);
    end += sprintf(end, "x = 1\ny = [");
    for (int i = 0; i < ITEMS; i++) end += sprintf(end, "x,");
    end += sprintf(end, "x]\n");
    size_t size = (size_t)(end - text);
    result r = run_bytes(text, size, (ac_options){.limits.bytes = (size_t)8 << 20});
    expect("a list", r.text[ERRORS], "reading this needs more memory than the limit of 8 MB");
    forget(&r);
    r = run_bytes(text, size, (ac_options){.limits.seconds = 1e-3});
    expect("a list", r.text[ERRORS], "checking takes longer than the limit of 0.001 s");
    forget(&r);
    free(text);
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

static const char varied[] = "n = 2\nx = [1, 2]\nW = [[0.5, 1], [2, (3)]]\nt ~ normal(2)\nf(a, b) = sum(a * b) / n\n"
                             "s = sigmoid(W @ x)\nr = solve(y ^ 2 == n, y from 1)\n"
                             "L = f(s, x) + 0.5 * sum(x ^ 2)\nshow L\ncheck \"holds\": r == 1.41\n"
                             "check grad(L, x) == W' @ (s * (1 - s)) + x\ncheck x - 0.1 * grad(L, x) == [1.0, 2]\n"
                             "check grad(f(t, t), t) == t / n\ncheck hess(L, x) == eye(2) within 0.1 + n\n";

/* Claims and definitions that are long: what is held at most does not grow with their count. */
static int64_t most_held(int statements) {
    static const struct {
        const char *start, *item, *end;
        int items;
    } kinds[] = {{"check sum([", "%d, ", "0]) == 5995\n", 2000},
                 {"W# = [", "%d, ", "0]\n", 2000},
                 {"g# = ", "sin(%d) + ", "1\n", 400},
                 {"h#(a) = ", "a * %d + ", "a\n", 400},
                 {"q# ~ normal(", "0 * %d + ", "1)\n", 400},
                 {"check (h#(1) - h#(1)) * sum(W# - W#) * g# == 0 * sum(q#)\n", "", "", 0}};
    enum { KINDS = (int)(sizeof kinds / sizeof kinds[0]) };
    size_t size;
    char *text;
    FILE *file = open_memstream(&text, &size);
    assert_non_null(file);
    for (int i = 0; i < statements; i++) {
        for (const char *c = kinds[i % KINDS].start; *c != '\0'; c++)
            if (*c == '#') fprintf(file, "%d", i / KINDS);
            else fputc(*c, file);
        for (int k = 0; k < kinds[i % KINDS].items; k++) fprintf(file, kinds[i % KINDS].item, k % 7);
        fputs(kinds[i % KINDS].end, file);
    }
    fclose(file);
    held_bytes = most_bytes = 0;
    result r = run(text);
    assert_string_equal(r.text[ERRORS], "");
    assert_int_equal(r.status, 0);
    forget(&r);
    free(text);
    return most_bytes;
}

static void memory_is_that_of_the_largest_statement(void **state) {
    (void)state;
    int64_t few = most_held(24), many = most_held(240);
    assert_true(few > 2000 * 16);
    if (many > few + 216 * 800) fail_msg("%lld bytes for 24 statements, %lld for 240", (long long)few, (long long)many);
}

/* The n-th request for memory fails, and every one after it: a message (or, if only a witness was lost, the same report),
 * and nothing is left behind. */
static void memory_may_run_out(void **state) {
    result whole = run_bytes(varied, strlen(varied), (ac_options){.draws = 2});
    (void)state;
    int failures = 0;
    for (int n = 0; n < 100000; n++) {
        taken = 0;
        allowed = n;
        result r = run_bytes(varied, strlen(varied), (ac_options){.draws = 2});
        bool all = allowed > 0;
        allowed = -1;
        if (r.status == 2) expect(varied, r.text[ERRORS], "memory");
        else assert_string_equal(r.text[OUT], whole.text[OUT]);
        assert_int_equal(taken, 0);
        forget(&r);
        if (all) break;
        failures++;
    }
    assert_true(failures > 100);
    assert_int_equal(whole.status, 1);
    forget(&whole);
}

/* A file's text, too: a small one, and one that is mapped. */
static void memory_for_the_text_may_run_out(void **state) {
    static const char *const files[] = {"/proc/self/status", "/proc/self/exe"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        bool read = false;
        int failures = 0;
        for (int n = 0; !read; n++) {
            ac_text_file file;
            taken = 0;
            allowed = n;
            ac_text_file_open(&file, files[i]);
            allowed = -1;
            read = file.why == NULL;
            if (!read) assert_string_equal(file.why, "out of memory");
            else assert_int_equal(file.source.text[file.source.size], 0);
            failures += !read;
            ac_text_file_close(&file);
            assert_int_equal(taken, 0);
            assert_true(n < 100);
        }
        assert_true(failures > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_name_place_and_values),
        cmocka_unit_test(hints_belong_to_the_message),
        cmocka_unit_test(carets_stand_below_their_place),
        cmocka_unit_test(labels_cannot_command_a_terminal),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(json_has_what_the_manual_says),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(sizes_are_limited),
        cmocka_unit_test(statements_are_limited),
        cmocka_unit_test(growth_is_limited),
        cmocka_unit_test(reading_is_limited),
        cmocka_unit_test(memory_is_that_of_the_largest_statement),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(memory_for_the_text_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
