#include "nn/check/literal.h"

#include <math.h>
#include <stdlib.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static const char *skip_digits(const char *c) {
    while (is_digit(*c)) c++;
    return c;
}

static const char *skip_blanks(const char *c) {
    while (*c == ' ' || *c == '\t' || *c == '\n' || *c == '\r') c++;
    return c;
}

bool nn_literal_number(const char **text, double *value, double *unit) {
    const char *start = *text + (**text == '-' || **text == '+'), *c = skip_digits(start);
    long digits = (long)(c - start), decimals = 0, exponent = 0;
    bool point = *c == '.';
    if (point) {
        const char *end = skip_digits(c + 1);
        decimals = (long)(end - (c + 1));
        c = end;
    }
    if (digits + decimals == 0) return false;
    if (*c == 'e' || *c == 'E') {
        const char *e = c + 1 + (c[1] == '-' || c[1] == '+');
        if (is_digit(*e)) {
            exponent = strtol(c + 1, NULL, 10); /* saturates */
            c = skip_digits(e);
        }
    }
    char *end;
    *value = strtod(*text, &end);
    *unit = point ? pow(10, (double)exponent - (double)decimals) : 0;
    if (end != c || !isfinite(*value) || !isfinite(*unit))
        return false; /* strtod also knows hexadecimal, inf, nan and the locale's decimal point */
    *text = c;
    return true;
}

/* Numbers, separated by commas, up to a ']', which is left; adds them at *count. */
static bool read_row(const char **text, int64_t capacity, int64_t *count, double *value, double *unit) {
    for (;;) {
        *text = skip_blanks(*text);
        if (*count == capacity || !nn_literal_number(text, &value[*count], &unit[*count])) return false;
        ++*count;
        *text = skip_blanks(*text);
        if (**text != ',') return **text == ']';
        ++*text;
    }
}

/* Rows of the same length, behind the matrix's '['. */
static bool read_matrix(const char **text, int64_t capacity, ag_shape *shape, double *value, double *unit) {
    int64_t count = 0, rows = 0;
    for (;;) {
        int64_t before = count;
        *text = skip_blanks(*text);
        if (**text != '[') return false;
        ++*text;
        if (!read_row(text, capacity, &count, value, unit)) return false;
        ++*text;
        if (rows++ > 0 && count - before != shape->dim[1]) return false;
        shape->dim[1] = count - before;
        *text = skip_blanks(*text);
        if (**text != ',') break;
        ++*text;
    }
    shape->rank = 2;
    shape->dim[0] = rows;
    return **text == ']';
}

bool nn_literal_array(const char *text, int64_t capacity, ag_shape *shape, double *value, double *unit) {
    memset(shape, 0, sizeof *shape);
    text = skip_blanks(text);
    if (*text != '[') return capacity > 0 && nn_literal_number(&text, value, unit) && *skip_blanks(text) == '\0';
    text = skip_blanks(text + 1);
    bool matrix = *text == '[';
    if (matrix ? !read_matrix(&text, capacity, shape, value, unit)
               : !read_row(&text, capacity, &shape->dim[0], value, unit))
        return false;
    shape->rank = matrix ? 2 : 1;
    return *skip_blanks(text + 1) == '\0';
}
