/* A fuzzer of adcheck: bytes are read as a file of derivations, checked, reported as text, JSON and HTML, and drawn.
 *
 * With libFuzzer: clang -fsanitize=fuzzer,address,undefined, over this file and the libraries' sources. test_fuzz_adcheck.c
 * runs it on saved and on changed inputs.
 *
 * Every time: the exit status agrees with what was found; an error has a message and a place within the file; reports are
 * UTF-8 that no terminal takes for a command; the JSON can be parsed. What does not hold ends the program by abort(). */
#include "nn/check/html/html_impl.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Little of everything, so that a run is short. */
enum { FUZZ_DRAWS = 3, FUZZ_BYTES = 24 << 20 };
#define FUZZ_SECONDS 0.5

#define HOLDS(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) broken(#condition, __LINE__);                                                                \
    } while (0)

static void broken(const char *what, int line) {
    fprintf(stderr, "fuzz_adcheck.c:%d: does not hold: %s\n", line, what);
    abort();
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

/* A report in memory. */
typedef struct report {
    char *text;
    size_t size;
    FILE *out;
} report;

static void open_report(report *r) {
    *r = (report){NULL, 0, NULL};
    r->out = open_memstream(&r->text, &r->size);
    HOLDS(r->out != NULL);
}

static void close_report(report *r) {
    HOLDS(fclose(r->out) == 0);
    r->out = NULL;
}

/* The length of a character of UTF-8 (RFC 3629); 0: it is none. */
static size_t character(const char *text, const char *end, uint32_t *code) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char c = (unsigned char)*text;
    size_t length = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if ((c >= 0x80 && c < 0xC0) || c > 0xF4 || length > (size_t)(end - text)) return 0;
    *code = length == 1 ? c : c & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if (((unsigned char)text[i] & 0xC0) != 0x80) return 0;
        *code = *code << 6 | ((unsigned char)text[i] & 0x3F);
    }
    return *code < least[length] || *code > 0x10FFFF || (*code >= 0xD800 && *code < 0xE000) ? 0 : length;
}

static void check_printable(const report *r) {
    const char *end = r->text + r->size;
    size_t length;
    for (const char *c = r->text; c < end; c += length) {
        uint32_t code = 0;
        length = character(c, end, &code);
        HOLDS(length > 0);
        HOLDS(code == '\n' || code == '\t' || (code >= 0x20 && code < 0x7F) || code >= 0xA0);
    }
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

static const char *skip_blanks(const char *c) {
    while (*c == ' ' || *c == '\n') c++;
    return c;
}

static const char *string_end(const char *c) {
    HOLDS(*c == '"');
    for (c++; *c != '"'; c++) {
        HOLDS((unsigned char)*c >= 0x20); /* the end too */
        if (*c == '\\') {
            c++;
            HOLDS(strchr("\"\\u", *c) != NULL && *c != '\0');
        }
    }
    return c + 1;
}

static const char *number_end(const char *c) {
    const char *start = c;
    char *end;
    c += *c == '-';
    HOLDS(*c >= '0' && *c <= '9');
    HOLDS(!(c[0] == '0' && c[1] >= '0' && c[1] <= '9'));
    (void)strtod(start, &end);
    for (c = start; c < end; c++) HOLDS(strchr("0123456789+-.eE", *c) != NULL);
    HOLDS(end[-1] >= '0' && end[-1] <= '9');
    return end;
}

static const char *value_end(const char *c) {
    static const char *const words[] = {"null", "true", "false"};
    c = skip_blanks(c);
    for (int i = 0; i < 3; i++)
        if (strncmp(c, words[i], strlen(words[i])) == 0) return c + strlen(words[i]);
    if (*c == '"') return string_end(c);
    if (*c != '[' && *c != '{') return number_end(c);
    char close = *c == '[' ? ']' : '}';
    c = skip_blanks(c + 1);
    if (*c == close) return c + 1;
    for (;;) {
        if (close == '}') {
            c = skip_blanks(string_end(c));
            HOLDS(*c == ':');
            c++;
        }
        c = skip_blanks(value_end(c));
        if (*c == close) return c + 1;
        HOLDS(*c == ',');
        c = skip_blanks(c + 1);
    }
}

/* ---- a file ----------------------------------------------------------------------------------------------------- */

/* What a sink of our own sees. */
typedef struct seen {
    int begun, ended, holding, wrong;
    bool error;
} seen;

static void on_begin(void *context, const ac_file *file) {
    seen *s = context;
    (void)file;
    s->begun++;
}

static void on_found(void *context, const ac_file *file, const ac_finding *f) {
    seen *s = context;
    bool nothing_wrong = f->diagnosis.kind == NN_NOTHING_WRONG;
    HOLDS(f->comparison.holds == nothing_wrong);
    HOLDS(nothing_wrong || *f->diagnosis.detail != '\0');
    HOLDS(f->statement->label != NULL && !file->error.set);
    s->holding += nothing_wrong;
    s->wrong += !nothing_wrong;
}

static void on_end(void *context, const ac_file *file, const ac_tally *tally) {
    seen *s = context;
    const ac_error *e = &file->error;
    s->ended++;
    s->error = e->set;
    HOLDS(tally->hold == s->holding && tally->wrong == s->wrong && tally->checks == s->holding + s->wrong);
    if (!e->set) return;
    HOLDS(*e->message != '\0');
    HOLDS(e->span.start <= e->span.end && e->span.end <= file->source.size);
}

static void check(const char *text, size_t size, const ac_options *options) {
    seen s = {0};
    report out, errors, json, page;
    ac_text_report text_report;
    ac_json_report json_report;
    ac_html_report html_report;
    const ac_sink own = {&s, on_begin, on_found, NULL, on_end};
    const ac_sink *const sinks[] = {&own, &text_report.sink, &json_report.sink, &html_report.sink};
    open_report(&out);
    open_report(&errors);
    open_report(&json);
    open_report(&page);
    ac_text_open(&text_report, out.out, errors.out, false);
    ac_json_open(&json_report, json.out);
    HOLDS(ac_html_open(&html_report, page.out, options));
    html_report.graphviz = AC_GRAPHVIZ_ABSENT; /* a process each time would take too long */
    int status = ac_check_text(&(ac_source){.name = "fuzz.ad", .text = text, .size = size}, options, sinks, 4);
    ac_text_close(&text_report);
    ac_json_close(&json_report);
    HOLDS(ac_html_close(&html_report));
    close_report(&out);
    close_report(&errors);
    close_report(&json);
    close_report(&page);
    HOLDS(s.begun == 1 && s.ended == 1);
    HOLDS(status == (s.error ? 2 : s.wrong > 0 ? 1 : 0));
    HOLDS((errors.size > 0) == s.error);
    check_printable(&out);
    check_printable(&errors);
    check_printable(&json);
    check_printable(&page);
    HOLDS(*skip_blanks(value_end(json.text)) == '\0');
    free(out.text);
    free(errors.text);
    free(json.text);
    free(page.text);
}

static void draw(const char *text, size_t size, const ac_options *options) {
    report dot;
    open_report(&dot);
    (void)ac_draw(&(ac_source){.name = "fuzz.ad", .text = text, .size = size}, options, dot.out);
    close_report(&dot);
    check_printable(&dot);
    free(dot.text);
}

/* A place of exactly the input's size and its end, so that reading behind it is seen. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ac_options options = {.draws = FUZZ_DRAWS, .limits = {.bytes = FUZZ_BYTES, .seconds = FUZZ_SECONDS}};
    char *text = malloc(size + 1);
    HOLDS(text != NULL);
    text[size] = '\0';
    if (size > 0) memcpy(text, data, size);
    check(text, size, &options);
    draw(text, size, &options);
    free(text);
    return 0;
}
