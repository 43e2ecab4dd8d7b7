/* CSV as a table: which columns, numbers, categories, what is missing. */
#include "nn/data/csv_impl.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define uthash_malloc(size) nn_allocate(1, size)
#define uthash_free(memory, size) nn_release(memory)
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* A text of a column, numbered in the order in which they come. */
typedef struct category {
    char *text;
    int64_t code;
    UT_hash_handle hh;
} category;

typedef struct column {
    int64_t field; /* its place in a record */
    bool is_text;
    const struct nn_categories *like; /* given codes, or NULL */
    category *categories;
} column;

typedef struct reading {
    nn_csv_reader reader;
    const nn_csv_options *options;
    int64_t fields; /* in every record */
    char **header;  /* the names of all of them */
    column *columns;
    int64_t column_count, rows, room;
    double *values;
} reading;

/* ---- which columns ---- */

static void read_header(reading *r, nn_error *e) {
    nn_csv_reader *c = &r->reader;
    char number[24];
    bool any;
    while ((any = nn_csv_record(c, e)) && nn_csv_is_blank(c) && !r->options->no_header) continue;
    if (!any) nn_fail(e, AG_ERR_VALUE, "%.200s: there is nothing in it", c->name);
    r->header = nn_take((size_t)c->count, sizeof *r->header, c->name, e);
    for (int64_t i = 0; nn_ok(e) && i < c->count; i++) {
        (void)snprintf(number, sizeof number, "%" PRId64, i + 1);
        const char *name = r->options->no_header ? number : c->fields[i].text;
        r->header[i] = nn_copy_text(name, strlen(name), e);
        r->fields = i + 1;
    }
}

static void fail_twice(const reading *r, const char *name, int64_t first, int64_t second, nn_error *e) {
    nn_fail(e, AG_ERR_VALUE, "%.160s: two columns are called \"%.80s\": %" PRId64 " and %" PRId64, r->reader.name, name,
            first + 1, second + 1);
}

/* By name, then by place. */
static int by_header(const void *a, const void *b) {
    char *const *x = *(char *const *const *)a, *const *y = *(char *const *const *)b;
    int order = strcmp(*x, *y);
    return order != 0 ? order : (x > y) - (x < y);
}

/* That a table's columns can be told by their names. */
static void check_header(const reading *r, nn_error *e) {
    size_t count = (size_t)r->fields;
    char ***sorted = nn_take(count, sizeof *sorted, r->reader.name, e);
    for (size_t i = 0; nn_ok(e) && i < count; i++) sorted[i] = &r->header[i];
    if (nn_ok(e)) qsort(sorted, count, sizeof *sorted, by_header);
    for (size_t i = 1; nn_ok(e) && i < count; i++)
        if (strcmp(*sorted[i - 1], *sorted[i]) == 0)
            fail_twice(r, *sorted[i], sorted[i - 1] - r->header, sorted[i] - r->header, e);
    nn_release(sorted);
}

static int64_t find_field(const reading *r, const char *name, nn_error *e) {
    int64_t found = -1;
    if (!nn_given(name, "CSV: the name of a column", e)) return found;
    for (int64_t i = 0; nn_ok(e) && i < r->fields; i++)
        if (strcmp(r->header[i], name) == 0) {
            if (found >= 0) fail_twice(r, name, found, i, e);
            found = i;
        }
    if (found < 0) nn_fail(e, AG_ERR_VALUE, "%.160s: no column is called \"%.80s\"", r->reader.name, name);
    return found;
}

static void mark_text(reading *r, const char *name, nn_error *e) {
    int64_t field = find_field(r, name, e);
    column *found = NULL;
    for (int64_t i = 0; nn_ok(e) && i < r->column_count; i++)
        if (r->columns[i].field == field) found = &r->columns[i];
    if (!nn_ok(e)) return;
    if (found == NULL) {
        nn_fail(e, AG_ERR_VALUE, "%.160s: texts of column \"%.80s\", which is not read", r->reader.name, name);
        return;
    }
    found->is_text = true;
    if (r->options->like == NULL) return;
    int64_t like = nn_table_find(r->options->like, name);
    if (like < 0 || r->options->like->categories == NULL || r->options->like->categories[like].count == 0)
        nn_fail(e, AG_ERR_VALUE, "%.160s: the table has no categories for column \"%.80s\"", r->reader.name, name);
    else found->like = &r->options->like->categories[like];
}

static void choose_columns(reading *r, nn_error *e) {
    const nn_csv_options *o = r->options;
    r->column_count = o->columns != NULL ? o->column_count : r->fields;
    if (o->columns == NULL) check_header(r, e);
    if (nn_ok(e) && r->column_count < 1) nn_fail(e, AG_ERR_VALUE, "%.200s: no columns are to be read", r->reader.name);
    r->columns = nn_take((size_t)(r->column_count > 0 ? r->column_count : 0), sizeof *r->columns, r->reader.name, e);
    for (int64_t i = 0; nn_ok(e) && i < r->column_count; i++)
        r->columns[i].field = o->columns != NULL ? find_field(r, o->columns[i], e) : i;
    if (o->text_count > 0) (void)nn_given(o->texts, "CSV: the array of columns of texts", e);
    for (int i = 0; nn_ok(e) && i < o->text_count; i++) mark_text(r, o->texts[i], e);
}

/* ---- one record ---- */

static bool is_missing(const reading *r, const column *c, const nn_csv_field *f) {
    const char *text = f->text;
    size_t length = f->length;
    while (length > 0 && (*text == ' ' || *text == '\t')) text++, length--;
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t')) length--;
    if (length == 0 || (!c->is_text && length == 3 && strncasecmp(text, "nan", 3) == 0)) return true;
    const char *missing = r->options->missing_text;
    return missing != NULL && strlen(missing) == length && memcmp(missing, text, length) == 0;
}

static void fail_in(const reading *r, const column *c, const char *what, nn_error *e) {
    const nn_csv_field *f = &r->reader.fields[c->field];
    nn_csv_fail(&r->reader, f, e, "column \"%.60s\": \"%.60s\" %s", r->header[c->field], f->text, what);
}

static int by_text(const void *text, const void *place) { return strcmp(text, *(char *const *)place); }

static double code_of(reading *r, column *c, nn_error *e) {
    const nn_csv_field *f = &r->reader.fields[c->field];
    category *found;
    if (c->like != NULL) {
        char **place = bsearch(f->text, c->like->texts, (size_t)c->like->count, sizeof *place, by_text);
        if (place == NULL) fail_in(r, c, "is not one of the known categories", e);
        return place != NULL ? (double)(place - c->like->texts) : 0;
    }
    HASH_FIND(hh, c->categories, f->text, f->length, found);
    if (found != NULL) return (double)found->code;
    int64_t code = HASH_COUNT(c->categories);
    found = nn_take(1, sizeof *found, r->reader.name, e);
    char *text = nn_copy_text(f->text, f->length, e);
    if (nn_ok(e)) {
        *found = (category){.text = text, .code = code};
        HASH_ADD_KEYPTR(hh, c->categories, text, f->length, found);
        if (found->hh.tbl != NULL) return (double)code;
        nn_fail(e, AG_ERR_MEMORY, "%.200s: out of memory for categories", r->reader.name);
    }
    nn_release(found);
    nn_release(text);
    return 0;
}

/* Whether all of the row is there; a row that is not may be left out. */
static bool is_complete(const reading *r, nn_error *e) {
    bool complete = true;
    for (int64_t i = 0; i < r->column_count; i++) {
        const column *c = &r->columns[i];
        if (!is_missing(r, c, &r->reader.fields[c->field])) continue;
        if (r->options->missing == NN_MISSING_ERROR) fail_in(r, c, "is no value: it is missing", e);
        complete = false;
    }
    return complete;
}

static double value_of(reading *r, column *c, nn_error *e) {
    const nn_csv_field *f = &r->reader.fields[c->field];
    double value = NAN;
    if (is_missing(r, c, f)) return NAN;
    if (c->is_text) return code_of(r, c, e);
    if (!nn_csv_number(f, &value)) fail_in(r, c, "is not a number", e);
    return value;
}

static double *new_row(reading *r, nn_error *e) {
    if (r->column_count > INT64_MAX / 16 / 8 / (r->rows + 1)) {
        nn_fail(e, AG_ERR_MEMORY, "%.200s: out of memory", r->reader.name);
        return NULL;
    }
    return nn_append((void **)&r->values, &r->rows, &r->room, (size_t)r->column_count * sizeof *r->values,
                     r->reader.name, e);
}

static void read_row(reading *r, nn_error *e) {
    const nn_csv_reader *c = &r->reader;
    if (c->count != r->fields) {
        nn_csv_fail(c, &c->fields[c->count < r->fields ? c->count - 1 : r->fields], e,
                    "%" PRId64 " fields, not %" PRId64, c->count, r->fields);
        return;
    }
    if (!is_complete(r, e) && r->options->missing != NN_MISSING_NAN) return;
    double *row = nn_ok(e) ? new_row(r, e) : NULL;
    for (int64_t i = 0; nn_ok(e) && i < r->column_count; i++) row[i] = value_of(r, &r->columns[i], e);
}

/* ---- the table ---- */

static int by_category(const void *a, const void *b) {
    return strcmp((*(category *const *)a)->text, (*(category *const *)b)->text);
}

/* Hands a column's texts to the table, in order, and changes the codes to match. */
static void sort_categories(reading *r, int64_t at, struct nn_categories *to, nn_error *e) {
    column *c = &r->columns[at];
    size_t count = HASH_COUNT(c->categories), i = 0;
    if (!c->is_text || c->like != NULL || count == 0) return;
    category **sorted = nn_take(count, sizeof(category *), r->reader.name, e);
    double *codes = nn_take(count, sizeof *codes, r->reader.name, e);
    to->texts = nn_take(count, sizeof *to->texts, r->reader.name, e);
    if (nn_ok(e)) {
        for (category *k = c->categories; k != NULL; k = k->hh.next) sorted[i++] = k;
        qsort(sorted, count, sizeof(category *), by_category);
        for (i = 0; i < count; i++) {
            codes[sorted[i]->code] = (double)i;
            to->texts[i] = nn_copy_text(sorted[i]->text, strlen(sorted[i]->text), e);
        }
        to->count = (int64_t)count;
        for (int64_t row = 0; row < r->rows; row++) {
            double *value = &r->values[row * r->column_count + at];
            if (!isnan(*value)) *value = codes[(int64_t)*value];
        }
    }
    nn_release(sorted);
    nn_release(codes);
}

static void copy_categories(const struct nn_categories *from, struct nn_categories *to, nn_error *e) {
    to->texts = nn_take((size_t)from->count, sizeof *to->texts, "categories", e);
    for (int64_t i = 0; nn_ok(e) && i < from->count; i++) {
        to->texts[i] = nn_copy_text(from->texts[i], strlen(from->texts[i]), e);
        to->count = i + 1;
    }
}

static nn_table make_table(reading *r, nn_error *e) {
    nn_table t = {.values = {NN_F64, {2, {r->rows, r->column_count}}, NULL}};
    size_t count = (size_t)r->column_count;
    if (nn_ok(e) && r->values == NULL) r->values = nn_take(0, sizeof *r->values, r->reader.name, e);
    t.names = nn_take(count, sizeof *t.names, r->reader.name, e);
    t.categories = nn_take(count, sizeof *t.categories, r->reader.name, e);
    for (int64_t i = 0; nn_ok(e) && i < r->column_count; i++) {
        const column *c = &r->columns[i];
        t.names[i] = nn_copy_text(r->header[c->field], strlen(r->header[c->field]), e);
        sort_categories(r, i, &t.categories[i], e);
        if (nn_ok(e) && c->like != NULL) copy_categories(c->like, &t.categories[i], e);
    }
    if (nn_ok(e)) {
        t.values.data = r->values;
        r->values = NULL;
    } else {
        nn_table_free(&t);
    }
    return t;
}

static void free_reading(reading *r) {
    for (int64_t i = 0; i < r->column_count && r->columns != NULL; i++) {
        category *k = r->columns[i].categories, *next;
        HASH_CLEAR(hh, r->columns[i].categories); /* leaves the items, and how they are linked */
        for (; k != NULL; k = next) {
            next = k->hh.next;
            nn_release(k->text);
            nn_release(k);
        }
    }
    for (int64_t i = 0; i < r->fields; i++) nn_release(r->header[i]);
    nn_release(r->header);
    nn_release(r->columns);
    nn_release(r->values);
    nn_release(r->reader.fields);
}

static nn_table read_table(reading *r, nn_error *e) {
    nn_csv_reader *c = &r->reader;
    read_header(r, e);
    choose_columns(r, e);
    if (nn_ok(e) && r->options->no_header) read_row(r, e);
    while (nn_csv_record(c, e))
        if (r->fields == 1 || !nn_csv_is_blank(c)) read_row(r, e);
    nn_table t = make_table(r, e);
    free_reading(r);
    return t;
}

nn_table nn_csv_parse(const char *name, char *text, size_t size, const nn_csv_options *options, nn_error *e) {
    static const nn_csv_options usual = {0};
    if (!nn_ok(e)) return (nn_table){0};
    if (options == NULL) options = &usual;
    if (options->separator == '"' || options->separator == '\n' || options->separator == '\r') {
        nn_fail(e, AG_ERR_VALUE, "%.200s: the separator is a quote or a line's end", name);
        return (nn_table){0};
    }
    bool marked = size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
    reading r = {.options = options,
                 .reader = {.name = name,
                            .at = text + 3 * marked,
                            .end = text + size,
                            .line_start = text + 3 * marked,
                            .separator = options->separator != 0 ? options->separator : ',',
                            .line = 1}};
    nn_locale locale;
    if (!nn_locale_enter(&locale, name, e)) return (nn_table){0};
    nn_table t = read_table(&r, e);
    nn_locale_leave(&locale);
    return t;
}

nn_table nn_csv_read(const char *path, const nn_csv_options *options, nn_error *e) {
    nn_content content = nn_content_read(path, e);
    nn_table t = nn_csv_parse(path, (char *)content.bytes, content.size, options, e);
    nn_content_free(&content);
    return t;
}
