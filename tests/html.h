/* Pages as tests read them: are they well-formed? */
#ifndef NN_TEST_HTML_H
#define NN_TEST_HTML_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int html_count(const char *text, const char *part) {
    int n = 0;
    for (const char *p = strstr(text, part); p != NULL; p = strstr(p + 1, part)) n++;
    return n;
}

/* ---- is it well-formed? ----------------------------------------------------------------------------------------- */

enum { HTML_DEEPEST = 256, HTML_NAME = 32 };

typedef struct html_reader {
    const char *page, *at;
    char open[HTML_DEEPEST][HTML_NAME];
    int depth;
} html_reader;

static void html_complain(const html_reader *r, const char *what) {
    const char *start = r->at - r->page > 80 ? r->at - 80 : r->page;
    fail_msg("%s at byte %d: ...%.160s", what, (int)(r->at - r->page), start);
}

static bool html_is_one_of(const char *name, const char *names) {
    char spaced[HTML_NAME + 2];
    snprintf(spaced, sizeof spaced, " %s ", name);
    return strstr(names, spaced) != NULL;
}

/* '&' starts an entity, in text and in values. */
static void html_check_entity(const html_reader *r) {
    static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&nbsp;", "&#45;", "&#160;"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strncmp(r->at, known[i], strlen(known[i])) == 0) return;
    html_complain(r, "an & that is no entity");
}

static void html_read_name(html_reader *r, char *name) {
    size_t length = strcspn(r->at, " \t\n/>=\"'<&");
    if (length == 0 || length >= HTML_NAME) html_complain(r, "no name");
    memcpy(name, r->at, length);
    name[length] = '\0';
    r->at += length;
}

/* An id is there once, and what a link leads to is there. */
static void html_check_attribute(const html_reader *r, const char *name, const char *value, size_t length) {
    char id[300];
    if (strcmp(name, "id") == 0 && length < 200) {
        snprintf(id, sizeof id, " id=\"%.*s\"", (int)length, value);
        if (html_count(r->page, id) != 1) html_complain(r, "an id that is there twice");
    }
    if (strcmp(name, "href") == 0) {
        if (*value != '#') html_complain(r, "a link out of the page");
        snprintf(id, sizeof id, " id=\"%.*s\"", (int)length - 1, value + 1);
        if (strstr(r->page, id) == NULL) html_complain(r, "a link to nowhere");
    }
    if (strncmp(name, "on", 2) == 0 || strcmp(name, "src") == 0)
        html_complain(r, "a script, or something from outside");
}

static void html_read_attribute(html_reader *r) {
    char name[HTML_NAME];
    html_read_name(r, name);
    if (*r->at != '=') return;
    if (*++r->at != '"') html_complain(r, "a value without quotes");
    const char *value = ++r->at;
    for (; *r->at != '"'; r->at++) {
        if (*r->at == '\0' || *r->at == '<') html_complain(r, "a value without an end");
        if (*r->at == '&') html_check_entity(r);
    }
    html_check_attribute(r, name, value, (size_t)(r->at - value));
    r->at++;
}

/* Some of what HTML says about what may be where. */
static void html_check_place(const html_reader *r, const char *name) {
    const char *parent = r->depth > 0 ? r->open[r->depth - 1] : "";
    if (html_is_one_of(name, " li ") && !html_is_one_of(parent, " ol ul ")) html_complain(r, "an item without a list");
    if (html_is_one_of(name, " td th ") && strcmp(parent, "tr") != 0) html_complain(r, "a cell without a row");
    if (html_is_one_of(name, " p div table ol ul pre section figure details h1 h2 h3 h4 "))
        for (int i = 0; i < r->depth; i++)
            if (html_is_one_of(r->open[i], " p h1 h2 h3 h4 span code summary caption "))
                html_complain(r, "a block within a line");
    if (html_is_one_of(name, " script iframe object embed img link base form input "))
        html_complain(r, "an element that has no business here");
}

static void html_read_tag(html_reader *r) {
    char name[HTML_NAME];
    bool end = r->at[1] == '/';
    r->at += end ? 2 : 1;
    html_read_name(r, name);
    if (end) {
        if (r->depth == 0 || strcmp(r->open[r->depth - 1], name) != 0) html_complain(r, "an end of something else");
        r->depth--;
        if (*r->at++ != '>') html_complain(r, "an end with more in it");
        return;
    }
    html_check_place(r, name);
    while (*r->at != '>' && *r->at != '/') {
        if (*r->at == ' ' || *r->at == '\n') r->at++;
        else html_read_attribute(r);
    }
    bool closed = *r->at == '/';
    r->at += closed ? 2 : 1;
    if (r->at[-1] != '>') html_complain(r, "a tag without an end");
    if (closed || html_is_one_of(name, " meta br hr ")) return;
    assert_true(r->depth < HTML_DEEPEST);
    strcpy(r->open[r->depth++], name);
    if (strcmp(name, "style") == 0) r->at = strstr(r->at, "</style>");
    assert_non_null(r->at);
}

/* UTF-8 without control characters. */
static void html_check_character(html_reader *r) {
    unsigned char c = (unsigned char)*r->at;
    int length = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xF0 && c < 0xF5 ? 4 : 0;
    if (length == 0 || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F) html_complain(r, "a byte that is no text");
    for (int i = 1; i < length; i++)
        if (((unsigned char)r->at[i] & 0xC0) != 0x80) html_complain(r, "half a character");
    r->at += length;
}

/* Fails the test if the page is not what it should be. */
static void html_check(const char *page) {
    static const char doctype[] = "<!DOCTYPE html>\n";
    static html_reader r;
    assert_int_equal(strncmp(page, doctype, strlen(doctype)), 0);
    r = (html_reader){.page = page, .at = page + strlen(doctype)};
    while (*r.at != '\0') {
        if (*r.at == '<') html_read_tag(&r);
        else {
            if (*r.at == '&') html_check_entity(&r);
            if (*r.at == '>') html_complain(&r, "a > in the text");
            html_check_character(&r);
        }
    }
    assert_int_equal(r.depth, 0);
    assert_string_equal(page + strlen(page) - 8, "</html>\n");
}

#endif
