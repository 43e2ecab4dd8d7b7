/* The table of elementwise operations as C, from its own expressions: what a printed program computes cannot be something
 * else than what the machine does. */
#include "print_impl.h"

#include <math.h>
#include <stdlib.h>

static const char *const values[AG_OPCODES] = {
#define AG_OP1(NAME, name, form, value, ...) [AG_##NAME] = #value,
#define AG_OP2(NAME, name, form, value, ...) [AG_##NAME] = #value,
#define AG_OP3(NAME, name, form, value, ...) [AG_##NAME] = #value,
#include "../../ops/elementwise.def"
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3
};

/* Functions that <math.h> lacks, as text. */
static const char *const special[] = {
#define AG_SPECIAL_DATA(...) #__VA_ARGS__,
#define AG_SPECIAL_LOCAL(...) "static inline " #__VA_ARGS__,
#define AG_SPECIAL(...) "static inline " #__VA_ARGS__,
#include "../../ops/special.inc"
#undef AG_SPECIAL_DATA
#undef AG_SPECIAL_LOCAL
#undef AG_SPECIAL
};
enum { SPECIAL_DONE = AG_OPCODES }; /* in the list of helpers that are printed */

const char *ag_c_number_type(ag_type type) { return type == AG_F64 ? "double" : "float"; }

ag_c_literal ag_c_literal_of(ag_type type, double number) {
    ag_c_literal l;
    if (isnan(number) || isinf(number)) {
        const char *cast = type == AG_F64 ? "(double)" : "";
        snprintf(l.text, sizeof l.text, "%s%s%s", signbit(number) ? "-" : "", cast, isnan(number) ? "NAN" : "INFINITY");
        return l;
    }
    for (int digits = type == AG_F64 ? 15 : 6; digits <= 17; digits++) {
        snprintf(l.text, sizeof l.text - 3, "%.*g", digits, number);
        if (type == AG_F64 ? strtod(l.text, NULL) == number : strtof(l.text, NULL) == (float)number) break;
    }
    if (!strpbrk(l.text, ".e")) strcat(l.text, ".0");
    if (type == AG_F32) strcat(l.text, "f");
    return l;
}

/* ---- reading the table's text ---- */

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

size_t ag_c_token(const char *text) {
    size_t n = 0;
    while (is_word(text[n])) n++;
    return n ? n : 1;
}

static bool is_token(const char *at, const char *word) {
    return strncmp(at, word, strlen(word)) == 0 && ag_c_token(at) == strlen(word);
}

static bool is_operand(const char *at) { return (*at == 'x' || *at == 'y' || *at == 'z') && ag_c_token(at) == 1; }

size_t ag_c_translate(ag_text *t, const char *at, ag_type type) {
    const char *suffix = type == AG_F64 ? "" : "f";
    size_t n = ag_c_token(at);
    bool call = n == 1 && at[1] == '(';
    size_t inner = call ? strcspn(at + 2, ")") : 0;
    if (call && (*at == 'K' || *at == 'M' || *at == 'F')) {
        const char *text = at + 2;
        if (*at == 'M') ag_text_add(t, "%.*s%s", (int)inner, text, suffix);
        if (*at == 'F') ag_text_add(t, "ad_%.*s%s", (int)inner, text, suffix);
        bool whole = strcspn(text, ".e") >= inner;
        if (*at == 'K') ag_text_add(t, "%.*s%s%s", (int)inner, text, whole ? ".0" : "", suffix);
        return inner + 3;
    }
    if (is_token(at, "T")) ag_text_add(t, "%s", ag_c_number_type(type));
    else if (is_token(at, "ag_special_lgamma")) ag_text_add(t, "lgamma");
    else if (strncmp(at, "ag_special_", 11) == 0) ag_text_add(t, "ad_special_%.*s", (int)n - 11, at + 11);
    else ag_text_add(t, "%.*s", (int)n, at);
    return n;
}

/* ---- templates ---- */

static int count_operand(const char *text, char letter) {
    int n = 0;
    for (const char *at = text; *at; at += ag_c_token(at)) n += is_operand(at) && *at == letter;
    return n;
}

static bool stands_once(const char *text) {
    return count_operand(text, 'x') <= 1 && count_operand(text, 'y') <= 1 && count_operand(text, 'z') <= 1;
}

/* M(f)(x, y) and nothing else. */
static bool is_call(const char *text) {
    if (strncmp(text, "M(", 2) != 0) return false;
    const char *open = text + strcspn(text, ")") + 1;
    if (*open != '(') return false;
    const char *close = open + strcspn(open, ")");
    return *close == ')' && close[1] == '\0' && strspn(open + 1, "xyz, ") == (size_t)(close - open - 1);
}

static bool has_words(const char *text) { return strpbrk(text, "KMFT_") != NULL; }

static int binding_of(const char *text) {
    if (strchr(text, '?')) return BINDS_CHOICE;
    if (strpbrk(text + 1, "+-")) return BINDS_SUM;
    if (strpbrk(text, "*/")) return BINDS_PRODUCT;
    return *text == '-' ? BINDS_UNARY : BINDS_PRIMARY;
}

ag_c_template ag_c_template_of(uint32_t op) {
    static const char *const calls[] = {"x", "x, y", "x, y, z"};
    const char *text = values[op];
    if (is_call(text)) return (ag_c_template){text, BINDS_PRIMARY, false, true};
    bool choice = strchr(text, '?') != NULL;
    if (choice ? stands_once(text) && !strpbrk(text, "MF") : !has_words(text))
        return (ag_c_template){text, binding_of(text), false, stands_once(text)};
    return (ag_c_template){calls[ag_op_table[op].arity - 1], BINDS_PRIMARY, true, true};
}

static char before(const char *text, const char *at) {
    while (at > text && at[-1] == ' ') at--;
    return at > text ? at[-1] : '\0';
}

static char behind(const char *at) {
    do at++;
    while (*at == ' ');
    return *at;
}

static int least(int a, int b) { return a < b ? a : b; }

int ag_c_binding_at(const char *text, const char *at) {
    char left = before(text, at), right = behind(at);
    int level = BINDS_CHOICE;
    if (left == '*' || left == '/') level = BINDS_UNARY;
    if (left == '+') level = BINDS_PRODUCT;
    if (left == '-') {
        const char *sign = at - 1;
        while (*sign == ' ') sign--;
        level = before(text, sign) ? BINDS_PRODUCT : BINDS_PRIMARY;
    }
    if (right == '*' || right == '/') level = least(level, BINDS_PRODUCT);
    if (right == '+' || right == '-') level = least(level, BINDS_SUM);
    if (strchr("<>=!", right) && right) level = least(level, BINDS_SUM);
    if (strchr("<>=", left) && left) level = least(level, BINDS_SUM);
    if (left == '?' || left == ':' || right == ':') level = least(level, BINDS_EQUAL);
    return level;
}

/* ---- helper functions ---- */

void ag_c_code(ag_text *t, const char *text, ag_type type) {
    int parentheses = 0;
    const char *from = text;
    for (const char *at = text; *at; at++) {
        parentheses += (*at == '(') - (*at == ')');
        bool ends = parentheses == 0 && (*at == ';' || *at == '{' || *at == '}');
        bool closes = at[1] == ' ' ? at[2] == '}' : at[1] == '}';
        if (*at == '}' && at[1] == ';') continue;
        if (!ends && !(closes && parentheses == 0)) continue;
        while (*from == ' ') from++;
        ag_text line = {.memory = t->memory};
        for (const char *c = from; c <= at;) c += ag_c_translate(&line, c, type);
        if (line.count) ag_text_line(t, *line.base == '}' ? "}%s" : "%s", line.base + (*line.base == '}'));
        t->failed |= line.failed;
        ag_text_free(&line);
        from = at + 1;
    }
}

static void add_special(ag_text *t, uint8_t *done) {
    if (done[SPECIAL_DONE]) return;
    done[SPECIAL_DONE] = 1;
    ag_text_line(t, "#ifndef AD_SPECIAL");
    ag_text_line(t, "#define AD_SPECIAL");
    for (size_t k = 0; k < sizeof special / sizeof *special; k++) ag_c_code(t, special[k], AG_F64);
    ag_text_line(t, "#endif");
    ag_text_line(t, "%s", "");
}

static uint32_t op_named(const char *name, size_t length) {
    for (uint32_t op = 0; op < AG_OPCODES; op++)
        if (strncmp(ag_op_table[op].name, name, length) == 0 && ag_op_table[op].name[length] == '\0') return op;
    return AG_OPCODES;
}

void ag_c_helper(ag_text *t, uint32_t op, ag_type type, uint8_t done[AG_OPCODES + 1]) {
    static const char *const args[] = {"%s x", "%s x, %s y", "%s x, %s y, %s z"};
    if (op >= AG_OPCODES || done[op]) return;
    done[op] = 1;
    for (const char *at = values[op]; *at; at += ag_c_token(at)) {
        if (strncmp(at, "F(", 2) == 0) ag_c_helper(t, op_named(at + 2, strcspn(at + 2, ")")), type, done);
        if (strncmp(at, "ag_special_", 11) == 0 && !is_token(at, "ag_special_lgamma")) add_special(t, done);
    }
    const char *number = ag_c_number_type(type), *name = ag_op_table[op].name, *suffix = type == AG_F64 ? "" : "f";
    char list[64];
    snprintf(list, sizeof list, args[ag_op_table[op].arity - 1], number, number, number);
    ag_text body = {.memory = t->memory};
    for (const char *at = values[op]; *at;) at += ag_c_translate(&body, at, type);
    ag_text_line(t, "#ifndef AD_HAS_%s%s", ag_op_table[op].enumerator + 3, suffix);
    ag_text_line(t, "#define AD_HAS_%s%s", ag_op_table[op].enumerator + 3, suffix);
    ag_text_line(t, "static inline %s ad_%s%s(%s) { return %s; }", number, name, suffix, list,
                 body.base ? body.base : "");
    ag_text_line(t, "#endif");
    t->failed |= body.failed;
    ag_text_free(&body);
}
