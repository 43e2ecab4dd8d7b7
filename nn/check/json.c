/* The report as JSON (RFC 8259). */
#include "nn/check/check_impl.h"
#include "nn/check/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* All that gets here is UTF-8, but for names of files; then '?' stands for a byte. */
static void write_string(FILE *out, const char *text) {
    fputc('"', out);
    for (size_t left = strlen(text); left > 0;) {
        uint32_t code = 0;
        int length = ac_decode(text, left, &code);
        if (length == 0) fputc('?', out);
        else if (code == '"' || code == '\\') fprintf(out, "\\%c", (int)code);
        else if (ac_is_control(code)) fprintf(out, "\\u%04x", (unsigned)code);
        else fwrite(text, 1, (size_t)length, out);
        text += length > 0 ? length : 1;
        left -= length > 0 ? (size_t)length : 1;
    }
    fputc('"', out);
}

/* The shortest text that reads back to the same number; null for what JSON has no number for. */
static void write_number(FILE *out, double x) {
    char text[40];
    if (!isfinite(x)) {
        fputs("null", out);
        return;
    }
    int digits = 15;
    do snprintf(text, sizeof text, "%.*g", digits, x);
    while (strtod(text, NULL) != x && ++digits <= 17);
    fputs(text, out);
}

static void write_array(FILE *out, ag_shape shape, const double *x) {
    if (shape.rank == 0) {
        write_number(out, *x);
        return;
    }
    int64_t rows = shape.rank == 1 ? 1 : shape.dim[0], columns = shape.dim[shape.rank - 1];
    if (shape.rank == 2) fputc('[', out);
    for (int64_t i = 0; i < rows; i++) {
        fputs(i > 0 ? ", [" : "[", out);
        for (int64_t j = 0; j < columns; j++) {
            if (j > 0) fputs(", ", out);
            write_number(out, x[i * columns + j]);
        }
        fputc(']', out);
    }
    if (shape.rank == 2) fputc(']', out);
}

/* The place of an entry, from 1 as on paper: [], [i] or [i, j]. */
static void write_where(FILE *out, ag_shape shape, int64_t entry) {
    if (shape.rank == 0) fputs("[]", out);
    else if (shape.rank == 1) fprintf(out, "[%" PRId64 "]", entry + 1);
    else fprintf(out, "[%" PRId64 ", %" PRId64 "]", entry / shape.dim[1] + 1, entry % shape.dim[1] + 1);
}

static void write_diagnosis(FILE *out, const ac_finding *f) {
    const nn_diagnosis *d = &f->diagnosis;
    if (f->comparison.holds) {
        fputs("null", out);
        return;
    }
    fputs("{\"kind\": ", out);
    write_string(out, nn_diagnosis_name(d->kind));
    fputs(", \"detail\": ", out);
    write_string(out, d->detail);
    if (d->factor != 0) {
        fputs(", \"factor\": ", out);
        write_number(out, d->factor);
    }
    if (d->kind == NN_ENTRIES || d->kind == NN_POWER_OF_TEN) {
        fprintf(out, ", \"entries\": %" PRId64 ", \"first\": ", d->entries);
        write_where(out, f->right_shape, d->entry);
        fputs(", \"places\": [", out);
        for (int64_t i = 0; i < d->entries && i < NN_PLACES; i++) {
            if (i > 0) fputs(", ", out);
            write_where(out, f->right_shape, d->places[i]);
        }
        fputc(']', out);
    }
    fputc('}', out);
}

static void write_witness(FILE *out, const ac_witness *w) {
    if (!w->asked) {
        fputs("null", out);
        return;
    }
    fprintf(out, "{\"agree\": %s", w->agrees ? "true" : "false");
    if (!w->agrees) {
        fputs(", \"disagrees\": ", out);
        write_string(out, w->way);
        fputs(", \"about\": ", out);
        write_string(out, w->text);
        fputs(", \"tape\": ", out);
        write_number(out, w->tape);
        fputs(", \"other\": ", out);
        write_number(out, w->other);
    }
    fputc('}', out);
}

static void on_begin(void *context, const ac_file *file) {
    ac_json_report *r = context;
    fputs(r->files++ > 0 ? ",\n {\"file\": " : " {\"file\": ", r->out);
    write_string(r->out, file->source.name);
    fputs(", \"checks\": [", r->out);
    r->checks = 0;
}

static void on_found(void *context, const ac_file *file, const ac_finding *f) {
    ac_json_report *r = context;
    const nn_comparison *c = &f->comparison;
    (void)file;
    fprintf(r->out, "%s\n  {\"line\": %lld, \"label\": ", r->checks++ > 0 ? "," : "", (long long)f->statement->line);
    write_string(r->out, f->statement->label);
    fprintf(r->out, ", \"verdict\": \"%s\", \"law\": %s, \"draws\": %d, \"max_error\": ", c->holds ? "holds" : "wrong",
            f->law ? "true" : "false", f->draws);
    write_number(r->out, c->same_shape ? c->error : NAN);
    fputs(", \"tolerance\": ", r->out);
    write_number(r->out, c->same_shape ? c->tolerance : NAN);
    fputs(", \"where\": ", r->out);
    if (c->same_shape) write_where(r->out, f->right_shape, c->entry);
    else fputs("null", r->out);
    fputs(", \"claimed\": ", r->out);
    write_array(r->out, f->claimed_shape, f->claimed);
    fputs(", \"right\": ", r->out);
    write_array(r->out, f->right_shape, f->right);
    fputs(", \"witnesses\": ", r->out);
    write_witness(r->out, &f->witness);
    fputs(", \"diagnosis\": ", r->out);
    write_diagnosis(r->out, f);
    fputc('}', r->out);
}

static void on_end(void *context, const ac_file *file, const ac_tally *tally) {
    ac_json_report *r = context;
    const ac_error *e = &file->error;
    (void)tally;
    fputs(r->checks > 0 ? "\n ], \"error\": " : "], \"error\": ", r->out);
    if (!e->set) {
        fputs("null}", r->out);
        return;
    }
    ac_place place = ac_place_of(&file->source, e->span.start);
    fprintf(r->out, "{\"line\": %lld, \"column\": %lld, \"message\": ", (long long)place.line, (long long)place.column);
    write_string(r->out, e->message);
    if (*e->hint != '\0') {
        fputs(", \"hint\": ", r->out);
        write_string(r->out, e->hint);
    }
    fputs("}}", r->out);
}

void ac_json_open(ac_json_report *report, FILE *out) {
    memset(report, 0, sizeof *report);
    report->sink = (ac_sink){report, on_begin, on_found, NULL, on_end};
    report->out = out;
    fputs("[\n", out);
}

void ac_json_close(ac_json_report *report) { fputs(report->files > 0 ? "\n]\n" : "]\n", report->out); }
