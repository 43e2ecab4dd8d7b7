/* As much of JSON (RFC 8259) as headers of safetensors have, read strictly. */
#include "nn/data/json_impl.h"

void nn_json_fail(const nn_json *j, const char *what, nn_error *e) {
    nn_fail(e, AG_ERR_VALUE, "%.200s: byte %zu: %s", j->name, (size_t)(j->at - j->start), what);
}

void nn_json_skip_blanks(nn_json *j) {
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' || *j->at == '\t' || *j->at == '\r')) j->at++;
}

bool nn_json_take(nn_json *j, char c) {
    nn_json_skip_blanks(j);
    if (j->at == j->end || *j->at != (uint8_t)c) return false;
    j->at++;
    return true;
}

void nn_json_expect(nn_json *j, char c, nn_error *e) {
    char what[] = "there should be a '?'";
    what[sizeof what - 3] = c;
    if (nn_ok(e) && !nn_json_take(j, c)) nn_json_fail(j, what, e);
}

bool nn_json_more(nn_json *j, char close, bool *first, nn_error *e) {
    if (!nn_ok(e)) return false;
    if (nn_json_take(j, close)) return false;
    if (!*first) nn_json_expect(j, ',', e);
    *first = false;
    return nn_ok(e);
}

int64_t nn_json_integer(nn_json *j, nn_error *e) {
    int64_t n = 0;
    if (!nn_ok(e)) return 0;
    nn_json_skip_blanks(j);
    const uint8_t *start = j->at;
    for (; j->at < j->end && *j->at >= '0' && *j->at <= '9'; j->at++) {
        if (n > (INT64_MAX - 9) / 10) {
            nn_json_fail(j, "the number is too large", e);
            return 0;
        }
        n = 10 * n + (*j->at - '0');
    }
    if (j->at == start) nn_json_fail(j, "there should be a number, not negative", e);
    else if (*start == '0' && j->at - start > 1) nn_json_fail(j, "a number begins with 0", e);
    else if (j->at < j->end && (*j->at == '.' || *j->at == 'e' || *j->at == 'E'))
        nn_json_fail(j, "there should be an integer", e);
    return n;
}

/* ---- texts ---- */

static int hex_digit(uint8_t c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The four digits of \uXXXX; -1 for others. */
static int64_t hex(nn_json *j) {
    int64_t value = 0;
    for (int i = 0; i < 4; i++, j->at++) {
        int digit = j->at < j->end ? hex_digit(*j->at) : -1;
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* Behind the backslash. */
static int64_t escaped(nn_json *j) {
    int64_t point, low;
    if (j->at == j->end) return -1;
    switch (*j->at++) {
    case '"': return '"';
    case '\\': return '\\';
    case '/': return '/';
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'u': break;
    default: return -1;
    }
    point = hex(j);
    if (point < 0xd800 || point > 0xdfff) return point;
    if (point > 0xdbff || j->end - j->at < 2 || j->at[0] != '\\' || j->at[1] != 'u') return -1;
    j->at += 2;
    low = hex(j);
    return low >= 0xdc00 && low <= 0xdfff ? 0x10000 + ((point - 0xd800) << 10 | (low - 0xdc00)) : -1;
}

/* Its end, where the quote is, not counting escapes; an upper bound of the length. */
static const uint8_t *find_quote(const nn_json *j) {
    const uint8_t *c = j->at;
    while (c < j->end && *c != '"') c += *c == '\\' && j->end - c > 1 ? 2 : 1;
    return c;
}

char *nn_json_text(nn_json *j, nn_error *e) {
    size_t length = 0;
    nn_json_expect(j, '"', e);
    if (!nn_ok(e)) return NULL;
    char *text = nn_take((size_t)(find_quote(j) - j->at) + 5, 1, j->name, e);
    while (text != NULL && nn_ok(e)) {
        const uint8_t *before = j->at;
        int64_t point = -1;
        if (j->at == j->end) {
            nn_json_fail(j, "a text does not end", e);
            break;
        }
        if (*j->at == '"') break;
        if (*j->at == '\\') {
            j->at++;
            point = escaped(j);
        } else if (*j->at >= 0x20) {
            point = nn_utf8_next(&j->at, j->end);
        }
        if (point > 0) {
            length += (size_t)nn_utf8_put((uint32_t)point, text + length);
        } else {
            j->at = before;
            nn_json_fail(j, "a character that no text may have", e);
        }
    }
    if (nn_ok(e)) {
        j->at++;
        return text;
    }
    nn_release(text);
    return NULL;
}

void nn_json_write_text(FILE *out, const char *text) {
    (void)fputc('"', out);
    for (const char *c = text; *c != '\0';) {
        const char *from = c;
        while ((unsigned char)*c >= 0x20 && *c != '"' && *c != '\\') c++;
        (void)fwrite(from, 1, (size_t)(c - from), out);
        if (*c == '\0') break;
        (void)fprintf(out, *c == '"' || *c == '\\' ? "\\%c" : "\\u%04x", (unsigned)*c);
        c++;
    }
    (void)fputc('"', out);
}
