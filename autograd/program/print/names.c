/* Names of inputs and outputs as C identifiers. */
#include "print_impl.h"

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Keywords of C and C++, predefined macros, and what printed code and the headers that it includes use. */
static const char *const reserved[] = {
    "alignas",
    "alignof",
    "and",
    "asm",
    "auto",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "class",
    "const",
    "constexpr",
    "continue",
    "default",
    "delete",
    "do",
    "double",
    "else",
    "enum",
    "explicit",
    "export",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "mutable",
    "namespace",
    "new",
    "noexcept",
    "not",
    "nullptr",
    "operator",
    "or",
    "private",
    "protected",
    "public",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "static_assert",
    "struct",
    "switch",
    "template",
    "this",
    "thread_local",
    "throw",
    "true",
    "try",
    "typedef",
    "typeof",
    "typeof_unqual",
    "typeid",
    "typename",
    "union",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "wchar_t",
    "while",
    "xor",
    "main",
    "linux",
    "unix",
    "i386",
    "INFINITY",
    "NAN",
    "HUGE_VAL",
    "isnan",
    "isinf",
    "isfinite",
    "fpclassify",
    "signbit",
    "isnormal",
    "abs",
    "NULL",
    "errno",
    "math_errhandling",
    "float_t",
    "double_t",
    "domain",
    "exception",
    "signgam",
    "i",
    "l",
    "printf",
    "fprintf",
    "sprintf",
    "snprintf",
    "scanf",
    "puts",
    "putchar",
    "malloc",
    "calloc",
    "realloc",
    "free",
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "strlen",
    "strcpy",
    "strcmp",
    "exit",
    "abort",
    "work",
    "rows",
    "row",
    "sum",
    "part",
    "most",
    "shift",
    "at",
    "scale",
    "best",
    "pivot",
    "out",
    "pow10",
    "isgreater",
    "isless",
    "complex",
    "I",
    "blasint",
    "j0",
    "j1",
    "jn",
    "yn",
    "gamma",
    "stdin",
    "stdout",
    "stderr",
};

/* Functions of <math.h> beside those that are operations; each has versions that end in f and l. */
static const char *const functions[] = {
    "fabs",   "fmax",      "fmin",      "fmod",       "fdim",  "ldexp",  "frexp",   "scalbn", "scalbln",
    "logb",   "ilogb",     "modf",      "trunc",      "round", "lround", "llround", "rint",   "lrint",
    "llrint", "nearbyint", "remainder", "remquo",     "nan",   "ceil",   "floor",   "exp2",   "lgamma",
    "tgamma", "copysign",  "nextafter", "nexttoward", "fma",   "cbrt",   "sincos",
};

/* Whether it is `base`, or that with an f or l behind it. */
static bool is_version(const char *name, const char *base) {
    size_t length = strlen(base);
    if (strncmp(name, base, length) != 0) return false;
    const char *end = name + length;
    return *end == '\0' || ((*end == 'f' || *end == 'l') && end[1] == '\0');
}

static bool begins(const char *name, const char *with) { return strncmp(name, with, strlen(with)) == 0; }

static bool is_reserved(const char *name) {
    for (size_t k = 0; k < sizeof reserved / sizeof *reserved; k++)
        if (strcmp(name, reserved[k]) == 0) return true;
    for (size_t k = 0; k < sizeof functions / sizeof *functions; k++)
        if (is_version(name, functions[k])) return true;
    for (uint32_t op = 0; op < AG_OPCODES; op++)
        if (is_version(name, ag_op_table[op].name)) return true;
    /* i1, v12, c3: loops, values, tables. _A, __a: the compiler's. M_PI: macros. size_t: types. */
    if ((name[0] == 'i' || name[0] == 'v' || name[0] == 'c') && name[1]) {
        size_t k = 1;
        while (is_digit(name[k])) k++;
        if (name[k] == '\0') return true;
    }
    return (name[0] == '_' && (name[1] == '_' || (name[1] >= 'A' && name[1] <= 'Z'))) || begins(name, "ad_") ||
           begins(name, "M_") || begins(name, "FP_") || begins(name, "MATH_") || begins(name, "cblas_") ||
           begins(name, "Cblas") || (strlen(name) > 2 && strcmp(name + strlen(name) - 2, "_t") == 0);
}

/* x_step, f_rows, f_lanes: parameters and functions beside x and f. */
static bool is_derived(const char *name) {
    static const char *const endings[] = {"_step", "_rows", "_lanes"};
    for (size_t k = 0; k < sizeof endings / sizeof *endings; k++) {
        size_t length = strlen(name), end = strlen(endings[k]);
        if (length > end && strcmp(name + length - end, endings[k]) == 0) return true;
    }
    return false;
}

static bool is_taken(const char *name, char (*taken)[NAME_ROOM], size_t n) {
    for (size_t k = 0; k < n; k++)
        if (strcmp(name, taken[k]) == 0) return true;
    return false;
}

void ag_c_name(char *to, const char *wanted, char (*taken)[NAME_ROOM], size_t n) {
    size_t count = 0;
    if (!is_letter(wanted[0]) || (wanted[0] == '_' && is_reserved(wanted))) to[count++] = 'p';
    for (size_t k = 0; wanted[k] && count < C_NAME_LONGEST; k++)
        to[count++] = is_letter(wanted[k]) || is_digit(wanted[k]) ? wanted[k] : '_';
    to[count] = '\0';
    if (is_reserved(to) || (taken && is_derived(to))) {
        to[count++] = '_';
        to[count] = '\0';
    }
    for (unsigned k = 2; is_taken(to, taken, n); k++) snprintf(to + count, NAME_ROOM - count, "_%u", k);
}

/* Latin, Greek and Cyrillic letters in UTF-8, U+00C0 to U+053F: none of them turns the reading direction around. */
static bool is_foreign_letter(const char *at) {
    uint8_t first = (uint8_t)at[0], second = (uint8_t)at[1];
    return first >= 0xC3 && first <= 0xD4 && second >= 0x80 && second <= 0xBF;
}

void ag_c_comment_name(char *to, const char *name) {
    size_t count = 0;
    for (size_t k = 0; name[k] && count < C_NAME_LONGEST; k++) {
        if (is_foreign_letter(name + k)) to[count++] = name[k++];
        else if (name[k] < ' ' || name[k] > '~' || strchr("*\\?", name[k])) {
            to[count++] = '_';
            continue;
        }
        to[count++] = name[k];
    }
    to[count] = '\0';
}
