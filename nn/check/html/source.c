/* The text of a derivation with line numbers, and marks that lead to its claims. */
#include "nn/check/html/html_impl.h"

enum { MOST_LINES = 2000, MOST_BYTES = 400 };

/* Going through a file, line by line and claim by claim. */
typedef struct listing {
    FILE *out;
    const ac_file *file;
    const unsigned char *verdicts;
    int number;    /* of the file */
    int statement; /* the next one */
} listing;

static void put_mark(listing *l, long long line) {
    const ac_file *f = l->file;
    while (l->statement < f->statement_count && f->statements[l->statement]->line < line) l->statement++;
    bool here = l->verdicts != NULL && l->statement < f->statement_count && f->statements[l->statement]->line == line;
    unsigned char verdict = here ? l->verdicts[l->statement] : AC_NOT_SAID;
    if (verdict == AC_NOT_SAID) {
        fputs("  ", l->out);
        return;
    }
    bool holds = verdict == AC_SAID_HOLDS;
    fprintf(l->out, "<a class=\"%s\" href=\"#f%d-l%lld\" aria-label=\"%s\">%s</a> ", holds ? "good" : "bad", l->number,
            line, holds ? "holds" : "wrong", holds ? "✓" : "✗");
}

/* Where a line's comment starts: behind the quotes of a label, '#' is nothing but a character. */
static size_t comment_of(const char *line, size_t length) {
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        if (line[i] == '"') quoted = !quoted;
        if (line[i] == '#' && !quoted) return i;
    }
    return length;
}

static void put_line(listing *l, const char *line, size_t length) {
    size_t shown = length;
    if (shown > 0 && line[shown - 1] == '\r') shown--;
    if (shown > MOST_BYTES)
        for (shown = MOST_BYTES; shown > 0 && ((unsigned char)line[shown] & 0xC0) == 0x80;) shown--;
    size_t comment = comment_of(line, shown);
    ac_html_text(l->out, line, comment);
    if (comment < shown) {
        fputs("<i>", l->out);
        ac_html_text(l->out, line + comment, shown - comment);
        fputs("</i>", l->out);
    }
    if (shown + 1 < length) fprintf(l->out, "<b class=\"cut\"> … %zu more bytes</b>", length - shown);
    fputc('\n', l->out);
}

void ac_html_source(FILE *out, const ac_file *file, const unsigned char *verdicts, int number) {
    listing l = {out, file, verdicts, number, 0};
    const char *c = file->source.text, *end = c + file->source.size;
    long long line = 0;
    if (c == end) return;
    fprintf(out, "<details open class=\"source\"><summary>The derivation</summary>\n"
                 "<pre tabindex=\"0\" aria-label=\"source of the derivation\"><code>");
    while (c < end && line < MOST_LINES) {
        const char *stop = memchr(c, '\n', (size_t)(end - c));
        if (stop == NULL) stop = end;
        fprintf(out, "<span class=\"n\">%4lld </span>", ++line);
        put_mark(&l, line);
        put_line(&l, c, (size_t)(stop - c));
        c = stop < end ? stop + 1 : end;
    }
    fputs("</code></pre>\n", out);
    if (c < end)
        fprintf(out, "<p class=\"note\">The first %d lines; %zu more bytes are not shown.</p>\n", MOST_LINES,
                (size_t)(end - c));
    fputs("</details>\n", out);
}
