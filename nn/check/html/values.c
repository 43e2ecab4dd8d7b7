/* Values as tables, claimed beside right. */
#include "nn/check/html/html_impl.h"

#include <inttypes.h>
#include <math.h>

enum {
    ALL = 8,           /* rows and columns of a matrix that is shown as it is, */
    SHOWN = 6,         /* of the part that is shown of a larger one, */
    SHOWN_RIGHT = 4,   /* and of one that is right */
    SHOWN_ENTRIES = 12 /* of a vector */
};

/* Some of a number of rows or columns, in order. */
typedef struct selection {
    int64_t lines[SHOWN_ENTRIES];
    int count;
    int64_t of;
} selection;

/* A comparison, entry by entry; without one there is nothing wrong. */
typedef struct marks {
    const nn_claim *claim; /* or NULL */
    int64_t columns;
} marks;

static bool is_wrong(const marks *m, int64_t i) { return m->claim != NULL && !nn_claim_entry_holds(m->claim, i); }

static bool line_is_wrong(const marks *m, int64_t line, bool column, int64_t length) {
    for (int64_t k = 0; k < length; k++)
        if (is_wrong(m, column ? k * m->columns + line : line * m->columns + k)) return true;
    return false;
}

static bool is_chosen(const selection *s, int64_t line) {
    for (int i = 0; i < s->count; i++)
        if (s->lines[i] == line) return true;
    return false;
}

static void insert(selection *s, int64_t line) {
    int i = s->count++;
    for (; i > 0 && s->lines[i - 1] > line; i--) s->lines[i] = s->lines[i - 1];
    s->lines[i] = line;
}

/* The first lines that have something wrong in them, then the first of all. */
static selection choose(const marks *m, bool column, int64_t of, int64_t length, int most) {
    selection s = {.of = of};
    bool all = of <= ALL || of <= most + 1;
    if (all) most = (int)of;
    for (int64_t i = 0; i < of && s.count < most && !all && m->claim != NULL; i++)
        if (line_is_wrong(m, i, column, length)) insert(&s, i);
    for (int64_t i = 0; i < of && s.count < most; i++)
        if (!is_chosen(&s, i)) insert(&s, i);
    return s;
}

static bool follows_gap(const selection *s, int i) { return s->lines[i] != (i == 0 ? 0 : s->lines[i - 1] + 1); }
static bool ends_in_gap(const selection *s) { return s->lines[s->count - 1] + 1 < s->of; }

/* ---- cells ------------------------------------------------------------------------------------------------------ */

/* `apart`: by how much it differs from the other one, if it is wrong. */
static void put_cell(FILE *out, double x, const double *unit, double apart, bool wrong, bool claimed) {
    if (!wrong) fputs("<td>", out);
    else if (claimed) fputs("<td class=\"bad\"><span class=\"vh\">wrong: </span>", out);
    else fputs("<td class=\"fix\"><span class=\"vh\">should be: </span>", out);
    ac_html_number_apart(out, x, unit, wrong ? apart : INFINITY);
    fputs("</td>", out);
}

static const double *unit_at(const double *unit, int64_t i) { return unit == NULL ? NULL : unit + i; }

/* ---- matrices --------------------------------------------------------------------------------------------------- */

/* One of two matrices, or the only one. */
typedef struct matrix {
    const char *caption;
    const double *x, *unit, *other; /* other: what its entries are compared with, or NULL */
    int64_t rows, columns;
    bool claimed, vector; /* a vector's only row has no number */
} matrix;

static void put_column_heads(FILE *out, const selection *columns) {
    fputs("<thead><tr><td></td>", out);
    for (int j = 0; j < columns->count; j++)
        fprintf(out, "%s<th scope=\"col\">%" PRId64 "</th>", follows_gap(columns, j) ? "<td>⋯</td>" : "",
                columns->lines[j] + 1);
    fprintf(out, "%s</tr></thead>", ends_in_gap(columns) ? "<td>⋯</td>" : "");
}

static void put_gap_row(FILE *out, const selection *columns) {
    int width = columns->count + ends_in_gap(columns);
    for (int j = 0; j < columns->count; j++) width += follows_gap(columns, j);
    fprintf(out, "<tr class=\"gap\"><td>⋮</td><td colspan=\"%d\"></td></tr>", width);
}

static void put_matrix(FILE *out, const matrix *a, const marks *m, const selection *rows, const selection *columns) {
    fprintf(out, "<table class=\"matrix\"><caption>%s</caption>", a->caption);
    put_column_heads(out, columns);
    fputs("<tbody>", out);
    for (int i = 0; i < rows->count; i++) {
        if (follows_gap(rows, i)) put_gap_row(out, columns);
        if (a->vector) fputs("<tr><td></td>", out);
        else fprintf(out, "<tr><th scope=\"row\">%" PRId64 "</th>", rows->lines[i] + 1);
        for (int j = 0; j < columns->count; j++) {
            int64_t e = rows->lines[i] * a->columns + columns->lines[j];
            if (follows_gap(columns, j)) fputs("<td>⋯</td>", out);
            put_cell(out, a->x[e], unit_at(a->unit, e), a->other == NULL ? INFINITY : a->x[e] - a->other[e],
                     is_wrong(m, e), a->claimed);
        }
        fprintf(out, "%s</tr>", ends_in_gap(columns) ? "<td>⋯</td>" : "");
    }
    if (ends_in_gap(rows)) put_gap_row(out, columns);
    fputs("</tbody></table>\n", out);
}

static void put_left_out(FILE *out, const selection *rows, const selection *columns, bool wrong_first) {
    if (rows->count == rows->of && columns->count == columns->of) return;
    fprintf(out, "<p class=\"note\">%" PRId64 " × %" PRId64 ": shown are %d of the rows and %d of the columns%s.</p>\n",
            rows->of, columns->of, rows->count, columns->count, wrong_first ? ", those with wrong entries first" : "");
}

/* ---- vectors and numbers ---------------------------------------------------------------------------------------- */

static void put_entry_gap(FILE *out, int columns) {
    fprintf(out, "<tr class=\"gap\"><td>⋮</td><td colspan=\"%d\"></td></tr>", columns);
}

static void put_entry(FILE *out, const ac_finding *f, const marks *m, int64_t i) {
    bool wrong = is_wrong(m, i);
    fputs("<tr>", out);
    if (f->right_shape.rank > 0) fprintf(out, "<th scope=\"row\">%" PRId64 "</th>", i + 1);
    double apart = f->claimed[i] - f->right[i];
    put_cell(out, f->claimed[i], unit_at(f->unit, i), apart, wrong, true);
    put_cell(out, f->right[i], NULL, apart, wrong, false);
    fputs("</tr>", out);
}

/* Claimed and right in two columns, an entry a row. */
static void put_pairs(FILE *out, const ac_finding *f, const marks *m, const selection *entries) {
    bool vector = f->right_shape.rank > 0;
    fprintf(out,
            "<table class=\"pairs\"><thead><tr>%s<th scope=\"col\">claimed</th><th "
            "scope=\"col\">right</th></tr></thead><tbody>",
            vector ? "<th scope=\"col\">entry</th>" : "");
    for (int i = 0; i < entries->count; i++) {
        if (follows_gap(entries, i)) put_entry_gap(out, 2);
        put_entry(out, f, m, entries->lines[i]);
    }
    if (ends_in_gap(entries)) put_entry_gap(out, 2);
    fputs("</tbody></table>\n", out);
    if (entries->count < entries->of)
        fprintf(out, "<p class=\"note\">%" PRId64 " entries: shown are %d%s.</p>\n", entries->of, entries->count,
                m->claim != NULL && !f->comparison.holds ? ", wrong ones first" : "");
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

static int64_t rows_of(ag_shape s) { return s.rank == 2 ? s.dim[0] : 1; }
static int64_t columns_of(ag_shape s) { return s.rank > 0 ? s.dim[s.rank - 1] : 1; }

static void put_alone(FILE *out, const char *caption, ag_shape shape, const double *x, const double *unit,
                      bool claimed) {
    marks none = {.columns = columns_of(shape)};
    matrix a = {caption, x, unit, NULL, rows_of(shape), columns_of(shape), claimed, shape.rank == 1};
    selection rows = choose(&none, false, a.rows, a.columns, SHOWN);
    selection columns = choose(&none, true, a.columns, a.rows, SHOWN);
    put_matrix(out, &a, &none, &rows, &columns);
    put_left_out(out, &rows, &columns, false);
}

void ac_html_value(FILE *out, ag_shape shape, const double *x) {
    fputs("<div class=\"values\">", out);
    if (shape.rank == 0) {
        fputs("<p class=\"number\">= ", out);
        ac_html_number(out, *x, NULL);
        fputs("</p>", out);
    } else put_alone(out, "value", shape, x, NULL, false);
    fputs("</div>\n", out);
}

void ac_html_comparison(FILE *out, const ac_finding *f) {
    nn_claim claim = {.draws = 1, .right_shape = f->right_shape, .claimed_shape = f->claimed_shape};
    claim.right = f->right;
    claim.claimed = f->claimed;
    claim.unit = f->unit;
    claim.tolerance = f->statement->within != NULL ? f->comparison.tolerance : 0; /* of every entry */
    marks m = {&claim, columns_of(f->right_shape)};
    fputs("<div class=\"values\">", out);
    if (!f->comparison.same_shape) {
        put_alone(out, "claimed", f->claimed_shape, f->claimed, f->unit, true);
        put_alone(out, "right", f->right_shape, f->right, NULL, false);
    } else if (f->right_shape.rank < 2) {
        selection entries = choose(&m, true, m.columns, 1, SHOWN_ENTRIES - 1);
        put_pairs(out, f, &m, &entries);
    } else {
        matrix claimed = {"claimed", f->claimed, f->unit, f->right, rows_of(f->right_shape), m.columns, true, false};
        matrix right = {"right", f->right, NULL, f->claimed, claimed.rows, m.columns, false, false};
        int most = f->comparison.holds ? SHOWN_RIGHT : SHOWN;
        selection rows = choose(&m, false, claimed.rows, m.columns, most);
        selection columns = choose(&m, true, m.columns, claimed.rows, most);
        put_matrix(out, &claimed, &m, &rows, &columns);
        put_matrix(out, &right, &m, &rows, &columns);
        put_left_out(out, &rows, &columns, !f->comparison.holds);
    }
    fputs("</div>\n", out);
}
