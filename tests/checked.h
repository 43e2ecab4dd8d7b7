/* Derivations that are checked, and what is said of them. */
#ifndef CHECKED_H
#define CHECKED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "nn/check/report.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* What a file gives: text, messages, JSON. */
typedef struct result {
    int status;
    char *text[3];
} result;
enum { OUT, ERRORS, JSON };

static inline result run_bytes(const char *bytes, size_t size, ac_options options) {
    result r = {0};
    size_t sizes[3];
    FILE *files[3];
    ac_text_report text;
    ac_json_report json;
    const ac_sink *const sinks[] = {&text.sink, &json.sink};
    for (int i = 0; i < 3; i++) assert_non_null(files[i] = open_memstream(&r.text[i], &sizes[i]));
    ac_text_open(&text, files[OUT], files[ERRORS], false);
    ac_json_open(&json, files[JSON]);
    r.status = ac_check_text(&(ac_source){.name = "t.ad", .text = bytes, .size = size}, &options, sinks, 2);
    ac_text_close(&text);
    ac_json_close(&json);
    for (int i = 0; i < 3; i++) fclose(files[i]);
    return r;
}

static inline result run(const char *text) { return run_bytes(text, strlen(text), (ac_options){0}); }

static inline void forget(result *r) {
    for (int i = 0; i < 3; i++) free(r->text[i]);
}

static inline void expect(const char *input, const char *text, const char *part) {
    if (strstr(text, part) == NULL) fail_msg("\"%.300s\" gives\n%s\nand not\n%s", input, text, part);
}

#endif
