/* Texts: bytes, characters in UTF-8, and the vocabulary that numbers them. */
#include "nn/data/data_impl.h"

#include <inttypes.h>
#include <string.h>

enum { POINTS = 0x110000 }; /* of Unicode */

int64_t nn_utf8_next(const uint8_t **at, const uint8_t *end) {
    static const struct {
        uint8_t first, last, low,
            high; /* first byte; the second byte's bounds, which rule out longer forms than needed,
                                           surrogates and what is beyond the last point */
        int more;
    } forms[] = {{0xc2, 0xdf, 0x80, 0xbf, 1}, {0xe0, 0xe0, 0xa0, 0xbf, 2}, {0xe1, 0xec, 0x80, 0xbf, 2},
                 {0xed, 0xed, 0x80, 0x9f, 2}, {0xee, 0xef, 0x80, 0xbf, 2}, {0xf0, 0xf0, 0x90, 0xbf, 3},
                 {0xf1, 0xf3, 0x80, 0xbf, 3}, {0xf4, 0xf4, 0x80, 0x8f, 3}};
    const uint8_t *p = *at;
    if (*p < 0x80) {
        ++*at;
        return *p;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (*p < forms[i].first || *p > forms[i].last) continue;
        if (end - p <= forms[i].more || p[1] < forms[i].low || p[1] > forms[i].high) return -1;
        uint32_t point = *p & (0x3fu >> forms[i].more);
        for (int k = 1; k <= forms[i].more; k++) {
            if ((p[k] & 0xc0) != 0x80) return -1;
            point = point << 6 | (p[k] & 0x3fu);
        }
        *at += forms[i].more + 1;
        return point;
    }
    return -1;
}

int nn_utf8_put(uint32_t point, char to[5]) {
    int more = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const uint32_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    to[0] = (char)(lead[more] | point >> 6 * more);
    for (int k = 1; k <= more; k++) to[k] = (char)(0x80 | (point >> 6 * (more - k) & 0x3f));
    to[more + 1] = 0;
    return more + 1;
}

nn_array nn_text_read(const char *path, nn_error *e) {
    nn_content content = nn_content_read(path, e);
    if (!nn_ok(e)) return (nn_array){.type = NN_F32};
    return (nn_array){NN_U8, {1, {(int64_t)content.size}}, content.bytes};
}

/* The line and column, both from 1, of a place in a text. */
static void fail_at(const uint8_t *start, const uint8_t *at, const char *what, nn_error *e) {
    int64_t line = 1, column = 1;
    for (const uint8_t *c = start; c < at; c++) {
        column = *c == '\n' ? 1 : column + 1;
        line += *c == '\n';
    }
    nn_fail(e, AG_ERR_VALUE, "text:%" PRId64 ":%" PRId64 ": byte %lld: %s", line, column, (long long)(at - start),
            what);
}

/* The next character, or -1 after an error. */
static int64_t next(const uint8_t *start, const uint8_t **at, const uint8_t *end, nn_error *e) {
    int64_t point = nn_utf8_next(at, end);
    char what[48];
    if (point >= 0) return point;
    (void)snprintf(what, sizeof what, "0x%02x does not begin a UTF-8 character", **at);
    fail_at(start, *at, what, e);
    return -1;
}

nn_vocabulary nn_vocabulary_of(const void *text, size_t bytes, nn_error *e) {
    nn_vocabulary v = {0};
    if (bytes > 0 && !nn_given(text, "vocabulary: the text", e)) return v;
    const uint8_t *start = text, *at = start, *end = bytes > 0 ? start + bytes : start;
    uint8_t *seen = nn_take(POINTS / 8, 1, "vocabulary", e); /* a bit for each point */
    while (nn_ok(e) && at < end) {
        int64_t point = next(start, &at, end, e);
        if (point < 0) break;
        uint8_t bit = (uint8_t)(1 << point % 8), *place = &seen[point / 8];
        v.count += !(*place & bit);
        *place |= bit;
    }
    v.points = nn_take((size_t)v.count, sizeof *v.points, "vocabulary", e);
    if (!nn_ok(e)) v.count = 0;
    for (uint32_t point = 0, i = 0; i < v.count; point++)
        if (seen[point / 8] >> point % 8 & 1) v.points[i++] = point;
    nn_release(seen);
    return v;
}

void nn_vocabulary_free(nn_vocabulary *vocabulary) {
    if (vocabulary == NULL) return;
    nn_release(vocabulary->points);
    *vocabulary = (nn_vocabulary){0};
}

static int64_t code_of(const nn_vocabulary *v, int64_t point) {
    int64_t lo = 0, hi = v->count;
    while (lo < hi) {
        int64_t middle = lo + (hi - lo) / 2;
        if (v->points[middle] < point) lo = middle + 1;
        else hi = middle;
    }
    return lo < v->count && v->points[lo] == point ? lo : -1;
}

static int64_t characters(const uint8_t *start, const uint8_t *end, nn_error *e) {
    int64_t count = 0;
    for (const uint8_t *at = start; nn_ok(e) && at < end; count++) (void)next(start, &at, end, e);
    return count;
}

nn_array nn_encode(const nn_vocabulary *vocabulary, const void *text, size_t bytes, nn_error *e) {
    if (bytes > 0) (void)nn_given(text, "encode: the text", e);
    if (!nn_given(vocabulary, "encode: the vocabulary", e)) return (nn_array){.type = NN_F32};
    const uint8_t *start = text, *at = start, *end = bytes > 0 ? start + bytes : start;
    int64_t count = nn_ok(e) ? characters(start, end, e) : 0;
    nn_array codes = nn_array_new(NN_I32, (ag_shape){1, {count}}, e);
    int32_t *to = codes.data;
    while (nn_ok(e) && at < end) {
        const uint8_t *before = at;
        int64_t point = nn_utf8_next(&at, end), code = code_of(vocabulary, point);
        char what[64];
        if (code >= 0) {
            *to++ = (int32_t)code;
        } else {
            (void)snprintf(what, sizeof what, "the character U+%04X is not in the vocabulary", (unsigned)point);
            fail_at(start, before, what, e);
        }
    }
    if (!nn_ok(e)) nn_array_free(&codes);
    return codes;
}

int nn_decode(const nn_vocabulary *vocabulary, int64_t code, char to[5]) {
    if (to == NULL) return 0;
    to[0] = 0;
    return vocabulary != NULL && code >= 0 && code < vocabulary->count ? nn_utf8_put(vocabulary->points[code], to) : 0;
}
