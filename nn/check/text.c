/* The report as text. */
#include "nn/check/check_impl.h"
#include "nn/check/report.h"

#include <inttypes.h>
#include <math.h>

enum { SHOWN_ROWS = 6, SHOWN_COLUMNS = 8, DIGITS = 6, INDENT = 7, MOST_WIDTH = 56 };

static const char *const plain[] = {"", "", "", ""};
static const char *const coloured[] = {"\x1b[0m", "\x1b[32m", "\x1b[1;31m", "\x1b[1m"};
enum { OFF, GREEN, RED, BOLD };

static const char *style(const ac_text_report *r, int which) { return (r->colour ? coloured : plain)[which]; }

const char *ac_number_text(double x, int digits, char *text, size_t size) {
    snprintf(text, size, "%.*g", digits, nn_plain(x));
    return text;
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

const char *ac_printed_text(double x, const double *unit, char *text, size_t size) {
    double last = unit != NULL && *unit > 0 ? round(log10(*unit)) : 1; /* the power of ten of the last digit */
    if (last > 0 || !isfinite(x) || fabs(x) >= 1e15) return ac_number_text(x, unit != NULL ? 15 : DIGITS, text, size);
    if (last >= -12) snprintf(text, size, "%.*f", (int)-last, x);
    else snprintf(text, size, "%.*e", x == 0 ? 0 : (int)fmin(fmax(0, floor(log10(fabs(x))) - last), 17), x);
    return text;
}

/* How numbers are shown: as they were printed, if there are units, or else with so many digits. */
typedef struct form {
    const double *unit;
    int digits;
} form;

static void write_number(FILE *out, double x, form how) {
    char text[40];
    if (how.unit != NULL) fputs(ac_printed_text(x, how.unit, text, sizeof text), out);
    else fputs(ac_number_text(x, how.digits, text, sizeof text), out);
}

static form after(form how, int64_t i) { return (form){how.unit == NULL ? NULL : how.unit + i, how.digits}; }

static void write_row(FILE *out, const double *x, form how, int64_t n) {
    fputc('[', out);
    for (int64_t i = 0; i < n; i++) {
        if (i > 0) fputs(", ", out);
        if (i == SHOWN_COLUMNS && n > SHOWN_COLUMNS + 1) {
            fprintf(out, "... %" PRId64 " more", n - i);
            break;
        }
        write_number(out, x[i], after(how, i));
    }
    fputc(']', out);
}

/* A matrix of several columns gets a line a row, each indented. */
static void write_value(FILE *out, ag_shape shape, const double *x, form how, int indent) {
    if (shape.rank == 0) write_number(out, *x, how);
    else if (shape.rank == 1) write_row(out, x, how, shape.dim[0]);
    else {
        fputc('[', out);
        for (int64_t i = 0; i < shape.dim[0]; i++) {
            if (i > 0) fprintf(out, ",\n%*s", indent + 1, "");
            if (i == SHOWN_ROWS && shape.dim[0] > SHOWN_ROWS + 1) {
                fprintf(out, "... %" PRId64 " more rows", shape.dim[0] - i);
                break;
            }
            write_row(out, x + i * shape.dim[1], after(how, i * shape.dim[1]), shape.dim[1]);
        }
        fputc(']', out);
    }
    fputc('\n', out);
}

/* ---- errors ----------------------------------------------------------------------------------------------------- */

static uint32_t line_start(const ac_source *s, uint32_t offset) {
    while (offset > 0 && s->text[offset - 1] != '\n') offset--;
    return offset;
}

/* Calls f for each character of a part of the source; '?' stands for what is none, or could do anything to a terminal. */
static void each_character(const ac_source *s, uint32_t from, uint32_t to,
                           void (*f)(const char *text, int length, int width, FILE *out), FILE *out) {
    while (from < to) {
        uint32_t code = 0;
        const char *text = s->text + from;
        int length = ac_decode(text, to - from, &code);
        bool shown = length > 0 && (!ac_is_control(code) || code == '\t');
        f(shown ? text : "?", shown ? length : 1, shown ? ac_width(code) : 1, out);
        from += length > 0 ? (uint32_t)length : 1;
    }
}

static void write_character(const char *text, int length, int width, FILE *out) {
    (void)width;
    fwrite(text, 1, (size_t)length, out);
}

/* Blanks as wide as the character, and a tab for a tab: the caret stands below its place. */
static void write_blank(const char *text, int length, int width, FILE *out) {
    (void)length;
    if (*text == '\t') fputc('\t', out);
    else fprintf(out, "%*s", width, "");
}

static void write_underline(const char *text, int length, int width, FILE *out) {
    (void)text, (void)length;
    while (width-- > 0) fputc('~', out);
}

static bool is_inside(const ac_source *s, uint32_t i) { return ((unsigned char)s->text[i] & 0xC0) == 0x80; }

bool ac_write_place(const ac_file *file, const char *indent, FILE *out) {
    enum { LONGEST = 160, BEFORE = 60 };
    const ac_source *s = &file->source;
    ac_span span = file->error.span;
    if (s->size == 0) return false;
    uint32_t start = line_start(s, span.start), end = span.start;
    if (start == 0 && s->size >= 3 && memcmp(s->text, "\xEF\xBB\xBF", 3) == 0) start = 3;
    uint32_t from = start;
    if (span.start > start + LONGEST - BEFORE) from = span.start - BEFORE;
    while (from < span.start && is_inside(s, from)) from++;
    while (end < s->size && s->text[end] != '\n' && end - from < LONGEST) end++;
    bool whole = end >= s->size || s->text[end] == '\n';
    while (!whole && end > span.start && is_inside(s, end)) end--;
    if (whole && end > from && s->text[end - 1] == '\r') end--;
    fprintf(out, "%s%s", indent, from > start ? "..." : "");
    each_character(s, from, end, write_character, out);
    fprintf(out, "%s\n%s%s", whole ? "" : "...", indent, from > start ? "   " : "");
    each_character(s, from, span.start < end ? span.start : end, write_blank, out);
    fputc('^', out);
    uint32_t code, first = span.start;
    int length = first < end ? ac_decode(s->text + first, end - first, &code) : 0;
    each_character(s, first + (length > 0 ? (uint32_t)length : 1), span.end < end ? span.end : end, write_underline,
                   out);
    fputc('\n', out);
    return true;
}

void ac_write_error(const ac_file *file, FILE *errors, bool colour) {
    const ac_source *s = &file->source;
    const ac_error *e = &file->error;
    ac_place place = ac_place_of(s, e->span.start);
    const char *const *styles = colour ? coloured : plain;
    fprintf(errors, "%s%s:%lld:%lld:%s %serror:%s %s\n", styles[BOLD], s->name, (long long)place.line,
            (long long)place.column, styles[OFF], styles[RED], styles[OFF], e->message);
    ac_write_place(file, "  ", errors);
    if (*e->hint != '\0') fprintf(errors, "  hint: %s\n", e->hint);
}

/* ---- findings --------------------------------------------------------------------------------------------------- */

static int width_of(const char *text) {
    int width = 0;
    uint32_t code;
    size_t left = strlen(text);
    for (int length; (length = ac_decode(text, left, &code)) > 0; left -= (size_t)length, text += length)
        width += ac_width(code);
    return width;
}

/* Verdict, place and label; what follows is aligned, if anything does. */
static void write_head(const ac_text_report *r, const ac_file *file, const ac_statement *s, const char *verdict,
                       int colour, bool more) {
    int places = snprintf(NULL, 0, "%lld", (long long)s->line), pad = r->label_width - width_of(s->label);
    fprintf(r->out, "%s%s%s  %s:%lld%*s%s", style(r, colour), verdict, style(r, OFF), file->source.name,
            (long long)s->line, r->line_width - places + 2, "", s->label);
    if (more) fprintf(r->out, "%*s", pad > 0 ? pad + 2 : 2, "");
}

/* Labels and line numbers are aligned within a file. */
static void on_begin(void *context, const ac_file *file) {
    ac_text_report *r = context;
    r->label_width = r->line_width = 0;
    for (int i = 0; i < file->statement_count; i++) {
        const ac_statement *s = file->statements[i];
        if (s->kind == AC_DEFINE) continue;
        int label = s->label == NULL ? 0 : width_of(s->label);
        if (label > r->label_width && label <= MOST_WIDTH) r->label_width = label;
        r->line_width = snprintf(NULL, 0, "%lld", (long long)s->line);
    }
}

static void write_where(FILE *out, ag_shape shape, int64_t entry) {
    if (shape.rank == 1) fprintf(out, " at entry %" PRId64, entry + 1);
    if (shape.rank == 2)
        fprintf(out, " at entry (%" PRId64 ", %" PRId64 ")", entry / shape.dim[1] + 1, entry % shape.dim[1] + 1);
}

static void write_witness(const ac_text_report *r, const ac_witness *w) {
    if (!w->asked || w->agrees) return;
    fprintf(r->out, "%*snote: %s disagree%s with the tape about %s: %.9g, tape %.9g\n", INDENT, "", w->way,
            strcmp(w->way, "forward mode") == 0 ? "s" : "", w->text, nn_plain(w->other), nn_plain(w->tape));
}

static void on_found(void *context, const ac_file *file, const ac_finding *f) {
    ac_text_report *r = context;
    const nn_comparison *c = &f->comparison;
    if (c->holds) {
        write_head(r, file, f->statement, "holds", GREEN, true);
        if (f->law) fprintf(r->out, "law, %d draws, ", f->draws);
        if (c->error == 0) fprintf(r->out, "exactly\n");
        else fprintf(r->out, "largest error %.1e\n", c->error);
        write_witness(r, &f->witness);
        return;
    }
    write_head(r, file, f->statement, "WRONG", RED, false);
    fprintf(r->out, "\n%*s%s%s%s: %s\n", INDENT, "", style(r, BOLD), nn_diagnosis_name(f->diagnosis.kind),
            style(r, OFF), f->diagnosis.detail);
    if (f->law && c->same_shape) {
        fprintf(r->out, "%*sa law: %d draws; the worst is number %d, error %.3g", INDENT, "", f->draws, c->draw + 1,
                c->error);
        write_where(r->out, f->right_shape, c->entry);
        fputc('\n', r->out);
    }
    double apart = c->same_shape ? c->claimed - c->right : INFINITY;
    fprintf(r->out, "%*sclaimed ", INDENT, "");
    write_value(r->out, f->claimed_shape, f->claimed, (form){f->unit, nn_digits_for(c->claimed, apart, DIGITS)},
                INDENT + 8);
    fprintf(r->out, "%*sright   ", INDENT, "");
    write_value(r->out, f->right_shape, f->right, (form){NULL, nn_digits_for(c->right, apart, DIGITS)}, INDENT + 8);
    write_witness(r, &f->witness);
}

static void on_shown(void *context, const ac_file *file, const ac_shown *shown) {
    ac_text_report *r = context;
    char text[80];
    ac_text_of(&file->source, shown->statement->left->span, text, sizeof text);
    int places = snprintf(NULL, 0, "%lld", (long long)shown->statement->line);
    fprintf(r->out, "%*s%s:%lld%*s", INDENT, "", file->source.name, (long long)shown->statement->line,
            r->line_width - places + 2, "");
    fprintf(r->out, "%s%s", text, shown->shape.rank == 2 ? " =\n           " : " = ");
    write_value(r->out, shown->shape, shown->value, (form){NULL, DIGITS}, INDENT + 4);
}

static void write_tally(const ac_text_report *r, const char *name, const ac_tally *t) {
    fprintf(r->out, "%s: %d check%s, %d hold, %d wrong\n", name, t->checks, t->checks == 1 ? "" : "s", t->hold,
            t->wrong);
}

static void on_end(void *context, const ac_file *file, const ac_tally *tally) {
    ac_text_report *r = context;
    r->files++;
    r->total.checks += tally->checks;
    r->total.hold += tally->hold;
    r->total.wrong += tally->wrong;
    fflush(r->out);
    if (file->error.set) {
        r->failed++;
        ac_write_error(file, r->errors, r->colour);
    }
    if (!file->error.set || tally->checks > 0) write_tally(r, file->source.name, tally);
}

void ac_text_open(ac_text_report *report, FILE *out, FILE *errors, bool colour) {
    memset(report, 0, sizeof *report);
    report->sink = (ac_sink){report, on_begin, on_found, on_shown, on_end};
    report->out = out;
    report->errors = errors;
    report->colour = colour;
}

void ac_text_close(ac_text_report *r) {
    if (r->files > 0) write_tally(r, "total", &r->total);
    if (r->failed > 0)
        fprintf(r->out, "%d file%s could not be checked to the end\n", r->failed, r->failed == 1 ? "" : "s");
}
