#include "nn/check/lexer.h"

#include "nn/check/literal.h"

static char at(const ac_lexer *l, uint32_t offset) { return l->source->text[offset]; } /* '\0' at the end */

/* ---- characters ------------------------------------------------------------------------------------------------- */

/* The character at an offset and its length; 0 if it is not UTF-8, or the text ends there. */
static int decode(const ac_lexer *l, uint32_t offset, uint32_t *code) {
    return ac_decode(l->source->text + offset, l->source->size - offset, code);
}

/* Ranges beyond ASCII that are no letters: signs, spaces, arrows, operators, pictures. Subscript digits may be in a
 * name, accents that combine too. */
static bool is_letter_beyond_ascii(uint32_t code) {
    static const struct {
        uint32_t first, last;
    } others[] = {{0x80, 0xA9},     {0xAB, 0xB4},       {0xB6, 0xB9},       {0xBB, 0xBF},     {0xD7, 0xD7},
                  {0xF7, 0xF7},     {0x2000, 0x207F},   {0x208A, 0x208F},   {0x20A0, 0x20CF}, {0x2190, 0x2BFF},
                  {0x2E00, 0x2E7F}, {0x3000, 0x3004},   {0x3008, 0x3020},   {0xD800, 0xF8FF}, {0xFE10, 0xFE1F},
                  {0xFE30, 0xFE6F}, {0xFEFF, 0xFEFF},   {0xFF00, 0xFF20},   {0xFF3B, 0xFF40}, {0xFF5B, 0xFF65},
                  {0xFFE0, 0xFFFF}, {0x1F000, 0x1FAFF}, {0xE0000, 0x10FFFF}};
    if (code < 0x80) return false;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (code >= others[i].first && code <= others[i].last) return false;
    return true;
}

static bool is_ascii_letter(uint32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool is_digit(uint32_t c) { return c >= '0' && c <= '9'; }

/* What somebody meant who typed (or pasted) a character that is no part of the language. */
static const char *meant(uint32_t code) {
    static const struct {
        uint32_t code;
        const char *hint;
    } signs[] = {{0x2212, "-"},
                 {0x2013, "-"},
                 {0x00D7, "*"},
                 {0x00B7, "*"},
                 {0x22C5, "*"},
                 {0x2219, "*"},
                 {0x00F7, "/"},
                 {0x2215, "/"},
                 {0x00B2, "^2"},
                 {0x00B3, "^3"},
                 {0x2032, "'"},
                 {0x2019, "'"},
                 {0x1D40, "'"},
                 {0x22A4, "'"},
                 {0x201C, "\""},
                 {0x201D, "\""},
                 {0x2211, "sum"},
                 {0x220F, "prod"},
                 {0x221A, "sqrt"},
                 {0x2202, "grad(f, x)"},
                 {0x2207, "grad(f, x)"},
                 {';', "one statement a line"},
                 {'{', "( or ["},
                 {'}', ") or ]"},
                 {0x00A0, "a plain blank"},
                 {'.', "x' for a transpose; a product is * or @"},
                 {'!', "=="}};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (signs[i].code == code) return signs[i].hint;
    return NULL;
}

/* ---- words ------------------------------------------------------------------------------------------------------ */

static ac_token stop(ac_lexer *l) {
    l->at = (uint32_t)l->source->size;
    return (ac_token){.kind = AC_END_OF_FILE, .span = {l->at, l->at}};
}

static ac_token finish(ac_lexer *l, ac_token token) {
    token.span.end = l->at;
    return token;
}

/* A character that nothing starts with. */
static ac_token reject(ac_lexer *l) {
    uint32_t code = 0;
    int length = decode(l, l->at, &code);
    ac_span span = {l->at, l->at + (length > 0 ? (uint32_t)length : 1)};
    if (length == 0) ac_fail(l->error, span, "byte 0x%02X is not UTF-8", (unsigned char)at(l, l->at));
    else if (ac_is_control(code)) ac_fail(l->error, span, "control character U+%04X", (unsigned)code);
    else {
        ac_fail(l->error, span, "unexpected character '%.*s'", length, l->source->text + l->at);
        if (meant(code) != NULL) ac_hint(l->error, "write %s", meant(code));
    }
    return stop(l);
}

static void skip_blanks(ac_lexer *l) {
    for (;; l->at++) {
        char c = at(l, l->at);
        if (c == '#')
            while (l->at < l->source->size && at(l, l->at) != '\n') l->at++;
        c = at(l, l->at);
        if (c == '\n' && l->brackets > 0) l->line++;
        else if (c != ' ' && c != '\t' && c != '\r') return;
    }
}

static ac_token read_word(ac_lexer *l) {
    ac_token token = {.kind = AC_WORD, .span = {l->at, l->at}};
    for (;;) {
        uint32_t code = 0;
        int length = decode(l, l->at, &code);
        if (length == 0 || !(is_ascii_letter(code) || is_digit(code) || is_letter_beyond_ascii(code))) break;
        l->at += (uint32_t)length;
    }
    token = finish(l, token);
    if (token.span.end - token.span.start <= AC_MAX_NAME) return token;
    ac_fail(l->error, token.span, "a name of more than %d bytes", AC_MAX_NAME);
    return stop(l);
}

static ac_token read_digits(ac_lexer *l) {
    ac_token token = {.kind = AC_DIGITS, .span = {l->at, l->at}};
    const char *text = l->source->text + l->at, *end = text;
    uint32_t code = 0;
    bool valid = nn_literal_number(&end, &token.value, &token.unit);
    l->at += (uint32_t)(end - text);
    token = finish(l, token);
    if (decode(l, l->at, &code) == 0) code = 0; /* what follows */
    if (!valid) {
        while (is_digit((unsigned char)at(l, token.span.end)) || is_ascii_letter((unsigned char)at(l, token.span.end)))
            token.span.end++;
        ac_fail(l->error, token.span,
                text[1] == 'x' || text[1] == 'X' ? "numbers are decimal"
                                                 : "a number out of the range of double precision");
    } else if (code == '.') {
        ac_fail(l->error, token.span, "a number with two decimal points");
    } else if (is_ascii_letter(code) || is_letter_beyond_ascii(code)) {
        ac_fail(l->error, token.span, "a number followed by a letter");
        ac_hint(l->error, "write * for a product");
    } else return token;
    return stop(l);
}

static ac_token read_string(ac_lexer *l) {
    ac_token token = {.kind = AC_STRING, .span = {l->at + 1, l->at}};
    uint32_t start = l->at++, code = 0;
    while (l->at < l->source->size && at(l, l->at) != '"' && at(l, l->at) != '\n') {
        int length = decode(l, l->at, &code);
        if (length == 0 || (ac_is_control(code) && code != '\t')) return reject(l);
        l->at += (uint32_t)length;
    }
    token = finish(l, token);
    if (at(l, l->at) == '"') {
        l->at++;
        return token;
    }
    ac_fail(l->error, (ac_span){start, start + 1}, "this quote is not closed on its line");
    return stop(l);
}

static ac_token read_mark(ac_lexer *l) {
    char c = at(l, l->at);
    ac_token token = {.kind = AC_MARK, .span = {l->at, l->at}, .mark = c};
    if (c == '\0' || strchr("()[]+-*/@^',:=~", c) == NULL) return reject(l);
    l->at++;
    if (c == '=' && at(l, l->at) == '=') {
        token.kind = AC_EQUAL;
        l->at++;
    }
    if (c == '(' || c == '[') l->brackets++;
    if ((c == ')' || c == ']') && l->brackets > 0) l->brackets--;
    return finish(l, token);
}

ac_token ac_next_token(ac_lexer *l) {
    uint32_t code = 0;
    if (l->error->set) return stop(l);
    skip_blanks(l);
    ac_token token = {.kind = AC_END_OF_LINE, .span = {l->at, l->at}};
    if (l->at >= l->source->size) return stop(l);
    char c = at(l, l->at);
    if (c == '\n') {
        l->at++;
        l->line++;
        return token;
    }
    if (is_digit((unsigned char)c) || (c == '.' && is_digit((unsigned char)at(l, l->at + 1)))) return read_digits(l);
    if (c == '"') return read_string(l);
    if (decode(l, l->at, &code) > 0 && (is_ascii_letter(code) || is_letter_beyond_ascii(code))) return read_word(l);
    return read_mark(l);
}
