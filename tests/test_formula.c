/* Expressions as formulas: what is a fraction, what a power, and where parentheses are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "nn/check/functions.h"
#include "nn/check/html/html_impl.h"

enum { MOST_NAME = 32, MOST_TEXT = 1 << 16 };

/* ---- MathML as text --------------------------------------------------------------------------------------------- */

typedef struct reader {
    const char *at;
    char *text;
    size_t length, size;
} reader;

static void add(reader *f, const char *text, size_t length) {
    assert_true(f->length + length < f->size);
    memcpy(f->text + f->length, text, length);
    f->length += length;
    f->text[f->length] = '\0';
}

static void adds(reader *f, const char *text) { add(f, text, strlen(text)); }

/* Between its children an element with several parts gets signs: a fraction "{a}/{b}", a power "{a}^{b}". */
static const char *const elements[][4] = {
    {"mfrac", "{", "}/{", "}"},  {"msup", "{", "}^{", "}"},     {"msub", "{", "}_{", "}"}, {"msubsup", "{", "}_{", "}"},
    {"munder", "{", "}_{", "}"}, {"mover", "{", "}over{", "}"}, {"msqrt", "√{", "", "}"},  {"mtable", "[", "", "]"},
    {"mtr", "(", "", ")"},       {"mtd", "", ";", ";"},
};

static void read_element(reader *f) {
    char name[MOST_NAME] = "";
    sscanf(f->at, "<%31[a-z]", name);
    f->at = strchr(f->at, '>') + 1;
    if (f->at[-2] == '/') return;
    const char *const *signs = NULL;
    for (size_t i = 0; i < sizeof elements / sizeof elements[0]; i++)
        if (strcmp(elements[i][0], name) == 0) signs = elements[i];
    if (signs != NULL) adds(f, signs[1]);
    for (int child = 0; strncmp(f->at, "</", 2) != 0;) {
        if (*f->at == '<') {
            if (signs != NULL && child == 1) adds(f, signs[2]);
            if (signs != NULL && child == 2) adds(f, "}^{");
            child++;
            read_element(f);
        } else if (strncmp(f->at, "\xE2\x81\xA1", 3) == 0) f->at += 3; /* application of a function */
        else if (strncmp(f->at, "\xE2\x81\xA2", 3) == 0) { /* times */ adds(f, " ");
            f->at += 3;
        } else {
            add(f, f->at, 1);
            f->at++;
        }
    }
    if (signs != NULL) adds(f, signs[3]);
    f->at = strchr(f->at, '>') + 1;
}

/* The first formula of a text. */
static void read_formula(const char *page, char *text, size_t size) {
    reader f = {strstr(page, "<math"), text, 0, size};
    if (f.at == NULL) fail_msg("no formula: %s", page);
    read_element(&f);
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static const char names[] =
    "x ~ normal(3)\ny ~ normal(3)\nA ~ positive(3, 3)\nB = eye(3) + A\nt ~ positive()\n"
    "s ~ positive()\nn = 4\nrate = 0.1\nlearning_rate = 0.1\nmu_hat = 2\nybar = 1\nx1 = 2\nx₂ = 2\n"
    "L_CE = 1\nsigma = 3\nŷ = 2\nz̃ = 1\ndelta_1_alpha = 2\nw12 = 3\nchat = 2\nblahhat = 2\n"
    "_q = 2\nf(u) = u^2\nL = sum((A @ x - y)^2)\n";

/* The formula of an expression, in the signs of the table above. */
static void formula_of(const char *expression, char *text, size_t size) {
    static char page[MOST_TEXT];
    char source[2048];
    snprintf(source, sizeof source, "%sshow %s\n", names, expression);
    ac_file *file = ac_parse(&(ac_source){.name = "test", .text = source, .size = strlen(source)}, (ac_limits){0});
    assert_non_null(file);
    if (file->error.set) fail_msg("%s: %s", expression, file->error.message);
    ac_statement *shown = file->statements[file->statement_count - 1];
    assert_true(ac_read_sides(file, shown, &file->error));
    FILE *out = tmpfile();
    assert_non_null(out);
    ac_html_formula(out, &file->source, shown->left);
    rewind(out);
    size_t got = fread(page, 1, sizeof page - 1, out);
    page[got] = '\0';
    fclose(out);
    ac_file_free(file);
    read_formula(page, text, size);
}

static const struct {
    const char *expression, *formula;
} cases[] = {
    {"2", "2"},
    {"0.50", "0.50"},
    {"1e-20", "1×{10}^{−20}"},
    {"1e-20^2 * t", "{(1×{10}^{−20})}^{2} t"},
    {"-3", "−3"},
    {"pi", "π"},
    {"t + s - 2", "t+s−2"},
    {"t - (s - 2)", "t−(s−2)"},
    {"t - (s + 2) - -t", "t−(s+2)−(−t)"},
    {"-t * s", "−t s"},
    {"-(t + s)", "−(t+s)"},
    {"s * -t", "s (−t)"},
    {"2 * t", "2 t"},
    {"t * 2", "t⋅2"},
    {"2 * 3", "2⋅3"},
    {"t * s", "t s"},
    {"rate * t", "rate⋅t"},
    {"t * rate", "t⋅rate"},
    {"2 * rate", "2 rate"},
    {"x * y", "x⊙y"},
    {"t * x", "t x"},
    {"t * s * x", "t s x"},
    {"x * (y * x)", "x⊙(y⊙x)"},
    {"t * (s * 2)", "t (s⋅2)"},
    {"x / t", "{x}/{t}"},
    {"1 / n * sum(x)", "{1}/{n} ∑x"},
    {"-1 / n * sum(x * y)", "{−1}/{n} ∑x⊙y"},
    {"(t / s)^2", "{({t}/{s})}^{2}"},
    {"(t / s) * t", "{t}/{s} t"},
    {"t / s / n", "{{t}/{s}}/{n}"},
    {"t^2", "{t}^{2}"},
    {"t^s^2", "{t}^{{s}^{2}}"},
    {"(t^s)^2", "{({t}^{s})}^{2}"},
    {"(-t)^2", "{(−t)}^{2}"},
    {"-t^2", "−{t}^{2}"},
    {"2^-t", "{2}^{−t}"},
    {"(2 * t)^2", "{(2 t)}^{2}"},
    {"(t + s)^2", "{(t+s)}^{2}"},
    {"A @ x", "A x"},
    {"x @ A", "x A"},
    {"x @ y", "x⋅y"},
    {"x @ y * t", "(x⋅y) t"},
    {"t * (x @ y)", "t (x⋅y)"},
    {"A @ B @ x", "A B x"},
    {"A @ (B @ x)", "A (B x)"},
    {"(x * y) @ A", "(x⊙y) A"},
    {"A @ (x * y)", "A (x⊙y)"},
    {"(t * x) @ A", "t x A"},
    {"1 / n * A' @ (x - y)", "{1}/{n} {A}^{⊤} (x−y)"},
    {"A'", "{A}^{⊤}"},
    {"A''", "{({A}^{⊤})}^{⊤}"},
    {"(A + B)'", "{(A+B)}^{⊤}"},
    {"(x - y) @ x'", "(x−y) {x}^{⊤}"},
    {"x[1]", "{x}_{1}"},
    {"A[1, 2]", "{A}_{1,2}"},
    {"A[1, :]", "{A}_{1,:}"},
    {"A[:, 2]", "{A}_{:,2}"},
    {"x[1]^2", "{{x}_{1}}^{2}"},
    {"(x + y)[1]", "{(x+y)}_{1}"},
    {"A'[1, 2]", "{({A}^{⊤})}_{1,2}"},
    {"A[1, :][2]", "{({A}_{1,:})}_{2}"},
    {"x1[1]", "{({x}_{1})}_{1}"},
    {"f(t)", "f(t)"},
    {"f(t)^2", "{f(t)}^{2}"},
    {"f(t + 1) * f(s)", "f(t+1) f(s)"},
    {"exp(t)", "{e}^{t}"},
    {"exp(-t^2 / 2)", "{e}^{{−{t}^{2}}/{2}}"},
    {"exp(f(f(f(f(f(f(t)))))))", "exp(f(f(f(f(f(f(t)))))))"},
    {"exp(t)^2", "{({e}^{t})}^{2}"},
    {"ln(t)", "ln(t)"},
    {"log(t)", "ln(t)"},
    {"log10(t) + log2(t)", "{log}_{10}(t)+{log}_{2}(t)"},
    {"ln(t)^2", "{ln(t)}^{2}"},
    {"sqrt(t + s)", "√{t+s}"},
    {"sqrt(t)^2", "{(√{t})}^{2}"},
    {"abs(t - s)", "|t−s|"},
    {"norm(x - y)^2", "{‖x−y‖}^{2}"},
    {"norm(A, 2)", "{‖A‖}_{→}"},
    {"asin(t) + acos(t) + atan(t)", "arcsin(t)+arccos(t)+arctan(t)"},
    {"sigmoid(t) * (1 - sigmoid(t))", "σ(t) (1−σ(t))"},
    {"relu(t) + gelu(t) + sign(t)", "ReLU(t)+GELU(t)+sgn(t)"},
    {"max(t, s) - min(x)", "max(t,s)−min(x)"},
    {"sum(x)", "∑x"},
    {"sum(x + y)", "∑(x+y)"},
    {"sum(x * y)", "∑x⊙y"},
    {"sum(x) * t", "(∑x) t"},
    {"sum(x) + t", "∑x+t"},
    {"-sum(y * ln(x))", "−∑y⊙ln(x)"},
    {"sum(A, 1)", "{∑}_{↓}A"},
    {"sum(A, 2) * x", "({∑}_{→}A)⊙x"},
    {"sum(sum(A, 2))", "∑{∑}_{→}A"},
    {"prod(x)", "∏x"},
    {"mean(A, 1)", "{mean}_{↓}(A)"},
    {"softmax(A, 2)", "{softmax}_{→}(A)"},
    {"dot(x, y) * t", "(x⋅y) t"},
    {"outer(x, y)", "x⊗y"},
    {"inv(A)", "{A}^{−1}"},
    {"inv(A)'", "{({A}^{−1})}^{⊤}"},
    {"inv(A @ B)", "{(A B)}^{−1}"},
    {"transpose(A)", "{A}^{⊤}"},
    {"trace(A @ B) + det(A)", "tr(A B)+det(A)"},
    {"ones(3) + zeros(3)", "{𝟏}_{3}+{𝟎}_{3}"},
    {"eye(3) @ A", "{I}_{3} A"},
    {"ones(2, 3)[1, :]", "{({𝟏}_{2×3})}_{1,:}"},
    {"onehot(2, 3)", "{e}_{2}^{(3)}"},
    {"lgamma(t) + digamma(t)", "lnΓ(t)+ψ(t)"},
    {"cross_entropy(x, y) + bce(x, y) + mse(x, y)", "CE(x,y)+BCE(x,y)+MSE(x,y)"},
    {"grad(L, x)", "{∂L}/{∂x}"},
    {"grad(L, x[1])", "{∂L}/{∂{x}_{1}}"},
    {"grad(L_CE, A)'", "{({∂{L}_{CE}}/{∂A})}^{⊤}"},
    {"t * grad(L, x)", "t {∂L}/{∂x}"},
    {"x - rate * grad(L, x)", "x−rate {∂L}/{∂x}"},
    {"grad(sigmoid(t), t)", "{∂}/{∂t}σ(t)"},
    {"grad(t^2, t) * s", "({∂}/{∂t}{t}^{2}) s"},
    {"grad(grad(t^2 * s, t), s)", "{∂}/{∂s}({∂}/{∂t}({t}^{2} s))"},
    {"jac(A @ x, x)", "{∂}/{∂x}(A x)"},
    {"hess(L, x)", "{∇}_{x}^{2}L"},
    {"hess(L, x) @ y", "({∇}_{x}^{2}L) y"},
    {"hess(t^3, t)", "{{∂}^{2}}/{∂{t}^{2}}{t}^{3}"},
    {"solve(t * u == s, u from 1)", "{solve}_{u}(t u=s)"},
    {"[t, s]", "[t,s]"},
    {"[[t, 1], [2, s]]", "[(t;1;)(2;s;)]"},
    {"[1, -2.50]", "[1,−2.50]"},
    {"[[1, 2], [3, 4]]", "[(1;2;)(3;4;)]"},
    {"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", "[1,2,3,4,5,6,⋯,10]"},
    {"mu_hat + ybar + ŷ + z̃", "{μ}over{^}+{y}over{¯}+{y}over{^}+{z}over{~}"},
    {"x1 + x₂ + w12", "{x}_{1}+{x}_{2}+{w}_{12}"},
    {"L_CE + sigma + delta_1_alpha", "{L}_{CE}+σ+{δ}_{1,α}"},
    {"chat + blahhat + _q", "{c}over{^}+blahhat+_q"},
    {"learning_rate * t", "{learning}_{rate}⋅t"},
};

static void expressions_are_typeset(void **unused) {
    (void)unused;
    int wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024] = "";
        formula_of(cases[i].expression, text, sizeof text);
        if (strcmp(text, cases[i].formula) == 0) continue;
        print_error("{\"%s\", \"%s\"}, /* should be %s */\n", cases[i].expression, text, cases[i].formula);
        wrong++;
    }
    assert_int_equal(wrong, 0);
}

/* Every function of the language, whatever it is called with. */
static void every_function_is_typeset(void **unused) {
    (void)unused;
    int count;
    const ac_function *functions = ac_functions(&count);
    for (int i = 0; i < count; i++)
        for (int n = functions[i].least; n <= functions[i].most; n++) {
            char expression[100], text[1024] = "";
            snprintf(expression, sizeof expression, "%s(t%s)^2", functions[i].name, n == 2 ? ", s" : "");
            formula_of(expression, text, sizeof text);
            assert_non_null(strchr(text, 't'));
            if (n == 2) assert_non_null(strchr(text, 's'));
            assert_non_null(strstr(text, "}^{2}"));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_are_typeset),
        cmocka_unit_test(every_function_is_typeset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
