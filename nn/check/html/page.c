/* The report as a page: what stands where. */
#include "nn/check/html/html_impl.h"
#include "nn/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_WRONG = 30 }; /* claims in the list of what is wrong with a file */

static void put_verdict(FILE *out, bool holds) {
    fprintf(out, "<span class=\"verdict %s\"><span aria-hidden=\"true\">%s</span> %s</span>", holds ? "good" : "bad",
            holds ? "✓" : "✗", holds ? "holds" : "wrong");
}

/* Not rewind: that would forget an error. */
static bool copy(FILE *from, FILE *to) {
    char block[1 << 14];
    size_t got;
    if (fseek(from, 0, SEEK_SET) != 0) return false;
    while ((got = fread(block, 1, sizeof block, from)) > 0) fwrite(block, 1, got, to);
    return !ferror(from) && !ferror(to);
}

static bool clear(FILE *file) { return fseek(file, 0, SEEK_SET) == 0 && ftruncate(fileno(file), 0) == 0; }

/* ---- a claim ---------------------------------------------------------------------------------------------------- */

static void put_where(FILE *out, ag_shape shape, int64_t entry) {
    if (shape.rank == 1) fprintf(out, " in entry %" PRId64, entry + 1);
    if (shape.rank == 2)
        fprintf(out, " in entry (%" PRId64 ", %" PRId64 ")", entry / shape.dim[1] + 1, entry % shape.dim[1] + 1);
}

/* In two digits, as errors are. */
static void put_error(FILE *out, double x) {
    char text[40];
    snprintf(text, sizeof text, "%.1e", x);
    ac_html_number(out, strtod(text, NULL), NULL);
}

static void put_law(FILE *out, const ac_finding *f) {
    const nn_comparison *c = &f->comparison;
    fprintf(out, "A law, tried at %d draw%s", f->draws, f->draws == 1 ? "" : "s");
    if (!c->same_shape) {
        fputs(".", out);
        return;
    }
    if (c->holds && c->error == 0) fputs("; it holds exactly.", out);
    else if (c->holds) {
        fputs("; the largest error is ", out);
        put_error(out, c->error);
        fputs(".", out);
    } else {
        fprintf(out, ". Below is the worst of them, draw %d: it is off by ", c->draw + 1);
        put_error(out, c->error);
        put_where(out, f->right_shape, c->entry);
        fputs(".", out);
    }
}

static void put_error_of_numbers(FILE *out, const ac_finding *f) {
    const nn_comparison *c = &f->comparison;
    if (!c->same_shape) return;
    if (c->error == 0) {
        fputs("Exactly.", out);
        return;
    }
    fputs(c->holds ? "The largest error is " : "It is off by up to ", out);
    put_error(out, c->error);
    if (!c->holds) put_where(out, f->right_shape, c->entry);
    if (c->holds && f->unit != NULL && f->statement->within == NULL) fputs(", within the printed digits", out);
    fputs(".", out);
}

static void put_witness(FILE *out, const ac_witness *w) {
    if (!w->asked || w->agrees) return;
    fputs("<p class=\"note\">Note: ", out);
    ac_html_string(out, w->way);
    fprintf(out, " disagree%s with the tape about ", strcmp(w->way, "forward mode") == 0 ? "s" : "");
    ac_html_string(out, w->text);
    fputs(": ", out);
    ac_html_number(out, w->other, NULL);
    fputs(", tape ", out);
    ac_html_number(out, w->tape, NULL);
    fputs(".</p>\n", out);
}

static void open_item(ac_html_report *r, const ac_statement *s, const char *kind) {
    if (!r->open) fputs("<ol class=\"claims\" role=\"list\">\n", r->claims);
    r->open = 1;
    fprintf(r->claims, "<li class=\"%s\" id=\"f%d-l%lld\">\n", kind, r->file_count, (long long)s->line);
}

static void put_head(const ac_html_report *r, const ac_finding *f) {
    const ac_statement *s = f->statement;
    fputs("<div class=\"said\">", r->claims);
    put_verdict(r->claims, f->comparison.holds);
    fprintf(r->claims, "<span class=\"line\">line %lld</span></div>\n<div class=\"what\"><h4><bdi>",
            (long long)s->line);
    ac_html_string(r->claims, s->label);
    fputs("</bdi></h4>\n", r->claims);
}

static void put_diagnosis(FILE *out, const ac_finding *f) {
    fprintf(out, "<p class=\"diagnosis\"><strong>%s</strong> ", nn_diagnosis_name(f->diagnosis.kind));
    ac_html_string(out, f->diagnosis.detail);
    fputs("</p>\n", out);
}

/* Where this statement is among the file's. */
static void note_verdict(ac_html_report *r, const ac_file *file, const ac_finding *f) {
    while (r->statement < file->statement_count && file->statements[r->statement] != f->statement) r->statement++;
    if (r->verdicts != NULL && r->statement < file->statement_count)
        r->verdicts[r->statement] = f->comparison.holds ? AC_SAID_HOLDS : AC_SAID_WRONG;
}

static void on_found(void *context, const ac_file *file, const ac_finding *f) {
    ac_html_report *r = context;
    FILE *out = r->claims;
    bool holds = f->comparison.holds;
    if (out == NULL) return;
    note_verdict(r, file, f);
    open_item(r, f->statement, holds ? "holds" : "wrong");
    put_head(r, f);
    fputs("<p class=\"formula\">", out);
    ac_html_claim(out, &file->source, f->statement);
    fputs("</p>\n", out);
    if (!holds) put_diagnosis(out, f);
    fputs(holds ? "<details class=\"compare\"><summary>" : "<p class=\"evidence\">", out);
    if (f->law) put_law(out, f);
    else put_error_of_numbers(out, f);
    fputs(holds ? "</summary>\n" : "</p>\n", out);
    ac_html_comparison(out, f);
    if (holds) fputs("</details>\n", out);
    put_witness(out, &f->witness);
    fputs("</div></li>\n", out);
}

static void on_shown(void *context, const ac_file *file, const ac_shown *shown) {
    ac_html_report *r = context;
    if (r->claims == NULL) return;
    open_item(r, shown->statement, "shown");
    fprintf(r->claims,
            "<div class=\"said\"><span class=\"verdict\">value</span><span class=\"line\">line %lld</span></div>\n"
            "<div class=\"what\"><p class=\"formula\">",
            (long long)shown->statement->line);
    ac_html_formula(r->claims, &file->source, shown->statement->left);
    fputs("</p>\n", r->claims);
    ac_html_value(r->claims, shown->shape, shown->value);
    fputs("</div></li>\n", r->claims);
}

/* ---- a file ----------------------------------------------------------------------------------------------------- */

static void on_begin(void *context, const ac_file *file) {
    ac_html_report *r = context;
    r->file_count++;
    r->statement = r->open = 0;
    nn_release(r->verdicts);
    r->verdicts = nn_allocate((size_t)file->statement_count, 1);
    if (r->verdicts == NULL) r->broken = true;
}

/* "5 claims: 4 hold, 1 is wrong" */
static void put_tally(FILE *out, const ac_tally *t) {
    fprintf(out, "%d claim%s", t->checks, t->checks == 1 ? "" : "s");
    if (t->checks > 0 && t->wrong == 0) fprintf(out, ", %s", t->checks == 1 ? "which holds" : "all of which hold");
    if (t->wrong > 0)
        fprintf(out, ": %d hold%s, %d %s wrong", t->hold, t->hold == 1 ? "s" : "", t->wrong,
                t->wrong == 1 ? "is" : "are");
}

static void put_bar(FILE *out, const ac_tally *t) {
    if (t->checks > 0)
        fprintf(out, "<span class=\"bar\" aria-hidden=\"true\"><i style=\"width:%.1f%%\"></i></span>",
                100.0 * t->hold / t->checks);
}

static void put_file_error(FILE *out, const ac_file *file) {
    const ac_error *e = &file->error;
    ac_place place = ac_place_of(&file->source, e->span.start);
    if (file->source.size == 0) fputs("<div class=\"failure\"><p><strong>This could not be read.</strong> ", out);
    else
        fprintf(out,
                "<div class=\"failure\"><p><strong>This could not be understood or computed to its end.</strong> "
                "Line %lld, column %lld: ",
                (long long)place.line, (long long)place.column);
    ac_html_string(out, e->message);
    fputs("</p>\n", out);
    char lines[2048];
    FILE *text = tmpfile();
    size_t got = 0;
    if (text != NULL && ac_write_place(file, "", text)) {
        rewind(text);
        got = fread(lines, 1, sizeof lines, text);
    }
    if (text != NULL) fclose(text);
    if (got > 0) {
        fputs("<pre>", out);
        ac_html_text(out, lines, got);
        fputs("</pre>\n", out);
    }
    if (*e->hint != '\0') {
        fputs("<p>Hint: ", out);
        ac_html_string(out, e->hint);
        fputs("</p>\n", out);
    }
    fputs("</div>\n", out);
}

/* What is wrong, at a glance: links to the claims. */
static void put_wrong(const ac_html_report *r, const ac_file *file, const ac_tally *t) {
    int shown = 0;
    if (t->wrong == 0 || r->verdicts == NULL) return;
    fputs("<ul class=\"wrongs\">\n", r->files);
    for (int i = 0; i < file->statement_count && shown < MOST_WRONG; i++) {
        const ac_statement *s = file->statements[i];
        if (r->verdicts[i] != AC_SAID_WRONG) continue;
        fprintf(r->files, "<li><a href=\"#f%d-l%lld\"><span aria-hidden=\"true\">✗</span> <bdi>", r->file_count,
                (long long)s->line);
        ac_html_string(r->files, s->label);
        fprintf(r->files, "</bdi></a> <span class=\"line\">line %lld</span></li>\n", (long long)s->line);
        shown++;
    }
    if (t->wrong > shown) fprintf(r->files, "<li>and %d more</li>\n", t->wrong - shown);
    fputs("</ul>\n", r->files);
}

static void put_overview(const ac_html_report *r, const ac_file *file, const ac_tally *t) {
    fprintf(r->overview, "<tr><th scope=\"row\"><a href=\"#f%d\"><bdi>", r->file_count);
    ac_html_string(r->overview, file->source.name);
    fputs("</bdi></a></th><td>", r->overview);
    put_bar(r->overview, t);
    fprintf(r->overview, "</td><td>%d</td><td>%d</td><td>", t->checks, t->hold);
    if (t->wrong > 0) fprintf(r->overview, "<strong class=\"bad\">✗ %d</strong>", t->wrong);
    else fputs("0", r->overview);
    fprintf(r->overview, "%s</td></tr>\n", file->error.set ? " <strong class=\"bad\">stopped</strong>" : "");
}

static void on_end(void *context, const ac_file *file, const ac_tally *t) {
    ac_html_report *r = context;
    FILE *out = r->files;
    r->total.checks += t->checks;
    r->total.hold += t->hold;
    r->total.wrong += t->wrong;
    r->stopped += file->error.set;
    if (r->claims == NULL) return;
    put_overview(r, file, t);
    fprintf(out, "<section class=\"file\" aria-labelledby=\"f%d\">\n<h2 id=\"f%d\"><bdi>", r->file_count,
            r->file_count);
    ac_html_string(out, file->source.name);
    fputs("</bdi></h2>\n", out);
    if (t->checks > 0 || !file->error.set) {
        fputs("<p class=\"tally\">", out);
        put_tally(out, t);
        fputs(".", out);
        put_bar(out, t);
        fputs("</p>\n", out);
    }
    if (file->error.set) put_file_error(out, file);
    put_wrong(r, file, t);
    ac_html_source(out, file, r->verdicts, r->file_count);
    if (r->open) {
        fputs("<h3>The claims</h3>\n", out);
        if (!copy(r->claims, out)) r->broken = true;
        fputs("</ol>\n", out);
    }
    ac_graphviz graphviz = (ac_graphviz)r->graphviz;
    ac_html_drawings(out, file, r->options, r->file_count, &graphviz);
    r->graphviz = (int)graphviz;
    fputs("</section>\n", out);
    if (!clear(r->claims)) r->broken = true;
}

/* ---- the page --------------------------------------------------------------------------------------------------- */

static void put_summary(const ac_html_report *r, FILE *out) {
    put_tally(out, &r->total);
    if (r->file_count != 1) fprintf(out, ", in %d files", r->file_count);
    if (r->stopped > 0 && r->file_count == 1) fputs("; the file could not be checked to its end", out);
    else if (r->stopped > 0) fprintf(out, "; %d could not be checked to the end", r->stopped);
}

static void put_head_of_page(const ac_html_report *r) {
    FILE *out = r->out;
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n", out);
    fputs("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n", out);
    fputs("<meta name=\"color-scheme\" content=\"light dark\">\n", out);
    fputs("<meta name=\"generator\" content=\"adcheck " AG_VERSION "\">\n<title>", out);
    put_summary(r, out);
    fputs("</title>\n<style>\n", out);
    for (const char *const *rule = ac_html_style; *rule != NULL; rule++) fprintf(out, "%s\n", *rule);
    fputs("</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">To the derivations</a>\n", out);
}

static void put_files(ac_html_report *r) {
    fputs("<nav aria-label=\"files\">\n<div class=\"scroll\"><table class=\"overview\">", r->out);
    fputs("<thead><tr><th scope=\"col\">file</th><td></td><th scope=\"col\">claims</th>", r->out);
    fputs("<th scope=\"col\">hold</th><th scope=\"col\">wrong</th></tr></thead><tbody>\n", r->out);
    if (!copy(r->overview, r->out)) r->broken = true;
    fputs("</tbody></table></div>\n</nav>\n", r->out);
}

static void put_header(ac_html_report *r) {
    FILE *out = r->out;
    fputs("<header>\n<p class=\"maker\">adcheck</p>\n<h1>", out);
    put_summary(r, out);
    fputs("</h1>\n", out);
    if (r->file_count > 1) put_files(r);
    if (r->graphviz == AC_GRAPHVIZ_ABSENT)
        fputs("<p class=\"note\">Computations are not drawn: that takes Graphviz, which was not found.</p>\n", out);
    if (r->graphviz == AC_GRAPHVIZ_SLOW)
        fputs("<p class=\"note\">Not all computations are drawn: Graphviz took too long.</p>\n", out);
    fputs("</header>\n", out);
}

static const char *const footer[] = {
    "<footer>\n<h2>How to read this</h2>\n<p>The left side of a claim is computed, derivatives by automatic",
    "differentiation; that is what <em>right</em> means. The right side is what is claimed. Printed numbers are held "
    "to",
    "one unit of their last digit, everything else to 10<sup>−9</sup> of the right value. A <em>law</em> has to hold",
    "whatever its random names are. Wrong entries have the sign ✗.</p>",
    "<p>⊙ multiplies entry by entry, ⊗ is the outer product; ↓ and → beneath a sign work down the columns or along the",
    "rows of a matrix; ∂<i>f</i>/∂<i>x</i> has the shape of <i>x</i> and goes through every path from <i>x</i> to",
    "<i>f</i>.</p>\n<p class=\"maker\">adcheck " AG_VERSION "</p>\n</footer>",
};

static void put_page(ac_html_report *r) {
    put_head_of_page(r);
    put_header(r);
    fputs("<main id=\"main\">\n", r->out);
    if (!copy(r->files, r->out)) r->broken = true;
    fputs("</main>\n", r->out);
    for (size_t i = 0; i < sizeof footer / sizeof footer[0]; i++) fprintf(r->out, "%s\n", footer[i]);
    fputs("</body>\n</html>\n", r->out);
}

bool ac_html_open(ac_html_report *r, FILE *out, const ac_options *options) {
    memset(r, 0, sizeof *r);
    r->sink = (ac_sink){r, on_begin, on_found, on_shown, on_end};
    r->options = options;
    r->out = out;
    r->overview = tmpfile();
    r->files = tmpfile();
    r->claims = r->overview != NULL && r->files != NULL ? tmpfile() : NULL;
    return r->claims != NULL;
}

static bool close_temporary(FILE *file) {
    bool fine = file != NULL && !ferror(file);
    if (file != NULL && fclose(file) != 0) fine = false;
    return fine;
}

bool ac_html_close(ac_html_report *r) {
    bool fine = r->claims != NULL;
    if (fine) put_page(r);
    fine = close_temporary(r->claims) && fine;
    fine = close_temporary(r->files) && fine;
    fine = close_temporary(r->overview) && fine;
    nn_release(r->verdicts);
    return fflush(r->out) == 0 && !ferror(r->out) && fine && !r->broken;
}
