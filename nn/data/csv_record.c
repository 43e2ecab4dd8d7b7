/* Records of CSV and their fields: RFC 4180, also with LF, other separators and a byte order mark. */
#include "nn/data/csv_impl.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void nn_csv_fail(const nn_csv_reader *r, const nn_csv_field *at, nn_error *e, const char *format, ...) {
    char what[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    nn_fail(e, AG_ERR_VALUE, "%.120s:%" PRId64 ":%" PRId64 ": %s", r->name, at->line, at->column, what);
}

static nn_csv_field here(const nn_csv_reader *r) {
    return (nn_csv_field){r->at, 0, r->line, (int64_t)(r->at - r->line_start) + 1, false};
}

static void fail_here(const nn_csv_reader *r, const char *what, nn_error *e) {
    nn_csv_field at = here(r);
    nn_csv_fail(r, &at, e, "%s", what);
}

/* Behind the opening quote. Moves `at` behind the closing one. */
static void read_quoted(nn_csv_reader *r, nn_csv_field *f, nn_error *e) {
    char *to = r->at;
    f->text = to;
    f->quoted = true;
    for (;; r->at++) {
        if (r->at == r->end) {
            nn_csv_fail(r, f, e, "the quoted field does not end");
            return;
        }
        if (*r->at == '\0') {
            fail_here(r, "there is a byte 0", e);
            return;
        }
        if (*r->at == '"') {
            if (r->at + 1 == r->end || r->at[1] != '"') break;
            r->at++;
        } else if (*r->at == '\n') {
            r->line++;
            r->line_start = r->at + 1;
        }
        *to++ = *r->at;
    }
    f->length = (size_t)(to - f->text);
    r->at++;
}

static bool is_line_end(const nn_csv_reader *r) {
    return r->at < r->end && (*r->at == '\n' || (*r->at == '\r' && r->end - r->at > 1 && r->at[1] == '\n'));
}

static void read_plain(nn_csv_reader *r, nn_csv_field *f, nn_error *e) {
    while (r->at < r->end && *r->at != r->separator && !is_line_end(r)) {
        char c = *r->at;
        if (c == '"' || c == '\0' || c == '\r') {
            fail_here(r,
                      c == '"'    ? "a quote inside a field that does not begin with one"
                      : c == '\r' ? "a carriage return without a line feed"
                                  : "there is a byte 0",
                      e);
            return;
        }
        r->at++;
    }
    f->length = (size_t)(r->at - f->text);
}

/* Whether another field of the record follows. */
static bool read_field(nn_csv_reader *r, nn_error *e) {
    nn_csv_field *f = nn_append((void **)&r->fields, &r->count, &r->room, sizeof *f, r->name, e);
    if (f == NULL) return false;
    *f = here(r);
    if (r->at < r->end && *r->at == '"') {
        r->at++;
        read_quoted(r, f, e);
    } else {
        read_plain(r, f, e);
    }
    if (!nn_ok(e)) return false;
    bool more = r->at < r->end && *r->at == r->separator;
    if (more) {
        r->at++;
    } else if (is_line_end(r)) {
        r->at += *r->at == '\r' ? 2 : 1;
        r->line++;
        r->line_start = r->at;
    } else if (r->at < r->end) {
        fail_here(r, "something between a closing quote and the separator", e);
        return false;
    }
    return more;
}

bool nn_csv_record(nn_csv_reader *r, nn_error *e) {
    r->count = 0;
    if (!nn_ok(e) || r->at == r->end) return false;
    while (read_field(r, e)) continue;
    for (int64_t i = 0; nn_ok(e) && i < r->count; i++) r->fields[i].text[r->fields[i].length] = '\0';
    return nn_ok(e);
}

bool nn_csv_is_blank(const nn_csv_reader *r) {
    return r->count == 1 && r->fields[0].length == 0 && !r->fields[0].quoted;
}

/* ---- numbers ---- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static const char *skip_blanks(const char *c) {
    while (*c == ' ' || *c == '\t') c++;
    return c;
}

/* The end of a decimal number that begins here; where it begins if there is none. */
static const char *decimal_end(const char *start) {
    const char *c = start + (*start == '-' || *start == '+');
    int digits = 0;
    for (; is_digit(*c); c++) digits = 1;
    if (*c == '.')
        for (c++; is_digit(*c); c++) digits = 1;
    if (!digits) return start;
    if (*c == 'e' || *c == 'E') {
        const char *exponent = c + 1 + (c[1] == '-' || c[1] == '+');
        if (!is_digit(*exponent)) return start;
        for (c = exponent; is_digit(*c);) c++;
    }
    return c;
}

bool nn_csv_number(const nn_csv_field *field, double *value) {
    const char *start = skip_blanks(field->text), *end = decimal_end(start),
               *word = start + (*start == '-' || *start == '+');
    if (end > start) {
        *value = strtod(start, NULL);
        if (isinf(*value)) return false; /* beyond a double */
    } else {
        size_t length = strncasecmp(word, "infinity", 8) == 0 ? 8 : strncasecmp(word, "inf", 3) == 0 ? 3 : 0;
        if (length == 0) return false;
        *value = *start == '-' ? -INFINITY : INFINITY;
        end = word + length;
    }
    return skip_blanks(end) == field->text + field->length;
}
