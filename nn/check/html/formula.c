/* Expressions in MathML. */
#include "nn/check/functions.h"
#include "nn/check/html/html_impl.h"

#include <math.h>
#include <stdlib.h>

enum {
    DEEPEST = 40,      /* of an expression that is typeset */
    MOST_NODES = 400,  /* in it */
    SHOWN = 8,         /* rows, columns, entries of an array in it */
    DEEPEST_POWER = 5, /* exp of more than that stays on the line */
    MOST_TYPED = 400   /* bytes of an expression that is not typeset */
};

/* How tightly what is typeset holds together. */
typedef enum level { SUM, SIGN, PRODUCT, FRACTION, POWER, ATOM } level;

static void put(FILE *out, const ac_node *n, level least);

static bool is_call(const ac_node *n, const char *name) {
    return n->kind == AC_CALL && strcmp(n->function->name, name) == 0;
}

static bool is_big_operator(const ac_node *n) { return is_call(n, "sum") || is_call(n, "prod"); }
static bool is_transpose(const ac_node *n) { return n->kind == AC_TRANSPOSE || is_call(n, "transpose"); }

/* d f / d x, with f in the numerator. */
static bool is_quotient(const ac_node *n) {
    return n->operands[0]->kind == AC_NAME || n->operands[0]->kind == AC_INDEX;
}

static bool is_power_of_e(const ac_node *n) { return is_call(n, "exp") && n->operands[0]->depth <= DEEPEST_POWER; }

static bool starts_with_minus(const ac_node *n) {
    while (n->kind == AC_MULTIPLY || n->kind == AC_MATMUL) n = n->operands[0];
    return n->kind == AC_NEGATE;
}

/* What follows would seem to belong to it: the sum of what, the derivative of what. */
static bool ends_open(const ac_node *n) {
    for (;;) {
        if (n->kind == AC_MULTIPLY || n->kind == AC_MATMUL) n = n->operands[1];
        else if (n->kind == AC_NEGATE) n = n->operands[0];
        else return is_big_operator(n) || (ac_is_derivative(n) && (n->kind == AC_HESS || !is_quotient(n)));
    }
}

/* 4 x 10^-20 */
static bool has_exponent(const ac_node *n) {
    char text[40];
    return n->units != NULL && strchr(ac_printed_text(n->values[0], n->units, text, sizeof text), 'e') != NULL;
}

static level level_of(const ac_node *n) {
    switch (n->kind) {
    case AC_NUMBER: return has_exponent(n) ? PRODUCT : ATOM;
    case AC_ADD:
    case AC_SUBTRACT: return SUM;
    case AC_NEGATE: return SIGN;
    case AC_MULTIPLY:
    case AC_MATMUL: return starts_with_minus(n) ? SIGN : PRODUCT;
    case AC_DIVIDE: return FRACTION;
    case AC_POWER:
    case AC_TRANSPOSE: return POWER;
    case AC_GRAD:
    case AC_JAC: return is_quotient(n) ? FRACTION : PRODUCT;
    case AC_HESS: return PRODUCT;
    case AC_CALL:
        if (is_big_operator(n) || is_call(n, "dot") || is_call(n, "outer") || is_call(n, "lgamma")) return PRODUCT;
        return is_call(n, "inv") || is_call(n, "sqrt") || is_transpose(n) || is_power_of_e(n) ? POWER : ATOM;
    default: return ATOM;
    }
}

/* ---- parts ------------------------------------------------------------------------------------------------------ */

static void put_operator(FILE *out, const char *sign) { fprintf(out, "<mo>%s</mo>", sign); }
static void put_fence(FILE *out, const char *sign) { fprintf(out, "<mo stretchy=\"true\">%s</mo>", sign); }
static void put_word(FILE *out, const char *word) { fprintf(out, "<mi>%s</mi>", word); }

/* What "%g" or a literal gives, without its sign. */
static void put_digits(FILE *out, const char *text) {
    const char *e = strchr(text, 'e');
    int length = e == NULL ? (int)strlen(text) : (int)(e - text), exponent = e == NULL ? 0 : atoi(e + 1);
    fprintf(out, "<mn>%.*s</mn>", length, text);
    if (e == NULL) return;
    fputs("<mo>×</mo><msup><mn>10</mn><mrow>", out);
    if (exponent < 0) put_operator(out, "−");
    fprintf(out, "<mn>%d</mn></mrow></msup>", abs(exponent));
}

static void put_number(FILE *out, double x, const double *unit) {
    char text[40];
    ac_printed_text(fabs(x), unit, text, sizeof text);
    fputs("<mrow>", out);
    if (signbit(x)) put_operator(out, "−");
    put_digits(out, text);
    fputs("</mrow>", out);
}

static void put_bracketed(FILE *out, const char *open, const ac_node *n, const char *close) {
    fputs("<mrow>", out);
    put_fence(out, open);
    put(out, n, SUM);
    put_fence(out, close);
    fputs("</mrow>", out);
}

static void put_arguments(FILE *out, ac_node *const *operands, int count) {
    fputs("<mrow>", out);
    put_fence(out, "(");
    for (int i = 0; i < count; i++) {
        if (i > 0) put_operator(out, ",");
        put(out, operands[i], SUM);
    }
    put_fence(out, ")");
    fputs("</mrow>", out);
}

static void put_superscript(FILE *out, const ac_node *base, const char *superscript) {
    fputs("<msup>", out);
    put(out, base, ATOM);
    fprintf(out, "%s</msup>", superscript);
}

/* ---- arrays ----------------------------------------------------------------------------------------------------- */

/* Some of the first, then dots, then the last. */
static bool is_gap(int64_t i, int64_t count) { return count > SHOWN && i == SHOWN - 2; }
static int64_t behind(int64_t i, int64_t count) { return is_gap(i, count) ? count - 1 : i + 1; }

static void put_array_row(FILE *out, const double *x, const double *unit, int64_t n, bool cells) {
    for (int64_t i = 0; i < n; i = behind(i, n)) {
        if (cells) fputs("<mtd>", out);
        else if (i > 0) put_operator(out, ",");
        if (is_gap(i, n)) put_operator(out, "⋯");
        else put_number(out, x[i], unit == NULL ? NULL : unit + i);
        if (cells) fputs("</mtd>", out);
    }
}

static void put_array(FILE *out, const ac_node *n) {
    int64_t columns = n->shape.dim[n->shape.rank - 1];
    if (n->shape.rank == 1) {
        put_fence(out, "[");
        put_array_row(out, n->values, n->units, columns, false);
        put_fence(out, "]");
    } else { /* its brackets are borders: those that stretch take a font for mathematics */
        fputs("<mtable>", out);
        for (int64_t i = 0; i < n->shape.dim[0]; i = behind(i, n->shape.dim[0])) {
            fputs("<mtr>", out);
            if (is_gap(i, n->shape.dim[0])) fputs("<mtd><mo>⋮</mo></mtd>", out);
            else
                put_array_row(out, n->values + i * columns, n->units == NULL ? NULL : n->units + i * columns, columns,
                              true);
            fputs("</mtr>", out);
        }
        fputs("</mtable>", out);
    }
}

static bool is_row(const ac_node *n) { return n->kind == AC_LIST || (n->kind == AC_ARRAY && n->shape.rank == 1); }

static void put_items(FILE *out, const ac_node *n, bool cells) {
    for (int i = 0; i < n->operand_count; i = (int)behind(i, n->operand_count)) {
        if (cells) fputs("<mtd>", out);
        else if (i > 0) put_operator(out, ",");
        if (is_gap(i, n->operand_count)) put_operator(out, "⋯");
        else put(out, n->operands[i], SUM);
        if (cells) fputs("</mtd>", out);
    }
}

static void put_list(FILE *out, const ac_node *n) {
    bool rows = true;
    for (int i = 0; i < n->operand_count; i++) rows = rows && is_row(n->operands[i]);
    if (!rows) {
        put_fence(out, "[");
        put_items(out, n, false);
        put_fence(out, "]");
    } else {
        fputs("<mtable>", out);
        for (int i = 0; i < n->operand_count; i = (int)behind(i, n->operand_count)) {
            const ac_node *row = n->operands[i];
            fputs("<mtr>", out);
            if (is_gap(i, n->operand_count)) fputs("<mtd><mo>⋮</mo></mtd>", out);
            else if (row->kind == AC_LIST) put_items(out, row, true);
            else put_array_row(out, row->values, row->units, row->shape.dim[0], true);
            fputs("</mtr>", out);
        }
        fputs("</mtable>", out);
    }
}

/* ---- operators -------------------------------------------------------------------------------------------------- */

static bool is_number(const ac_node *n) {
    while (n->kind == AC_NEGATE) n = n->operands[0];
    return n->kind == AC_NUMBER && n->units != NULL;
}

static const ac_node *first_factor(const ac_node *n) {
    while (n->kind == AC_MULTIPLY || n->kind == AC_MATMUL || n->kind == AC_POWER || is_transpose(n) ||
           n->kind == AC_INDEX)
        n = n->operands[0];
    return n;
}

static const ac_node *last_factor(const ac_node *n) {
    while (n->kind == AC_MULTIPLY || n->kind == AC_MATMUL || n->kind == AC_NEGATE)
        n = n->operands[1 - (n->kind == AC_NEGATE)];
    while (n->kind == AC_POWER || is_transpose(n) || n->kind == AC_INDEX) n = n->operands[0];
    return n;
}

static bool is_long_name(const ac_node *n) { return n->kind == AC_NAME && ac_html_name_is_long(n->symbol->name); }

/* Between factors: an empty sign where the two cannot be read as one. */
static const char *juxtaposition(const ac_node *left, const ac_node *right) {
    const ac_node *a = last_factor(left), *b = first_factor(right);
    bool words =
        (is_long_name(a) && (b->kind == AC_NAME || b->kind == AC_APPLY || b->kind == AC_CALL)) || is_long_name(b);
    return is_number(b) || (words && !is_number(a)) ? "⋅" : "\xE2\x81\xA2"; /* U+2062, invisible times */
}

static bool is_elementwise(const ac_node *n) {
    int left = ac_html_rank(n->operands[0]), right = ac_html_rank(n->operands[1]);
    return n->kind == AC_MULTIPLY && left > 0 && right > 0;
}

/* u . v and u (x) v: within another product it would not be seen what is multiplied first. */
static bool is_pair(const ac_node *n) {
    return is_call(n, "dot") || is_call(n, "outer") ||
           (n->kind == AC_MATMUL && ac_html_rank(n->operands[0]) == 1 && ac_html_rank(n->operands[1]) == 1);
}

/* Whether a factor needs parentheses: what is a product itself only where another order would be another value. */
static bool needs_parentheses(const ac_node *product, int side) {
    const ac_node *n = product->operands[side];
    bool inner = n->kind == AC_MULTIPLY || n->kind == AC_MATMUL;
    if (level_of(n) < (side == 0 ? SIGN : PRODUCT) || is_pair(n)) return true;
    if (side == 0 ? ends_open(n) : level_of(n) == PRODUCT && !inner && !is_big_operator(n)) return true;
    if (!inner || (side == 0 && product->kind == n->kind)) return false;
    return is_elementwise(n) || is_elementwise(product) || product->kind == n->kind;
}

static void put_product(FILE *out, const ac_node *n) {
    const ac_node *left = n->operands[0], *right = n->operands[1];
    const char *sign = is_elementwise(n) ? "⊙" : juxtaposition(left, right);
    if (is_pair(n)) sign = "⋅";
    put(out, left, needs_parentheses(n, 0) ? (level)(ATOM + 1) : SUM);
    if (sign[0] == '\xE2' && sign[1] == '\x81') fputs("<mo>\xE2\x81\xA2</mo><mspace width=\"0.15em\"/>", out);
    else put_operator(out, sign);
    put(out, right, needs_parentheses(n, 1) ? (level)(ATOM + 1) : SUM);
}

static void put_between(FILE *out, const ac_node *n, const char *sign, level left, level right) {
    put(out, n->operands[0], left);
    put_operator(out, sign);
    put(out, n->operands[1], right);
}

static bool has_subscript(const ac_node *n) {
    return is_call(n, "ones") || is_call(n, "zeros") || is_call(n, "eye") || is_call(n, "onehot") ||
           (n->kind == AC_NAME && ac_html_name_has_subscript(n->symbol->name));
}

static void put_index(FILE *out, const ac_node *n) {
    const ac_node *base = n->operands[0];
    bool subscript = base->kind == AC_INDEX || has_subscript(base);
    fputs("<msub>", out);
    put(out, base, subscript ? (level)(ATOM + 1) : ATOM);
    fputs("<mrow>", out);
    for (int i = 1; i < n->operand_count; i++) {
        if (i > 1) put_operator(out, ",");
        if (n->operands[i] == NULL) put_operator(out, ":");
        else put(out, n->operands[i], SUM);
    }
    fputs("</mrow></msub>", out);
}

/* ---- derivatives ------------------------------------------------------------------------------------------------ */

static void put_by(FILE *out, const ac_node *x, const char *power) {
    fputs("<mrow><mo rspace=\"0\">∂</mo>", out);
    if (*power != '\0') fputs("<msup>", out);
    put(out, x, ATOM);
    fprintf(out, "%s%s</mrow>", power, *power != '\0' ? "</msup>" : "");
}

static void put_derivative(FILE *out, const ac_node *n) {
    const ac_node *f = n->operands[0], *x = n->operands[1];
    bool second = n->kind == AC_HESS;
    if (second && ac_html_rank(x) != 0) {
        fputs("<msubsup><mo>∇</mo>", out);
        put(out, x, SUM);
        fputs("<mn>2</mn></msubsup>", out);
        put(out, f, ATOM);
        return;
    }
    const char *d = second ? "<msup><mo rspace=\"0\">∂</mo><mn>2</mn></msup>" : "<mo rspace=\"0\">∂</mo>";
    fprintf(out, "<mfrac><mrow>%s", d);
    if (is_quotient(n)) put(out, f, ATOM);
    fputs("</mrow>", out);
    put_by(out, x, second ? "<mn>2</mn>" : "");
    fputs("</mfrac>", out);
    if (!is_quotient(n)) put(out, f, FRACTION);
}

/* ---- functions -------------------------------------------------------------------------------------------------- */

/* The dimension along which a function of a matrix works, as an arrow: 1 down the columns, 2 along the rows. */
static void put_dimension(FILE *out, const ac_node *dimension) {
    if (is_number(dimension) && dimension->values[0] == 1) put_operator(out, "↓");
    else if (is_number(dimension) && dimension->values[0] == 2) put_operator(out, "→");
    else put(out, dimension, SUM);
}

static void put_big_operator(FILE *out, const ac_node *n) {
    const char *sign = is_call(n, "sum") ? "∑" : "∏";
    if (n->operand_count == 1) put_operator(out, sign);
    else {
        fprintf(out, "<munder><mo>%s</mo><mrow>", sign);
        put_dimension(out, n->operands[1]);
        fputs("</mrow></munder>", out);
    }
    bool open = ends_open(n->operands[0]) && !is_big_operator(n->operands[0]);
    put(out, n->operands[0], open ? ATOM : PRODUCT);
}

static void put_subscripted(FILE *out, const char *base, const ac_node *n) {
    fprintf(out, "<msub>%s<mrow>", base);
    for (int i = 0; i < n->operand_count; i++) {
        if (i > 0) put_operator(out, "×");
        put(out, n->operands[i], ATOM);
    }
    fputs("</mrow></msub>", out);
}

static void put_fenced(FILE *out, const char *sign, const ac_node *n) {
    if (n->operand_count > 1) fputs("<msub>", out);
    put_bracketed(out, sign, n->operands[0], sign);
    if (n->operand_count == 1) return;
    put_dimension(out, n->operands[1]);
    fputs("</msub>", out);
}

/* Those that have a sign of their own; false: a name and arguments will do. */
static bool put_sign_of_its_own(FILE *out, const ac_node *n) {
    if (is_big_operator(n)) put_big_operator(out, n);
    else if (is_power_of_e(n)) {
        fputs("<msup><mi>e</mi>", out);
        put(out, n->operands[0], SUM);
        fputs("</msup>", out);
    } else if (is_call(n, "sqrt")) {
        fputs("<msqrt>", out);
        put(out, n->operands[0], SUM);
        fputs("</msqrt>", out);
    } else if (is_call(n, "abs")) put_fenced(out, "|", n);
    else if (is_call(n, "norm")) put_fenced(out, "‖", n);
    else if (is_call(n, "inv")) put_superscript(out, n->operands[0], "<mrow><mo>−</mo><mn>1</mn></mrow>");
    else if (is_transpose(n)) put_superscript(out, n->operands[0], "<mo>⊤</mo>");
    else if (is_call(n, "dot")) put_between(out, n, "⋅", FRACTION, FRACTION);
    else if (is_call(n, "outer")) put_between(out, n, "⊗", FRACTION, FRACTION);
    else if (is_call(n, "ones")) put_subscripted(out, "<mn>𝟏</mn>", n);
    else if (is_call(n, "zeros")) put_subscripted(out, "<mn>𝟎</mn>", n);
    else if (is_call(n, "eye")) put_subscripted(out, "<mi>I</mi>", n);
    else if (is_call(n, "onehot")) {
        fputs("<msubsup><mi>e</mi>", out);
        put(out, n->operands[0], SUM);
        put_arguments(out, n->operands + 1, 1);
        fputs("</msubsup>", out);
    } else return false;
    return true;
}

static const char *mathml_name(const char *name) {
    static const struct {
        const char *name, *mathml;
    } names[] = {
        {"log", "<mi>ln</mi>"},
        {"log10", "<msub><mi>log</mi><mn>10</mn></msub>"},
        {"log2", "<msub><mi>log</mi><mn>2</mn></msub>"},
        {"sign", "<mi>sgn</mi>"},
        {"asin", "<mi>arcsin</mi>"},
        {"acos", "<mi>arccos</mi>"},
        {"atan", "<mi>arctan</mi>"},
        {"sigmoid", "<mi>σ</mi>"},
        {"relu", "<mi>ReLU</mi>"},
        {"gelu", "<mi>GELU</mi>"},
        {"silu", "<mi>SiLU</mi>"},
        {"lgamma", "<mi>ln</mi><mo>\xE2\x81\xA1</mo><mi>Γ</mi>"},
        {"digamma", "<mi>ψ</mi>"},
        {"trace", "<mi>tr</mi>"},
        {"cross_entropy", "<mi>CE</mi>"},
        {"bce", "<mi>BCE</mi>"},
        {"mse", "<mi>MSE</mi>"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i].name, name) == 0) return names[i].mathml;
    return NULL;
}

/* softmax(M, 2) and the like: their second operand is a dimension. */
static bool has_dimension(const ac_node *n) {
    return n->operand_count == 2 && (is_call(n, "softmax") || is_call(n, "logsumexp") || is_call(n, "mean"));
}

static void put_call(FILE *out, const ac_node *n) {
    if (put_sign_of_its_own(out, n)) return;
    const char *name = mathml_name(n->function->name);
    bool dimension = has_dimension(n);
    if (dimension) fputs("<msub>", out);
    if (name != NULL) fputs(name, out);
    else put_word(out, n->function->name);
    if (dimension) {
        put_dimension(out, n->operands[1]);
        fputs("</msub>", out);
    }
    put_operator(out, "\xE2\x81\xA1"); /* U+2061, application of a function */
    put_arguments(out, n->operands, dimension ? 1 : n->operand_count);
}

static void put_solve(FILE *out, const ac_node *n) {
    fputs("<msub><mi>solve</mi>", out);
    ac_html_name(out, n->symbol->name);
    fputs("</msub><mrow>", out);
    put_fence(out, "(");
    put_between(out, n, "=", SUM, SUM);
    put_fence(out, ")");
    fputs("</mrow>", out);
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

static void put_node(FILE *out, const ac_node *n) {
    switch (n->kind) {
    case AC_NUMBER:
        if (n->units == NULL) put_word(out, "π");
        else put_number(out, n->values[0], n->units);
        return;
    case AC_ARRAY: put_array(out, n); return;
    case AC_LIST: put_list(out, n); return;
    case AC_NAME: ac_html_name(out, n->symbol->name); return;
    case AC_NEGATE:
        fputs("<mo form=\"prefix\">−</mo>", out);
        put(out, n->operands[0], PRODUCT);
        return;
    case AC_TRANSPOSE: put_superscript(out, n->operands[0], "<mo>⊤</mo>"); return;
    case AC_ADD: put_between(out, n, "+", SUM, PRODUCT); return;
    case AC_SUBTRACT: put_between(out, n, "−", SUM, PRODUCT); return;
    case AC_MULTIPLY:
    case AC_MATMUL: put_product(out, n); return;
    case AC_DIVIDE:
        fputs("<mfrac>", out);
        put(out, n->operands[0], SUM);
        put(out, n->operands[1], SUM);
        fputs("</mfrac>", out);
        return;
    case AC_POWER:
        fputs("<msup>", out);
        put(out, n->operands[0], ATOM);
        put(out, n->operands[1], SUM);
        fputs("</msup>", out);
        return;
    case AC_INDEX: put_index(out, n); return;
    case AC_CALL: put_call(out, n); return;
    case AC_APPLY:
        ac_html_name(out, n->symbol->name);
        put_operator(out, "\xE2\x81\xA1");
        put_arguments(out, n->operands, n->operand_count);
        return;
    case AC_GRAD:
    case AC_JAC:
    case AC_HESS: put_derivative(out, n); return;
    case AC_SOLVE: put_solve(out, n); return;
    }
}

/* In a row of its own, in parentheses if it does not hold together as tightly as its place asks for. */
static void put(FILE *out, const ac_node *n, level least) {
    bool parentheses = level_of(n) < least;
    fputs("<mrow>", out);
    if (parentheses) put_fence(out, "(");
    put_node(out, n);
    if (parentheses) put_fence(out, ")");
    fputs("</mrow>", out);
}

static int count_nodes(const ac_node *n, int most) {
    int count = 1;
    for (int i = 0; i < n->operand_count && count < most; i++)
        if (n->operands[i] != NULL) count += count_nodes(n->operands[i], most - count);
    return count;
}

static bool is_typeset(const ac_node *n) { return n->depth <= DEEPEST && count_nodes(n, MOST_NODES) < MOST_NODES; }

static void put_typed(FILE *out, const ac_source *source, const ac_node *n, const char *before) {
    char text[MOST_TYPED];
    fputs("<code>", out);
    ac_html_string(out, before);
    ac_html_string(out, ac_text_of(source, n->span, text, sizeof text));
    fputs("</code>", out);
}

void ac_html_formula(FILE *out, const ac_source *source, const ac_node *node) {
    if (!is_typeset(node)) {
        put_typed(out, source, node, "");
        return;
    }
    fputs("<math displaystyle=\"true\">", out);
    put(out, node, SUM);
    fputs("</math>", out);
}

void ac_html_claim(FILE *out, const ac_source *source, const ac_statement *s) {
    bool within = s->within != NULL && is_typeset(s->within);
    ac_html_formula(out, source, s->left);
    fputc(' ', out);
    if (!is_typeset(s->right)) put_typed(out, source, s->right, "= ");
    else {
        fputs("<math displaystyle=\"true\"><mrow><mo form=\"infix\">=</mo>", out);
        put(out, s->right, SUM);
        fputs("</mrow></math>", out);
    }
    if (!within) return;
    fputs(" <span class=\"within\">within ", out);
    ac_html_formula(out, source, s->within);
    fputs("</span>", out);
}
